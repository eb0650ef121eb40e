import RocketMQBase
import RocketMQProtocol

/// `deleteTopic`: deletes a topic on every master of a cluster and on all nameservers.
struct DeleteTopicCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", required: true, "The cluster to delete it from.")

    static let declaration = CommandDeclaration.admin(
        "deleteTopic", "Delete a topic from the brokers of a cluster and from the name servers.", topic, cluster)

    let topic: String
    let cluster: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        cluster = try arguments.required(Self.cluster)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        // A second deletion is no failure, but who mistyped the name should notice.
        if try await context.client.route(ofTopic: topic) == nil {
            context.warn("no name server knows topic \(topic); what may be left of it is deleted")
        }
        let brokers = try await Self.delete(topic, cluster, context)
        context.show(
            [
                "brokers": .array(brokers.map { .string($0) }), "cluster": .string(cluster),
                "nameServers": .array(context.client.nameServers.map { .string($0) }), "topic": .string(topic),
            ], text: "")
    }

    /// Returns the brokers' addresses. The nameservers forget the topic only when no broker of the cluster has it any more.
    static func delete(_ topic: String, _ cluster: String, _ context: AdminContext) async throws(AdminError) -> [String] {
        let masters = try await context.client.masters(ofCluster: cluster).map(\.address)
        let onBrokers = await context.atEach(masters) { address throws(AdminError) in
            try await context.client.deleteTopic(topic, atBroker: address)
        }
        try onBrokers.check()
        context.say("delete topic [\(topic)] from cluster [\(cluster)] success.")
        let onNameServers = try await context.atEachNameServer { address throws(AdminError) in
            try await context.client.deleteTopic(topic, cluster: cluster, inNameServer: address)
        }
        try onNameServers.check()
        context.say("delete topic [\(topic)] from NameServer success.")
        return onBrokers.done
    }
}
