import RocketMQBase
import RocketMQProtocol

/// `sendMsgStatus`: sends messages to one broker and shows what it answers.
struct SendMessageStatusCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerName", "b", value: "NAME", required: true, "The broker's name.")
    static let size = CommandOption<Int>(
        "messageSize", "s", value: "BYTES", allowed: "a number from 1 to 4194304", "The size of their bodies, 128 unless given.",
        accepts: { (1...4_194_304).contains($0) })
    static let count = CommandOption<Int>(
        "count", "c", value: "COUNT", allowed: "a number from 1 to 1000000", "How many messages, 50 unless given.",
        accepts: { (1...1_000_000).contains($0) })

    static let declaration = CommandDeclaration.admin(
        "sendMsgStatus", "Send messages to a broker and show how long each takes and what it answers.", broker, size, count,
        notes: """
            They go to the topic of the broker's own name, which every broker has and nobody consumes. One more is sent before them, which
            makes the connection. With --json a message is a line; times are in milliseconds.
            Example: mqadmin sendMsgStatus -n 127.0.0.1:9876 -b broker-a -c 10
            """)

    let broker: String
    let size: Int
    let count: Int

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        broker = try arguments.required(Self.broker)
        size = arguments[Self.size] ?? 128
        count = arguments[Self.count] ?? 50
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let queues = try await SendProbe.queues(ofBroker: broker, context)
        let summary = try await SendProbe.measure(queues, count: count, size: size, warmsUp: true, context) { sent, queue in
            show(sent, queue, context)
        }
        try summary.check("broker \(broker)")
    }

    private func show(_ sent: SendProbe.Sent, _ queue: MessageQueue, _ context: AdminContext) {
        let time = NumberText.decimal(sent.milliseconds, digits: 2)
        guard let result = sent.result else {
            let reason = sent.error ?? ""
            context.show(
                [
                    "rt": .number(sent.milliseconds), "queueId": .integer(Int64(queue.queueID)), "sendStatus": .null,
                    "error": .string(reason),
                ],
                text: "rt=\(time)ms, not sent to \(queue): \(Printable.line(reason))\n")
            return
        }
        context.show(
            [
                "rt": .number(sent.milliseconds), "queueId": .integer(Int64(result.messageQueue.queueID)),
                "sendStatus": .string(result.status.rawValue), "messageId": .string(result.messageID),
                "offsetMessageId": .string(result.offsetMessageID), "queueOffset": .integer(result.queueOffset),
            ],
            text: "rt=\(time)ms, SendResult=SendResult [sendStatus=\(result.status.rawValue), msgId=\(result.messageID), "
                + "offsetMsgId=\(result.offsetMessageID), messageQueue=\(result.messageQueue), queueOffset=\(result.queueOffset)]\n")
    }
}
