import RocketMQBase
import RocketMQProtocol

/// `updateTopic`: creates a topic or replaces its settings, on one broker or on every master of a cluster.
struct UpdateTopicCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "Every master of this cluster.")
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let readQueues = CommandOption<Int>(
        "readQueueNums", "r", value: "COUNT", allowed: "a number from 1 to 65535", "Queues to read from, 8 unless given.",
        accepts: CommonOptions.queueCount)
    static let writeQueues = CommandOption<Int>(
        "writeQueueNums", "w", value: "COUNT", allowed: "a number from 1 to 65535", "Queues to write to, 8 unless given.",
        accepts: CommonOptions.queueCount)
    static let permission = CommandOption<Int>(
        "perm", "p", value: "2|4|6", allowed: "2 (write), 4 (read) or 6 (both)",
        "What may be done: 2 write, 4 read, 6 both. 6 unless given.",
        accepts: { (0...7).contains($0) })
    static let order = CommandOption<Bool>(
        "order", "o", value: "true|false", "Keep the queues fixed in number and place, so that order survives the loss of a broker.")
    static let unit = CommandOption<Bool>("unit", "u", value: "true|false", "Mark the topic as one of a unit.")
    static let unitSubscription = CommandOption<Bool>("hasUnitSub", "s", value: "true|false", "Mark the topic as subscribed to by units.")

    static let attributes = CommandOption<String>(
        "attributes", "a", value: "+NAME=VALUE,-NAME", "Attributes to set and to take away, with commas between; others stay.")

    static let declaration = CommandDeclaration.admin(
        "updateTopic", "Create a topic, or replace its settings.", broker, cluster, topic, readQueues, writeQueues, permission, order, unit,
        unitSubscription, attributes, exactlyOneOf: [[broker, cluster]],
        notes: """
            What is not given is set to its default, also on a topic that exists; attributes stay. Fewer queues: lower -w first, -r when
            they are consumed. Attributes: retention.time=12h serves messages for that long (90s, 30m, 7d, ...);
            flush.disk.type=SYNC_FLUSH or ASYNC_FLUSH overrules the broker's flushDiskType.
            """
    )

    let target: BrokerTarget
    let config: TopicConfig
    let attributes: String?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        config = TopicConfig(
            topicName: try arguments.required(Self.topic), readQueueNums: Int32(arguments[Self.readQueues] ?? 8),
            writeQueueNums: Int32(arguments[Self.writeQueues] ?? 8),
            perm: Permission(rawValue: Int32(arguments[Self.permission] ?? 6)),
            topicSysFlag: (arguments[Self.unit] == true ? 1 : 0) | (arguments[Self.unitSubscription] == true ? 2 : 0),
            order: arguments[Self.order] ?? false)
        attributes = arguments[Self.attributes]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            try await context.client.updateTopic(config, attributes: attributes, atBroker: address)
            context.say("create topic to \(address) success.")
        }
        var order: String?
        if config.order, !progress.done.isEmpty {
            order = try await setOrder(context)
            context.say("set orderConf. isOrder=true, orderConf=[\(order ?? "")]")
        }
        if !progress.done.isEmpty {
            var json: JSONValue = ["brokers": .array(progress.done.map { .string($0) }), "topicConfig": config.json]
            if let order { json = json.appending("orderConf", .string(order)) }
            context.show(json, text: config.line + "\n")
        }
        try progress.check()
    }

    /// Has the nameservers fix where the topic's queues are, whether their broker is up or not.
    private func setOrder(_ context: AdminContext) async throws(AdminError) -> String {
        var counts: [(broker: String, count: String)] = []
        switch target {
        case .cluster(let cluster):
            var names: [String] = []
            for member in try await context.client.brokers(ofCluster: cluster) where !names.contains(member.brokerName) {
                names.append(member.brokerName)
            }
            counts = names.map { ($0, "\(config.writeQueueNums)") }
        case .broker(let given):
            let address = try await context.client.brokerAddress(given)
            guard let member = try await context.client.brokers(ofCluster: nil).first(where: { $0.address == address }) else {
                throw AdminError(
                    .unknownBroker, "the topic is created, but its order is not set: no broker is registered at \(address)",
                    remedy: "use the address that mqadmin clusterList shows")
            }
            counts = try await orderOfOthers(member.brokerName, context) + [(member.brokerName, "\(config.writeQueueNums)")]
        }
        let order = counts.map { "\($0.broker):\($0.count)" }.joined(separator: ";")
        let progress = try await context.atEachNameServer { address throws(AdminError) in
            try await context.client.put(order, key: config.topicName, namespace: AdminClient.orderTopics, inNameServer: address)
        }
        try progress.check()
        return order
    }

    /// What is set for the topic's other brokers already.
    private func orderOfOthers(_ brokerName: String, _ context: AdminContext) async throws(AdminError) -> [(broker: String, count: String)]
    {
        let known = try await context.client.value(ofKey: config.topicName, namespace: AdminClient.orderTopics) ?? ""
        return known.split(separator: ";").compactMap { entry in
            let parts = entry.split(separator: ":")
            return parts.count == 2 && parts[0] != brokerName ? (String(parts[0]), String(parts[1])) : nil
        }
    }
}
