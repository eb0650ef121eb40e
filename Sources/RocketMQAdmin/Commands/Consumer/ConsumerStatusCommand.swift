import RocketMQBase
import RocketMQProtocol

/// `consumerStatus`: what the members of a group are doing, as they tell themselves.
struct ConsumerStatusCommand: AdminCommand {
    static let group = CommandOption<String>("consumerGroup", "g", value: "GROUP", required: true, "The group's name.")
    static let client = CommandOption<String>("clientId", "i", value: "ID", "Only this client.")
    static let broker = CommandOption<String>(
        "brokerAddr", "b", value: "HOST:PORT", "Ask this broker; else the first that knows the group.")
    static let stacks = CommandFlag("jstack", "s", "Show the stacks of the client's threads, where it tells them.")

    static let declaration = CommandDeclaration.admin(
        "consumerStatus", "Show what the members of a consumer group are doing.", group, client, broker, stacks)

    let group: String
    let clientID: String?
    let broker: String?
    let showsStacks: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = try arguments.required(Self.group)
        clientID = arguments[Self.client]
        broker = arguments[Self.broker]
        showsStacks = arguments[Self.stacks]
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        let (connected, address) = try await ConsumerConnectionCommand.members(of: group, broker, context)
        let asked = connected.connectionSet.filter { clientID == nil || $0.clientID == clientID }
        guard !asked.isEmpty else {
            throw AdminError(
                .unknownGroup, "no member of group \(group) is called \(clientID ?? "")",
                remedy: "its members are \(connected.connectionSet.map(\.clientID).sorted().joined(separator: ", "))")
        }
        var found: [String: ConsumerRunningInfo] = [:]
        let progress = await context.atEach(asked.map(\.clientID).sorted()) { client throws(AdminError) in
            found[client] = try await context.client.runningInfo(
                ofClient: client, group: group, withStacks: showsStacks, atBroker: address)
        }
        if !found.isEmpty {
            let findings = await GroupFindings.of(group, at: try await brokers(address, context), context)
            context.show(
                Self.json(found, findings), text: Self.text(found, context.time) + GroupFindings.line(findings, group: group))
        }
        try progress.check()
    }

    /// Those that may find something wrong with the group.
    private func brokers(_ asked: String, _ context: AdminContext) async throws(AdminError) -> [String] {
        guard broker == nil else { return [asked] }
        return try await context.client.brokers(ofGroup: group).filter(\.isMaster).map(\.address)
    }

    /// Message queues are members of objects here, not their keys: standard JSON.
    static func json(_ found: [String: ConsumerRunningInfo], _ findings: [ConsumerGroupFinding] = []) -> JSONValue {
        .array(
            found.sorted { $0.key < $1.key }.map { client, info in
                var object = JSONObject()
                object.append("clientId", .string(client))
                object.append("properties", info.json["properties"])
                object.append("subscriptionSet", info.json["subscriptionSet"])
                let queues = info.mqTable.sorted { $0.key < $1.key }.map { queue, state -> JSONValue in
                    ["messageQueue": queue.json, "processQueueInfo": state.json]
                }
                object.append("queues", .array(queues))
                object.append("statusTable", info.json["statusTable"])
                object.append("jstack", info.jstack.map { .string($0) })
                let own = findings.filter { $0.clients.contains { $0.connection.clientID == client } }
                object.append("findings", .array(own.map(\.json)))
                return .object(object)
            })
    }

    static func text(_ found: [String: ConsumerRunningInfo], _ time: LocalTime) -> String {
        var text = ""
        for (client, info) in found.sorted(by: { $0.key < $1.key }) {
            text += "#Consumer \(client)\n"
            for (name, value) in info.properties.sorted(by: { $0.key < $1.key }) {
                text += "\(name.padded(to: 40)): \(Printable.line(value))\n"
            }
            var subscriptions = Table([.init("#Topic", "topic"), .init("#SubExpression", "subExpression")])
            for subscription in info.subscriptionSet.sorted(by: { $0.topic < $1.topic }) {
                subscriptions.add(.init(subscription.topic), .init(subscription.subString))
            }
            text += "\n" + subscriptions.text + "\n" + queues(info, time).text + "\n" + rates(info).text + "\n"
            if let stacks = info.jstack { text += Printable.lines(stacks) + "\n" }
        }
        let expressions = found.values.map { Set($0.subscriptionSet.map { "\($0.topic) \($0.subString)" }) }
        if Set(expressions).count > 1 { text += "WARN: the members of the group have different subscriptions: messages will be missed\n" }
        return text
    }

    private static func queues(_ info: ConsumerRunningInfo, _ time: LocalTime) -> Table {
        var table = Table([
            .init("#Topic", "topic"), .init("#Broker Name", "brokerName"), .init("#QID", "queueId"),
            .init("#Commit Offset", "commitOffset"),
            .init("#Cached", "cachedMsgCount"), .init("#Locked", "locked"), .init("#Dropped", "dropped"), .init("#Last Pull", "lastPull"),
            .init("#Last Consume", "lastConsume"),
        ])
        for (queue, state) in info.mqTable.sorted(by: { $0.key < $1.key }) {
            table.add(
                .init(queue.topic), .init(queue.brokerName), .init(queue.queueID), .init(state.commitOffset), .init(state.cachedMsgCount),
                .init("\(state.locked)"), .init("\(state.dropped)"), .init(time.text(state.lastPullTimestamp)),
                .init(time.text(state.lastConsumeTimestamp)))
        }
        return table
    }

    private static func rates(_ info: ConsumerRunningInfo) -> Table {
        var table = Table([
            .init("#Topic", "topic"), .init("#Pull RT", "pullRT"), .init("#Pull TPS", "pullTPS"), .init("#Consume RT", "consumeRT"),
            .init("#ConsumeOK TPS", "consumeOKTPS"), .init("#ConsumeFailed TPS", "consumeFailedTPS"),
            .init("#ConsumeFailedMsgsInHour", "consumeFailedMsgs"),
        ])
        for (topic, rates) in info.statusTable.sorted(by: { $0.key < $1.key }) {
            table.add(
                .init(topic), .init(rates.pullRT, digits: 2), .init(rates.pullTPS, digits: 2), .init(rates.consumeRT, digits: 2),
                .init(rates.consumeOKTPS, digits: 2), .init(rates.consumeFailedTPS, digits: 2), .init(rates.consumeFailedMsgs))
        }
        return table
    }
}
