import RocketMQBase
import RocketMQProtocol

/// `startMonitoring`: what waits for consumer groups and what is wrong with them, every minute.
struct StartMonitoringCommand: AdminCommand {
    static let interval = CommandOption<Int>(
        "interval", "i", value: "SECONDS", allowed: "a number of seconds from 1 to 86400", "Between two rounds, 60 unless given.",
        accepts: { (1...86_400).contains($0) })
    static let rounds = CommandOption<Int>(
        "rounds", "r", value: "COUNT", allowed: "a number from 1", "Stop after so many rounds; goes on until interrupted unless given.",
        accepts: { $0 >= 1 })

    static let declaration = CommandDeclaration.admin(
        "startMonitoring", "Show every minute what waits for consumer groups and what is wrong with them.", interval, rounds,
        notes: """
            A round lists the groups and topics with messages that wait: how many in all (#Undone), in the queue with the most, and by how
            many milliseconds what was consumed last is older than the newest message (#Delay); then what the brokers find wrong, as
            checkConsumers does. With --json a round is a line.
            Example: mqadmin startMonitoring -n 127.0.0.1:9876 -i 30
            """)

    let interval: Duration
    let rounds: Int?

    /// What waits for a group in a topic.
    struct Undone: Sendable {
        var group: String
        var topic: String
        var total: Int64 = 0
        var most: Int64 = 0
        var delay: Int64 = 0
    }

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        interval = .seconds(arguments[Self.interval] ?? 60)
        rounds = arguments[Self.rounds]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var round = 0
        while true {
            do throws(AdminError) { try await look(context) } catch {
                // Whoever watches wants to see it come back.
                guard rounds == nil else { throw error }
                context.warn(error.description)
            }
            round += 1
            if round == rounds { return }
            do { try await context.clock.sleep(for: interval) } catch { return }
        }
    }

    private func look(_ context: AdminContext) async throws(AdminError) {
        let began = context.nowMilliseconds
        let undone = try await self.undone(context)
        var reports: [ConsumerGroupReport] = []
        for broker in try await context.client.brokers(ofCluster: nil).filter(\.isMaster) {
            do throws(AdminError) { reports.append(try await context.client.checkGroups(nil, atBroker: broker.address)) } catch {
                context.warn(error.description)
            }
        }
        var table = Table([
            .init("#Group", "consumerGroup"), .init("#Topic", "topic"), .init("#Undone", "undoneMsgsTotal", right: true),
            .init("#Most in a Queue", "undoneMsgsSingleMQ", right: true), .init("#Delay", "undoneMsgsDelayTimeMills", right: true),
        ])
        for entry in undone {
            table.add(.init(entry.group), .init(entry.topic), .init(entry.total), .init(entry.most), .init(entry.delay))
        }
        let findings = reports.flatMap(\.findings)
        var text =
            "\(context.time.text(began)): \(undone.isEmpty ? "no messages wait" : "messages wait for \(undone.count) groups and topics")"
        text += ", \(findings.count) findings\n" + (undone.isEmpty ? "" : table.text)
        for report in reports {
            for finding in report.findings {
                text += Printable.line("\(finding.kind.rawValue) at \(report.brokerName): \(finding.message)") + "\n"
            }
        }
        context.show(
            ["time": .integer(began), "undoneMsgs": table.json, "findings": .bodies(findings)], text: text + "\n")
    }

    /// Of all groups that have a retry topic, sorted.
    private func undone(_ context: AdminContext) async throws(AdminError) -> [Undone] {
        var found: [Undone] = []
        var newest: [MessageQueue: Int64] = [:]
        for name in try await context.client.topicNames().sorted() where name.hasPrefix(SystemTopic.retryPrefix) {
            let group = String(name.dropFirst(SystemTopic.retryPrefix.count))
            do throws(AdminError) {
                let members = try await context.client.brokers(ofGroup: group)
                let statistics = try await ConsumerProgressCommand.statistics(of: group, members, context)
                var byTopic: [String: Undone] = [:]
                for (queue, offset) in statistics.offsetTable where offset.brokerOffset > offset.consumerOffset {
                    let lag = offset.brokerOffset &- offset.consumerOffset
                    var entry = byTopic[queue.topic] ?? Undone(group: group, topic: queue.topic)
                    entry.total &+= lag
                    entry.most = max(entry.most, lag)
                    if offset.lastTimestamp > 0 {
                        let last = try await lastStored(queue, &newest, context)
                        entry.delay = max(entry.delay, last - offset.lastTimestamp)
                    }
                    byTopic[queue.topic] = entry
                }
                found += byTopic.values.sorted { $0.topic < $1.topic }
            } catch {
                // Groups and topics go while we look.
                context.warn("group \(group) is left out: \(error)")
            }
        }
        return found
    }

    /// When the newest message of a queue was stored; asked once a topic and round.
    private func lastStored(
        _ queue: MessageQueue, _ known: inout [MessageQueue: Int64], _ context: AdminContext
    ) async throws(AdminError) -> Int64 {
        if let time = known[queue] { return time }
        let address = try await context.client.broker(named: queue.brokerName).address
        for (queue, offset) in try await context.client.topicStatistics(queue.topic, atBroker: address).offsetTable {
            known[queue] = offset.lastUpdateTimestamp
        }
        return known[queue] ?? 0
    }
}
