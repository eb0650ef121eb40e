import RocketMQBase

/// How a consumer gets its messages.
public enum ConsumeType: String, NamedOrdinal {
    /// It asks when it wants to: a pull consumer.
    case actively = "CONSUME_ACTIVELY"
    /// A listener is called: a push consumer.
    case passively = "CONSUME_PASSIVELY"
    /// The broker hands out messages one by one (5.x).
    case pop = "CONSUME_POP"
}

/// Whether the members of a group share the messages or each gets them all.
public enum MessageModel: String, NamedOrdinal {
    case broadcasting = "BROADCASTING"
    case clustering = "CLUSTERING"
}

/// Where a group without an offset starts.
public enum ConsumeFromWhere: String, NamedOrdinal {
    case lastOffset = "CONSUME_FROM_LAST_OFFSET"
    /// Deprecated by the reference, which treats it as `lastOffset`; so are the next two.
    case lastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST"
    case minOffset = "CONSUME_FROM_MIN_OFFSET"
    case maxOffset = "CONSUME_FROM_MAX_OFFSET"
    case firstOffset = "CONSUME_FROM_FIRST_OFFSET"
    case timestamp = "CONSUME_FROM_TIMESTAMP"
}

/// A producer group that a client belongs to.
public struct ProducerData: Hashable, Sendable, JSONBody {
    public var groupName: String

    public init(groupName: String) { self.groupName = groupName }

    public init(json: JSONValue) throws(MalformedBytes) {
        groupName = try JSONFields(json, of: "producer data").requiredText("groupName")
    }

    public var json: JSONValue { ["groupName": .string(groupName)] }
}

/// A consumer group that a client belongs to, and what it subscribes to.
public struct ConsumerData: Hashable, Sendable, JSONBody {
    public var groupName: String
    public var consumeType: ConsumeType
    public var messageModel: MessageModel
    public var consumeFromWhere: ConsumeFromWhere
    public var subscriptionDataSet: [SubscriptionData]
    public var unitMode: Bool

    public init(
        groupName: String, consumeType: ConsumeType = .passively, messageModel: MessageModel = .clustering,
        consumeFromWhere: ConsumeFromWhere = .lastOffset, subscriptionDataSet: [SubscriptionData], unitMode: Bool = false
    ) {
        self.groupName = groupName
        self.consumeType = consumeType
        self.messageModel = messageModel
        self.consumeFromWhere = consumeFromWhere
        self.subscriptionDataSet = subscriptionDataSet
        self.unitMode = unitMode
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consumer data")
        groupName = try fields.requiredText("groupName")
        consumeType = try fields.named("consumeType", default: .passively)
        messageModel = try fields.named("messageModel", default: .clustering)
        consumeFromWhere = try fields.named("consumeFromWhere", default: .lastOffset)
        subscriptionDataSet = try fields.bodies("subscriptionDataSet")
        unitMode = try fields.bool("unitMode")
    }

    public var json: JSONValue {
        [
            "consumeFromWhere": consumeFromWhere.json, "consumeType": consumeType.json, "groupName": .string(groupName),
            "messageModel": messageModel.json, "subscriptionDataSet": .bodies(subscriptionDataSet), "unitMode": .bool(unitMode),
        ]
    }
}

/// What a client tells every broker each 30 s: the body of 34.
public struct HeartbeatData: Hashable, Sendable, JSONBody {
    public var clientID: String
    public var producerDataSet: [ProducerData]
    public var consumerDataSet: [ConsumerData]

    public init(clientID: String, producerDataSet: [ProducerData] = [], consumerDataSet: [ConsumerData] = []) {
        self.clientID = clientID
        self.producerDataSet = producerDataSet
        self.consumerDataSet = consumerDataSet
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "heartbeat")
        clientID = try fields.requiredText("clientID")
        producerDataSet = try fields.bodies("producerDataSet")
        consumerDataSet = try fields.bodies("consumerDataSet")
    }

    public var json: JSONValue {
        ["clientID": .string(clientID), "consumerDataSet": .bodies(consumerDataSet), "producerDataSet": .bodies(producerDataSet)]
    }
}

/// A subscription to be checked before a consumer starts: the body of 46.
public struct CheckClientRequestBody: Hashable, Sendable, JSONBody {
    public var clientID: String
    public var group: String
    public var subscriptionData: SubscriptionData

    public init(clientID: String, group: String, subscriptionData: SubscriptionData) {
        self.clientID = clientID
        self.group = group
        self.subscriptionData = subscriptionData
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "client check")
        clientID = try fields.requiredText("clientId")
        group = try fields.requiredText("group")
        guard let subscription = try fields.optionalBody("subscriptionData", as: SubscriptionData.self) else {
            throw MalformedBytes("client check has no subscriptionData")
        }
        subscriptionData = subscription
    }

    public var json: JSONValue {
        ["clientId": .string(clientID), "group": .string(group), "subscriptionData": subscriptionData.json]
    }
}
