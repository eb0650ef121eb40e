import RocketMQBase
import RocketMQProtocol

/// A list of settings in a file, and where they go: what the commands share that take one.
struct ListFile {
    private static let broker = UpdateGroupCommand.broker
    private static let cluster = UpdateGroupCommand.cluster
    private static let file = CommandOption<String>("filename", "f", value: "FILE", required: true, "The file.")

    private let target: BrokerTarget
    private let path: String

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        target = try BrokerTarget(arguments[Self.broker], arguments[Self.cluster], arguments)
        path = try arguments.required(Self.file)
    }

    static func declaration(_ name: String, _ summary: String, notes: String) -> CommandDeclaration {
        .admin(name, summary, broker, cluster, file, exactlyOneOf: [[broker, cluster]], notes: notes)
    }

    /// Sends every element to every broker; none when one of them cannot be read.
    ///
    /// - Parameters:
    ///   - table: as `exportMetadata` calls it.
    ///   - kind: of what the elements are, for people, and its name in the JSON that is shown.
    func apply<Body: JSONBody & Sendable>(
        _ type: Body.Type, table: String, kind: (text: String, field: String), _ name: (Body) -> String, _ context: AdminContext,
        _ send: (_ element: Body, _ address: String) async throws(AdminError) -> Void
    ) async throws(AdminError) {
        let configs = try Self.decode(try Self.elements(path, table: table, context), path, as: type)
        let progress = await context.atEach(try await target.masters(context.client)) { address throws(AdminError) in
            for config in configs { try await send(config, address) }
            context.say("\(configs.count) \(kind.text) created or changed at \(address).")
        }
        if !progress.done.isEmpty {
            var shown = JSONObject()
            shown.append("brokers", .texts(progress.done))
            shown.append(kind.field, .texts(configs.map(name)))
            context.show(.object(shown), text: "")
        }
        try progress.check()
    }

    /// The list, or the values of the table of this name, as exportMetadata writes it.
    private static func elements(_ path: String, table: String, _ context: AdminContext) throws(AdminError) -> [JSONValue] {
        let json = try ExportFile.read(path, context)
        let elements = json.array ?? json[table]?.object?.members.map(\.value)
        guard let elements, !elements.isEmpty else {
            throw AdminError(.wrongCall, "\(path) holds no settings: a JSON list of objects is wanted, or an object with \(table)")
        }
        return elements
    }

    /// Every element, or what is wrong with the first that cannot be read: nothing is sent then.
    private static func decode<Body: JSONBody>(
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
    static let declaration = ListFile.declaration(
        "updateTopicList", "Create or change the topics that a file lists.",
        notes: """
            FILE is a JSON list of objects with topicName, and readQueueNums, writeQueueNums (16), perm (6), order and attributes where they
            differ from what stands here; or what exportMetadata -b wrote.
            Example: mqadmin updateTopicList -n 127.0.0.1:9876 -c DefaultCluster -f topics.json
            """)

    let list: ListFile

    init(_ arguments: CommandArguments) throws(CommandLineError) { list = try ListFile(arguments) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await list.apply(
            TopicConfig.self, table: "topicConfigTable", kind: ("topics", "topics"), \.topicName, context
        ) { config, address async throws(AdminError) in
            let attributes = config.attributes.sorted { $0.key < $1.key }.map { "+\($0.key)=\($0.value)" }.joined(separator: ",")
            try await context.client.updateTopic(config, attributes: attributes.isEmpty ? nil : attributes, atBroker: address)
        }
    }
}

/// `updateSubGroupList`: creates or changes the consumer groups of a file.
struct UpdateGroupListCommand: AdminCommand {
    static let declaration = ListFile.declaration(
        "updateSubGroupList", "Create or change the consumer groups that a file lists.",
        notes: """
            FILE is a JSON list of objects with groupName, and retryMaxTimes (16), retryQueueNums (1), consumeEnable and the others where
            they differ from what stands here; or what exportMetadata -b wrote.
            Example: mqadmin updateSubGroupList -n 127.0.0.1:9876 -c DefaultCluster -f groups.json
            """)

    let list: ListFile

    init(_ arguments: CommandArguments) throws(CommandLineError) { list = try ListFile(arguments) }

    func run(_ context: AdminContext) async throws(AdminError) {
        try await list.apply(
            SubscriptionGroupConfig.self, table: "subscriptionGroupTable", kind: ("consumer groups", "groups"), \.groupName, context
        ) { config, address async throws(AdminError) in
            try await context.client.updateGroup(config, atBroker: address)
        }
    }
}
