import RocketMQBase
import RocketMQProtocol

/// `exportMetadata`: the topics and consumer groups of a broker or a cluster, as a file.
struct ExportMetadataCommand: AdminCommand {
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "Of every master of this cluster.")
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "Of this broker; its name will do too.")
    static let topics = CommandFlag("topic", "t", "Only topics, to topic.json.")
    static let groups = CommandFlag("subscriptionGroup", "g", "Only consumer groups, to subscriptionGroup.json.")
    static let special = CommandFlag("specialTopic", "s", "Also the retry and dead letter topics of groups.")

    static let declaration = CommandDeclaration.admin(
        "exportMetadata", "Write topics and consumer groups to a file.", cluster, broker, ExportFile.directory, topics, groups, special,
        exactlyOneOf: [[cluster, broker]],
        notes: """
            Written is metadata.json, or topic.json or subscriptionGroup.json, without the system's own topics and groups. Of a cluster the
            queues of a topic, and the retry queues of a group, are those of all its brokers together, as in the reference.
            updateTopicList and updateSubGroupList read what -b wrote: a broker's topics and groups come back with them.
            Example: mqadmin exportMetadata -n 127.0.0.1:9876 -b broker-a -f /var/backups/rocketmq
            """)

    /// Groups that exist on every broker.
    static let systemGroups: Set<String> = [
        "TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_OWNER",
    ]

    let target: BrokerTarget
    let file: ExportFile
    let wantsTopics: Bool
    let wantsGroups: Bool
    let wantsSpecial: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        file = ExportFile(arguments)
        let (topics, groups) = (arguments[Self.topics], arguments[Self.groups])
        guard !topics || !groups else {
            throw arguments.wrong("only one of --topic and --subscriptionGroup: without them both are written")
        }
        wantsTopics = !groups
        wantsGroups = !topics
        wantsSpecial = arguments[Self.special]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var topics: [String: TopicConfig] = [:]
        var groups: [String: SubscriptionGroupConfig] = [:]
        for address in try await target.masters(context.client) {
            if wantsTopics {
                for (name, var config) in try await Self.topics(ofBroker: address, special: wantsSpecial, context) {
                    config.readQueueNums = Self.sum(config.readQueueNums, topics[name]?.readQueueNums)
                    config.writeQueueNums = Self.sum(config.writeQueueNums, topics[name]?.writeQueueNums)
                    topics[name] = config
                }
            }
            if wantsGroups {
                for (name, var config) in try await Self.groups(ofBroker: address, context) {
                    config.retryQueueNums = Self.sum(config.retryQueueNums, groups[name]?.retryQueueNums)
                    groups[name] = config
                }
            }
        }
        var object = JSONObject()
        object.append("exportTime", .integer(context.nowMilliseconds))
        if wantsGroups { object.append("subscriptionGroupTable", .table(groups)) }
        if wantsTopics { object.append("topicConfigTable", .table(topics)) }
        let name = !wantsGroups ? "topic.json" : !wantsTopics ? "subscriptionGroup.json" : "metadata.json"
        try file.write(.object(object), name: name, context)
    }

    private static func sum(_ one: Int32, _ other: Int32?) -> Int32 {
        let (sum, overflow) = one.addingReportingOverflow(other ?? 0)
        return overflow ? .max : sum
    }

    /// The topics that users made, or also those that groups have.
    static func topics(ofBroker address: String, special: Bool, _ context: AdminContext) async throws(AdminError) -> [String: TopicConfig] {
        let system = Set(try await context.client.systemTopics(ofBroker: address))
        return try await context.client.topicConfigs(ofBroker: address).filter { name, _ in
            guard !system.contains(name), !SystemTopic.contains(name) else { return false }
            return special || !name.hasPrefix(SystemTopic.retryPrefix) && !name.hasPrefix(SystemTopic.deadLetterPrefix)
        }
    }

    /// The groups that users made.
    static func groups(ofBroker address: String, _ context: AdminContext) async throws(AdminError) -> [String: SubscriptionGroupConfig] {
        try await context.client.groupConfigs(ofBroker: address).filter { name, _ in
            !systemGroups.contains(name) && !name.hasPrefix("CID_RMQ_SYS_")
        }
    }
}
