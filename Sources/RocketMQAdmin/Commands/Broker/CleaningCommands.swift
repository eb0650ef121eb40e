import RocketMQBase
import RocketMQProtocol

/// Commands by which brokers clean up: of one broker, of a cluster's masters, or of all.
struct CleaningTarget: Sendable {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("cluster", "c", value: "CLUSTER", "Every master of this cluster; of all unless given.")

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

    func clean(_ context: AdminContext, _ work: (String) async throws(AdminError) -> Void) async throws(AdminError) {
        let addresses: [String]
        if let target {
            addresses = try await target.masters(context.client)
        } else {
            addresses = try await context.client.brokers(ofCluster: nil).filter(\.isMaster).map(\.address)
        }
        let progress = await context.atEach(addresses, work)
        if !progress.done.isEmpty { context.show(["brokers": .array(progress.done.map { .string($0) })], text: "success\n") }
        try progress.check()
    }
}

/// `cleanUnusedTopic`: has brokers delete the queues of topics that they do not have any more.
struct CleanUnusedTopicCommand: AdminCommand {
    static let declaration = CommandDeclaration.admin(
        "cleanUnusedTopic", "Delete what is left of deleted topics on brokers.", CleaningTarget.broker, CleaningTarget.cluster)

    let target: CleaningTarget

    init(_ arguments: CommandArguments) throws(CommandLineError) { target = try CleaningTarget(arguments) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await target.clean(context) { address throws(AdminError) in try await context.client.cleanUnusedTopics(ofBroker: address) }
    }
}

/// `deleteExpiredCommitLog`: has brokers delete files that have expired now, not only at `deleteWhen`.
struct DeleteExpiredCommitLogCommand: AdminCommand {
    static let declaration = CommandDeclaration.admin(
        "deleteExpiredCommitLog", "Delete files of the log that have expired now.", CleaningTarget.broker, CleaningTarget.cluster)

    let target: CleaningTarget

    init(_ arguments: CommandArguments) throws(CommandLineError) { target = try CleaningTarget(arguments) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await target.clean(context) { address throws(AdminError) in
            try await context.client.deleteExpiredFiles(ofBroker: address, .deleteExpiredCommitlog)
        }
    }
}

/// `cleanExpiredCQ`: has brokers shorten their queues to what the log still has.
struct CleanExpiredQueuesCommand: AdminCommand {
    static let declaration = CommandDeclaration.admin(
        "cleanExpiredCQ", "Delete files of queues whose messages have expired now.", CleaningTarget.broker, CleaningTarget.cluster)

    let target: CleaningTarget

    init(_ arguments: CommandArguments) throws(CommandLineError) { target = try CleaningTarget(arguments) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await target.clean(context) { address throws(AdminError) in
            try await context.client.deleteExpiredFiles(ofBroker: address, .cleanExpiredConsumequeue)
        }
    }
}
