import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// One look at consumer groups: what is wrong with each. What it remembers from look to look is where groups stood in queues
/// with messages for them (`GroupTopicOffsets.lagging`, `ConsumerGroup.unread`).
struct GroupInspection {
    /// What it looks at.
    struct Tables {
        var topics: TopicTable
        var groups: SubscriptionGroupTable
        var offsets: ConsumerOffsetTable
        var clients: ClientTable
        var overruns: OffsetOverruns
    }

    struct Limits: Equatable {
        /// `consumerStoppedAfter`.
        var stoppedAfter: Duration = .seconds(300)
        /// `consumerBacklogWarning`; 0 for none.
        var backlog: Int64 = 1_000_000
        /// `oldestClientVersion`.
        var oldestVersion: Int32 = 62
        /// `brokerPermission`.
        var permission: Permission = .readWrite
    }

    let topics: TopicTable
    let groups: SubscriptionGroupTable
    let offsets: ConsumerOffsetTable
    let clients: ClientTable
    let overruns: OffsetOverruns
    let brokerName: String
    let clock: any SystemClock
    let limits: Limits

    /// Clients named in one finding.
    static let mostClients = 20

    init(_ tables: Tables, brokerName: String, clock: any SystemClock, limits: Limits) {
        (topics, groups, offsets) = (tables.topics, tables.groups, tables.offsets)
        (clients, overruns) = (tables.clients, tables.overruns)
        self.brokerName = brokerName
        self.clock = clock
        self.limits = limits
    }

    /// Adds what is wrong with the group; returns how many queues were looked at, at least 1.
    func inspect(_ name: String, _ found: inout [ConsumerGroupFinding]) -> Int {
        // The broker's own progress, and groups of tools, which come and go.
        guard !name.hasPrefix(SubscriptionGroupTable.systemPrefix), !SubscriptionGroupTable.predefined.contains(name) else { return 1 }
        let group = clients.consumerGroup(name)
        if let group {
            if group.hasConflict { compare(group, &found) }
            findNamesakes(group, &found)
            findRefused(group, &found)
            findOld(group, &found)
            findForbiddenBroadcasters(group, &found)
            // Who broadcasts keeps the offsets himself: those that the broker has are of another time.
            if group.members.values.allSatisfy({ $0.messageModel == .broadcasting }) { return 1 }
        }
        findOverruns(name, &found)
        return followUp(name, group, &found)
    }

    // MARK: Members

    private func compare(_ group: ConsumerGroup, _ found: inout [ConsumerGroupFinding]) {
        let members = group.sortedMembers
        for topic in group.subscriptions.keys.sorted() {
            let remedy =
                topic == SystemTopic.retry(of: group.name)
                ? "retries that fall to one without it wait: give pull consumers a group of their own"
                : "give all consumers of a group the same subscriptions, or each its own group"
            var kinds: [(text: String, members: [ClientMember])] = []
            for member in members where ConsumerGroup.concerns(member, topic: topic, group: group.name) {
                let own = member.subscriptions[topic]
                let index = kinds.firstIndex { kind in
                    guard let other = kind.members[0].subscriptions[topic], let own else {
                        return own == nil && kind.members[0].subscriptions[topic] == nil
                    }
                    return own.selectsSame(as: other)
                }
                if let index {
                    kinds[index].members.append(member)
                } else {
                    kinds.append((own.map { "\"\($0.data.subString)\"" } ?? "nothing of it", [member]))
                }
            }
            guard kinds.count > 1 else { continue }
            // One of each kind first, so that the difference is seen whatever is left out.
            let named = kinds.map { $0.members[0] } + kinds.flatMap { $0.members.dropFirst() }
            let list = kinds.prefix(4).map { kind in
                "\(kind.members[0].name)\(kind.members.count > 1 ? " and \(kind.members.count - 1) more" : "") want \(kind.text)"
            }
            found.append(
                ConsumerGroupFinding(
                    .differentSubscriptions, group: group.name, topic: topic,
                    clients: named.prefix(Self.mostClients).map { $0.report(topic: topic) },
                    message: "consumers of group \(group.name) differ on topic \(topic): \(list.joined(separator: ", ")); \(remedy)"))
        }
        if let first = members.first, let other = members.first(where: { $0.messageModel != first.messageModel }) {
            found.append(
                ConsumerGroupFinding(
                    .differentModels, group: group.name, clients: [first.report(), other.report()],
                    message: "consumers of group \(group.name) differ: \(first.name) is \(first.messageModel.rawValue), \(other.name) "
                        + "\(other.messageModel.rawValue); give each kind a group of its own"))
        }
    }

    /// Clients of one id that are all there: of one that connected anew the old connection says no more.
    private func findNamesakes(_ group: ConsumerGroup, _ found: inout [ConsumerGroupFinding]) {
        guard group.members.count > 1 else { return }
        for (clientID, members) in Dictionary(grouping: group.sortedMembers, by: \.identity.clientID).sorted(by: { $0.key < $1.key })
        where members.count > 1 {
            guard let newest = members.map(\.joinedAt).max() else { continue }
            let present = members.filter { $0.heardAt > newest || $0.joinedAt == newest }
            guard present.count > 1 else { continue }
            found.append(
                ConsumerGroupFinding(
                    .sameClientID, group: group.name, clients: present.prefix(Self.mostClients).map { $0.report() },
                    message: "\(present.count) consumers of group \(group.name) call themselves \(clientID): "
                        + present.prefix(4).map { "\($0.connection.peer)" }.joined(separator: ", ")
                        + "; they consume the same queues, messages twice and out of order: give each an instance name of its own"))
        }
    }

    /// Subscriptions that a broker takes with the heartbeat and cannot serve: pulls are refused, and the consumer gets nothing.
    private func findRefused(_ group: ConsumerGroup, _ found: inout [ConsumerGroupFinding]) {
        for topic in group.subscriptions.keys.sorted() {
            var refused: [(member: ClientMember, expression: String, reason: String)] = []
            for member in group.sortedMembers {
                guard let own = member.subscriptions[topic], let reason = own.defect else { continue }
                refused.append((member, own.data.subString, reason))
            }
            guard let first = refused.first else { continue }
            found.append(
                ConsumerGroupFinding(
                    .subscriptionRefused, group: group.name, topic: topic,
                    clients: refused.prefix(Self.mostClients).map { $0.member.report(topic: topic) },
                    message: "consumer \(first.member.name)\(refused.count > 1 ? " and \(refused.count - 1) more" : "") of group "
                        + "\(group.name) get nothing of topic \(topic): the subscription \"\(first.expression.prefix(200))\" is refused, "
                        + "\(first.reason); correct it in the program"))
        }
    }

    private func findOld(_ group: ConsumerGroup, _ found: inout [ConsumerGroupFinding]) {
        guard limits.oldestVersion > 0, group.members.values.contains(where: { $0.identity.version < limits.oldestVersion }) else { return }
        let old = group.sortedMembers.filter { $0.identity.version < limits.oldestVersion }
        let list = old.prefix(4).map { "\($0.name), \($0.identity.language.name) version \($0.identity.version)" }
        found.append(
            ConsumerGroupFinding(
                .clientTooOld, group: group.name, clients: old.prefix(Self.mostClients).map { $0.report() },
                message: "\(old.count) consumers of group \(group.name) are older than version \(limits.oldestVersion) "
                    + "(oldestClientVersion): \(list.joined(separator: "; ")); use a newer client library"))
    }
}
