import RocketMQBase
import RocketMQProtocol

/// `updateTopicPerm`: changes what may be done with a topic, and nothing else of it.
struct UpdateTopicPermissionCommand: AdminCommand {
    static let broker = UpdateTopicCommand.broker
    static let cluster = UpdateTopicCommand.cluster
    static let topic = UpdateTopicCommand.topic
    static let permission = CommandOption<Int>(
        "perm", "p", value: "2|4|6", required: true, allowed: "2 (write), 4 (read) or 6 (both)",
        "What may be done: 2 write, 4 read, 6 both.",
        accepts: { (0...7).contains($0) })

    static let declaration = CommandDeclaration.admin(
        "updateTopicPerm", "Change the permission of a topic.", broker, cluster, topic, permission, exactlyOneOf: [[broker, cluster]])

    let target: BrokerTarget
    let topic: String
    let permission: Permission

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        topic = try arguments.required(Self.topic)
        permission = Permission(rawValue: Int32(try arguments.required(Self.permission)))
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        // Asked of the brokers themselves: what is on one need not be on the others, and a route does not tell all.
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            guard var config = try await context.client.topicConfigs(ofBroker: address)[topic] else {
                throw AdminError(
                    .unknownTopic, "broker \(address) has no topic \(topic)",
                    remedy: "create it with: mqadmin updateTopic -b \(address) -t \(topic)")
            }
            let old = config.perm
            guard old != permission else { return context.say("new perm equals to the old one in \(address)!") }
            config.perm = permission
            try await context.client.updateTopic(config, atBroker: address)
            context.say("update topic perm from \(old.rawValue) to \(permission.rawValue) in \(address) success.")
        }
        if !progress.done.isEmpty {
            context.show(
                [
                    "brokers": .array(progress.done.map { .string($0) }), "perm": .integer(Int64(permission.rawValue)),
                    "topic": .string(topic),
                ], text: "")
        }
        try progress.check()
    }
}
