import RocketMQBase
import RocketMQProtocol

/// `queryCq`: entries of a consume queue as they are on a broker's disk.
struct QueryConsumeQueueCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let queue = CommandOption<Int>(
        "queue", "q", value: "NUMBER", required: true, allowed: "a number from 0 to 65535", "The queue.",
        accepts: { (0...65_535).contains($0) })
    static let index = CommandOption<Int64>(
        "index", "i", value: "OFFSET", required: true, allowed: "a number from 0 on", "The first entry.", accepts: { $0 >= 0 })
    static let count = CommandOption<Int>(
        "count", "c", value: "COUNT", allowed: "a number from 1 on", "How many, 10 unless given.",
        accepts: { (1...Int(Int32.max)).contains($0) })
    static let broker = CommandOption<String>("broker", "b", value: "HOST:PORT", "The broker; else the first that serves the topic.")
    static let group = CommandOption<String>("consumer", "g", value: "GROUP", "Show what this group's subscription makes of the entries.")

    static let declaration = CommandDeclaration.admin(
        "queryCq", "Show entries of a consume queue.", topic, queue, index, count, broker, group)

    let topic: String
    let queueID: Int32
    let index: Int64
    let count: Int64
    let broker: String?
    let group: String?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        queueID = Int32(try arguments.required(Self.queue))
        index = try arguments.required(Self.index)
        count = Int64(arguments[Self.count] ?? 10)
        broker = arguments[Self.broker]
        group = arguments[Self.group]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let address: String
        if let broker {
            address = try await context.client.brokerAddress(broker)
        } else {
            let route = try await context.client.existingRoute(ofTopic: topic)
            guard let first = AdminClient.members(of: route).first else {
                throw AdminError(.unknownBroker, "topic \(topic) has no broker now", remedy: "see mqadmin topicRoute -t \(topic)")
            }
            address = first.address
        }
        let queue = MessageQueue(topic: topic, brokerName: "", queueID: queueID)
        let found = try await context.client.entries(of: queue, from: index, count: count, group: group, atBroker: address)
        context.show(found.json, text: text(found))
    }

    private func text(_ found: QueryConsumeQueueResponseBody) -> String {
        var text = ""
        if let subscription = found.subscriptionData { text += "Subscription data: \(subscription.json)\n" }
        if let filter = found.filterData { text += "Filter data: \(filter)\n" }
        text += "Queue data: max: \(found.maxQueueIndex), min: \(found.minQueueIndex)\n"
        var table = Table([
            .init("#Index", "index"), .init("#CommitLog Offset", "physicalOffset"), .init("#Size", "size"), .init("#Tags Code", "tagsCode"),
            .init("#Wanted", "eval"),
        ])
        for (place, entry) in found.queueData.enumerated() {
            table.add(
                .init(index + Int64(place)), .init(entry.physicalOffset), .init(entry.physicalSize), .init(entry.tagsCode),
                .init(found.subscriptionData == nil ? "" : "\(entry.passesFilter)"))
        }
        return text + table.text
    }
}
