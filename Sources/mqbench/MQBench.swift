import RocketMQBase
import RocketMQClient
import RocketMQSystem

/// `mqbench producer|consumer`: how much the client library and a broker do together, and at what price.
/// `mqbench load|scan|cold|timers|transactions`: what a broker does, whatever the client.
@main
struct MQBench {
    static func main() async {
        switch BenchmarkOptions.program.parse(CurrentProcess.arguments) {
        case .answer(let text):
            Console.write(text)
            CurrentProcess.exit(0)
        case .wrong(let error):
            Console.complain(error.description)
            CurrentProcess.exit(2)
        case .run(let arguments):
            do {
                let options = try BenchmarkOptions(arguments)
                if arguments.command == "cold" {
                    let report = try await ColdReadBenchmark(options: options).run()
                    Console.write(options.json ? report.json : report.text)
                    CurrentProcess.exit(0)
                }
                let report =
                    switch arguments.command {
                    case "producer": try await ProducerBenchmark(options: options).run()
                    case "consumer": try await ConsumerBenchmark(options: options).run()
                    case "timers": try await TimerBenchmark(options: options).run()
                    case "transactions": try await TransactionBenchmark(options: options).run()
                    case "load": try await LoadBenchmark(options: options).run()
                    default: try await ScanBenchmark(options: options).run()
                    }
                Console.write(options.json ? report.json : report.text)
                CurrentProcess.exit(report.failed == 0 ? 0 : 1)
            } catch let error as CommandLineError {
                Console.complain(error.description)
                CurrentProcess.exit(2)
            } catch {
                Console.complain("mqbench: \(error)")
                CurrentProcess.exit(1)
            }
        }
    }
}
