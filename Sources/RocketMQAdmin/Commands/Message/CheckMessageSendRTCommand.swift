import RocketMQBase
import RocketMQProtocol

/// `checkMsgSendRT`: how long messages to a topic take, queue after queue.
struct CheckMessageSendRTCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")

    static let declaration = CommandDeclaration.admin(
        "checkMsgSendRT", "Send messages to a topic and show how long each takes.", topic, SendProbe.amount, SendProbe.size,
        notes: """
            The messages are stored, and consumed by whoever consumes the topic. They go to its queues in turn, one after the other; the
            average is in milliseconds and leaves out the first, which makes the connection. With --json a message is a line.
            Example: mqadmin checkMsgSendRT -n 127.0.0.1:9876 -t Orders -a 20
            """)

    let topic: String
    let amount: Int
    let size: Int

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        amount = arguments[SendProbe.amount] ?? 100
        size = arguments[SendProbe.size] ?? 128
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let queues = try await SendProbe.queues(ofTopic: topic, context)
        context.say("\("#Broker Name".padded(to: 32))  \("#QID".padded(to: 5))  \("#Send Result".padded(to: 12))  #RT")
        let summary = try await SendProbe.measure(queues, count: amount, size: size, warmsUp: false, context) { sent, queue in
            let time = NumberText.decimal(sent.milliseconds, digits: 2)
            context.show(
                [
                    "brokerName": .string(queue.brokerName), "queueId": .integer(Int64(queue.queueID)), "sent": .bool(sent.error == nil),
                    "rt": .number(sent.milliseconds),
                ],
                text: "\(queue.brokerName.padded(to: 32))  \("\(queue.queueID)".padded(to: 5))  "
                    + "\("\(sent.error == nil)".padded(to: 12))  \(time)\n")
        }
        context.say("Avg RT: \(NumberText.decimal(summary.average, digits: 2))")
        try summary.check("topic \(topic)")
    }
}
