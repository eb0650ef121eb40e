import RocketMQBase
import RocketMQProtocol

/// `deleteSubGroup`: deletes a consumer group; of a whole cluster its retry and dead letter topics too.
struct DeleteGroupCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>(
        "clusterName", "c", value: "CLUSTER", "Every master of this cluster; the group's retry and dead letter topics go too.")
    static let group = CommandOption<String>("groupName", "g", value: "GROUP", required: true, "The group's name.")
    static let removeOffset = CommandOption<Bool>(
        "removeOffset", "r", value: "true|false", "Forget its offsets too, false unless given.")

    static let declaration = CommandDeclaration.admin(
        "deleteSubGroup", "Delete a consumer group.", broker, cluster, group, removeOffset, exactlyOneOf: [[broker, cluster]],
        notes: """
            Stop its consumers first: where brokers make groups by themselves (autoCreateSubscriptionGroup) those that run make it again, with
            default settings, and elsewhere they get nothing more. With -c its dead letters are gone with their topic.
            Example: mqadmin deleteSubGroup -n 127.0.0.1:9876 -c DefaultCluster -g billing -r true
            """)

    let target: BrokerTarget
    let group: String
    let removesOffsets: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        group = try arguments.required(Self.group)
        removesOffsets = arguments[Self.removeOffset] ?? false
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let masters = try await target.masters(context.client)
        var wasKnown = false
        let progress = await context.atEach(masters) { address throws(AdminError) in
            if try await context.client.groupConfigs(ofBroker: address)[group] != nil { wasKnown = true }
            if let connected = try await context.client.members(ofGroup: group, atBroker: address) {
                let names = connected.connectionSet.prefix(3).map(\.clientID).joined(separator: ", ")
                context.warn(
                    "\(connected.connectionSet.count) consumers of group \(group) are connected to \(address) (\(names)): stop them")
            }
            try await context.client.deleteGroup(group, removingOffsets: removesOffsets, atBroker: address)
            var place = ""
            if case .cluster(let cluster) = target { place = " in cluster [\(cluster)]" }
            context.say("delete subscription group [\(group)] from broker [\(address)]\(place) success.")
        }
        if !wasKnown, !progress.done.isEmpty { context.warn("no broker knew group \(group); what may be left of it is deleted") }
        if !progress.done.isEmpty {
            context.show(["brokers": .array(progress.done.map { .string($0) }), "groupName": .string(group)], text: "")
        }
        try progress.check()
        if case .cluster(let cluster) = target { try await deleteTopics(cluster, context) }
    }

    /// The topics of the group, where there are any.
    private func deleteTopics(_ cluster: String, _ context: AdminContext) async throws(AdminError) {
        for topic in [SystemTopic.retry(of: group), SystemTopic.deadLetter(of: group)]
        where try await context.client.route(ofTopic: topic) != nil {
            _ = try await DeleteTopicCommand.delete(topic, cluster, context)
        }
    }
}
