import RocketMQBase

/// What clients and brokers may do with the queues of a topic: the `perm` bits.
public struct Permission: OptionSet, Hashable, Sendable, CustomStringConvertible {
    public var rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// Topics that are created by themselves take their settings from this one.
    public static let inherit = Permission(rawValue: 1)
    public static let write = Permission(rawValue: 2)
    public static let read = Permission(rawValue: 4)
    public static let readWrite: Permission = [.read, .write]

    /// `RW-`, as the reference's tools print it.
    public var description: String {
        (contains(.read) ? "R" : "-") + (contains(.write) ? "W" : "-") + (contains(.inherit) ? "X" : "-")
    }
}

/// Whether messages of a topic have one tag or several.
public enum TopicFilterType: String, NamedOrdinal {
    case singleTag = "SINGLE_TAG"
    case multiTag = "MULTI_TAG"
}

/// A topic as one broker has it.
public struct TopicConfig: Hashable, Sendable, JSONBody {
    public var topicName: String
    /// Queues that consumers read from; at least as many as are written to unless the topic is being shrunk.
    public var readQueueNums: Int32
    /// Queues that producers write to.
    public var writeQueueNums: Int32
    public var perm: Permission
    public var topicFilterType: TopicFilterType
    /// Bit 0: the topic belongs to a unit; bit 1: it has subscriptions of one.
    public var topicSysFlag: Int32
    /// Whether messages of one key have to stay in order even while a broker is down.
    public var order: Bool
    /// Attributes of 5.x, such as `message.type`; empty from 4.x.
    public var attributes: [String: String]

    public init(
        topicName: String, readQueueNums: Int32 = 16, writeQueueNums: Int32 = 16, perm: Permission = .readWrite,
        topicFilterType: TopicFilterType = .singleTag, topicSysFlag: Int32 = 0, order: Bool = false, attributes: [String: String] = [:]
    ) {
        self.topicName = topicName
        self.readQueueNums = readQueueNums
        self.writeQueueNums = writeQueueNums
        self.perm = perm
        self.topicFilterType = topicFilterType
        self.topicSysFlag = topicSysFlag
        self.order = order
        self.attributes = attributes
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "topic configuration")
        topicName = try fields.requiredText("topicName")
        readQueueNums = try fields.integer("readQueueNums", default: 16)
        writeQueueNums = try fields.integer("writeQueueNums", default: 16)
        perm = Permission(rawValue: try fields.integer("perm", default: Permission.readWrite.rawValue))
        topicFilterType = try fields.named("topicFilterType", default: .singleTag)
        topicSysFlag = try fields.integer("topicSysFlag")
        order = try fields.bool("order")
        attributes = try fields.textTable("attributes")
    }

    public var json: JSONValue {
        var object = JSONObject()
        if !attributes.isEmpty { object.append("attributes", .textTable(attributes)) }
        object.append("order", .bool(order))
        object.append("perm", .integer(perm.rawValue))
        object.append("readQueueNums", .integer(readQueueNums))
        object.append("topicFilterType", topicFilterType.json)
        object.append("topicName", .string(topicName))
        object.append("topicSysFlag", .integer(topicSysFlag))
        object.append("writeQueueNums", .integer(writeQueueNums))
        return .object(object)
    }

    /// Reads the form with blanks between the fields that compressed registrations use:
    /// `name readQueues writeQueues perm filterType`, then the attributes as JSON in 5.x.
    init(spaced text: String) throws(MalformedBytes) {
        let parts = text.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: false)
        guard parts.count >= 5, let readQueues = Int32(parts[1]), let writeQueues = Int32(parts[2]), let perm = Int32(parts[3]),
            let filterType = TopicFilterType(rawValue: String(parts[4]))
        else { throw MalformedBytes("topic configuration has not the form of name, queues, permission and filter type") }
        self.init(
            topicName: String(parts[0]), readQueueNums: readQueues, writeQueueNums: writeQueues, perm: Permission(rawValue: perm),
            topicFilterType: filterType)
        guard parts.count == 6, !parts[5].isEmpty else { return }
        let wrapper: JSONValue = ["attributes": try JSONValue(parsing: Array(parts[5].utf8))]
        attributes = try JSONFields(wrapper, of: "topic configuration").textTable("attributes")
    }

    /// The form with blanks. Attributes are left out when there are none: 4.x refuses a sixth part.
    var spaced: String {
        let text = "\(topicName) \(readQueueNums) \(writeQueueNums) \(perm.rawValue) \(topicFilterType.rawValue)"
        return attributes.isEmpty ? text : "\(text) \(JSONValue.textTable(attributes))"
    }
}

/// Tells two states of a table apart: a change sets the time and counts one up.
public struct DataVersion: Hashable, Sendable, JSONBody {
    /// Milliseconds since 1970 of the latest change.
    public var timestamp: Int64
    /// Changes so far.
    public var counter: Int64
    /// Counted by the controller of 5.x; 0 in 4.x.
    public var stateVersion: Int64

    public init(timestamp: Int64, counter: Int64 = 0, stateVersion: Int64 = 0) {
        self.timestamp = timestamp
        self.counter = counter
        self.stateVersion = stateVersion
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "data version")
        timestamp = try fields.integer("timestamp")
        counter = try fields.integer("counter")
        stateVersion = try fields.integer("stateVersion")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("counter", .integer(counter))
        if stateVersion != 0 { object.append("stateVersion", .integer(stateVersion)) }
        object.append("timestamp", .integer(timestamp))
        return .object(object)
    }

    /// Marks a change made at `nowMilliseconds`.
    public mutating func advance(nowMilliseconds: Int64) {
        timestamp = nowMilliseconds
        counter &+= 1
    }
}

/// All topics of a broker: the answer to 21, part of 103, and the file `topics.json`.
public struct TopicConfigSerializeWrapper: Equatable, Sendable, JSONBody {
    public var topicConfigTable: [String: TopicConfig]
    public var dataVersion: DataVersion

    public init(topicConfigTable: [String: TopicConfig] = [:], dataVersion: DataVersion = DataVersion(timestamp: 0)) {
        self.topicConfigTable = topicConfigTable
        self.dataVersion = dataVersion
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "topic configurations")
        topicConfigTable = try fields.table("topicConfigTable")
        dataVersion = try fields.optionalBody("dataVersion") ?? DataVersion(timestamp: 0)
    }

    public var json: JSONValue {
        ["dataVersion": dataVersion.json, "topicConfigTable": .table(topicConfigTable)]
    }
}
