import RocketMQProtocol

// Topics as brokers have them: 17, 21, 202, 215, 300, 305, 351.
extension AdminClient {
    /// 17: creates a topic or replaces its settings.
    ///
    /// - Parameter attributes: what changes of its attributes, as `+name=value,-name`; the others stay.
    public func updateTopic(_ config: TopicConfig, attributes: String? = nil, atBroker address: String) async throws(AdminError) {
        var fields = [
            "topic": config.topicName, "defaultTopic": SystemTopic.autoCreateKey, "readQueueNums": "\(config.readQueueNums)",
            "writeQueueNums": "\(config.writeQueueNums)", "perm": "\(config.perm.rawValue)",
            "topicFilterType": config.topicFilterType.rawValue, "topicSysFlag": "\(config.topicSysFlag)", "order": "\(config.order)",
        ]
        if let attributes { fields["attributes"] = attributes }
        // The broker answers when the nameservers know the topic, or did not answer for a while.
        try await call(
            .request(.updateAndCreateTopic, fields), .broker(address), doing: "create topic \(config.topicName)", timeout: timeout * 2)
    }

    /// 215.
    public func deleteTopic(_ topic: String, atBroker address: String) async throws(AdminError) {
        try await call(
            .request(.deleteTopicInBroker, ["topic": topic]), .broker(address), doing: "delete topic \(topic)", timeout: timeout * 2)
    }

    /// 21: all topics of a broker.
    public func topicConfigs(ofBroker address: String) async throws(AdminError) -> [String: TopicConfig] {
        try await call(
            .request(.getAllTopicConfig), .broker(address), doing: "list the topics", as: TopicConfigSerializeWrapper.self
        ).topicConfigTable
    }

    /// 305: the topics that are a broker's own.
    public func systemTopics(ofBroker address: String) async throws(AdminError) -> [String] {
        try await call(
            .request(.getSystemTopicListFromBroker), .broker(address), doing: "list the system's topics", as: TopicList.self
        ).topicList
    }

    /// 351: one topic of a broker, with its attributes.
    public func topicConfig(of topic: String, atBroker address: String) async throws(AdminError) -> TopicConfig {
        try await call(.request(.getTopicConfig, ["topic": topic]), .broker(address), doing: "read the settings of topic \(topic)")
    }

    /// 202: first and next offset of each queue.
    public func topicStatistics(_ topic: String, atBroker address: String) async throws(AdminError) -> TopicStatsTable {
        try await call(.request(.getTopicStatsInfo, ["topic": topic]), .broker(address), doing: "read the state of topic \(topic)")
    }

    /// 300: the groups that have consumed from a topic.
    public func groups(consuming topic: String, atBroker address: String) async throws(AdminError) -> [String] {
        try await call(
            .request(.queryTopicConsumeByWho, ["topic": topic]), .broker(address), doing: "list the groups that consume topic \(topic)",
            as: GroupList.self
        ).groupList
    }
}
