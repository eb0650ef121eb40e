import RocketMQBase
import RocketMQProtocol

/// `clusterRT`: how long messages to every broker take, again and again.
struct ClusterRTCommand: AdminCommand {
    static let cluster = CommandOption<String>("cluster", "c", value: "CLUSTER", "Only this cluster; all unless given.")
    static let log = CommandOption<Bool>(
        "printLog", "p", value: "true|false", "Print lines TIME|ROOM|CLUSTER|BROKER|RT, for log collectors.")
    static let room = CommandOption<String>("machineRoom", "m", value: "NAME", "With -p: the machine room to print, noname unless given.")
    static let interval = CommandOption<Int>(
        "interval", "i", value: "SECONDS", allowed: "a number of seconds from 1 to 86400", "Between two rounds, 10 unless given.",
        accepts: { (1...86_400).contains($0) })
    static let rounds = CommandOption<Int>(
        "rounds", "r", value: "COUNT", allowed: "a number from 1", "Stop after so many rounds; goes on until interrupted unless given.",
        accepts: { $0 >= 1 })

    static let declaration = CommandDeclaration.admin(
        "clusterRT", "Show how long messages to every broker take, every few seconds.", SendProbe.amount, SendProbe.size, cluster, log,
        room, interval, rounds,
        notes: """
            The messages of a round go to the topic of each broker's own name, which nobody consumes, one after the other. The average (#RT)
            and the longest (#Max) are in milliseconds and leave out the first message. With -r the exit code is 1 when any was not sent.
            With --json a round is a line.
            Example: mqadmin clusterRT -n 127.0.0.1:9876 -a 20 -r 1
            """)

    let amount: Int
    let size: Int
    let cluster: String?
    let printsLog: Bool
    let room: String
    let interval: Duration
    let rounds: Int?

    /// What became of the messages to one broker in one round.
    struct Line: Sendable {
        var cluster: String
        var broker: String
        var summary: SendProbe.Summary
    }

    /// A broker that took none of so many is given up for the round.
    private static let mostFailures = 3

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        amount = arguments[SendProbe.amount] ?? 100
        size = arguments[SendProbe.size] ?? 128
        cluster = arguments[Self.cluster]
        printsLog = arguments[Self.log] ?? false
        room = arguments[Self.room] ?? "noname"
        interval = .seconds(arguments[Self.interval] ?? 10)
        rounds = arguments[Self.rounds]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        if let cluster { _ = try await context.client.masters(ofCluster: cluster) }
        let probe = try await SendProbe(size: size, context)
        var failed: AdminError?
        var round = 0
        while true {
            do throws(AdminError) {
                let lines = try await measure(probe, context)
                show(lines, context)
                for line in lines where failed == nil {
                    do throws(AdminError) { try line.summary.check("broker \(line.broker)") } catch { failed = error }
                }
            } catch {
                // Whoever watches wants to see it come back.
                guard rounds == nil else {
                    await probe.stop()
                    throw error
                }
                context.warn(error.description)
            }
            round += 1
            if round == rounds { break }
            do { try await context.clock.sleep(for: interval) } catch { break }
        }
        await probe.stop()
        if let failed { throw failed }
    }

    private func measure(_ probe: SendProbe, _ context: AdminContext) async throws(AdminError) -> [Line] {
        var lines: [Line] = []
        let clusters = try await context.client.clusterInfo().clusterAddrTable.keys.sorted()
        for name in clusters where cluster == nil || name == cluster {
            for broker in try await context.client.brokers(ofCluster: name).filter(\.isMaster) {
                var summary = SendProbe.Summary()
                do throws(AdminError) {
                    let queues = try await SendProbe.queues(ofBroker: broker.brokerName, context)
                    for number in 0..<amount {
                        summary.add(await probe.send(to: queues[number % queues.count]), counts: number > 0 || amount == 1)
                        if summary.succeeded == 0, summary.failed == Self.mostFailures { break }
                    }
                } catch {
                    context.warn(error.description)
                    summary.add(.init(milliseconds: 0, error: error.message), counts: false)
                }
                lines.append(Line(cluster: name, broker: broker.brokerName, summary: summary))
            }
        }
        return lines
    }

    private func show(_ lines: [Line], _ context: AdminContext) {
        guard !printsLog || context.wantsJSON else {
            for line in lines {
                let time = context.time.text(context.nowMilliseconds)
                context.say(
                    "\(time)|\(room)|\(line.cluster)|\(line.broker)|\(NumberText.decimal(line.summary.average, digits: 0))")
            }
            return
        }
        var table = Table([
            .init("#Cluster Name", "clusterName"), .init("#Broker Name", "brokerName"), .init("#RT", "rt", right: true),
            .init("#Max", "maxRt", right: true), .init("#successCount", "successCount", right: true),
            .init("#failCount", "failCount", right: true),
        ])
        for line in lines {
            table.add(
                .init(line.cluster), .init(line.broker), .init(line.summary.average, digits: 2), .init(line.summary.longest, digits: 2),
                .init(line.summary.succeeded), .init(line.summary.failed))
        }
        context.show(table)
    }
}
