import RocketMQBase
import RocketMQProtocol

// From names to addresses; what is not known is told with what is.
extension AdminClient {
    /// A broker of a cluster.
    public struct Member: Sendable, Hashable {
        public var brokerName: String
        public var id: Int64
        public var address: String
        public var isMaster: Bool { id == BrokerData.masterID }
    }

    /// All brokers of a cluster by name and id, or all of all clusters.
    public func brokers(ofCluster cluster: String?) async throws(AdminError) -> [Member] {
        let info = try await clusterInfo()
        var names: Set<String>
        if let cluster {
            guard let known = info.clusterAddrTable[cluster] else { throw Self.unknownCluster(cluster, info) }
            names = known
        } else {
            names = Set(info.brokerAddrTable.keys)
        }
        var members: [Member] = []
        for name in names.sorted(by: JavaOrder.precedes) {
            for (id, address) in (info.brokerAddrTable[name]?.brokerAddrs ?? [:]).sorted(by: { $0.key < $1.key }) {
                members.append(Member(brokerName: name, id: id, address: address))
            }
        }
        return members
    }

    /// The masters of a cluster, of which there must be one.
    public func masters(ofCluster cluster: String) async throws(AdminError) -> [Member] {
        let masters = try await brokers(ofCluster: cluster).filter(\.isMaster)
        guard !masters.isEmpty else {
            throw AdminError(
                .unknownBroker, "cluster \(cluster) has no master broker now", remedy: "start one, or see mqadmin clusterList")
        }
        return masters
    }

    private static func unknownCluster(_ cluster: String, _ info: ClusterInfo) -> AdminError {
        AdminError(.unknownCluster, "there is no cluster \(cluster)", remedy: alternatives(to: cluster, info.clusterAddrTable.keys))
    }

    /// What a name may have been meant to be.
    private static func alternatives(to name: String, _ known: some Sequence<String>) -> String {
        let known = known.sorted()
        guard !known.isEmpty else { return "no broker has registered with this name server yet: start one, with -n of its address" }
        if let nearest = nearestName(to: name, among: known) { return "did you mean \(nearest)?" }
        let shown = known.prefix(20).joined(separator: ", ")
        return "the name server knows \(shown)" + (known.count > 20 ? " and \(known.count - 20) more" : "")
    }

    /// The address of a broker that is given by its address, or by its name: then of its master.
    public func brokerAddress(_ given: String) async throws(AdminError) -> String {
        if given.contains(":") {
            guard let colon = given.lastIndex(of: ":"), colon != given.startIndex, UInt16(given[given.index(after: colon)...]) != nil else {
                throw AdminError(.wrongCall, "\"\(given)\" is not the address of a broker", remedy: "write HOST:PORT or a broker's name")
            }
            return given
        }
        return try await broker(named: given).address
    }

    /// The master of a name, or the lowest slave where there is none now.
    public func broker(named name: String) async throws(AdminError) -> Member {
        let info = try await clusterInfo()
        guard let data = info.brokerAddrTable[name], let first = data.brokerAddrs.min(by: { $0.key < $1.key }) else {
            throw AdminError(
                .unknownBroker, "there is no broker \(name)", remedy: Self.alternatives(to: name, info.brokerAddrTable.keys))
        }
        return Member(brokerName: name, id: first.key, address: first.value)
    }

    /// The route of a topic that must exist.
    public func existingRoute(ofTopic topic: String) async throws(AdminError) -> TopicRouteData {
        if let route = try await route(ofTopic: topic) { return route }
        // Only now it matters what other topics there are.
        let known = (try? await topicNames()) ?? []
        throw AdminError(
            .unknownTopic, "no name server knows topic \(topic)",
            remedy: nearestName(to: topic, among: known).map { "did you mean \($0)?" }
                ?? "mqadmin topicList shows all topics, mqadmin updateTopic -c CLUSTER -t \(topic) creates this one",
            responseCode: .topicNotExist)
    }

    /// The brokers of a route to ask: the master of each name, else a slave.
    public static func members(of route: TopicRouteData) -> [Member] {
        route.brokerDatas.sorted { JavaOrder.precedes($0.brokerName, $1.brokerName) }.compactMap { data in
            data.brokerAddrs.min { $0.key < $1.key }.map { Member(brokerName: data.brokerName, id: $0.key, address: $0.value) }
        }
    }

    /// The brokers that know a group: those of its retry topic, or all while it has none.
    public func brokers(ofGroup group: String) async throws(AdminError) -> [Member] {
        if let route = try await route(ofTopic: SystemTopic.retry(of: group)) { return Self.members(of: route) }
        return try await brokers(ofCluster: nil).filter(\.isMaster)
    }

    /// The queues of a topic that can be read, and where: by broker name and number.
    public static func readableQueues(ofTopic topic: String, _ route: TopicRouteData) -> [(queue: MessageQueue, address: String)] {
        let addresses = Dictionary(members(of: route).map { ($0.brokerName, $0.address) }, uniquingKeysWith: { first, _ in first })
        var queues: [(MessageQueue, String)] = []
        for data in route.queueDatas where data.perm.contains(.read) {
            guard let address = addresses[data.brokerName] else { continue }
            for id in 0..<min(max(0, data.readQueueNums), 65_536) {
                queues.append((MessageQueue(topic: topic, brokerName: data.brokerName, queueID: id), address))
            }
        }
        return queues.sorted { $0.0 < $1.0 }
    }
}
