import RocketMQBase
import RocketMQProtocol

/// `consumerConnection`: the members of a consumer group and what they subscribe to.
struct ConsumerConnectionCommand: AdminCommand {
    static let group = CommandOption<String>("consumerGroup", "g", value: "GROUP", required: true, "The group's name.")
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "Ask this broker; else those that know the group.")

    static let declaration = CommandDeclaration.admin(
        "consumerConnection", "List the members of a consumer group and their subscriptions.", group, broker,
        notes: """
            The subscription of the group is that of its newest member for each topic. Where members differ each gets what it subscribes to
            itself, and a list of who wants what follows, which also --json has (subscriptionSet of each connection).
            Example: mqadmin consumerConnection -n 127.0.0.1:9876 -g billing
            """)

    let group: String
    let broker: String?

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        broker = arguments[Self.broker]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let (found, _) = try await Self.members(of: group, broker, context)
        context.show(found.json, text: Self.text(found))
    }

    /// The members as the first broker says that knows any, and its address.
    static func members(
        of group: String, _ broker: String?, _ context: AdminContext
    ) async throws(AdminError) -> (ConsumerConnection, address: String) {
        let addresses: [String]
        if let broker {
            addresses = [try await context.client.brokerAddress(broker)]
        } else {
            addresses = try await context.client.brokers(ofGroup: group).map(\.address)
        }
        var failure: AdminError?
        for address in addresses {
            do throws(AdminError) {
                if let found = try await context.client.members(ofGroup: group, atBroker: address) { return (found, address) }
            } catch {
                failure = error
            }
        }
        throw failure
            ?? AdminError(
                .unknownGroup, "no member of consumer group \(group) is connected", remedy: "start one, or see mqadmin consumerProgress",
                responseCode: .consumerNotOnline)
    }

    static func text(_ found: ConsumerConnection) -> String {
        var subscriptions = Table([.init("#Topic", "topic"), .init("#SubExpression", "subExpression")])
        for (_, data) in found.subscriptionTable.sorted(by: { $0.key < $1.key }) {
            subscriptions.add(.init(data.topic), .init(data.subString))
        }
        return connections(found.connectionSet).text + "\nBelow is subscription:\n" + subscriptions.text
            + "\nConsumeType: \(found.consumeType.rawValue)\nMessageModel: \(found.messageModel.rawValue)\n"
            + "ConsumeFromWhere: \(found.consumeFromWhere.rawValue)\n" + differences(found)
    }

    /// What each member wants where they do not all want the same.
    private static func differences(_ found: ConsumerConnection) -> String {
        guard !found.members.isEmpty else { return "" }
        let retry = found.members.compactMap { $0.subscriptionSet.first { $0.topic.hasPrefix(SystemTopic.retryPrefix) }?.topic }.first
        var differing: [String] = []
        for topic in Set(found.members.flatMap { $0.subscriptionSet.map(\.topic) }).sorted() {
            // Retries come to those only that share the messages.
            let members = found.members.filter { topic != retry || $0.messageModel == .clustering }
            let wanted = Set(members.map { member in member.subscriptionSet.first { $0.topic == topic }.map(Self.selection) })
            if wanted.count > 1 { differing.append(topic) }
        }
        let models = Set(found.members.map(\.messageModel))
        guard !differing.isEmpty || models.count > 1 else { return "" }
        var table = Table([
            .init("#ClientId", "clientId"), .init("#ClientAddr", "clientAddr"), .init("#Model", "messageModel"), .init("#Topic", "topic"),
            .init("#SubExpression", "subExpression"),
        ])
        for member in found.members.sorted(by: { $0.connection.clientID < $1.connection.clientID }) {
            for topic in differing.isEmpty ? [""] : differing {
                let own = member.subscriptionSet.first { $0.topic == topic }
                table.add(
                    .init(member.connection.clientID), .init(member.connection.clientAddr), .init(member.messageModel.rawValue),
                    .init(topic), .init(own?.subString ?? (topic.isEmpty ? "" : "(nothing of it)")))
            }
        }
        return "\nThe members differ; each gets what it subscribes to itself:\n" + table.text
    }

    private static func selection(_ data: SubscriptionData) -> [String] {
        guard data.isTagExpression else { return [data.expressionType, data.subString] }
        return data.wantsAll ? [ExpressionType.tag] : [ExpressionType.tag] + data.tagsSet.sorted()
    }

    static func connections(_ connections: [Connection]) -> Table {
        var table = Table([
            .init("#ClientId", "clientId"), .init("#ClientAddr", "clientAddr"), .init("#Language", "language"),
            .init("#Version", "version"),
        ])
        for connection in connections.sorted(by: { $0.clientID < $1.clientID }) {
            table.add(
                .init(connection.clientID), .init(connection.clientAddr), .init(connection.language),
                .init(VersionName.text(connection.version)))
        }
        return table
    }
}
