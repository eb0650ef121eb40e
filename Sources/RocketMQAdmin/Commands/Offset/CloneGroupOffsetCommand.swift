import RocketMQBase
import RocketMQProtocol

/// `cloneGroupOffset`: puts one group where another stands in a topic.
struct CloneGroupOffsetCommand: AdminCommand {
    static let source = CommandOption<String>("srcGroup", "s", value: "GROUP", required: true, "The group whose offsets to take.")
    static let target = CommandOption<String>("destGroup", "d", value: "GROUP", required: true, "The group to move.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let offline = CommandOption<String>(
        "offline", "o", value: "true|false", "Accepted for the reference's sake; does nothing there either.")

    static let declaration = CommandDeclaration.admin(
        "cloneGroupOffset", "Put one consumer group where another stands.", source, target, topic, offline,
        notes: "Stop the members of the group to move first: they would set their own offsets again.")

    let source: String
    let target: String
    let topic: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        source = try arguments.required(Self.source)
        target = try arguments.required(Self.target)
        topic = try arguments.required(Self.topic)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let members = AdminClient.members(of: try await context.client.existingRoute(ofTopic: topic))
        if let connected = try await connectedMembers(members, context) {
            context.warn(
                "\(connected.connectionSet.count) members of group \(target) are connected and will set their own offsets again: stop them first"
            )
        }
        var table = Table([.init("#brokerName", "brokerName"), .init("#queueId", "queueId"), .init("#offset", "offset")])
        for member in members {
            // Not asked for this topic alone: the broker then answers offset 0 for groups that never consumed from it.
            let known = try await context.client.consumeStatistics(ofGroup: source, atBroker: member.address)
            for (queue, offset) in known.offsetTable.sorted(by: { $0.key < $1.key })
            where queue.topic == topic && offset.consumerOffset >= 0 {
                try await context.client.commit(offset.consumerOffset, of: queue, group: target, atBroker: member.address)
                table.add(.init(queue.brokerName), .init(queue.queueID), .init(offset.consumerOffset))
            }
        }
        guard !table.rows.isEmpty else {
            throw AdminError(
                .unknownGroup, "group \(source) has no offsets in topic \(topic)", remedy: "see mqadmin consumerProgress -g \(source)")
        }
        context.say("clone group offset success. srcGroup[\(source)], destGroup=[\(target)], topic[\(topic)]")
        context.show(table)
    }

    private func connectedMembers(
        _ brokers: [AdminClient.Member], _ context: AdminContext
    ) async throws(AdminError) -> ConsumerConnection? {
        for broker in brokers {
            if let found = try await context.client.members(ofGroup: target, atBroker: broker.address) { return found }
        }
        return nil
    }
}
