import RocketMQBase
import RocketMQProtocol

/// `statsAll`: what comes into topics and goes out to groups.
struct StatsAllCommand: AdminCommand {
    static let active = CommandFlag("activeTopic", "a", "Only topics and groups that did anything in the last 24 hours.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", "Only this topic.")

    static let declaration = CommandDeclaration.admin("statsAll", "Show what comes into topics and goes out to groups.", active, topic)

    let onlyActive: Bool
    let topic: String?

    /// Sums over brokers.
    private struct Flow {
        var perSecond = 0.0
        var ofDay: Int64 = 0

        mutating func add(_ data: BrokerStatsData?) {
            perSecond += data?.statsMinute.tps ?? 0
            ofDay += data?.statsDay.sum ?? 0
        }
    }

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        onlyActive = arguments[Self.active]
        topic = arguments[Self.topic]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var table = Table([
            .init("#Topic", "topic"), .init("#Consumer Group", "consumerGroup"), .init("#Accumulation", "accumulation", right: true),
            .init("#InTPS", "inTps", right: true), .init("#OutTPS", "outTps", right: true),
            .init("#InMsg24Hour", "inMessages24Hours", right: true), .init("#OutMsg24Hour", "outMessages24Hours", right: true),
        ])
        for name in try await topics(context) {
            // Those that go while we look are left out.
            guard let route = try await context.client.route(ofTopic: name) else { continue }
            do throws(AdminError) { try await add(name, AdminClient.members(of: route).filter(\.isMaster), &table, context) } catch {
                guard topic == nil else { throw error }
                context.warn("topic \(name) is left out: \(error)")
            }
        }
        context.show(table)
    }

    private func topics(_ context: AdminContext) async throws(AdminError) -> [String] {
        if let topic {
            _ = try await context.client.existingRoute(ofTopic: topic)
            return [topic]
        }
        return try await context.client.topicNames().filter {
            !$0.hasPrefix(SystemTopic.retryPrefix) && !$0.hasPrefix(SystemTopic.deadLetterPrefix)
        }.sorted()
    }

    private func add(
        _ topic: String, _ brokers: [AdminClient.Member], _ table: inout Table, _ context: AdminContext
    ) async throws(AdminError) {
        var incoming = Flow()
        var groups: Set<String> = []
        for broker in brokers {
            incoming.add(try await context.client.statistics("TOPIC_PUT_NUMS", topic, ofBroker: broker.address))
            groups.formUnion(try await context.client.groups(consuming: topic, atBroker: broker.address))
        }
        for group in groups.sorted() {
            var outgoing = Flow()
            var lag: Int64 = 0
            for broker in brokers {
                outgoing.add(try await context.client.statistics("GROUP_GET_NUMS", "\(topic)@\(group)", ofBroker: broker.address))
                lag += try await context.client.consumeStatistics(ofGroup: group, topic: topic, atBroker: broker.address).totalDiff
            }
            guard !onlyActive || incoming.ofDay > 0 || outgoing.ofDay > 0 else { continue }
            table.add(
                .init(topic), .init(group), .init(max(0, lag)), .init(incoming.perSecond, digits: 2), .init(outgoing.perSecond, digits: 2),
                .init(incoming.ofDay), .init(outgoing.ofDay))
        }
        guard groups.isEmpty, !onlyActive || incoming.ofDay > 0 else { return }
        table.add(
            .init(topic), .init("", json: .null), .init(0), .init(incoming.perSecond, digits: 2), .init("", json: .null),
            .init(incoming.ofDay), .init("NO_CONSUMER", json: .null))
    }
}
