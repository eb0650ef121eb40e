import RocketMQBase
import RocketMQProtocol

/// `wipeWritePerm`: has producers leave a broker, by taking the write permission out of its routes on all nameservers.
struct WipeWritePermissionCommand: AdminCommand {
    static let broker = CommandOption<String>("brokerName", "b", value: "NAME", required: true, "The broker's name.")

    static let declaration = CommandDeclaration.admin(
        "wipeWritePerm", "Take the write permission from a broker in the routes of all name servers.", broker)

    let brokerName: String

    init(_ arguments: CommandArguments) throws(CommandLineError) { brokerName = try arguments.required(Self.broker) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await WritePermission.change("wipe", brokerName, context) { address throws(AdminError) in
            try await context.client.wipeWritePermission(ofBroker: brokerName, inNameServer: address)
        }
    }
}

/// `addWritePerm`: the way back from `wipeWritePerm`.
struct AddWritePermissionCommand: AdminCommand {
    static let broker = WipeWritePermissionCommand.broker

    static let declaration = CommandDeclaration.admin(
        "addWritePerm", "Give the write permission back to a broker in the routes of all name servers.", broker)

    let brokerName: String

    init(_ arguments: CommandArguments) throws(CommandLineError) { brokerName = try arguments.required(Self.broker) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await WritePermission.change("add", brokerName, context) { address throws(AdminError) in
            try await context.client.addWritePermission(toBroker: brokerName, inNameServer: address)
        }
    }
}

private enum WritePermission {
    static func change(
        _ verb: String, _ brokerName: String, _ context: AdminContext, _ work: (String) async throws(AdminError) -> Int64
    ) async throws(AdminError) {
        _ = try await context.client.broker(named: brokerName)
        var counts = JSONObject()
        let progress = try await context.atEachNameServer { address throws(AdminError) in
            let count = try await work(address)
            counts.append(address, .integer(count))
            context.say("\(verb) write perm of broker[\(brokerName)] in name server[\(address)] OK, \(count)")
        }
        if !progress.done.isEmpty { context.show(["brokerName": .string(brokerName), "topicCounts": .object(counts)], text: "") }
        try progress.check()
    }
}
