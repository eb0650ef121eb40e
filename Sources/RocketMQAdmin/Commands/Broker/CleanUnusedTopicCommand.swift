import RocketMQBase
import RocketMQProtocol

/// `cleanUnusedTopic`: has brokers delete the queues of topics that they do not have any more.
struct CleanUnusedTopicCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("cluster", "c", value: "CLUSTER", "Every master of this cluster; of all unless given.")

    static let declaration = CommandDeclaration.admin(
        "cleanUnusedTopic", "Delete what is left of deleted topics on brokers.", broker, cluster)

    /// `nil` for all clusters.
    let target: BrokerTarget?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        switch (arguments[Self.broker], arguments[Self.cluster]) {
        case (nil, nil): target = nil
        case (let broker?, nil): target = .broker(broker)
        case (nil, let cluster?): target = .cluster(cluster)
        default: throw arguments.wrong("only one of --brokerAddr and --cluster can be given")
        }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let addresses: [String]
        if let target {
            addresses = try await target.masters(context.client)
        } else {
            addresses = try await context.client.brokers(ofCluster: nil).filter(\.isMaster).map(\.address)
        }
        let progress = await context.atEach(addresses) { address throws(AdminError) in
            try await context.client.cleanUnusedTopics(ofBroker: address)
        }
        if !progress.done.isEmpty { context.show(["brokers": .array(progress.done.map { .string($0) })], text: "success\n") }
        try progress.check()
    }
}
