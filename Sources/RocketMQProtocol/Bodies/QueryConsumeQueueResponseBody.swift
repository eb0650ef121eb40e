import RocketMQBase

/// One entry of a consume queue, as tools are shown it.
public struct ConsumeQueueData: Hashable, Sendable, JSONBody {
    /// Of the record, in the commit log.
    public var physicalOffset: Int64
    /// Bytes of the record.
    public var physicalSize: Int32
    public var tagsCode: Int64
    public var extendedDataJSON: String?
    public var bitMap: String?
    /// Whether the group's filter lets the message through.
    public var passesFilter: Bool
    public var message: String?

    public init(
        physicalOffset: Int64, physicalSize: Int32, tagsCode: Int64, extendedDataJSON: String? = nil, bitMap: String? = nil,
        passesFilter: Bool = false, message: String? = nil
    ) {
        self.physicalOffset = physicalOffset
        self.physicalSize = physicalSize
        self.tagsCode = tagsCode
        self.extendedDataJSON = extendedDataJSON
        self.bitMap = bitMap
        self.passesFilter = passesFilter
        self.message = message
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consume queue entry")
        physicalOffset = try fields.integer("physicOffset")
        physicalSize = try fields.integer("physicSize")
        tagsCode = try fields.integer("tagsCode")
        extendedDataJSON = try fields.optionalText("extendDataJson")
        bitMap = try fields.optionalText("bitMap")
        passesFilter = try fields.bool("eval")
        message = try fields.optionalText("msg")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("bitMap", bitMap.map { .string($0) })
        object.append("eval", .bool(passesFilter))
        object.append("extendDataJson", extendedDataJSON.map { .string($0) })
        object.append("msg", message.map { .string($0) })
        object.append("physicOffset", .integer(physicalOffset))
        object.append("physicSize", .integer(physicalSize))
        object.append("tagsCode", .integer(tagsCode))
        return .object(object)
    }
}

/// Entries of a consume queue: the answer to 321.
public struct QueryConsumeQueueResponseBody: Equatable, Sendable, JSONBody {
    public var subscriptionData: SubscriptionData?
    public var filterData: String?
    public var queueData: [ConsumeQueueData]
    public var maxQueueIndex: Int64
    public var minQueueIndex: Int64

    public init(
        subscriptionData: SubscriptionData? = nil, filterData: String? = nil, queueData: [ConsumeQueueData], maxQueueIndex: Int64,
        minQueueIndex: Int64
    ) {
        self.subscriptionData = subscriptionData
        self.filterData = filterData
        self.queueData = queueData
        self.maxQueueIndex = maxQueueIndex
        self.minQueueIndex = minQueueIndex
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "consume queue entries")
        subscriptionData = try fields.optionalBody("subscriptionData")
        filterData = try fields.optionalText("filterData")
        queueData = try fields.bodies("queueData")
        maxQueueIndex = try fields.integer("maxQueueIndex")
        minQueueIndex = try fields.integer("minQueueIndex")
    }

    public var json: JSONValue {
        var object = JSONObject()
        object.append("filterData", filterData.map { .string($0) })
        object.append("maxQueueIndex", .integer(maxQueueIndex))
        object.append("minQueueIndex", .integer(minQueueIndex))
        object.append("queueData", .bodies(queueData))
        object.append("subscriptionData", subscriptionData?.json)
        return .object(object)
    }
}
