import RocketMQBase
import RocketMQProtocol

/// Who serves which topic: what a name server knows. A value without clock or I/O; times come in with the calls.
///
/// Invariants: a broker's name stands in `brokers` as long as it has an address, in the set of exactly one cluster, and only
/// names in `brokers` stand in topics; a topic has at least one broker.
public struct RouteTable: Sendable {
    /// One broker process, by its address.
    struct LiveBroker: Sendable {
        var name: String
        var id: Int64
        var lastHeard: MonotonicTime
        var mostSilence: Duration
        /// `nil` until the broker has sent all its topics: then it is asked for them again (code 322).
        var dataVersion: DataVersion?
        var connection: UInt64
        var haServerAddress: String
        var bodyFingerprint: Int?
    }

    struct Topic: Sendable {
        var queues: [String: QueueData] = [:]
        /// The route as it is sent, since it is asked for far more often than it changes.
        var encoded: EncodedRoute?
    }

    struct EncodedRoute: Sendable {
        var brokerGeneration: UInt64
        var orderTopicConf: String?
        var bytes: [UInt8]
    }

    var topics: [String: Topic] = [:]
    var brokers: [String: BrokerData] = [:]
    var clusters: [String: Set<String>] = [:]
    var live: [BrokerKey: LiveBroker] = [:]
    var filterServers: [String: [String]] = [:]
    /// Counted up when an address changes: encoded routes of before are stale.
    var brokerGeneration: UInt64 = 0

    public init() {}

    // MARK: Routes

    /// The route of a topic, `nil` when no broker has it.
    public func route(of topic: String, orderTopicConf: String? = nil) -> TopicRouteData? {
        guard let queues = topics[topic]?.queues else { return nil }
        let names = queues.keys.sorted()
        let datas = names.compactMap { brokers[$0] }
        guard !datas.isEmpty else { return nil }
        var servers: [String: [String]] = [:]
        if !filterServers.isEmpty {
            for address in datas.flatMap(\.brokerAddrs.values) { servers[address] = filterServers[address] }
        }
        return TopicRouteData(
            orderTopicConf: orderTopicConf, queueDatas: names.compactMap { queues[$0] }, brokerDatas: datas, filterServerTable: servers)
    }

    /// The body of the answer to 105, encoded when it is first asked for after a change.
    public mutating func encodedRoute(of topic: String, orderTopicConf: String? = nil) -> [UInt8]? {
        guard let index = topics.index(forKey: topic) else { return nil }
        if let encoded = topics.values[index].encoded, encoded.brokerGeneration == brokerGeneration,
            encoded.orderTopicConf == orderTopicConf
        {
            return encoded.bytes
        }
        guard let bytes = route(of: topic, orderTopicConf: orderTopicConf)?.encoded() else { return nil }
        topics.values[index].encoded = EncodedRoute(brokerGeneration: brokerGeneration, orderTopicConf: orderTopicConf, bytes: bytes)
        return bytes
    }

    // MARK: Lists

    /// All brokers by name, and their names by cluster.
    public var clusterInfo: ClusterInfo { ClusterInfo(brokerAddrTable: brokers, clusterAddrTable: clusters) }

    public var topicCount: Int { topics.count }

    /// Names of all topics, sorted.
    public var topicNames: [String] { topics.keys.sorted() }

    /// Names of topics that a broker of the cluster has, sorted; none for an unknown cluster.
    public func topicNames(inCluster cluster: String) -> [String] {
        guard let names = clusters[cluster] else { return [] }
        return topics.filter { $0.value.queues.keys.contains { names.contains($0) } }.map(\.key).sorted()
    }

    /// Names of topics with a flag, or without one that is given as `without`, sorted.
    public func topicNames(with flag: TopicSystemFlag, without absent: TopicSystemFlag = []) -> [String] {
        topics.filter { topic in
            guard let queues = topic.value.queues.min(by: { $0.key < $1.key })?.value else { return false }
            let flags = TopicSystemFlag(rawValue: queues.topicSysFlag)
            return flags.isSuperset(of: flag) && flags.isDisjoint(with: absent)
        }.map(\.key).sorted()
    }

    /// Topics that bear the names of clusters and brokers, which every broker creates, and the address of some broker.
    public var systemTopics: (names: [String], brokerAddress: String?) {
        let names = clusters.sorted { $0.key < $1.key }.flatMap { [$0.key] + $0.value.sorted() }
        let first = brokers.min { $0.key < $1.key }?.value
        return (names, first?.brokerAddrs.min { $0.key < $1.key }?.value)
    }

    /// Addresses by id of the brokers with a name; empty when there are none.
    public func addresses(ofBroker name: String) -> [Int64: String] { brokers[name]?.brokerAddrs ?? [:] }

    // MARK: Changes by administrators

    /// Takes a topic out of all routes, or out of those of a cluster's brokers. A broker that still has the topic brings it
    /// back when it registers next.
    public mutating func deleteTopic(_ topic: String, cluster: String? = nil) {
        guard var entry = topics[topic] else { return }
        let names = cluster.map { clusters[$0] ?? [] }
        var touched: Set<String> = []
        for name in entry.queues.keys where names?.contains(name) ?? true {
            entry.queues[name] = nil
            touched.insert(name)
        }
        entry.encoded = nil
        topics[topic] = entry.queues.isEmpty ? nil : entry
        // What these brokers sent last no longer tells what is in the table.
        for (key, broker) in live where touched.contains(broker.name) { live[key]?.bodyFingerprint = nil }
    }

    /// Adds queues of a topic on brokers that are registered (code 217). Returns whether all were known; if not, nothing is changed.
    public mutating func registerTopic(_ topic: String, _ queues: [QueueData]) -> Bool {
        guard !queues.isEmpty, queues.allSatisfy({ brokers[$0.brokerName] != nil }) else { return false }
        for queue in queues { set(queue, of: topic) }
        return true
    }

    /// Takes from or gives to a broker the permission to be written to, in all its topics. Lasts until the broker's topics
    /// change or it restarts. Returns how many topics it has.
    public mutating func setWritable(_ isWritable: Bool, broker name: String) -> Int {
        var count = 0
        for topic in topics.keys {
            guard var queue = topics[topic]?.queues[name] else { continue }
            count += 1
            if isWritable { queue.perm = .readWrite } else { queue.perm.remove(.write) }
            set(queue, of: topic)
        }
        return count
    }

    mutating func set(_ queue: QueueData, of topic: String) {
        guard topics[topic]?.queues[queue.brokerName] != queue else { return }
        topics[topic, default: Topic()].queues[queue.brokerName] = queue
        topics[topic]?.encoded = nil
    }
}

/// What the system flag of a topic says (`topicSysFlag`).
public struct TopicSystemFlag: OptionSet, Hashable, Sendable {
    public var rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// The topic belongs to a unit.
    public static let unit = TopicSystemFlag(rawValue: 1)
    /// Consumers of a unit subscribe to it.
    public static let unitSubscription = TopicSystemFlag(rawValue: 2)
}
