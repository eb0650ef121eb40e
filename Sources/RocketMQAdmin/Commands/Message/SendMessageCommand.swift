import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// `sendMessage`: sends one message.
struct SendMessageCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let body = CommandOption<String>("body", "p", value: "TEXT", required: true, "The message's body, sent as UTF-8.")
    static let keys = CommandOption<String>("key", "k", value: "KEYS", "The message's keys, separated by blanks.")
    static let tag = CommandOption<String>("tags", "c", value: "TAG", "The message's tag.")
    static let broker = CommandOption<String>("broker", "b", value: "NAME", "The name of the broker to send to; any unless given.")
    static let queue = CommandOption<Int>(
        "qid", "i", value: "NUMBER", allowed: "a number from 0 to 65535", "With -b: the queue to send to.",
        accepts: { (0...65_535).contains($0) })
    static let trace = CommandOption<Bool>("msgTraceEnable", "m", value: "true|false", "Trace the message, for queryMsgTraceById.")

    static let declaration = CommandDeclaration.admin("sendMessage", "Send a message.", topic, body, keys, tag, broker, queue, trace)

    let message: Message
    let brokerName: String?
    let queueID: Int32?
    let isTraced: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        message = Message(
            topic: try arguments.required(Self.topic), tag: arguments[Self.tag],
            keys: arguments[Self.keys]?.split(separator: " ").map(String.init) ?? [], text: try arguments.required(Self.body))
        brokerName = arguments[Self.broker]
        queueID = arguments[Self.queue].map { Int32($0) }
        guard queueID == nil || brokerName != nil else { throw arguments.wrong("option --qid needs --broker beside it") }
        isTraced = arguments[Self.trace] ?? false
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let nameServers = try context.client.requireNameServers()
        let queue = try await queue(context)
        let runtime = ClientRuntime(ClientConfiguration(nameServers: nameServers), environment: context.environment.client)
        var configuration = ProducerConfiguration(group: "TOOLS_PRODUCER")
        if isTraced { configuration.trace = TraceConfiguration() }
        let producer = DefaultMQProducer(configuration, runtime: runtime)
        let result: SendResult
        do throws(MQError) {
            try await producer.start()
            if let queue { result = try await producer.send(message, to: queue) } else { result = try await producer.send(message) }
            await producer.shutdown()
        } catch {
            await producer.shutdown()
            throw AdminError(.notSent, "the message is not sent: \(error)", responseCode: error.responseCode)
        }
        context.show(Self.table(result))
    }

    /// The queue that is asked for: of a broker without a queue's number, its first one that can be written to.
    private func queue(_ context: AdminContext) async throws(AdminError) -> MessageQueue? {
        guard let brokerName else { return nil }
        let route = try await context.client.existingRoute(ofTopic: message.topic)
        guard let data = route.queueDatas.first(where: { $0.brokerName == brokerName }) else {
            throw AdminError(
                .unknownBroker, "topic \(message.topic) is not on broker \(brokerName)",
                remedy: "it is on \(route.queueDatas.map(\.brokerName).sorted().joined(separator: ", "))")
        }
        guard data.perm.contains(.write) else {
            throw AdminError(
                .refused, "topic \(message.topic) may not be written to on broker \(brokerName)",
                remedy: "change that with: mqadmin updateTopicPerm -p 6, or addWritePerm")
        }
        if let queueID, queueID >= data.writeQueueNums {
            throw AdminError(
                .wrongCall, "topic \(message.topic) has no queue \(queueID) on broker \(brokerName)",
                remedy: "its queues are 0 to \(data.writeQueueNums - 1)")
        }
        return MessageQueue(topic: message.topic, brokerName: brokerName, queueID: queueID ?? 0)
    }

    static func table(_ result: SendResult) -> Table {
        var table = Table([
            .init("#Broker Name", "brokerName"), .init("#QID", "queueId"), .init("#Send Result", "sendStatus"),
            .init("#MsgId", "messageId"),
            .init("#Queue Offset", "queueOffset"), .init("#OffsetMsgId", "offsetMessageId"),
        ])
        table.add(
            .init(result.messageQueue.brokerName), .init(result.messageQueue.queueID), .init(result.status.rawValue),
            .init(result.messageID),
            .init(result.queueOffset), .init(result.offsetMessageID))
        return table
    }
}
