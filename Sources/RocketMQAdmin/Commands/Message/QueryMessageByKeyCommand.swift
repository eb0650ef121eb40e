import RocketMQBase
import RocketMQProtocol

/// `queryMsgByKey`: finds messages by one of their keys.
struct QueryMessageByKeyCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let key = CommandOption<String>("msgKey", "k", value: "KEY", required: true, "The key.")

    static let begin = PrintMessagesCommand.start
    static let end = PrintMessagesCommand.end
    static let most = CommandOption<Int>(
        "maxNum", "m", value: "COUNT", allowed: "a number from 1 to 1000000",
        "The newest so many; all, but at most \(mostUnlessGiven), unless given.", accepts: { (1...1_000_000).contains($0) })
    static let mostUnlessGiven = 100_000

    static let declaration = CommandDeclaration.admin(
        "queryMsgByKey", "Find messages by one of their keys, the newest first.", topic, key, begin, end, most,
        notes: "TIME is \(TimeArgument.form), the date in local time.")

    let topic: String
    let key: String
    let most: Int
    let begin: TimeArgument?
    let end: TimeArgument?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        key = try arguments.required(Self.key)
        most = arguments[Self.most] ?? Self.mostUnlessGiven
        begin = arguments[Self.begin]
        end = arguments[Self.end]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let times = try TimeOptions.range(begin, end, context)
        let messages = try await Self.find(
            topic, key, isUniqueKey: false, most: most + 1, times: times, keepsBodies: false, context)
        var table = Table([
            .init("#Message ID", "messageId"), .init("#QID", "queueId", right: true), .init("#Offset", "queueOffset", right: true),
            .init("#OffsetMsgId", "offsetMessageId"),
        ])
        for message in messages.suffix(most).reversed() {
            table.add(.init(message.messageID), .init(message.queueID), .init(message.queueOffset), .init(message.offsetMessageID))
        }
        context.show(table)
        if messages.count > most {
            context.warn("there are more: these are the newest \(most); -m asks for more, -b and -e for those of another time")
        }
    }

    /// Asks all brokers of the topic for the newest messages; the oldest of them first. Throws when there is none.
    static func find(
        _ topic: String, _ key: String, isUniqueKey: Bool, most: Int, times: ClosedRange<Int64> = 0...Int64.max, keepsBodies: Bool = true,
        _ context: AdminContext
    ) async throws(AdminError) -> [MessageExt] {
        let route = try await context.client.existingRoute(ofTopic: topic)
        var messages: [MessageExt] = []
        let progress = await context.atEach(AdminClient.members(of: route).map(\.address)) { address throws(AdminError) in
            messages += try await context.client.messages(
                ofTopic: topic, key: key, isUniqueKey: isUniqueKey, most: most, times: times, keepsBodies: keepsBodies,
                atBroker: address)
        }
        if messages.isEmpty { try progress.check() }
        for failure in progress.failed { context.warn(failure.description) }
        guard !messages.isEmpty else {
            throw AdminError(
                .unknownMessage, "topic \(topic) has no message with the \(isUniqueKey ? "id" : "key") \(key)",
                remedy: "it may have expired, or not be indexed yet", responseCode: .noMessage)
        }
        let sorted = messages.sorted { ($0.storeTimestamp, $0.commitLogOffset) < ($1.storeTimestamp, $1.commitLogOffset) }
        return Array(sorted.suffix(most))
    }
}
