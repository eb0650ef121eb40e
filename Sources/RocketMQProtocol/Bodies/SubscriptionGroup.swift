import RocketMQBase

/// A consumer group as one broker has it: the body of 200.
public struct SubscriptionGroupConfig: Hashable, Sendable, JSONBody {
    public var groupName: String
    public var consumeEnable: Bool
    /// Whether a group without an offset may start at the oldest message.
    public var consumeFromMinEnable: Bool
    public var consumeBroadcastEnable: Bool
    /// 5.x: messages go out in order.
    public var consumeMessageOrderly: Bool
    /// Queues of the group's retry topic.
    public var retryQueueNums: Int32
    /// Deliveries after the first before a message goes to the dead letter topic.
    public var retryMaxTimes: Int32
    /// The broker that the group reads from: 0, the master.
    public var brokerID: Int64
    /// The broker that it is sent to when it has fallen far behind.
    public var whichBrokerWhenConsumeSlowly: Int64
    /// Whether members hear at once when another one comes or goes.
    public var notifyConsumerIDsChangedEnable: Bool
    /// 5.x.
    public var groupSysFlag: Int32
    /// 5.x.
    public var attributes: [String: String]

    public init(
        groupName: String, consumeEnable: Bool = true, consumeFromMinEnable: Bool = true, consumeBroadcastEnable: Bool = true,
        consumeMessageOrderly: Bool = false, retryQueueNums: Int32 = 1, retryMaxTimes: Int32 = 16, brokerID: Int64 = BrokerData.masterID,
        whichBrokerWhenConsumeSlowly: Int64 = 1, notifyConsumerIDsChangedEnable: Bool = true, groupSysFlag: Int32 = 0,
        attributes: [String: String] = [:]
    ) {
        self.groupName = groupName
        self.consumeEnable = consumeEnable
        self.consumeFromMinEnable = consumeFromMinEnable
        self.consumeBroadcastEnable = consumeBroadcastEnable
        self.consumeMessageOrderly = consumeMessageOrderly
        self.retryQueueNums = retryQueueNums
        self.retryMaxTimes = retryMaxTimes
        self.brokerID = brokerID
        self.whichBrokerWhenConsumeSlowly = whichBrokerWhenConsumeSlowly
        self.notifyConsumerIDsChangedEnable = notifyConsumerIDsChangedEnable
        self.groupSysFlag = groupSysFlag
        self.attributes = attributes
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "subscription group")
        groupName = try fields.requiredText("groupName")
        consumeEnable = try fields.bool("consumeEnable", default: true)
        consumeFromMinEnable = try fields.bool("consumeFromMinEnable", default: true)
        consumeBroadcastEnable = try fields.bool("consumeBroadcastEnable", default: true)
        consumeMessageOrderly = try fields.bool("consumeMessageOrderly")
        retryQueueNums = try fields.integer("retryQueueNums", default: 1)
        retryMaxTimes = try fields.integer("retryMaxTimes", default: 16)
        brokerID = try fields.integer("brokerId", default: BrokerData.masterID)
        whichBrokerWhenConsumeSlowly = try fields.integer("whichBrokerWhenConsumeSlowly", default: 1)
        notifyConsumerIDsChangedEnable = try fields.bool("notifyConsumerIdsChangedEnable", default: true)
        groupSysFlag = try fields.integer("groupSysFlag")
        attributes = try fields.textTable("attributes")
    }

    public var json: JSONValue {
        var object = JSONObject()
        if !attributes.isEmpty { object.append("attributes", .textTable(attributes)) }
        object.append("brokerId", .integer(brokerID))
        object.append("consumeBroadcastEnable", .bool(consumeBroadcastEnable))
        object.append("consumeEnable", .bool(consumeEnable))
        object.append("consumeFromMinEnable", .bool(consumeFromMinEnable))
        if consumeMessageOrderly { object.append("consumeMessageOrderly", .bool(true)) }
        object.append("groupName", .string(groupName))
        if groupSysFlag != 0 { object.append("groupSysFlag", .integer(groupSysFlag)) }
        object.append("notifyConsumerIdsChangedEnable", .bool(notifyConsumerIDsChangedEnable))
        object.append("retryMaxTimes", .integer(retryMaxTimes))
        object.append("retryQueueNums", .integer(retryQueueNums))
        object.append("whichBrokerWhenConsumeSlowly", .integer(whichBrokerWhenConsumeSlowly))
        return .object(object)
    }
}

/// All consumer groups of a broker: the answer to 201 and the file `subscriptionGroup.json`.
public struct SubscriptionGroupWrapper: Equatable, Sendable, JSONBody {
    public var subscriptionGroupTable: [String: SubscriptionGroupConfig]
    public var dataVersion: DataVersion

    public init(subscriptionGroupTable: [String: SubscriptionGroupConfig] = [:], dataVersion: DataVersion = DataVersion(timestamp: 0)) {
        self.subscriptionGroupTable = subscriptionGroupTable
        self.dataVersion = dataVersion
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "subscription groups")
        subscriptionGroupTable = try fields.table("subscriptionGroupTable")
        dataVersion = try fields.optionalBody("dataVersion") ?? DataVersion(timestamp: 0)
    }

    public var json: JSONValue {
        ["dataVersion": dataVersion.json, "subscriptionGroupTable": .table(subscriptionGroupTable)]
    }
}
