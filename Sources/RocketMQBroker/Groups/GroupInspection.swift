import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// One look at consumer groups: what is wrong with each. What it remembers from look to look is where groups stood in queues
/// with messages for them (`GroupTopicOffsets.lagging`).
struct GroupInspection {
    struct Limits: Equatable {
        /// `consumerStoppedAfter`.
        var stoppedAfter: Duration = .seconds(300)
        /// `consumerBacklogWarning`; 0 for none.
        var backlog: Int64 = 1_000_000
        /// `oldestClientVersion`.
        var oldestVersion: Int32 = 62
    }

    let topics: TopicTable
    let offsets: ConsumerOffsetTable
    let clients: ClientTable
    let clock: any SystemClock
    let limits: Limits

    /// Clients named in one finding, and stopped queues told of one by one.
    private static let mostClients = 20
    private static let mostQueues = 64

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
            // Who broadcasts keeps the offsets himself: those that the broker has are of another time.
            if group.members.values.allSatisfy({ $0.messageModel == .broadcasting }) { return 1 }
        }
        var queues = 1
        for topic in offsets.topics(ofGroup: name) {
            guard let topic = topics.find(topic), let entry = offsets.existingEntry(group: name, topic: topic.name) else { continue }
            guard !clients.subscribesElsewhere(group: name, than: topic.name) else {
                entry.lagging = [:]
                continue
            }
            queues += Int(topic.config.readQueueNums)
            followUp(name, group, topic, entry, &found)
        }
        return queues
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

    // MARK: Progress

    private struct Stopped {
        var queue: Int32
        var lag: Int64
        var since: MonotonicTime
    }

    private func followUp(
        _ name: String, _ group: ConsumerGroup?, _ topic: Topic, _ entry: GroupTopicOffsets, _ found: inout [ConsumerGroupFinding]
    ) {
        let now = clock.monotonicNow
        var lag: Int64 = 0
        var stopped: [Stopped] = []
        for id in 0..<topic.config.readQueueNums {
            guard let queue = topic.existingQueue(id), !queue.isEmpty else { continue }
            let offset = max(entry.offset(queueID: id) ?? 0, queue.minOffset)
            guard offset < queue.maxOffset else {
                if !entry.lagging.isEmpty { entry.lagging[id] = nil }
                continue
            }
            lag += queue.maxOffset - offset
            guard let known = entry.lagging[id], known.offset == offset else {
                entry.lagging[id] = .init(offset: offset, since: now)
                continue
            }
            guard now - known.since >= limits.stoppedAfter else { continue }
            stopped.append(Stopped(queue: id, lag: queue.maxOffset - offset, since: known.since))
        }
        if group == nil, let first = stopped.map(\.since).min() {
            found.append(
                ConsumerGroupFinding(
                    .noClient, group: name, topic: topic.name, lag: lag, since: wall(first, now),
                    message: "\(lag) messages of topic \(topic.name) wait for group \(name), of which no consumer is connected; its "
                        + "offset has not moved for \(Self.text(now - first)); start one, or delete a group that is not needed any more: "
                        + "mqadmin deleteSubGroup -g \(name)"))
        } else if let group {
            for queue in stopped.prefix(Self.mostQueues) { found.append(finding(queue, group, topic, now)) }
        }
        guard limits.backlog > 0, lag >= limits.backlog else { return }
        found.append(
            ConsumerGroupFinding(
                .backlog, group: name, topic: topic.name, lag: lag,
                message: "\(lag) messages of topic \(topic.name) wait for group \(name), which has \(group?.members.count ?? 0) consumers "
                    + "connected (consumerBacklogWarning=\(limits.backlog))"))
    }

    private func finding(_ stopped: Stopped, _ group: ConsumerGroup, _ topic: Topic, _ now: MonotonicTime) -> ConsumerGroupFinding {
        let puller = topic.brokerQueue(stopped.queue).pullers.first { $0.group.name == group.name }
        var who = "no pull of it was served since this broker started (see the log of its consumers for what they were refused)"
        var clients: [ConsumerGroupMember] = []
        if let puller {
            let ago = Self.text(now - puller.time)
            if let member = group.members[puller.connection] {
                who = "consumer \(member.name) pulled it last, \(ago) ago"
                clients = [member.report(topic: topic.name)]
            } else {
                who = "a consumer at \(puller.peer), which has left the group, pulled it last, \(ago) ago"
            }
        }
        return ConsumerGroupFinding(
            .queueStopped, group: group.name, topic: topic.name, queueID: stopped.queue, lag: stopped.lag, since: wall(stopped.since, now),
            clients: clients,
            message:
                "\(stopped.lag) messages of topic \(topic.name), queue \(stopped.queue) wait for group \(group.name), whose offset has not "
                + "moved for \(Self.text(now - stopped.since)); \(who); mqadmin consumerStatus -g \(group.name) asks its consumers")
    }

    private func wall(_ time: MonotonicTime, _ now: MonotonicTime) -> Int64 { clock.wallMilliseconds - (now - time).inMilliseconds }

    private static func text(_ duration: Duration) -> String { "\(max(0, duration.inMilliseconds / 1000)) s" }
}
