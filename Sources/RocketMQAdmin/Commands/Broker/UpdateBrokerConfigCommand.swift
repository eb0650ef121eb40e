import RocketMQBase
import RocketMQProtocol

/// `updateBrokerConfig`: changes one setting on one broker or on every master of a cluster, while they run.
struct UpdateBrokerConfigCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "The broker; its name will do too.")
    static let cluster = CommandOption<String>("clusterName", "c", value: "CLUSTER", "Every master of this cluster.")
    static let key = CommandOption<String>("key", "k", value: "NAME", required: true, "The setting.")
    static let value = CommandOption<String>("value", "v", value: "VALUE", required: true, "What to set it to.")

    static let declaration = CommandDeclaration.admin(
        "updateBrokerConfig", "Change a setting of brokers while they run.", broker, cluster, key, value, exactlyOneOf: [[broker, cluster]])

    let target: BrokerTarget
    let key: String
    let value: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        key = try arguments.required(Self.key)
        value = try arguments.required(Self.value)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            let remark = try await context.client.updateSetting(key, to: value, ofBroker: address)
            context.say("update broker config success, \(address)")
            if let remark, !remark.isEmpty { context.warn("broker \(address): \(remark)") }
        }
        if !progress.done.isEmpty {
            context.show(
                ["brokers": .array(progress.done.map { .string($0) }), "key": .string(key), "value": .string(value)], text: "")
        }
        try progress.check()
    }
}
