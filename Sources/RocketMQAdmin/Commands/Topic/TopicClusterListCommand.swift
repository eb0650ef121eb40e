import RocketMQBase
import RocketMQProtocol

/// `topicClusterList`: the clusters that serve a topic.
struct TopicClusterListCommand: AdminCommand {
    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")

    static let declaration = CommandDeclaration.admin("topicClusterList", "List the clusters that serve a topic.", topic)

    let topic: String

    init(_ arguments: CommandArguments) throws(CommandLineError) { topic = try arguments.required(Self.topic) }

    func run(_ context: AdminContext) async throws(AdminError) {
        let route = try await context.client.existingRoute(ofTopic: topic)
        let names = Set(route.brokerDatas.map(\.brokerName))
        let clusters = try await context.client.clusterInfo().clusterAddrTable.filter { !$0.value.isDisjoint(with: names) }.keys.sorted()
        context.show(.array(clusters.map { .string($0) }), text: clusters.map { $0 + "\n" }.joined())
    }
}
