import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

// Lists of topics, and what administrators do to them: 205, 206, 216, 224, 304, 311 to 313, 327.
extension NameServer {
    func topicList(_ names: [String], brokerAddress: String? = nil) -> RemotingCommand {
        .success(body: TopicList(topicList: names, brokerAddr: brokerAddress).encoded())
    }

    func systemTopics() -> RemotingCommand {
        let (names, brokerAddress) = routes.systemTopics
        return topicList(names, brokerAddress: brokerAddress)
    }

    func deleteTopic(_ request: RemotingCommand, _ connection: ServerConnection) throws -> RemotingCommand {
        let topic = try request.text("topic")
        let cluster = request.fields["clusterName"].flatMap { $0.isEmpty ? nil : $0 }
        routes.deleteTopic(topic, cluster: cluster)
        log.info("\(connection.peer) deleted topic \(topic) from \(cluster.map { "the routes of cluster \($0)" } ?? "all routes")")
        return .success()
    }

    func setWritable(_ isWritable: Bool, _ request: RemotingCommand, _ connection: ServerConnection) throws -> RemotingCommand {
        let broker = try request.text("brokerName")
        let count = routes.setWritable(isWritable, broker: broker)
        log.info("\(connection.peer) made broker \(broker) \(isWritable ? "writable" : "read-only"): \(count) topics")
        return .success([isWritable ? "addTopicCount" : "wipeTopicCount": "\(count)"])
    }
}
