import RocketMQBase

/// Names of topics: the answer to 206, 224, 304, 305 and 311 to 313.
public struct TopicList: Hashable, Sendable, JSONBody {
    public var topicList: [String]
    /// The broker that the list comes from, where the request asked for it.
    public var brokerAddr: String?

    public init(topicList: [String], brokerAddr: String? = nil) {
        self.topicList = topicList
        self.brokerAddr = brokerAddr
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "topic list")
        topicList = try fields.texts("topicList")
        brokerAddr = try fields.optionalText("brokerAddr")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("brokerAddr", brokerAddr.map { .string($0) })
        object.append("topicList", .texts(topicList))
        return .object(object)
    }
}

/// Names of consumer groups: the answer to 300.
public struct GroupList: Hashable, Sendable, JSONBody {
    public var groupList: [String]

    public init(groupList: [String]) { self.groupList = groupList }

    public init(json: JSONValue) throws(MalformedBytes) {
        groupList = try JSONFields(json, of: "group list").texts("groupList")
    }

    public var json: JSONValue { ["groupList": .texts(groupList)] }
}

/// Pairs of text: the answer to 28 (state of a broker), 103 (settings of ordered topics) and 219.
public struct KVTable: Hashable, Sendable, JSONBody {
    public var table: [String: String]

    public init(table: [String: String] = [:]) { self.table = table }

    public init(json: JSONValue) throws(MalformedBytes) {
        table = try JSONFields(json, of: "table").textTable("table")
    }

    public var json: JSONValue { ["table": .textTable(table)] }
}

/// Client ids of the members of a consumer group: the answer to 38.
public struct ConsumerIDList: Hashable, Sendable, JSONBody {
    public var consumerIDs: [String]

    public init(consumerIDs: [String]) { self.consumerIDs = consumerIDs }

    public init(json: JSONValue) throws(MalformedBytes) {
        consumerIDs = try JSONFields(json, of: "consumer id list").texts("consumerIdList")
    }

    public var json: JSONValue { ["consumerIdList": .texts(consumerIDs)] }
}

/// Queues that a consumer wants to lock (41) or unlock (42).
public struct LockBatchRequestBody: Hashable, Sendable, JSONBody {
    public var consumerGroup: String
    public var clientID: String
    public var messageQueues: Set<MessageQueue>

    public init(consumerGroup: String, clientID: String, messageQueues: Set<MessageQueue>) {
        self.consumerGroup = consumerGroup
        self.clientID = clientID
        self.messageQueues = messageQueues
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "lock request")
        consumerGroup = try fields.requiredText("consumerGroup")
        clientID = try fields.requiredText("clientId")
        messageQueues = Set(try fields.bodies("mqSet"))
    }

    public var json: JSONValue {
        ["clientId": .string(clientID), "consumerGroup": .string(consumerGroup), "mqSet": .bodies(messageQueues.sorted())]
    }
}

/// The body of 42 has the form of 41's.
public typealias UnlockBatchRequestBody = LockBatchRequestBody

/// The queues that were locked: the answer to 41.
public struct LockBatchResponseBody: Hashable, Sendable, JSONBody {
    public var lockedQueues: Set<MessageQueue>
    /// Of the others, those whose lock a connected member of the group has and renews: waiting for it ends. An addition of this
    /// project's broker, which the reference's clients pass over; empty in answers of the reference's.
    public var heldByMembers: Set<MessageQueue>

    public init(lockedQueues: Set<MessageQueue>, heldByMembers: Set<MessageQueue> = []) {
        self.lockedQueues = lockedQueues
        self.heldByMembers = heldByMembers
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "lock answer")
        lockedQueues = Set(try fields.bodies("lockOKMQSet"))
        heldByMembers = Set(try fields.bodies("heldByMembers"))
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("lockOKMQSet", .bodies(lockedQueues.sorted()))
        if !heldByMembers.isEmpty { object.append("heldByMembers", .bodies(heldByMembers.sorted())) }
        return .object(object)
    }
}
