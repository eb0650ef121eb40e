import RocketMQBase
import RocketMQProtocol

/// `updateOrderConf`: reads, sets or deletes which queues of which brokers an ordered topic has.
struct UpdateOrderConfigurationCommand: AdminCommand {
    enum Method: String, NamedSettingValue { case get, put, delete }

    static let topic = CommandOption<String>("topic", "t", value: "TOPIC", required: true, "The topic's name.")
    static let value = CommandOption<String>("orderConf", "v", value: "BROKER:COUNT[;…]", "For put: the number of queues of each broker.")
    static let method = CommandOption<Method>("method", "m", value: "get|put|delete", required: true, "What to do.")

    static let declaration = CommandDeclaration.admin(
        "updateOrderConf", "Read, set or delete the fixed queues of an ordered topic.", topic, value, method)

    let topic: String
    let value: String?
    let method: Method

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        topic = try arguments.required(Self.topic)
        method = try arguments.required(Self.method)
        value = arguments[Self.value]
        guard method == .put else { return }
        guard let value, !value.isEmpty else { throw arguments.wrong("option --orderConf is missing: put needs it") }
        let isGood = value.split(separator: ";").allSatisfy { entry in
            let parts = entry.split(separator: ":")
            return parts.count == 2 && Int32(parts[1]).map { $0 > 0 } == true
        }
        guard isGood else { throw arguments.wrong("option --orderConf must be BROKER:COUNT, several separated by ;") }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let namespace = AdminClient.orderTopics
        let found: String?
        switch method {
        case .get:
            found = try await context.client.value(ofKey: topic, namespace: namespace)
            context.say("get orderConf success. topic=[\(topic)], orderConf=[\(found ?? "")]")
        case .put:
            let value = value ?? ""
            try await context.atEachNameServer { address throws(AdminError) in
                try await context.client.put(value, key: topic, namespace: namespace, inNameServer: address)
            }.check()
            found = value
            context.say("update orderConf success. topic=[\(topic)], orderConf=[\(value)]")
        case .delete:
            try await context.atEachNameServer { address throws(AdminError) in
                try await context.client.delete(key: topic, namespace: namespace, inNameServer: address)
            }.check()
            found = nil
            context.say("delete orderConf success. topic=[\(topic)]")
        }
        context.show(["orderConf": found.map { .string($0) } ?? .null, "topic": .string(topic)], text: "")
    }
}
