import RocketMQBase
import RocketMQProtocol

/// `updateSubGroup`: creates a consumer group or replaces its settings, on one broker or on every master of a cluster.
struct UpdateGroupCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "Every master of this cluster.")
    static let group = CommandOption<String>("groupName", "g", value: "GROUP", required: true, "The group's name.")
    static let consume = CommandOption<Bool>("consumeEnable", "s", value: "true|false", "Whether the group may consume, true unless given.")
    static let fromMinimum = CommandOption<Bool>(
        "consumeFromMinEnable", "m", value: "true|false", "Whether it may start at the oldest message, false unless given.")
    static let broadcast = CommandOption<Bool>(
        "consumeBroadcastEnable", "d", value: "true|false", "Whether its members may each get all messages, false unless given.")
    static let retryQueues = CommandOption<Int>(
        "retryQueueNums", "q", value: "COUNT", allowed: "a number from 0 to 65535", "Queues of its retry topic, 1 unless given.",
        accepts: { (0...65_535).contains($0) })
    static let retryMost = CommandOption<Int>(
        "retryMaxTimes", "r", value: "COUNT", allowed: "a number from -1 to 2147483647",
        "How often a message is tried again before it is a dead letter, 16 unless given.", accepts: { (-1...Int(Int32.max)).contains($0) })
    static let brokerID = CommandOption<Int64>("brokerId", "i", value: "ID", "The broker id to consume from, 0 (the master) unless given.")
    static let slowBrokerID = CommandOption<Int64>(
        "whichBrokerWhenConsumeSlowly", "w", value: "ID", "The broker id to consume from when far behind, 1 unless given.")
    static let notify = CommandOption<Bool>(
        "notifyConsumerIdsChanged", "a", value: "true|false", "Whether members are told when others come or go, true unless given.")

    static let declaration = CommandDeclaration.admin(
        "updateSubGroup", "Create a consumer group, or replace its settings.", broker, cluster, group, consume, fromMinimum, broadcast,
        retryQueues, retryMost, brokerID, slowBrokerID, notify, exactlyOneOf: [[broker, cluster]],
        notes: "What is not given is set to its default, also on a group that exists.")

    let target: BrokerTarget
    let config: SubscriptionGroupConfig

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        config = SubscriptionGroupConfig(
            groupName: try arguments.required(Self.group), consumeEnable: arguments[Self.consume] ?? true,
            consumeFromMinEnable: arguments[Self.fromMinimum] ?? false, consumeBroadcastEnable: arguments[Self.broadcast] ?? false,
            retryQueueNums: Int32(arguments[Self.retryQueues] ?? 1), retryMaxTimes: Int32(arguments[Self.retryMost] ?? 16),
            brokerID: arguments[Self.brokerID] ?? BrokerData.masterID, whichBrokerWhenConsumeSlowly: arguments[Self.slowBrokerID] ?? 1,
            notifyConsumerIDsChangedEnable: arguments[Self.notify] ?? true)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            try await context.client.updateGroup(config, atBroker: address)
            context.say("create subscription group to \(address) success.")
        }
        if !progress.done.isEmpty {
            context.show(
                ["brokers": .array(progress.done.map { .string($0) }), "subscriptionGroupConfig": config.json], text: config.line + "\n")
        }
        try progress.check()
    }
}
