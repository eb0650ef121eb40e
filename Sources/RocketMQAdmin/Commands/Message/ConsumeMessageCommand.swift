import RocketMQBase
import RocketMQProtocol

/// `consumeMessage`: prints messages of a topic, of all its queues or of one, from the oldest or from an offset or time on.
struct ConsumeMessageCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let broker = CommandOption<String>("brokerName", "b", value: "NAME", "Only queues of this broker.")
    static let queue = CommandOption<Int>(
        "queueId", "i", value: "NUMBER", allowed: "a number from 0 to 65535", "With -b: only this queue.",
        accepts: { (0...65_535).contains($0) })
    static let offset = CommandOption<Int64>(
        "offset", "o", value: "OFFSET", allowed: "a number from 0 on", "With -i: the first message.", accepts: { $0 >= 0 })
    static let group = CommandOption<String>(
        "consumerGroup", "g", value: "GROUP", "The group in whose name to read. Its offsets stay as they are.")
    static let start = CommandOption<TimeArgument>("beginTimestamp", "s", value: "TIME", "Only messages stored at this time or later.")
    static let end = CommandOption<TimeArgument>("endTimestamp", "e", value: "TIME", "Only messages stored at this time or before.")
    static let count = CommandOption<Int>(
        "MessageNumber", "c", value: "COUNT", allowed: "a number from 1 on", "How many messages at most, 128 unless given.",
        accepts: { $0 > 0 })

    static let declaration = CommandDeclaration.admin(
        "consumeMessage", "Print messages of a topic.", topic, broker, queue, offset, group, start, end, count,
        notes: "TIME is \(TimeArgument.form), the date in local time. With --json a message is a line.")

    let topic: String
    let brokerName: String?
    let queueID: Int32?
    let offset: Int64?
    let group: String
    let start: TimeArgument?
    let end: TimeArgument?
    let count: Int

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        brokerName = arguments[Self.broker]
        queueID = arguments[Self.queue].map { Int32($0) }
        offset = arguments[Self.offset]
        group = arguments[Self.group] ?? QueueReader.toolsGroup
        start = arguments[Self.start]
        end = arguments[Self.end]
        count = arguments[Self.count] ?? 128
        guard queueID == nil || brokerName != nil else { throw arguments.wrong("option --queueId needs --brokerName beside it") }
        guard offset == nil || queueID != nil else { throw arguments.wrong("option --offset needs --queueId beside it") }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let times = try TimeOptions.range(start, end, context)
        let route = try await context.client.existingRoute(ofTopic: topic)
        let all = AdminClient.readableQueues(ofTopic: topic, route)
        let queues = all.filter {
            (brokerName ?? $0.queue.brokerName) == $0.queue.brokerName && (queueID ?? $0.queue.queueID) == $0.queue.queueID
        }
        guard !queues.isEmpty else {
            let place = brokerName.map { " on broker \($0)" } ?? ""
            throw AdminError(
                .unknownTopic, "topic \(topic) has no queue \(queueID.map { "\($0)" } ?? "to read")\(place)",
                remedy: "see mqadmin topicRoute -t \(topic)")
        }
        var left = count
        for (queue, address) in queues where left > 0 {
            let reader = QueueReader(queue: queue, address: address, group: group, times: times)
            var range = try await reader.range(context.client)
            if let offset {
                guard offset < range.upperBound else {
                    throw AdminError(
                        .unknownMessage, "queue \(queue) has no message at offset \(offset)", remedy: "it ends before \(range.upperBound)")
                }
                range = max(offset, range.lowerBound)..<range.upperBound
            }
            try await reader.read(range, context.client) { message in
                context.show(MessageReport.json(message), text: MessageReport.line(message) + "\n")
                left -= 1
                return left > 0
            }
        }
        if left == count { context.say("no message matches") }
    }
}
