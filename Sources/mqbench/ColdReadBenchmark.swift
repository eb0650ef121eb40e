import RocketMQBase
import RocketMQClient
import RocketMQSystem

/// What a consumer that reads a large backlog from the disk does to those who send meanwhile.
///
/// Fills a topic, lets the system forget the store's files, finds how much the broker takes, and sends half as much in turns:
/// alone, and while the backlog is read.
struct ColdReadBenchmark: Sendable {
    let options: BenchmarkOptions

    init(options: BenchmarkOptions) { self.options = options }

    private var backlogTopic: String { options.topic + "-backlog" }
    /// Larger than those of the sends that are measured, so that the backlog is soon there.
    private var backlogBodySize: Int { max(options.bodySize, 4000) }

    func run() async throws -> ColdReadReport {
        let backlog = try await fill()
        try dropCache()
        let most = try await load(options.topic, rate: 0)
        let rate = max(1, Int(Double(most.messages) / most.seconds / 2))
        note("alone the broker takes \(decimal(Double(most.messages) / most.seconds, 0)) sends/s; half of that from here on")
        var rounds: [ColdReadReport.Round] = []
        for number in 1...options.rounds {
            let alone = try await load(options.topic, rate: rate)
            try dropCache()
            async let reading = scan()
            let besides = try await load(options.topic, rate: rate)
            let round = ColdReadReport.Round(alone: alone, besides: besides, reading: try await reading)
            note("round \(number): \(round.text)")
            rounds.append(round)
        }
        return ColdReadReport(backlogMessages: backlog, options: options, rate: rate, rounds: rounds)
    }

    /// Sends until so many bytes have been stored; returns how many messages those are.
    private func fill() async throws -> UInt64 {
        let wanted = UInt64(options.gibibytes) << 30
        var messages: UInt64 = 0
        while messages * UInt64(backlogBodySize) < wanted {
            let report = try await load(backlogTopic, rate: 0, bodySize: backlogBodySize, seconds: 5, warmUp: 0)
            guard report.messages > 0 else { throw RawFailure(description: "the backlog cannot be filled: no send is answered") }
            messages += report.messages
            note("\(decimal(Double(messages * UInt64(backlogBodySize)) / 1_073_741_824, 1)) GiB of backlog")
        }
        return messages
    }

    private func load(
        _ topic: String, rate: Int, bodySize: Int? = nil, seconds: Int? = nil, warmUp: Int? = nil
    ) async throws -> Report {
        var wanted = options
        wanted.bodySize = bodySize ?? options.bodySize
        wanted.topic = topic
        wanted.topics = 1
        wanted.rate = rate
        wanted.seconds = seconds ?? options.seconds
        wanted.warmUpSeconds = warmUp ?? options.warmUpSeconds
        let report = try await LoadBenchmark(options: wanted).run()
        if report.failed > 0 { throw RawFailure(description: "\(report.failed) sends failed: \(report.firstError ?? "")") }
        return report
    }

    /// Reads the backlog on a connection of its own, a pull on its way for each queue, for as long as a measurement lasts.
    private func scan() async throws -> Report {
        var wanted = options
        wanted.topic = backlogTopic
        wanted.topics = 1
        wanted.connections = 1
        wanted.depth = options.queues
        wanted.seconds = options.seconds + options.warmUpSeconds
        return try await ScanBenchmark(options: wanted).run()
    }

    private func dropCache() throws {
        guard let store = options.store else { return }
        let count = try PageCache.drop(below: store)
        note("the system was told to forget \(count) files in \(store)")
    }

    private func note(_ line: String) { if !options.json { Console.complain(line) } }
}

/// The outcome: latencies of sends with and without the reader.
struct ColdReadReport: Sendable {
    struct Round: Sendable {
        var alone: Report
        var besides: Report
        var reading: Report

        /// 99th percentile with the reader, as a multiple of that without.
        var ratio: Double {
            let base = Double(alone.latencies.percentile(99))
            return base > 0 ? Double(besides.latencies.percentile(99)) / base : 0
        }
        var readMebibytesPerSecond: Double { reading.seconds > 0 ? Double(reading.bytesRead) / 1_048_576 / reading.seconds : 0 }

        var text: String {
            "sends alone \(Self.percentiles(alone)), with the reader \(Self.percentiles(besides)), p99 \(decimal(ratio, 2)) times; "
                + "read \(reading.bytesRead >> 20) MiB at \(decimal(readMebibytesPerSecond, 0)) MiB/s"
        }
        private static func percentiles(_ report: Report) -> String {
            [50, 99, 99.9].map { "p\($0 == 99.9 ? "99.9" : "\(Int($0))") \(ColdReadReport.microseconds(report, $0))" }.joined(
                separator: " ") + " us"
        }
    }
    var backlogMessages: UInt64
    var options: BenchmarkOptions
    var rate: Int
    var rounds: [Round]

    var failed: UInt64 { rounds.reduce(0) { $0 + $1.reading.failed } }
    /// The median over the rounds.
    private var ratio: Double { rounds.map(\.ratio).sorted()[rounds.count / 2] }

    /// For people.
    var text: String {
        var lines = [
            "cold: \(backlogMessages) messages of \(max(options.bodySize, 4000)) bytes as backlog; \(rate) sends/s of \(options.bodySize) bytes"
        ]
        lines += rounds.map { "  " + $0.text }
        let spread = rounds.map(\.ratio)
        lines.append(
            "  p99 of sends while the backlog is read: \(decimal(ratio, 2)) times that without, median of \(rounds.count) "
                + "(\(decimal(spread.min() ?? 0, 2)) to \(decimal(spread.max() ?? 0, 2)))")
        if let error = rounds.compactMap(\.reading.firstError).first { lines.append("  first failure: \(error)") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// For programs.
    var json: String {
        let all = rounds.map { round in
            func figures(_ report: Report) -> String {
                "{\"p50Microseconds\":\(Self.microseconds(report, 50)),\"p99Microseconds\":\(Self.microseconds(report, 99)),"
                    + "\"p99.9Microseconds\":\(Self.microseconds(report, 99.9)),\"messages\":\(report.messages)}"
            }
            return "{\"alone\":\(figures(round.alone)),\"reading\":\(figures(round.besides)),\"ratio\":\(decimal(round.ratio, 3)),"
                + "\"readMebibytes\":\(round.reading.bytesRead >> 20)}"
        }
        return "{\"benchmark\":\"cold\",\"backlogMessages\":\(backlogMessages),\"bodyBytes\":\(options.bodySize),\"rate\":\(rate),"
            + "\"ratio\":\(decimal(ratio, 3)),\"rounds\":[\(all.joined(separator: ","))]}\n"
    }

    fileprivate static func microseconds(_ report: Report, _ percent: Double) -> String {
        decimal(Double(report.latencies.percentile(percent)) / 1000, 0)
    }
}
