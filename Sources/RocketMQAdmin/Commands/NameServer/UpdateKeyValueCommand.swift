import RocketMQBase
import RocketMQProtocol

/// `updateKvConfig`: sets a key of a namespace on all nameservers.
struct UpdateKeyValueCommand: AdminCommand {
    static let namespace = CommandOption<String>("namespace", "s", value: "NAMESPACE", required: true, "The namespace.")
    static let key = CommandOption<String>("key", "k", value: "KEY", required: true, "The key.")
    static let value = CommandOption<String>("value", "v", value: "VALUE", required: true, "What to set it to.")

    static let declaration = CommandDeclaration.admin("updateKvConfig", "Set a key that the name servers keep.", namespace, key, value)

    let namespace: String
    let key: String
    let value: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        namespace = try arguments.required(Self.namespace)
        key = try arguments.required(Self.key)
        value = try arguments.required(Self.value)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = try await context.atEachNameServer { address throws(AdminError) in
            try await context.client.put(value, key: key, namespace: namespace, inNameServer: address)
        }
        if !progress.done.isEmpty {
            context.show(
                [
                    "key": .string(key), "nameServers": .array(progress.done.map { .string($0) }), "namespace": .string(namespace),
                    "value": .string(value),
                ], text: "create or update kv config to namespace success.\n")
        }
        try progress.check()
    }
}
