import RocketMQBase
import RocketMQProtocol

/// `topicList`: the names of all topics; with `-c` their clusters and the groups that consume them.
struct TopicListCommand: AdminCommand {
    static let clusterModel = CommandFlag("clusterModel", "c", "Show the cluster and the consumer groups of each topic.")

    static let declaration = CommandDeclaration.admin("topicList", "List all topics.", clusterModel)

    let showsGroups: Bool

    init(_ arguments: CommandArguments) { showsGroups = arguments[Self.clusterModel] }

    func run(_ context: AdminContext) async throws(AdminError) {
        let topics = try await context.client.topicNames().sorted(by: JavaOrder.precedes)
        guard showsGroups else {
            return context.show(.array(topics.map { .string($0) }), text: topics.map { Printable.line($0) + "\n" }.joined())
        }
        var table = Table([.init("#Cluster Name", "clusterName"), .init("#Topic", "topic"), .init("#Consumer Group", "consumerGroup")])
        for topic in topics where !topic.hasPrefix(SystemTopic.retryPrefix) && !topic.hasPrefix(SystemTopic.deadLetterPrefix) {
            guard let route = try await context.client.route(ofTopic: topic) else { continue }
            let members = AdminClient.members(of: route)
            let cluster = route.brokerDatas.first?.cluster ?? ""
            var groups: Set<String> = []
            for member in members {
                do throws(AdminError) {
                    groups.formUnion(try await context.client.groups(consuming: topic, atBroker: member.address))
                } catch {
                    context.warn(error.description)
                }
            }
            for group in groups.isEmpty ? [""] : groups.sorted() { table.add(.init(cluster), .init(topic), .init(group)) }
        }
        context.show(table)
    }
}
