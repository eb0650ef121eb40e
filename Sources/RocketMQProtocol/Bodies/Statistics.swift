import RocketMQBase

/// The ends of one queue.
public struct TopicOffset: Hashable, Sendable, JSONBody {
    public var minOffset: Int64
    /// The offset that the next message will get.
    public var maxOffset: Int64
    /// Milliseconds since 1970 at which the last message was stored, 0 without one.
    public var lastUpdateTimestamp: Int64

    public init(minOffset: Int64, maxOffset: Int64, lastUpdateTimestamp: Int64) {
        self.minOffset = minOffset
        self.maxOffset = maxOffset
        self.lastUpdateTimestamp = lastUpdateTimestamp
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "topic offset")
        minOffset = try fields.integer("minOffset")
        maxOffset = try fields.integer("maxOffset")
        lastUpdateTimestamp = try fields.integer("lastUpdateTimestamp")
    }

    public var json: JSONValue {
        ["lastUpdateTimestamp": .integer(lastUpdateTimestamp), "maxOffset": .integer(maxOffset), "minOffset": .integer(minOffset)]
    }
}

/// The ends of a topic's queues on a broker: the answer to 202.
public struct TopicStatsTable: Equatable, Sendable, JSONBody {
    public var offsetTable: [MessageQueue: TopicOffset]

    public init(offsetTable: [MessageQueue: TopicOffset] = [:]) { self.offsetTable = offsetTable }

    public init(json: JSONValue) throws(MalformedBytes) {
        offsetTable = try JSONFields(json, of: "topic statistics").queueTable("offsetTable")
    }

    public var json: JSONValue { ["offsetTable": .queueTable(offsetTable)] }
}

/// How far a group has come in one queue.
public struct OffsetWrapper: Hashable, Sendable, JSONBody {
    /// The offset that the next message will get.
    public var brokerOffset: Int64
    /// The offset of the next message that the group will consume.
    public var consumerOffset: Int64
    /// Milliseconds since 1970 at which the last consumed message was stored, 0 without one.
    public var lastTimestamp: Int64

    public init(brokerOffset: Int64, consumerOffset: Int64, lastTimestamp: Int64) {
        self.brokerOffset = brokerOffset
        self.consumerOffset = consumerOffset
        self.lastTimestamp = lastTimestamp
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "offset")
        brokerOffset = try fields.integer("brokerOffset")
        consumerOffset = try fields.integer("consumerOffset")
        lastTimestamp = try fields.integer("lastTimestamp")
    }

    public var json: JSONValue {
        [
            "brokerOffset": .integer(brokerOffset), "consumerOffset": .integer(consumerOffset),
            "lastTimestamp": .integer(lastTimestamp),
        ]
    }
}

/// How far a group has come: the answer to 208.
public struct ConsumeStats: Equatable, Sendable, JSONBody {
    public var offsetTable: [MessageQueue: OffsetWrapper]
    /// Messages a second.
    public var consumeTps: Double

    public init(offsetTable: [MessageQueue: OffsetWrapper] = [:], consumeTps: Double = 0) {
        self.offsetTable = offsetTable
        self.consumeTps = consumeTps
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consume statistics")
        offsetTable = try fields.queueTable("offsetTable")
        consumeTps = try fields.double("consumeTps")
    }

    public var json: JSONValue { ["consumeTps": .number(consumeTps), "offsetTable": .queueTable(offsetTable)] }

    /// Messages that wait, over all queues.
    public var totalDiff: Int64 { offsetTable.values.reduce(0) { $0 &+ ($1.brokerOffset &- $1.consumerOffset) } }
}

/// How far all groups of a broker have come: the answer to 317.
public struct ConsumeStatsList: Equatable, Sendable, JSONBody {
    /// For each group its statistics, one per topic.
    public var consumeStatsList: [[String: [ConsumeStats]]]
    public var brokerAddr: String?
    public var totalDiff: Int64

    public init(consumeStatsList: [[String: [ConsumeStats]]], brokerAddr: String? = nil, totalDiff: Int64 = 0) {
        self.consumeStatsList = consumeStatsList
        self.brokerAddr = brokerAddr
        self.totalDiff = totalDiff
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consume statistics list")
        brokerAddr = try fields.optionalText("brokerAddr")
        totalDiff = try fields.integer("totalDiff")
        consumeStatsList = []
        for element in try fields.elements("consumeStatsList") {
            guard let groups = element.object else { throw fields.wrong("consumeStatsList", element, expected: "an object") }
            var table: [String: [ConsumeStats]] = [:]
            for member in groups.members {
                table[member.key.string ?? ""] = try JSONFields(["all": member.value], of: "consume statistics").bodies("all")
            }
            consumeStatsList.append(table)
        }
    }

    public var json: JSONValue {
        let list = consumeStatsList.map { groups in
            JSONValue.object(
                JSONObject(groups.sorted { $0.key < $1.key }.map { JSONObject.Member(key: .string($0.key), value: .bodies($0.value)) }))
        }
        var object = JSONObject()
        object.append("brokerAddr", brokerAddr.map { .string($0) })
        object.append("consumeStatsList", .array(list))
        object.append("totalDiff", .integer(totalDiff))
        return .object(object)
    }
}

/// Sum and rates of one counter over a span.
public struct BrokerStatsItem: Hashable, Sendable, JSONBody {
    public var sum: Int64
    /// A second.
    public var tps: Double
    /// Mean per call.
    public var avgpt: Double

    public init(sum: Int64 = 0, tps: Double = 0, avgpt: Double = 0) {
        self.sum = sum
        self.tps = tps
        self.avgpt = avgpt
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "broker statistics item")
        sum = try fields.integer("sum")
        tps = try fields.double("tps")
        avgpt = try fields.double("avgpt")
    }

    public var json: JSONValue { ["avgpt": .number(avgpt), "sum": .integer(sum), "tps": .number(tps)] }
}

/// One counter of a broker over the last minute, hour and day: the answer to 315.
public struct BrokerStatsData: Hashable, Sendable, JSONBody {
    public var statsMinute: BrokerStatsItem
    public var statsHour: BrokerStatsItem
    public var statsDay: BrokerStatsItem

    public init(statsMinute: BrokerStatsItem, statsHour: BrokerStatsItem, statsDay: BrokerStatsItem) {
        self.statsMinute = statsMinute
        self.statsHour = statsHour
        self.statsDay = statsDay
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "broker statistics")
        statsMinute = try fields.optionalBody("statsMinute") ?? BrokerStatsItem()
        statsHour = try fields.optionalBody("statsHour") ?? BrokerStatsItem()
        statsDay = try fields.optionalBody("statsDay") ?? BrokerStatsItem()
    }

    public var json: JSONValue { ["statsDay": statsDay.json, "statsHour": statsHour.json, "statsMinute": statsMinute.json] }
}

/// The span of time that a queue's messages cover, and where a group stands in it. Times are milliseconds since 1970.
public struct QueueTimeSpan: Hashable, Sendable, JSONBody {
    public var messageQueue: MessageQueue
    public var minTimestamp: Int64
    public var maxTimestamp: Int64
    public var consumeTimestamp: Int64
    /// Milliseconds that the group is behind.
    public var delayTime: Int64

    public init(messageQueue: MessageQueue, minTimestamp: Int64, maxTimestamp: Int64, consumeTimestamp: Int64, delayTime: Int64) {
        self.messageQueue = messageQueue
        self.minTimestamp = minTimestamp
        self.maxTimestamp = maxTimestamp
        self.consumeTimestamp = consumeTimestamp
        self.delayTime = delayTime
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "queue time span")
        guard let queue = try fields.optionalBody("messageQueue", as: MessageQueue.self) else {
            throw MalformedBytes("queue time span has no messageQueue")
        }
        messageQueue = queue
        minTimestamp = try fields.integer("minTimeStamp")
        maxTimestamp = try fields.integer("maxTimeStamp")
        consumeTimestamp = try fields.integer("consumeTimeStamp")
        delayTime = try fields.integer("delayTime")
    }

    public var json: JSONValue {
        [
            "consumeTimeStamp": .integer(consumeTimestamp), "delayTime": .integer(delayTime), "maxTimeStamp": .integer(maxTimestamp),
            "messageQueue": messageQueue.json, "minTimeStamp": .integer(minTimestamp),
        ]
    }
}

/// The time spans of a topic's queues: the answer to 303.
public struct QueryConsumeTimeSpanBody: Equatable, Sendable, JSONBody {
    public var consumeTimeSpanSet: [QueueTimeSpan]

    public init(consumeTimeSpanSet: [QueueTimeSpan]) { self.consumeTimeSpanSet = consumeTimeSpanSet }

    public init(json: JSONValue) throws(MalformedBytes) {
        consumeTimeSpanSet = try JSONFields(json, of: "consume time spans").bodies("consumeTimeSpanSet")
    }

    public var json: JSONValue { ["consumeTimeSpanSet": .bodies(consumeTimeSpanSet)] }
}
