import RocketMQBase
import RocketMQProtocol

/// `topicStatus`: first and next offset of each queue of a topic, and when its last message came.
struct TopicStatusCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")

    static let declaration = CommandDeclaration.admin("topicStatus", "Show the queues of a topic and their offsets.", topic)

    let topic: String

    init(_ arguments: CommandArguments) throws(CommandLineError) { topic = try arguments.required(Self.topic) }

    func run(_ context: AdminContext) async throws(AdminError) {
        let route = try await context.client.existingRoute(ofTopic: topic)
        var queues: [MessageQueue: TopicOffset] = [:]
        let members = AdminClient.members(of: route)
        let addresses = Dictionary(members.map { ($0.address, $0) }, uniquingKeysWith: { first, _ in first })
        let progress = await context.atEach(addresses.keys.sorted()) { address throws(AdminError) in
            queues.merge(try await context.client.topicStatistics(topic, atBroker: address).offsetTable) { $1 }
        }
        if !queues.isEmpty { context.show(Self.table(queues, context.time)) }
        for address in progress.done { await showAttributes(address, context) }
        try progress.check()
        if queues.isEmpty { throw AdminError(.unknownTopic, "no broker of topic \(topic) tells of queues of it") }
    }

    /// What the topic has of its own at a broker. Old brokers do not say.
    private func showAttributes(_ address: String, _ context: AdminContext) async {
        guard let config = try? await context.client.topicConfig(of: topic, atBroker: address), !config.attributes.isEmpty else { return }
        let list = config.attributes.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
        context.say("#Attributes at \(address): \(list)")
    }

    static func table(_ queues: [MessageQueue: TopicOffset], _ time: LocalTime) -> Table {
        var table = Table([
            .init("#Broker Name", "brokerName"), .init("#QID", "queueId"), .init("#Min Offset", "minOffset"),
            .init("#Max Offset", "maxOffset"), .init("#Last Updated", "lastUpdateTimestamp"),
        ])
        for (queue, offset) in queues.sorted(by: { $0.key < $1.key }) {
            table.add(
                .init(queue.brokerName), .init(queue.queueID), .init(offset.minOffset), .init(offset.maxOffset),
                .init(time.text(offset.lastUpdateTimestamp), json: .integer(offset.lastUpdateTimestamp)))
        }
        return table
    }
}
