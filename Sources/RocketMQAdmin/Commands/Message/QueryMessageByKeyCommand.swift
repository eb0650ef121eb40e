import RocketMQBase
import RocketMQProtocol

/// `queryMsgByKey`: finds messages by one of their keys.
struct QueryMessageByKeyCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let key = CommandOption<String>("msgKey", "k", value: "KEY", required: true, "The key.")

    static let declaration = CommandDeclaration.admin("queryMsgByKey", "Find messages by one of their keys.", topic, key)

    let topic: String
    let key: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        key = try arguments.required(Self.key)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let messages = try await Self.find(topic, key, isUniqueKey: false, most: 64, context)
        var table = Table([
            .init("#Message ID", "messageId"), .init("#QID", "queueId", right: true), .init("#Offset", "queueOffset", right: true),
            .init("#OffsetMsgId", "offsetMessageId"),
        ])
        for message in messages {
            table.add(.init(message.messageID), .init(message.queueID), .init(message.queueOffset), .init(message.offsetMessageID))
        }
        context.show(table)
    }

    /// Asks all brokers of the topic; the oldest message first. Throws when there is none.
    static func find(
        _ topic: String, _ key: String, isUniqueKey: Bool, most: Int, _ context: AdminContext
    ) async throws(AdminError) -> [MessageExt] {
        let route = try await context.client.existingRoute(ofTopic: topic)
        var messages: [MessageExt] = []
        let progress = await context.atEach(AdminClient.members(of: route).map(\.address)) { address throws(AdminError) in
            messages += try await context.client.messages(ofTopic: topic, key: key, isUniqueKey: isUniqueKey, most: most, atBroker: address)
        }
        if messages.isEmpty { try progress.check() }
        for failure in progress.failed { context.warn(failure.description) }
        guard !messages.isEmpty else {
            throw AdminError(
                .unknownMessage, "topic \(topic) has no message with the \(isUniqueKey ? "id" : "key") \(key)",
                remedy: "it may have expired, or not be indexed yet", responseCode: .noMessage)
        }
        return Array(messages.sorted { $0.storeTimestamp < $1.storeTimestamp }.prefix(most))
    }
}
