import RocketMQBase

/// A connected consumer of a group, with what it said of itself. Not of the reference: part of `ConsumerGroupReport` and of
/// `ConsumerConnection`.
public struct ConsumerGroupMember: Hashable, Sendable, JSONBody {
    public var connection: Connection
    public var messageModel: MessageModel
    /// Milliseconds since 1970 of its last heartbeat.
    public var lastHeartbeat: Int64
    /// What it subscribes to itself, whatever others of the group do.
    public var subscriptionSet: [SubscriptionData]

    public init(connection: Connection, messageModel: MessageModel, lastHeartbeat: Int64, subscriptionSet: [SubscriptionData]) {
        self.connection = connection
        self.messageModel = messageModel
        self.lastHeartbeat = lastHeartbeat
        self.subscriptionSet = subscriptionSet
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "group member")
        connection = try Connection(json: json)
        messageModel = try fields.named("messageModel", default: .clustering)
        lastHeartbeat = try fields.integer("lastHeartbeat")
        subscriptionSet = try fields.bodies("subscriptionSet")
    }

    public var json: JSONValue {
        [
            "clientAddr": .string(connection.clientAddr), "clientId": .string(connection.clientID),
            "language": .string(connection.language), "lastHeartbeat": .integer(lastHeartbeat), "messageModel": messageModel.json,
            "subscriptionSet": .bodies(subscriptionSet), "version": .integer(connection.version),
        ]
    }
}

/// Something that is wrong with a consumer group. Not of the reference: part of `ConsumerGroupReport`.
public struct ConsumerGroupFinding: Hashable, Sendable, JSONBody {
    /// What is wrong; a broker of another release may know more kinds.
    public struct Kind: RawRepresentable, Hashable, Sendable {
        public var rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Consumers of the group want different messages, or different topics.
        public static let differentSubscriptions = Self(rawValue: "DIFFERENT_SUBSCRIPTIONS")
        /// Some of them share the messages, and some want each all of them.
        public static let differentModels = Self(rawValue: "DIFFERENT_MODELS")
        /// A consumer subscribes by an expression that the broker cannot serve, and gets nothing.
        public static let subscriptionRefused = Self(rawValue: "SUBSCRIPTION_REFUSED")
        /// Several consumers of the group call themselves the same: each takes the queues of all.
        public static let sameClientID = Self(rawValue: "SAME_CLIENT_ID")
        /// Messages of a queue wait, consumers are connected, and the group's offset does not move.
        public static let queueStopped = Self(rawValue: "QUEUE_STOPPED")
        /// Messages wait, and the settings of the group, the topic or the broker keep its consumers from getting them.
        public static let notAllowed = Self(rawValue: "NOT_ALLOWED")
        /// A client committed an offset beyond the end of its queue, which was not taken.
        public static let offsetBeyondEnd = Self(rawValue: "OFFSET_BEYOND_END")
        /// The client library's release is below `oldestClientVersion`.
        public static let clientTooOld = Self(rawValue: "CLIENT_TOO_OLD")
        /// Messages wait, and no consumer of the group is connected.
        public static let noClient = Self(rawValue: "NO_CLIENT")
        /// More messages wait than `consumerBacklogWarning`.
        public static let backlog = Self(rawValue: "BACKLOG")
    }

    public var kind: Kind
    public var group: String
    public var topic: String?
    public var queueID: Int32?
    /// Messages that wait.
    public var lag: Int64
    /// Milliseconds since 1970 from which on the broker has seen it so; 0 when it does not know.
    public var since: Int64
    /// Whom it concerns: who differ, who are too old, who pulled the queue last.
    public var clients: [ConsumerGroupMember]
    /// A sentence for people, with the remedy.
    public var message: String

    public init(
        _ kind: Kind, group: String, topic: String? = nil, queueID: Int32? = nil, lag: Int64 = 0, since: Int64 = 0,
        clients: [ConsumerGroupMember] = [], message: String
    ) {
        self.kind = kind
        self.group = group
        self.topic = topic
        self.queueID = queueID
        self.lag = lag
        self.since = since
        self.clients = clients
        self.message = message
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "group finding")
        kind = Kind(rawValue: try fields.requiredText("kind"))
        group = try fields.requiredText("group")
        topic = try fields.optionalText("topic")
        queueID = try fields.optionalInteger("queueId")
        lag = try fields.integer("lag")
        since = try fields.integer("since")
        clients = try fields.bodies("clients")
        message = try fields.optionalText("message") ?? ""
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("clients", .bodies(clients))
        object.append("group", .string(group))
        object.append("kind", .string(kind.rawValue))
        object.append("lag", .integer(lag))
        object.append("message", .string(message))
        object.append("queueId", queueID.map { .integer($0) })
        object.append("since", .integer(since))
        object.append("topic", topic.map { .string($0) })
        return .object(object)
    }
}

/// What a broker knows of its consumer groups, or of one: the answer to `RequestCode.checkConsumerGroups`, which the
/// reference does not have.
public struct ConsumerGroupReport: Equatable, Sendable, JSONBody {
    public var brokerName: String
    /// Milliseconds since 1970 of the look that this is from.
    public var time: Int64
    /// How many groups were looked at.
    public var groupCount: Int
    public var findings: [ConsumerGroupFinding]
    /// The connected consumers, when one group was asked for.
    public var members: [ConsumerGroupMember]

    public init(brokerName: String, time: Int64, groupCount: Int, findings: [ConsumerGroupFinding], members: [ConsumerGroupMember] = []) {
        self.brokerName = brokerName
        self.time = time
        self.groupCount = groupCount
        self.findings = findings
        self.members = members
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "group report")
        brokerName = try fields.requiredText("brokerName")
        time = try fields.integer("time")
        groupCount = try fields.integer("groupCount")
        findings = try fields.bodies("findings")
        members = try fields.bodies("members")
    }

    public var json: JSONValue {
        [
            "brokerName": .string(brokerName), "findings": .bodies(findings), "groupCount": .integer(Int64(groupCount)),
            "members": .bodies(members), "time": .integer(time),
        ]
    }
}
