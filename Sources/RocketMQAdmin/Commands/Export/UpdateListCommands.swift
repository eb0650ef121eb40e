import RocketMQBase
import RocketMQProtocol

/// A list of settings in a file, for the commands that take one.
enum ListFile {
    static let broker = UpdateGroupCommand.broker
    static let cluster = UpdateGroupCommand.cluster
    static let file = CommandOption<String>("filename", "f", value: "FILE", required: true, "The file.")

    /// The list, or the values of the table of this name, as exportMetadata writes it.
    static func elements(_ path: String, table: String, _ context: AdminContext) throws(AdminError) -> [JSONValue] {
        let json = try ExportFile.read(path, context)
        let elements = json.array ?? json[table]?.object?.members.map(\.value)
        guard let elements, !elements.isEmpty else {
            throw AdminError(.wrongCall, "\(path) holds no settings: a JSON list of objects is wanted, or an object with \(table)")
        }
        return elements
    }

    /// Every element, or what is wrong with the first that cannot be read: nothing is sent then.
    static func decode<Body: JSONBody>(
        _ elements: [JSONValue], _ path: String, as type: Body.Type
    ) throws(AdminError) -> [Body] {
        var bodies: [Body] = []
        for (index, element) in elements.enumerated() {
            do throws(MalformedBytes) { bodies.append(try Body(json: element)) } catch {
                throw AdminError(.wrongCall, "\(path): element \(index + 1) of \(elements.count) cannot be read: \(error.what)")
            }
        }
        return bodies
    }
}

/// `updateTopicList`: creates or changes the topics of a file.
struct UpdateTopicListCommand: AdminCommand {
    static let declaration = CommandDeclaration.admin(
        "updateTopicList", "Create or change the topics that a file lists.", ListFile.broker, ListFile.cluster, ListFile.file,
        exactlyOneOf: [[ListFile.broker, ListFile.cluster]],
        notes: """
            FILE is a JSON list of objects with topicName, and readQueueNums, writeQueueNums (16), perm (6), order and attributes where they
            differ from what stands here; or what exportMetadata -b wrote.
            Example: mqadmin updateTopicList -n 127.0.0.1:9876 -c DefaultCluster -f topics.json
            """)

    let target: BrokerTarget
    let path: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[ListFile.broker], arguments[ListFile.cluster], arguments)
        path = try arguments.required(ListFile.file)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let elements = try ListFile.elements(path, table: "topicConfigTable", context)
        let configs = try ListFile.decode(elements, path, as: TopicConfig.self)
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            for config in configs {
                let attributes = config.attributes.sorted { $0.key < $1.key }.map { "+\($0.key)=\($0.value)" }.joined(separator: ",")
                try await context.client.updateTopic(config, attributes: attributes.isEmpty ? nil : attributes, atBroker: address)
            }
            context.say("\(configs.count) topics created or changed at \(address).")
        }
        if !progress.done.isEmpty {
            context.show(["brokers": .texts(progress.done), "topics": .texts(configs.map(\.topicName))], text: "")
        }
        try progress.check()
    }
}

/// `updateSubGroupList`: creates or changes the consumer groups of a file.
struct UpdateGroupListCommand: AdminCommand {
    static let declaration = CommandDeclaration.admin(
        "updateSubGroupList", "Create or change the consumer groups that a file lists.", ListFile.broker, ListFile.cluster, ListFile.file,
        exactlyOneOf: [[ListFile.broker, ListFile.cluster]],
        notes: """
            FILE is a JSON list of objects with groupName, and retryMaxTimes (16), retryQueueNums (1), consumeEnable and the others where
            they differ from what stands here; or what exportMetadata -b wrote.
            Example: mqadmin updateSubGroupList -n 127.0.0.1:9876 -c DefaultCluster -f groups.json
            """)

    let target: BrokerTarget
    let path: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[ListFile.broker], arguments[ListFile.cluster], arguments)
        path = try arguments.required(ListFile.file)
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let elements = try ListFile.elements(path, table: "subscriptionGroupTable", context)
        let configs = try ListFile.decode(elements, path, as: SubscriptionGroupConfig.self)
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            for config in configs { try await context.client.updateGroup(config, atBroker: address) }
            context.say("\(configs.count) consumer groups created or changed at \(address).")
        }
        if !progress.done.isEmpty {
            context.show(["brokers": .texts(progress.done), "groups": .texts(configs.map(\.groupName))], text: "")
        }
        try progress.check()
    }
}
