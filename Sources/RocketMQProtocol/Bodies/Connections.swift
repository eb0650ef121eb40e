import RocketMQBase

/// A client's connection, as tools are told of it.
public struct Connection: Hashable, Sendable, JSONBody {
    public var clientID: String
    /// `host:port`.
    public var clientAddr: String
    /// The name of the language, such as `JAVA`.
    public var language: String
    /// The release, as in the frame header.
    public var version: Int32

    public init(clientID: String, clientAddr: String, language: String, version: Int32) {
        self.clientID = clientID
        self.clientAddr = clientAddr
        self.language = language
        self.version = version
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "connection")
        clientID = try fields.requiredText("clientId")
        clientAddr = try fields.optionalText("clientAddr") ?? ""
        language = try fields.optionalText("language") ?? ""
        version = try fields.integer("version")
    }

    public var json: JSONValue {
        [
            "clientAddr": .string(clientAddr), "clientId": .string(clientID), "language": .string(language),
            "version": .integer(version),
        ]
    }
}

/// The members of a consumer group: the answer to 203.
public struct ConsumerConnection: Equatable, Sendable, JSONBody {
    public var connectionSet: [Connection]
    /// The same clients with what each of them subscribes to itself, where they differ. Not of the reference, whose tools pass
    /// over it.
    public var members: [ConsumerGroupMember] = []
    /// Of the group as a whole, by topic.
    public var subscriptionTable: [String: SubscriptionData]
    public var consumeType: ConsumeType
    public var messageModel: MessageModel
    public var consumeFromWhere: ConsumeFromWhere

    public init(
        connectionSet: [Connection], subscriptionTable: [String: SubscriptionData], consumeType: ConsumeType,
        messageModel: MessageModel, consumeFromWhere: ConsumeFromWhere
    ) {
        self.connectionSet = connectionSet
        self.subscriptionTable = subscriptionTable
        self.consumeType = consumeType
        self.messageModel = messageModel
        self.consumeFromWhere = consumeFromWhere
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consumer connections")
        connectionSet = try fields.bodies("connectionSet")
        for element in try fields.elements("connectionSet") where element["subscriptionSet"] != nil {
            members.append(try ConsumerGroupMember(json: element))
        }
        subscriptionTable = try fields.table("subscriptionTable")
        consumeType = try fields.named("consumeType", default: .passively)
        messageModel = try fields.named("messageModel", default: .clustering)
        consumeFromWhere = try fields.named("consumeFromWhere", default: .lastOffset)
    }

    public var json: JSONValue {
        [
            "connectionSet": members.isEmpty ? .bodies(connectionSet) : .bodies(members), "consumeFromWhere": consumeFromWhere.json,
            "consumeType": consumeType.json,
            "messageModel": messageModel.json, "subscriptionTable": .table(subscriptionTable),
        ]
    }
}

/// The members of a producer group: the answer to 204.
public struct ProducerConnection: Equatable, Sendable, JSONBody {
    public var connectionSet: [Connection]

    public init(connectionSet: [Connection]) { self.connectionSet = connectionSet }

    public init(json: JSONValue) throws(MalformedBytes) {
        connectionSet = try JSONFields(json, of: "producer connections").bodies("connectionSet")
    }

    public var json: JSONValue { ["connectionSet": .bodies(connectionSet)] }
}

/// A producer that a broker knows.
public struct ProducerInfo: Hashable, Sendable, JSONBody {
    public var clientID: String
    /// `/host:port`.
    public var remoteIP: String
    public var language: String
    public var version: Int32
    /// Milliseconds since 1970 of the last heartbeat.
    public var lastUpdateTimestamp: Int64

    public init(clientID: String, remoteIP: String, language: String, version: Int32, lastUpdateTimestamp: Int64) {
        self.clientID = clientID
        self.remoteIP = remoteIP
        self.language = language
        self.version = version
        self.lastUpdateTimestamp = lastUpdateTimestamp
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "producer")
        clientID = try fields.requiredText("clientId")
        remoteIP = try fields.optionalText("remoteIP") ?? ""
        language = try fields.optionalText("language") ?? ""
        version = try fields.integer("version")
        lastUpdateTimestamp = try fields.integer("lastUpdateTimestamp")
    }

    public var json: JSONValue {
        [
            "clientId": .string(clientID), "language": .string(language), "lastUpdateTimestamp": .integer(lastUpdateTimestamp),
            "remoteIP": .string(remoteIP), "version": .integer(version),
        ]
    }
}

/// All producers that a broker knows, by group: the answer to 328.
public struct ProducerTableInfo: Equatable, Sendable, JSONBody {
    public var data: [String: [ProducerInfo]]

    public init(data: [String: [ProducerInfo]]) { self.data = data }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "producer table")
        data = [:]
        for member in try fields.members("data") {
            data[member.key.string ?? ""] = try JSONFields(["all": member.value], of: "producer table").bodies("all")
        }
    }

    public var json: JSONValue {
        let groups = data.sorted { $0.key < $1.key }.map { JSONObject.Member(key: .string($0.key), value: .bodies($0.value)) }
        return ["data": .object(JSONObject(groups))]
    }
}
