import RocketMQBase
import RocketMQProtocol

// What nameservers answer: 100, 101, 102, 105, 106, 205, 206, 216, 318, 319, 327.
extension AdminClient {
    /// 106: all clusters, their brokers and addresses.
    public func clusterInfo() async throws(AdminError) -> ClusterInfo {
        try await askNameServers(.request(.getBrokerClusterInfo), doing: "list the clusters")
    }

    /// 206: the names of all topics.
    public func topicNames() async throws(AdminError) -> [String] {
        try await askNameServers(.request(.getAllTopicListFromNameserver), doing: "list the topics", as: TopicList.self).topicList
    }

    /// 105: where a topic is served; `nil` when the nameserver does not know it.
    public func route(ofTopic topic: String) async throws(AdminError) -> TopicRouteData? {
        let action = "find the route of topic \(topic)"
        let (response, server) = try await askNameServers(.request(.getRouteinfoByTopic, ["topic": topic]), doing: action)
        switch response.responseCode {
        case .success: return try Self.decode(response.body, server, doing: action)
        case .topicNotExist: return nil
        default: throw AdminError(response, doing: action, at: server)
        }
    }

    /// 216: takes the topic out of the routes of a cluster.
    public func deleteTopic(_ topic: String, cluster: String, inNameServer address: String) async throws(AdminError) {
        try await call(
            .request(.deleteTopicInNamesrv, ["topic": topic, "clusterName": cluster]), .nameServer(address), doing: "delete topic \(topic)")
    }

    /// 205: makes a broker read-only in a nameserver's routes. Returns how many topics that changed.
    public func wipeWritePermission(ofBroker brokerName: String, inNameServer address: String) async throws(AdminError) -> Int64 {
        let action = "take the write permission from broker \(brokerName)"
        let server = AdminServer.nameServer(address)
        let response = try await call(.request(.wipeWritePermOfBroker, ["brokerName": brokerName]), server, doing: action)
        return try Self.number("wipeTopicCount", of: response, server, doing: action)
    }

    /// 327: the way back from 205.
    public func addWritePermission(toBroker brokerName: String, inNameServer address: String) async throws(AdminError) -> Int64 {
        let action = "give the write permission to broker \(brokerName)"
        let server = AdminServer.nameServer(address)
        let response = try await call(.request(.addWritePermOfBroker, ["brokerName": brokerName]), server, doing: action)
        return try Self.number("addTopicCount", of: response, server, doing: action)
    }

    // MARK: The key-value configuration

    /// The namespace that holds the order of topics' queues.
    public static let orderTopics = "ORDER_TOPIC_CONFIG"

    /// 101; `nil` when there is no such key.
    public func value(ofKey key: String, namespace: String) async throws(AdminError) -> String? {
        let action = "read key \(key) of namespace \(namespace)"
        let (response, server) = try await askNameServers(.request(.getKvConfig, ["namespace": namespace, "key": key]), doing: action)
        switch response.responseCode {
        case .success: return response.fields["value"]
        case .queryNotFound: return nil
        default: throw AdminError(response, doing: action, at: server)
        }
    }

    /// 100.
    public func put(
        _ value: String, key: String, namespace: String, inNameServer address: String
    ) async throws(AdminError) {
        try await call(
            .request(.putKvConfig, ["namespace": namespace, "key": key, "value": value]), .nameServer(address),
            doing: "set key \(key) of namespace \(namespace)")
    }

    /// 102.
    public func delete(key: String, namespace: String, inNameServer address: String) async throws(AdminError) {
        try await call(
            .request(.deleteKvConfig, ["namespace": namespace, "key": key]), .nameServer(address),
            doing: "delete key \(key) of namespace \(namespace)")
    }

    // MARK: Settings

    /// 319: all settings in force.
    public func settings(ofNameServer address: String) async throws(AdminError) -> [(key: String, value: String)] {
        let action = "read the settings"
        let server = AdminServer.nameServer(address)
        let response = try await call(.request(.getNamesrvConfig), server, doing: action)
        return try Self.properties(response.body, server, doing: action)
    }

    /// 318. Returns what the nameserver remarks.
    public func updateSetting(_ key: String, to value: String, ofNameServer address: String) async throws(AdminError) -> String? {
        let body = Array((PropertiesText.line(key: key, value: value) + "\n").utf8)
        return try await call(
            .request(.updateNamesrvConfig, body: body), .nameServer(address), doing: "set \(key) to \(value)"
        ).remark
    }
}
