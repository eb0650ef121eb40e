import RocketMQBase
import RocketMQProtocol

/// `checkConsumers`: what brokers find wrong with consumer groups. The reference has no such command.
struct CheckConsumersCommand: AdminCommand {
    static let group = CommandOption<String>("consumerGroup", "g", value: "GROUP", "Only this group, with its consumers.")
    static let broker = CommandOption<String>("brokerAddr", "b", value: "HOST:PORT", "Ask this broker; its name will do too.")
    static let cluster = CommandOption<String>(
        "clusterName", "c", value: "CLUSTER", "Ask every master of this cluster; of all unless given.")
    static let fails = CommandFlag("fail", "f", "End with exit code 1 when anything is wrong: for scripts and monitoring.")

    static let declaration = CommandDeclaration.admin(
        "checkConsumers", "Show what is wrong with consumer groups, and with which clients.", group, broker, cluster, fails,
        notes: """
            Told of are consumers of a group that subscribe to different things or have the same client id, queues whose messages wait while the group's offset does
            not move, messages that settings of the group, the topic or the broker keep back, commits beyond the end of a queue,
            messages that wait for a group without consumers, many waiting messages, and clients of old releases.
            The brokers' settings consumerStoppedAfter, consumerBacklogWarning and oldestClientVersion say from when on.
            Example: mqadmin checkConsumers -n 127.0.0.1:9876 -g billing
            """)

    let group: String?
    /// `nil` for all clusters.
    let target: BrokerTarget?
    let failsOnFindings: Bool

    init(_ arguments: CommandArguments) throws(CommandLineError) {
        group = arguments[Self.group]
        failsOnFindings = arguments[Self.fails]
        switch (arguments[Self.broker], arguments[Self.cluster]) {
        case (nil, nil): target = nil
        case (let broker?, nil): target = .broker(broker)
        case (nil, let cluster?): target = .cluster(cluster)
        default: throw arguments.wrong("only one of --brokerAddr and --clusterName can be given")
        }
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        var reports: [ConsumerGroupReport] = []
        var unknown: AdminError?
        let progress = await context.atEach(try await addresses(context)) { address throws(AdminError) in
            do throws(AdminError) {
                reports.append(try await context.client.checkGroups(group, atBroker: address))
            } catch  where error.responseCode == .subscriptionGroupNotExist {
                // A group need not be on every broker.
                unknown = error
            }
        }
        if reports.isEmpty, progress.failed.isEmpty, let unknown { throw unknown }
        if !reports.isEmpty { context.show(.array(reports.map(\.json)), text: text(reports, context.time)) }
        try progress.check()
        let count = reports.reduce(0) { $0 + $1.findings.count }
        guard count > 0, failsOnFindings else { return }
        throw AdminError(.somethingWrong, "\(count) finding\(count == 1 ? "" : "s") on consumer groups")
    }

    private func addresses(_ context: AdminContext) async throws(AdminError) -> [String] {
        if let target { return try await target.masters(context.client) }
        return try await context.client.brokers(ofCluster: nil).filter(\.isMaster).map(\.address)
    }

    private func text(_ reports: [ConsumerGroupReport], _ time: LocalTime) -> String {
        var text = ""
        for report in reports {
            if group != nil { text += Self.members(report, time).text + "\n" }
            let looked = group == nil ? "\(report.groupCount) groups" : "group \(group ?? "")"
            guard !report.findings.isEmpty else {
                text += "broker \(report.brokerName): \(looked), nothing is wrong\n"
                continue
            }
            text += "broker \(report.brokerName): \(looked), \(report.findings.count) findings\n" + Self.findings(report, time).text + "\n"
            for finding in report.findings { text += Printable.line("\(finding.kind.rawValue): \(finding.message)") + "\n" }
        }
        return text
    }

    static func members(_ report: ConsumerGroupReport, _ time: LocalTime) -> Table {
        var table = Table([
            .init("#ClientId", "clientId"), .init("#ClientAddr", "clientAddr"), .init("#Language", "language"),
            .init("#Version", "version"),
            .init("#Model", "messageModel"), .init("#Last Heartbeat", "lastHeartbeat"), .init("#Subscriptions", "subscriptions"),
        ])
        for member in report.members {
            let subscriptions = member.subscriptionSet.map { "\($0.topic) \($0.subString)" }.joined(separator: "; ")
            table.add(
                .init(member.connection.clientID), .init(member.connection.clientAddr), .init(member.connection.language),
                .init(VersionName.text(member.connection.version)), .init(member.messageModel.rawValue),
                .init(time.text(member.lastHeartbeat)), .init(subscriptions))
        }
        return table
    }

    static func findings(_ report: ConsumerGroupReport, _ time: LocalTime) -> Table {
        var table = Table([
            .init("#Finding", "kind"), .init("#Group", "group"), .init("#Topic", "topic"), .init("#QID", "queueId"), .init("#Lag", "lag"),
            .init("#Since", "since"), .init("#Clients", "clients"),
        ])
        for finding in report.findings {
            let clients = finding.clients.prefix(3).map { "\($0.connection.clientID) (\($0.connection.clientAddr))" }
            let more = finding.clients.count > 3 ? " and \(finding.clients.count - 3) more" : ""
            table.add(
                .init(finding.kind.rawValue), .init(finding.group), .init(finding.topic ?? ""),
                .init(finding.queueID.map { "\($0)" } ?? ""),
                .init(finding.lag), .init(time.text(finding.since)), .init(clients.joined(separator: ", ") + more))
        }
        return table
    }
}
