import RocketMQProtocol

// One-line texts of settings, as the reference's tools print them.
extension TopicConfig {
    var line: String {
        "TopicConfig [topicName=\(topicName), readQueueNums=\(readQueueNums), writeQueueNums=\(writeQueueNums), perm=\(perm), "
            + "topicFilterType=\(topicFilterType.rawValue), topicSysFlag=\(topicSysFlag), order=\(order)]"
    }
}

extension SubscriptionGroupConfig {
    /// The settings in the reference's order.
    var settings: [(name: String, value: String)] {
        [
            ("groupName", groupName), ("consumeEnable", "\(consumeEnable)"), ("consumeFromMinEnable", "\(consumeFromMinEnable)"),
            ("consumeBroadcastEnable", "\(consumeBroadcastEnable)"), ("retryQueueNums", "\(retryQueueNums)"),
            ("retryMaxTimes", "\(retryMaxTimes)"), ("brokerId", "\(brokerID)"),
            ("whichBrokerWhenConsumeSlowly", "\(whichBrokerWhenConsumeSlowly)"),
            ("notifyConsumerIdsChangedEnable", "\(notifyConsumerIDsChangedEnable)"),
        ]
    }

    var line: String { "SubscriptionGroupConfig [" + settings.map { "\($0.name)=\($0.value)" }.joined(separator: ", ") + "]" }
}

extension JSONValue {
    static func texts(_ texts: some Sequence<String>) -> JSONValue { .array(texts.map { .string($0) }) }
    static func bodies(_ bodies: [some JSONBody]) -> JSONValue { .array(bodies.map(\.json)) }

    /// A map in the order of its keys.
    static func table(_ table: [String: some JSONBody]) -> JSONValue {
        .object(JSONObject(table.sorted { $0.key < $1.key }.map { JSONObject.Member(key: .string($0.key), value: $0.value.json) }))
    }

    /// This object with one more member.
    func appending(_ name: String, _ value: JSONValue) -> JSONValue {
        guard case .object(var object) = self else { return self }
        object.append(name, value)
        return .object(object)
    }
}
