import RocketMQBase
import RocketMQProtocol

/// Which dead letters of a group are meant.
struct DeadLetterSelection: Sendable {
    static let group = CommandOption<String>("consumerGroup", "g", value: "GROUP", required: true, "The consumer group.")
    static let ids = CommandOption<String>(
        "msgId", "i", value: "ID[,ID]", "Only these: ids of producers, of dead letters, or of the messages that they were first.")
    static let key = CommandOption<String>("msgKey", "k", value: "KEY", "Only those with this key.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", "Only those that came from this topic.")
    static let begin = CommandOption<TimeArgument>("beginTimestamp", "b", value: "TIME", "Only those given up at this time or later.")
    static let end = CommandOption<TimeArgument>("endTimestamp", "e", value: "TIME", "Only those given up at this time or before.")

    let group: String
    /// `nil` for all.
    let ids: [String]?
    let key: String?
    let topic: String?
    let begin: TimeArgument?
    let end: TimeArgument?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        ids = arguments[Self.ids].map { $0.split { $0 == "," || $0 == " " || $0 == ";" }.map { String($0) } }
        key = arguments[Self.key]
        topic = arguments[Self.topic]
        begin = arguments[Self.begin]
        end = arguments[Self.end]
        if ids?.isEmpty == true { throw arguments.wrong("option --msgId names no message") }
        for prefix in [SystemTopic.deadLetterPrefix, SystemTopic.retryPrefix] where group.hasPrefix(prefix) {
            throw arguments.wrong("--consumerGroup is the group's name, without \(prefix)")
        }
    }

    private func selects(_ letter: DeadLetter) -> Bool {
        (ids?.contains { letter.isNamed($0) } ?? true) && (key.map { letter.message.keys.contains($0) } ?? true)
            && (topic.map { letter.originTopic == $0 } ?? true)
    }

    /// What is asked of them besides their ids, for people; `nil` when nothing is.
    var otherConditions: String? {
        let parts = [
            key.map { "with the key \($0) (-k)" }, topic.map { "from topic \($0) (-t)" },
            begin == nil && end == nil ? nil : "of the time given (-b, -e)",
        ].compactMap { $0 }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    /// Those of the ids that some dead letter has, whatever else is asked for.
    func known(_ ids: [String], _ context: AdminContext) async throws(AdminError) -> [String] {
        var found: Set<String> = []
        try await DeadLetterSelection(group: group, ids: ids).forEach(context) { letter in
            for id in ids where letter.isNamed(id) { found.insert(id) }
            return true
        }
        return ids.filter { found.contains($0) }
    }

    private init(group: String, ids: [String]) {
        (self.group, self.ids) = (group, ids)
        (key, topic, begin, end) = (nil, nil, nil, nil)
    }

    /// Visits those that there are now, the oldest of each queue first, until `visit` says that it has enough.
    func forEach(
        _ context: AdminContext, _ visit: (DeadLetter) async throws(AdminError) -> Bool
    ) async throws(AdminError) {
        let times = try TimeOptions.range(begin, end, context)
        var goesOn = true
        for (queue, address) in try await queues(context) where goesOn {
            let reader = QueueReader(queue: queue, address: address, times: times)
            let range = try await reader.range(context.client)
            try await reader.read(range, context.client) { message async throws(AdminError) in
                let letter = DeadLetter(group: group, message: message, address: address)
                if selects(letter) { goesOn = try await visit(letter) }
                return goesOn
            }
        }
    }

    /// The queues of the group's dead letter topic; none when it never gave up a message.
    private func queues(_ context: AdminContext) async throws(AdminError) -> [(queue: MessageQueue, address: String)] {
        let name = SystemTopic.deadLetter(of: group)
        guard let route = try await context.client.route(ofTopic: name) else {
            var known: Set<String> = []
            for broker in try await context.client.brokers(ofGroup: group) {
                known.formUnion(try await context.client.groupConfigs(ofBroker: broker.address).keys)
            }
            guard !known.contains(group) else { return [] }
            throw AdminError(
                .unknownGroup, "there is no consumer group \(group)",
                remedy: nearestName(to: group, among: known).map { "did you mean \($0)?" } ?? "mqadmin consumerProgress lists all groups",
                responseCode: .subscriptionGroupNotExist)
        }
        let queues = AdminClient.readableQueues(ofTopic: name, route)
        guard !queues.isEmpty else {
            throw AdminError(
                .refused, "the dead letters of group \(group) may not be read: topic \(name) has no permission to read",
                remedy: "releases before 4.9.4 made it so; mqadmin updateTopicPerm -c CLUSTER -t '\(name)' -p 6 changes it")
        }
        return queues
    }
}
