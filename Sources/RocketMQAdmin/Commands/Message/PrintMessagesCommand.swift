import RocketMQBase
import RocketMQProtocol

/// `printMsg`: prints all messages of a topic that a subscription and a time choose.
struct PrintMessagesCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let charset = CommandOption<String>(
        "charsetName", "c", value: "UTF-8", allowed: "UTF-8, the only one there is", "How bodies are encoded.",
        accepts: { ["UTF-8", "UTF8"].contains($0.uppercased()) })
    static let expression = CommandOption<String>("subExpression", "s", value: "TAGS", "Only messages with these tags: TagA || TagB.")
    static let start = CommandOption<TimeArgument>("beginTimestamp", "b", value: "TIME", "Only messages stored at this time or later.")
    static let end = CommandOption<TimeArgument>("endTimestamp", "e", value: "TIME", "Only messages stored at this time or before.")
    static let printBody = CommandOption<Bool>("printBody", "d", value: "true|false", "Print bodies, true unless given.")

    static let declaration = CommandDeclaration.admin(
        "printMsg", "Print the messages of a topic.", topic, charset, expression, start, end, printBody,
        notes: "TIME is \(TimeArgument.form), the date in local time. With --json a message is a line.")

    let topic: String
    let expression: String
    let start: TimeArgument?
    let end: TimeArgument?
    let printsBody: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        expression = arguments[Self.expression] ?? SubscriptionData.all
        start = arguments[Self.start]
        end = arguments[Self.end]
        printsBody = arguments[Self.printBody] ?? true
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let times = try TimeOptions.range(start, end, context)
        let route = try await context.client.existingRoute(ofTopic: topic)
        for (queue, address) in AdminClient.readableQueues(ofTopic: topic, route) {
            let reader = QueueReader(queue: queue, address: address, expression: expression, times: times)
            let range = try await reader.range(context.client)
            context.say("minOffset=\(range.lowerBound), maxOffset=\(range.upperBound), \(queue)")
            try await reader.read(range, context.client) { message in
                context.show(MessageReport.json(message), text: MessageReport.line(message, printsBody: printsBody) + "\n")
                return true
            }
            context.say("--------------------------------------------------------")
        }
    }
}
