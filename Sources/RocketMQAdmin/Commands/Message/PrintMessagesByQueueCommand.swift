import RocketMQBase
import RocketMQProtocol

/// `printMsgByQueue`: prints the messages of one queue, or counts them by tag.
struct PrintMessagesByQueueCommand: AdminCommand {
    static let topic = PrintMessagesCommand.topic
    static let broker = CommandOption<String>("brokerName", "a", value: "NAME", required: true, "The broker's name.")
    static let queue = CommandOption<Int>(
        "queueId", "i", value: "NUMBER", required: true, allowed: "a number from 0 to 65535", "The queue.",
        accepts: { (0...65_535).contains($0) })
    static let charset = PrintMessagesCommand.charset
    static let expression = PrintMessagesCommand.expression
    static let start = PrintMessagesCommand.start
    static let end = PrintMessagesCommand.end
    static let printMessages = CommandOption<Bool>("printMsg", "p", value: "true|false", "Print the messages, false unless given.")
    static let printBody = CommandOption<Bool>("printBody", "d", value: "true|false", "With -p: print their bodies, false unless given.")
    static let countTags = CommandOption<Bool>("calculate", "f", value: "true|false", "Count the messages of each tag, false unless given.")

    static let declaration = CommandDeclaration.admin(
        "printMsgByQueue", "Print the messages of one queue, or count them by tag.", topic, broker, queue, charset, expression, start, end,
        printMessages, printBody, countTags, notes: "TIME is \(TimeArgument.form), the date in local time.")

    let topic: String
    let brokerName: String
    let queueID: Int32
    let expression: String
    let start: TimeArgument?
    let end: TimeArgument?
    let printsMessages: Bool
    let printsBody: Bool
    let countsTags: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        brokerName = try arguments.required(Self.broker)
        queueID = Int32(try arguments.required(Self.queue))
        expression = arguments[Self.expression] ?? SubscriptionData.all
        start = arguments[Self.start]
        end = arguments[Self.end]
        printsMessages = arguments[Self.printMessages] ?? false
        printsBody = arguments[Self.printBody] ?? false
        countsTags = arguments[Self.countTags] ?? false
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let broker = try await context.client.broker(named: brokerName)
        let queue = MessageQueue(topic: topic, brokerName: brokerName, queueID: queueID)
        let reader = QueueReader(
            queue: queue, address: broker.address, expression: expression, times: try TimeOptions.range(start, end, context))
        var counts: [String: Int] = [:]
        try await reader.read(try await reader.range(context.client), context.client) { message in
            counts[message.tag ?? "", default: 0] += 1
            if printsMessages {
                context.show(MessageReport.json(message), text: MessageReport.line(message, printsBody: printsBody) + "\n")
            }
            return true
        }
        guard countsTags else { return }
        var table = Table([.init("#Tag", "tag"), .init("#Count", "count")])
        for (tag, count) in counts.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            table.add(.init(tag.isEmpty ? "null" : tag, json: tag.isEmpty ? .null : .string(tag)), .init(count))
        }
        context.show(table)
    }
}
