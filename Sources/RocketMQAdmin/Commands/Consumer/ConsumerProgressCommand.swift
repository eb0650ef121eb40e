import RocketMQBase
import RocketMQProtocol

/// `consumerProgress`: how far one group has come in each queue; without `-g` all groups, a line each.
struct ConsumerProgressCommand: AdminCommand {
    static let group = CommandOption<String>("groupName", "g", value: "GROUP", "The group; all unless given.")
    static let showClient = CommandOption<Bool>(
        "showClientIP", "s", value: "true|false", "With -g: show which client has each queue.")

    static let declaration = CommandDeclaration.admin("consumerProgress", "Show how far consumer groups have come.", group, showClient)

    let group: String?
    let showsClients: Bool

    init(_ arguments: CommandArguments) {
        group = arguments[Self.group]
        showsClients = arguments[Self.showClient] ?? false
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        if let group { try await showGroup(group, context) } else { try await showAll(context) }
    }

    // MARK: One group

    private func showGroup(_ group: String, _ context: AdminContext) async throws(AdminError) {
        let members = try await context.client.brokers(ofGroup: group)
        let statistics = try await Self.statistics(of: group, members, context)
        guard !statistics.offsetTable.isEmpty else {
            throw AdminError(
                .unknownGroup, "group \(group) has consumed nothing yet, or there is none of this name",
                remedy: "mqadmin consumerProgress shows all groups", responseCode: .consumerNotOnline)
        }
        let clients = showsClients ? await self.clients(of: group, members, context) : nil
        let table = Self.table(statistics, clients, context.time)
        let findings = await GroupFindings.of(group, at: members.filter(\.isMaster).map(\.address), context)
        let (rate, behind) = (NumberText.decimal(statistics.consumeTps, digits: 2), statistics.totalDiff)
        context.show(
            [
                "consumeTps": .number(statistics.consumeTps), "diffTotal": .integer(behind), "groupName": .string(group),
                "queues": table.json, "findings": .array(findings.map(\.json)),
            ], text: table.text + "\nConsume TPS: \(rate)\nDiff Total: \(behind)\n" + GroupFindings.line(findings, group: group))
    }

    /// The statistics of all brokers together.
    static func statistics(
        of group: String, _ members: [AdminClient.Member], _ context: AdminContext
    ) async throws(AdminError) -> ConsumeStats {
        var all = ConsumeStats()
        let progress = await context.atEach(members.map(\.address)) { address throws(AdminError) in
            let part = try await context.client.consumeStatistics(ofGroup: group, atBroker: address)
            all.offsetTable.merge(part.offsetTable) { $1 }
            all.consumeTps += part.consumeTps
        }
        // Half a progress would be read as the whole one.
        try progress.check()
        return all
    }

    /// Which client has which queue, as far as the clients tell.
    private func clients(of group: String, _ members: [AdminClient.Member], _ context: AdminContext) async -> [MessageQueue: String] {
        var clients: [MessageQueue: String] = [:]
        _ = await context.atEach(members.map(\.address)) { address throws(AdminError) in
            guard let connected = try await context.client.members(ofGroup: group, atBroker: address) else { return }
            for connection in connected.connectionSet {
                do throws(AdminError) {
                    let info = try await context.client.runningInfo(ofClient: connection.clientID, group: group, atBroker: address)
                    let host = connection.clientID.prefix { $0 != "@" }
                    for queue in info.mqTable.keys { clients[queue] = String(host) }
                } catch {
                    context.warn(error.description)
                }
            }
        }
        return clients
    }

    static func table(_ statistics: ConsumeStats, _ clients: [MessageQueue: String]?, _ time: LocalTime) -> Table {
        var columns: [Table.Column] = [
            .init("#Topic", "topic"), .init("#Broker Name", "brokerName"), .init("#QID", "queueId"),
            .init("#Broker Offset", "brokerOffset"),
            .init("#Consumer Offset", "consumerOffset"),
        ]
        if clients != nil { columns.append(.init("#Client IP", "clientIP")) }
        var table = Table(columns + [.init("#Diff", "diff"), .init("#LastTime", "lastTimestamp")])
        for (queue, offset) in statistics.offsetTable.sorted(by: { $0.key < $1.key }) {
            var row: [Table.Cell] = [
                .init(queue.topic), .init(queue.brokerName), .init(queue.queueID), .init(offset.brokerOffset), .init(offset.consumerOffset),
            ]
            if let clients { row.append(clients[queue].map { .init($0) } ?? .init("N/A", json: .null)) }
            let last = time.text(offset.lastTimestamp)
            row.append(.init(offset.brokerOffset &- offset.consumerOffset))
            row.append(.init(last.isEmpty ? "N/A" : last, json: .integer(offset.lastTimestamp)))
            table.add(row)
        }
        return table
    }

    // MARK: All groups

    private func showAll(_ context: AdminContext) async throws(AdminError) {
        var table = Table([
            .init("#Group", "groupName"), .init("#Count", "count"), .init("#Version", "version"), .init("#Type", "consumeType"),
            .init("#Model", "messageModel"), .init("#TPS", "consumeTps"), .init("#Diff Total", "diffTotal"),
        ])
        for topic in try await context.client.topicNames().sorted(by: JavaOrder.precedes) where topic.hasPrefix(SystemTopic.retryPrefix) {
            let group = String(topic.dropFirst(SystemTopic.retryPrefix.count))
            do throws(AdminError) {
                let members = try await context.client.brokers(ofGroup: group)
                let statistics = try await Self.statistics(of: group, members, context)
                var connected: ConsumerConnection?
                for member in members where connected == nil {
                    connected = try await context.client.members(ofGroup: group, atBroker: member.address)
                }
                Self.add(group, statistics, connected, to: &table)
            } catch {
                context.warn(error.description)
            }
        }
        context.show(table)
        guard !context.wantsJSON else { return }
        let masters = try await context.client.brokers(ofCluster: nil).filter(\.isMaster).map(\.address)
        let line = GroupFindings.line(await GroupFindings.of(nil, at: masters, context), group: nil)
        if !line.isEmpty { context.show(.null, text: "\n" + line) }
    }

    private static func add(_ group: String, _ statistics: ConsumeStats, _ connected: ConsumerConnection?, to table: inout Table) {
        let version = connected?.connectionSet.map(\.version).min().map(VersionName.text)
        let isPull = connected?.consumeType == .actively
        table.add(
            .init(group), .init(connected?.connectionSet.count ?? 0), .init(version ?? "OFFLINE"),
            .init(connected == nil ? "" : isPull ? "PULL" : "PUSH"),
            .init(connected == nil || isPull ? "" : connected?.messageModel.rawValue ?? ""),
            .init(NumberText.decimal(statistics.consumeTps, digits: 0), json: .number(statistics.consumeTps)), .init(statistics.totalDiff))
    }
}
