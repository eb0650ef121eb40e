import RocketMQBase
import RocketMQProtocol

/// `queryMsgByOffset`: shows the message at a place of a queue.
struct QueryMessageByOffsetCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let broker = CommandOption<String>("brokerName", "b", value: "NAME", required: true, "The broker's name.")
    static let queue = CommandOption<Int>(
        "queueId", "i", value: "NUMBER", required: true, allowed: "a number from 0 to 65535", "The queue.",
        accepts: { (0...65_535).contains($0) })
    static let offset = CommandOption<Int64>(
        "offset", "o", value: "OFFSET", required: true, allowed: "a number from 0 on", "The message's offset in the queue.",
        accepts: { $0 >= 0 })

    static let declaration = CommandDeclaration.admin(
        "queryMsgByOffset", "Show the message at an offset of a queue.", topic, broker, queue, offset)

    let queue: MessageQueue
    let offset: Int64

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        queue = MessageQueue(
            topic: try arguments.required(Self.topic), brokerName: try arguments.required(Self.broker),
            queueID: Int32(try arguments.required(Self.queue)))
        offset = try arguments.required(Self.offset)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let broker = try await context.client.broker(named: queue.brokerName)
        let found = try await context.client.pull(
            queue, from: offset, most: 1, group: QueueReader.toolsGroup, atBroker: broker.address)
        guard case .messages(let messages, _) = found, let message = messages.first else {
            throw AdminError(
                .unknownMessage, "queue \(queue) has no message at offset \(offset)",
                remedy: "mqadmin topicStatus -t \(queue.topic) shows what it has")
        }
        let report = MessageReport(message: message, tracks: try await MessageTrack.all(of: message, context))
        context.show(report.json, text: report.text(context.time))
    }
}
