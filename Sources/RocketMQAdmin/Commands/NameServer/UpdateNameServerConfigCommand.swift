import RocketMQBase
import RocketMQProtocol

/// `updateNamesrvConfig`: changes one setting on all nameservers while they run.
struct UpdateNameServerConfigCommand: AdminCommand {
    static let key = CommandOption<String>("key", "k", value: "NAME", required: true, "The setting.")
    static let value = CommandOption<String>("value", "v", value: "VALUE", required: true, "What to set it to.")

    static let declaration = CommandDeclaration.admin(
        "updateNamesrvConfig", "Change a setting of the name servers while they run.", key, value)

    let key: String
    let value: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        key = try arguments.required(Self.key)
        value = try arguments.required(Self.value)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = try await context.atEachNameServer { address throws(AdminError) in
            let remark = try await context.client.updateSetting(key, to: value, ofNameServer: address)
            if let remark, !remark.isEmpty { context.warn("name server \(address): \(remark)") }
        }
        if !progress.done.isEmpty {
            context.show(
                ["key": .string(key), "nameServers": .array(progress.done.map { .string($0) }), "value": .string(value)],
                text: "update name server config success! [\(progress.done.joined(separator: ", "))]\n\(key) : \(value)\n")
        }
        try progress.check()
    }
}
