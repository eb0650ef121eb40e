import RocketMQBase
import RocketMQProtocol

/// `deleteKvConfig`: deletes a key of a namespace on all nameservers.
struct DeleteKeyValueCommand: AdminCommand {
    static let namespace = UpdateKeyValueCommand.namespace
    static let key = UpdateKeyValueCommand.key

    static let declaration = CommandDeclaration.admin("deleteKvConfig", "Delete a key that the name servers keep.", namespace, key)

    let namespace: String
    let key: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        namespace = try arguments.required(Self.namespace)
        key = try arguments.required(Self.key)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let progress = try await context.atEachNameServer { address throws(AdminError) in
            try await context.client.delete(key: key, namespace: namespace, inNameServer: address)
        }
        if !progress.done.isEmpty {
            context.show(
                ["key": .string(key), "nameServers": .array(progress.done.map { .string($0) }), "namespace": .string(namespace)],
                text: "delete kv config from namespace success.\n")
        }
        try progress.check()
    }
}
