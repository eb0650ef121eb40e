import RocketMQBase

/// What a consumer holds of one queue. Times are milliseconds since 1970.
public struct ProcessQueueInfo: Hashable, Sendable, JSONBody {
    public var commitOffset: Int64 = 0
    public var cachedMsgMinOffset: Int64 = 0
    public var cachedMsgMaxOffset: Int64 = 0
    public var cachedMsgCount: Int32 = 0
    public var cachedMsgSizeInMiB: Int32 = 0
    public var transactionMsgMinOffset: Int64 = 0
    public var transactionMsgMaxOffset: Int64 = 0
    public var transactionMsgCount: Int32 = 0
    public var locked = false
    public var tryUnlockTimes: Int64 = 0
    public var lastLockTimestamp: Int64 = 0
    /// The reference spells the member `droped`.
    public var dropped = false
    public var lastPullTimestamp: Int64 = 0
    public var lastConsumeTimestamp: Int64 = 0

    public init() {}

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "process queue")
        commitOffset = try fields.integer("commitOffset")
        cachedMsgMinOffset = try fields.integer("cachedMsgMinOffset")
        cachedMsgMaxOffset = try fields.integer("cachedMsgMaxOffset")
        cachedMsgCount = try fields.integer("cachedMsgCount")
        cachedMsgSizeInMiB = try fields.integer("cachedMsgSizeInMiB")
        transactionMsgMinOffset = try fields.integer("transactionMsgMinOffset")
        transactionMsgMaxOffset = try fields.integer("transactionMsgMaxOffset")
        transactionMsgCount = try fields.integer("transactionMsgCount")
        locked = try fields.bool("locked")
        tryUnlockTimes = try fields.integer("tryUnlockTimes")
        lastLockTimestamp = try fields.integer("lastLockTimestamp")
        dropped = try fields.bool("droped")
        lastPullTimestamp = try fields.integer("lastPullTimestamp")
        lastConsumeTimestamp = try fields.integer("lastConsumeTimestamp")
    }

    public var json: JSONValue {
        [
            "cachedMsgCount": .integer(cachedMsgCount), "cachedMsgMaxOffset": .integer(cachedMsgMaxOffset),
            "cachedMsgMinOffset": .integer(cachedMsgMinOffset), "cachedMsgSizeInMiB": .integer(cachedMsgSizeInMiB),
            "commitOffset": .integer(commitOffset), "droped": .bool(dropped), "lastConsumeTimestamp": .integer(lastConsumeTimestamp),
            "lastLockTimestamp": .integer(lastLockTimestamp), "lastPullTimestamp": .integer(lastPullTimestamp),
            "locked": .bool(locked), "transactionMsgCount": .integer(transactionMsgCount),
            "transactionMsgMaxOffset": .integer(transactionMsgMaxOffset), "transactionMsgMinOffset": .integer(transactionMsgMinOffset),
            "tryUnlockTimes": .integer(tryUnlockTimes),
        ]
    }
}

/// Rates of a consumer in one topic: `RT` in milliseconds, `TPS` a second.
public struct ConsumeStatus: Hashable, Sendable, JSONBody {
    public var pullRT: Double = 0
    public var pullTPS: Double = 0
    public var consumeRT: Double = 0
    public var consumeOKTPS: Double = 0
    public var consumeFailedTPS: Double = 0
    /// Failures within the last hour.
    public var consumeFailedMsgs: Int64 = 0

    public init() {}

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consume status")
        pullRT = try fields.double("pullRT")
        pullTPS = try fields.double("pullTPS")
        consumeRT = try fields.double("consumeRT")
        consumeOKTPS = try fields.double("consumeOKTPS")
        consumeFailedTPS = try fields.double("consumeFailedTPS")
        consumeFailedMsgs = try fields.integer("consumeFailedMsgs")
    }

    public var json: JSONValue {
        [
            "consumeFailedMsgs": .integer(consumeFailedMsgs), "consumeFailedTPS": .number(consumeFailedTPS),
            "consumeOKTPS": .number(consumeOKTPS), "consumeRT": .number(consumeRT), "pullRT": .number(pullRT),
            "pullTPS": .number(pullTPS),
        ]
    }
}

/// What a consumer is doing: the answer to 307.
public struct ConsumerRunningInfo: Equatable, Sendable, JSONBody {
    /// Settings of the consumer, and those of `PropertyKey`.
    public var properties: [String: String]
    public var subscriptionSet: [SubscriptionData]
    public var mqTable: [MessageQueue: ProcessQueueInfo]
    /// By topic.
    public var statusTable: [String: ConsumeStatus]
    /// The stacks of the client's threads, where the request asked for them.
    public var jstack: String?

    public enum PropertyKey {
        public static let nameServerAddress = "PROP_NAMESERVER_ADDR"
        public static let threadPoolCoreSize = "PROP_THREADPOOL_CORE_SIZE"
        public static let consumeOrderly = "PROP_CONSUMEORDERLY"
        public static let consumeType = "PROP_CONSUME_TYPE"
        public static let clientVersion = "PROP_CLIENT_VERSION"
        public static let consumerStartTimestamp = "PROP_CONSUMER_START_TIMESTAMP"
    }

    public init(
        properties: [String: String] = [:], subscriptionSet: [SubscriptionData] = [], mqTable: [MessageQueue: ProcessQueueInfo] = [:],
        statusTable: [String: ConsumeStatus] = [:], jstack: String? = nil
    ) {
        self.properties = properties
        self.subscriptionSet = subscriptionSet
        self.mqTable = mqTable
        self.statusTable = statusTable
        self.jstack = jstack
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consumer running information")
        properties = try fields.textTable("properties")
        subscriptionSet = try fields.bodies("subscriptionSet")
        mqTable = try fields.queueTable("mqTable")
        statusTable = try fields.table("statusTable")
        jstack = try fields.optionalText("jstack")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("jstack", jstack.map { .string($0) })
        object.append("mqTable", .queueTable(mqTable))
        object.append("properties", .textTable(properties))
        object.append("statusTable", .table(statusTable))
        object.append("subscriptionSet", .bodies(subscriptionSet))
        return .object(object)
    }
}

/// What came of handing one message to a consumer's listener.
public enum ConsumeMessageDirectlyOutcome: String, NamedOrdinal {
    case success = "CR_SUCCESS"
    case later = "CR_LATER"
    case rollback = "CR_ROLLBACK"
    case commit = "CR_COMMIT"
    case threwException = "CR_THROW_EXCEPTION"
    case returnedNull = "CR_RETURN_NULL"
}

/// What came of consuming one message on request: the answer to 309.
public struct ConsumeMessageDirectlyResult: Equatable, Sendable, JSONBody {
    public var order: Bool
    public var autoCommit: Bool
    public var consumeResult: ConsumeMessageDirectlyOutcome?
    public var remark: String?
    /// The reference spells the member `spentTimeMills`.
    public var spentTimeMilliseconds: Int64

    public init(
        order: Bool = false, autoCommit: Bool = true, consumeResult: ConsumeMessageDirectlyOutcome?, remark: String? = nil,
        spentTimeMilliseconds: Int64
    ) {
        self.order = order
        self.autoCommit = autoCommit
        self.consumeResult = consumeResult
        self.remark = remark
        self.spentTimeMilliseconds = spentTimeMilliseconds
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consume result")
        order = try fields.bool("order")
        autoCommit = try fields.bool("autoCommit", default: true)
        consumeResult = nil
        if let result = fields.value("consumeResult") { consumeResult = try ConsumeMessageDirectlyOutcome(json: result) }
        remark = try fields.optionalText("remark")
        spentTimeMilliseconds = try fields.integer("spentTimeMills")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("autoCommit", .bool(autoCommit))
        object.append("consumeResult", consumeResult?.json)
        object.append("order", .bool(order))
        object.append("remark", remark.map { .string($0) })
        object.append("spentTimeMills", .integer(spentTimeMilliseconds))
        return .object(object)
    }
}
