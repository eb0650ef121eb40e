import RocketMQBase

/// How far consumer groups have come: the answer to 43 and the file `consumerOffset.json`.
///
/// The reference writes queue ids bare (`{0:26}`); both forms are read here and there, and the standard one is written.
public struct ConsumerOffsetSerializeWrapper: Equatable, Sendable, JSONBody {
    /// Offsets by queue id, by `topic@group`.
    public var offsetTable: [String: [Int32: Int64]]
    /// Written by 5.x.
    public var dataVersion: DataVersion?

    public init(offsetTable: [String: [Int32: Int64]] = [:], dataVersion: DataVersion? = nil) {
        self.offsetTable = offsetTable
        self.dataVersion = dataVersion
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consumer offsets")
        offsetTable = [:]
        for member in try fields.members("offsetTable") {
            guard let key = member.key.string else { throw fields.wrong("offsetTable", member.key, expected: "text") }
            offsetTable[key] = try JSONFields.numberedOffsets(member.value, "consumer offsets")
        }
        dataVersion = try fields.optionalBody("dataVersion")
    }

    public var json: JSONValue {
        let offsets = offsetTable.sorted { $0.key < $1.key }.map {
            JSONObject.Member(key: .string($0.key), value: .numberedOffsets($0.value))
        }
        var object = JSONObject()
        object.append("dataVersion", dataVersion?.json)
        object.append("offsetTable", .object(JSONObject(offsets)))
        return .object(object)
    }

    /// The key of a group's offsets in a topic.
    public static func key(topic: String, group: String) -> String { "\(topic)@\(group)" }
}

/// How far the broker has come in each delay level: the answer to 45 and the file `delayOffset.json`.
public struct DelayOffsetSerializeWrapper: Equatable, Sendable, JSONBody {
    /// Offsets in the delay topic's queues by level, from 1.
    public var offsetTable: [Int32: Int64]
    /// Written by 5.x.
    public var dataVersion: DataVersion?

    public init(offsetTable: [Int32: Int64] = [:], dataVersion: DataVersion? = nil) {
        self.offsetTable = offsetTable
        self.dataVersion = dataVersion
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "delay offsets")
        offsetTable = try JSONFields.numberedOffsets(fields.value("offsetTable") ?? [:], "delay offsets")
        dataVersion = try fields.optionalBody("dataVersion")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("dataVersion", dataVersion?.json)
        object.append("offsetTable", .numberedOffsets(offsetTable))
        return .object(object)
    }
}

/// Offsets that a consumer has to take up: the body of 220 and the answer to 222. Java consumers are sent a map, C++
/// consumers a list.
public struct ResetOffsetBody: Equatable, Sendable, JSONBody {
    public var offsetTable: [MessageQueue: Int64]

    public init(offsetTable: [MessageQueue: Int64]) { self.offsetTable = offsetTable }

    /// Reads either form.
    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "offset reset")
        guard let list = fields.value("offsetTable")?.array else {
            offsetTable = try fields.queueOffsets("offsetTable")
            return
        }
        offsetTable = [:]
        for element in list {
            let entry = try JSONFields(element, of: "offset reset")
            offsetTable[try MessageQueue(json: element)] = try entry.integer("offset")
        }
    }

    /// The form for Java consumers.
    public var json: JSONValue { ["offsetTable": .queueOffsets(offsetTable)] }

    /// The form for C++ consumers.
    public var listJSON: JSONValue {
        let list = offsetTable.sorted { $0.key < $1.key }.map { (queue, offset) -> JSONValue in
            [
                "brokerName": .string(queue.brokerName), "offset": .integer(offset), "queueId": .integer(queue.queueID),
                "topic": .string(queue.topic),
            ]
        }
        return ["offsetTable": .array(list)]
    }
}

/// The positions of a broadcasting consumer: the file `offsets.json` has the form of 220's body.
public typealias LocalOffsetTable = ResetOffsetBody

/// The offsets that consumers say they have come to: the answer to 221 (one client's) and 223 (all clients').
public struct GetConsumerStatusBody: Equatable, Sendable, JSONBody {
    public var messageQueueTable: [MessageQueue: Int64]
    /// By client id.
    public var consumerTable: [String: [MessageQueue: Int64]]

    public init(messageQueueTable: [MessageQueue: Int64] = [:], consumerTable: [String: [MessageQueue: Int64]] = [:]) {
        self.messageQueueTable = messageQueueTable
        self.consumerTable = consumerTable
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consumer status")
        messageQueueTable = try fields.queueOffsets("messageQueueTable")
        consumerTable = [:]
        for member in try fields.members("consumerTable") {
            guard let client = member.key.string, let offsets = member.value.object else {
                throw fields.wrong("consumerTable", member.value, expected: "an object")
            }
            consumerTable[client] = try JSONFields.queueOffsets(offsets.members, "consumer status")
        }
    }

    public var json: JSONValue {
        let consumers = consumerTable.sorted { $0.key < $1.key }.map {
            JSONObject.Member(key: .string($0.key), value: .queueOffsets($0.value))
        }
        return ["consumerTable": .object(JSONObject(consumers)), "messageQueueTable": .queueOffsets(messageQueueTable)]
    }
}

/// Offsets by queue id: the answer to 308.
public struct QueryCorrectionOffsetBody: Equatable, Sendable, JSONBody {
    public var correctionOffsets: [Int32: Int64]

    public init(correctionOffsets: [Int32: Int64]) { self.correctionOffsets = correctionOffsets }

    public init(json: JSONValue) throws(MalformedBytes) {
        let offsets = try JSONFields(json, of: "offset corrections").value("correctionOffsets")
        correctionOffsets = try JSONFields.numberedOffsets(offsets ?? [:], "offset corrections")
    }

    public var json: JSONValue { ["correctionOffsets": .numberedOffsets(correctionOffsets)] }
}
