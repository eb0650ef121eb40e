import RocketMQBase

/// How many queues a topic has on one broker, as the nameserver tells it to clients.
public struct QueueData: Hashable, Sendable, JSONBody {
    public var brokerName: String
    public var readQueueNums: Int32
    public var writeQueueNums: Int32
    public var perm: Permission
    public var topicSysFlag: Int32

    public init(brokerName: String, readQueueNums: Int32, writeQueueNums: Int32, perm: Permission, topicSysFlag: Int32 = 0) {
        self.brokerName = brokerName
        self.readQueueNums = readQueueNums
        self.writeQueueNums = writeQueueNums
        self.perm = perm
        self.topicSysFlag = topicSysFlag
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "queue data")
        brokerName = try fields.requiredText("brokerName")
        readQueueNums = try fields.integer("readQueueNums")
        writeQueueNums = try fields.integer("writeQueueNums")
        perm = Permission(rawValue: try fields.integer("perm"))
        // Releases before 4.9.0 misspelt it.
        topicSysFlag = try fields.integer("topicSysFlag", default: fields.integer("topicSynFlag"))
    }

    public var json: JSONValue {
        [
            "brokerName": .string(brokerName), "perm": .integer(perm.rawValue), "readQueueNums": .integer(readQueueNums),
            "topicSysFlag": .integer(topicSysFlag), "writeQueueNums": .integer(writeQueueNums),
        ]
    }
}

/// The brokers that share a name: a master and its slaves.
public struct BrokerData: Hashable, Sendable, JSONBody {
    public var cluster: String
    public var brokerName: String
    /// Addresses (`host:port`) by broker id; 0 is the master.
    public var brokerAddrs: [Int64: String]
    /// Set by 5.x: a slave may stand in for the master.
    public var enableActingMaster: Bool
    /// Set by 5.x.
    public var zoneName: String?

    public static let masterID: Int64 = 0

    public init(
        cluster: String, brokerName: String, brokerAddrs: [Int64: String], enableActingMaster: Bool = false, zoneName: String? = nil
    ) {
        self.cluster = cluster
        self.brokerName = brokerName
        self.brokerAddrs = brokerAddrs
        self.enableActingMaster = enableActingMaster
        self.zoneName = zoneName
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "broker data")
        cluster = try fields.optionalText("cluster") ?? ""
        brokerName = try fields.requiredText("brokerName")
        brokerAddrs = [:]
        for member in try fields.members("brokerAddrs") {
            guard let id = member.key.int64, let address = member.value.string else {
                throw MalformedBytes("brokerAddrs of broker data has an entry that is no pair of an id and an address")
            }
            brokerAddrs[id] = address
        }
        enableActingMaster = try fields.bool("enableActingMaster")
        zoneName = try fields.optionalText("zoneName")
    }

    public var json: JSONValue { json(bareIDs: false) }

    /// `bareIDs` writes `{0:"…"}`, as servers before 4.9.4 did, instead of the standard `{"0":"…"}` that all clients read.
    public func json(bareIDs: Bool) -> JSONValue {
        let addresses = brokerAddrs.sorted { $0.key < $1.key }.map { (id, address) in
            JSONObject.Member(key: bareIDs ? .integer(id) : .string("\(id)"), value: .string(address))
        }
        var object = JSONObject()
        object.append("brokerAddrs", .object(JSONObject(addresses)))
        object.append("brokerName", .string(brokerName))
        object.append("cluster", .string(cluster))
        if enableActingMaster { object.append("enableActingMaster", .bool(true)) }
        object.append("zoneName", zoneName.map { .string($0) })
        return .object(object)
    }

    public var masterAddress: String? { brokerAddrs[BrokerData.masterID] }
}

/// Where the queues of a topic are: the answer to 105.
public struct TopicRouteData: Hashable, Sendable, JSONBody {
    /// The broker and queue counts of an ordered topic, `broker-a:4;broker-b:4`.
    public var orderTopicConf: String?
    public var queueDatas: [QueueData]
    public var brokerDatas: [BrokerData]
    /// Filter servers by broker address.
    public var filterServerTable: [String: [String]]

    public init(
        orderTopicConf: String? = nil, queueDatas: [QueueData] = [], brokerDatas: [BrokerData] = [],
        filterServerTable: [String: [String]] = [:]
    ) {
        self.orderTopicConf = orderTopicConf
        self.queueDatas = queueDatas
        self.brokerDatas = brokerDatas
        self.filterServerTable = filterServerTable
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "topic route")
        orderTopicConf = try fields.optionalText("orderTopicConf")
        queueDatas = try fields.bodies("queueDatas")
        brokerDatas = try fields.bodies("brokerDatas")
        filterServerTable = [:]
        for member in try fields.members("filterServerTable") {
            let wrapper = try JSONFields(["servers": member.value], of: "filter server table")
            filterServerTable[member.key.string ?? ""] = try wrapper.texts("servers")
        }
    }

    public var json: JSONValue { json(bareIDs: false) }

    /// `bareIDs` as in `BrokerData.json(bareIDs:)`.
    public func json(bareIDs: Bool) -> JSONValue {
        let servers = filterServerTable.sorted { $0.key < $1.key }.map {
            JSONObject.Member(key: .string($0.key), value: .texts($0.value))
        }
        var object = JSONObject()
        object.append("brokerDatas", .array(brokerDatas.map { $0.json(bareIDs: bareIDs) }))
        object.append("filterServerTable", .object(JSONObject(servers)))
        object.append("orderTopicConf", orderTopicConf.map { .string($0) })
        object.append("queueDatas", .bodies(queueDatas))
        return .object(object)
    }
}

/// All brokers that a nameserver knows: the answer to 106.
public struct ClusterInfo: Hashable, Sendable, JSONBody {
    /// Brokers by name.
    public var brokerAddrTable: [String: BrokerData]
    /// Broker names by cluster.
    public var clusterAddrTable: [String: Set<String>]

    public init(brokerAddrTable: [String: BrokerData] = [:], clusterAddrTable: [String: Set<String>] = [:]) {
        self.brokerAddrTable = brokerAddrTable
        self.clusterAddrTable = clusterAddrTable
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "cluster information")
        brokerAddrTable = try fields.table("brokerAddrTable")
        clusterAddrTable = [:]
        for member in try fields.members("clusterAddrTable") {
            let wrapper = try JSONFields(["names": member.value], of: "cluster table")
            clusterAddrTable[member.key.string ?? ""] = Set(try wrapper.texts("names"))
        }
    }

    public var json: JSONValue {
        let clusters = clusterAddrTable.sorted { $0.key < $1.key }.map {
            JSONObject.Member(key: .string($0.key), value: .texts($0.value.sorted()))
        }
        return ["brokerAddrTable": .table(brokerAddrTable), "clusterAddrTable": .object(JSONObject(clusters))]
    }
}
