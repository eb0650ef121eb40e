import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Whether groups get on in the topics that they read, and what keeps them from it.
extension GroupInspection {
    /// Stopped queues told of one by one.
    private static let mostQueues = 64

    /// A queue in which the group did not get on.
    private struct Stopped {
        var queue: Int32
        var lag: Int64
        var since: MonotonicTime
        /// The group never said where it stands.
        var hasNoOffset: Bool
    }

    /// What is seen of a group in one topic.
    private struct Progress {
        var lag: Int64 = 0
        var stopped: [Stopped] = []
    }

    /// Looks at all topics of which the group has offsets, and at those that its consumers subscribe to. Returns how many queues
    /// were looked at, at least 1.
    func followUp(_ name: String, _ group: ConsumerGroup?, _ found: inout [ConsumerGroupFinding]) -> Int {
        var queues = 1
        for topicName in offsets.topics(ofGroup: name) {
            guard let topic = topics.find(topicName), let entry = offsets.existingEntry(group: name, topic: topicName) else { continue }
            guard !clients.subscribesElsewhere(group: name, than: topicName) else {
                entry.lagging = [:]
                continue
            }
            queues += Int(topic.config.readQueueNums)
            followUp(name, group, topic, entry, &found)
        }
        guard let group else { return queues }
        for topicName in group.subscriptions.keys.sorted() where offsets.existingEntry(group: name, topic: topicName) == nil {
            guard let topic = topics.find(topicName) else { continue }
            queues += Int(topic.config.readQueueNums)
            followUp(name, group, topic, nil, &found)
        }
        return queues
    }

    private func followUp(
        _ name: String, _ group: ConsumerGroup?, _ topic: Topic, _ entry: GroupTopicOffsets?, _ found: inout [ConsumerGroupFinding]
    ) {
        let now = clock.monotonicNow
        if let entry { findUnreadable(name, group, topic, entry, &found) }
        let progress = progress(group, topic, entry, now)
        let obstacle = progress.lag > 0 ? obstacle(name, topic) : nil
        if group == nil, let first = progress.stopped.map(\.since).min() {
            found.append(
                ConsumerGroupFinding(
                    .noClient, group: name, topic: topic.name, lag: progress.lag, since: wall(first, now),
                    message:
                        "\(progress.lag) messages of topic \(topic.name) wait for group \(name), of which no consumer is connected; its "
                        + "offset has not moved for \(Self.text(now - first)); start one, or delete a group that is not needed any more: "
                        + "mqadmin deleteSubGroup -g \(Self.word(name))" + (obstacle.map { ". Besides, \($0)" } ?? "")))
        } else if let group, let obstacle {
            found.append(
                ConsumerGroupFinding(
                    .notAllowed, group: name, topic: topic.name, lag: progress.lag,
                    clients: group.sortedMembers.prefix(Self.mostClients).map { $0.report(topic: topic.name) },
                    message: "\(progress.lag) messages of topic \(topic.name) wait for group \(name), whose consumers do not get them: "
                        + obstacle))
        } else if let group {
            for queue in progress.stopped.prefix(Self.mostQueues) { found.append(finding(queue, group, topic, now)) }
        }
        guard limits.backlog > 0, progress.lag >= limits.backlog else { return }
        found.append(
            ConsumerGroupFinding(
                .backlog, group: name, topic: topic.name, lag: progress.lag,
                message: "\(progress.lag) messages of topic \(topic.name) wait for group \(name), which has \(group?.members.count ?? 0) "
                    + "consumers connected (consumerBacklogWarning=\(limits.backlog))"))
    }

    /// Messages in queues that the topic has no more: nobody pulls them.
    private func findUnreadable(
        _ name: String, _ group: ConsumerGroup?, _ topic: Topic, _ entry: GroupTopicOffsets, _ found: inout [ConsumerGroupFinding]
    ) {
        var lag: Int64 = 0
        var ids: [Int32] = []
        for (id, offset) in entry.byQueue where id >= topic.config.readQueueNums {
            guard let queue = topic.existingQueue(id), max(offset, queue.minOffset) < queue.maxOffset else { continue }
            lag += queue.maxOffset - max(offset, queue.minOffset)
            ids.append(id)
        }
        guard let first = ids.min(), let last = ids.max() else { return }
        let which = first == last ? "queue \(first)" : "\(ids.count) queues (\(first) to \(last))"
        found.append(
            ConsumerGroupFinding(
                .notAllowed, group: name, topic: topic.name, queueID: ids.count == 1 ? first : nil, lag: lag,
                clients: (group?.sortedMembers ?? []).prefix(Self.mostClients).map { $0.report(topic: topic.name) },
                message: "\(lag) messages of topic \(topic.name) wait for group \(name) in \(which) that the topic has no more "
                    + "(readQueueNums=\(topic.config.readQueueNums)); mqadmin updateTopic -t \(Self.word(topic.name)) -r \(last + 1) -w "
                    + "\(topic.config.writeQueueNums) with -b or -c has them read, and sends go to as few queues as now"))
    }

    // MARK: Places

    /// Where the group stands in the topic's queues, compared with the last look.
    private func progress(_ group: ConsumerGroup?, _ topic: Topic, _ entry: GroupTopicOffsets?, _ now: MonotonicTime) -> Progress {
        var progress = Progress()
        let beginsAnywhere = group.map { isExpectedToBegin($0, topic, entry) } ?? false
        if let group, !beginsAnywhere, group.unread[topic.name] != nil { group.unread[topic.name] = nil }
        for id in 0..<topic.config.readQueueNums {
            guard let queue = topic.existingQueue(id), !queue.isEmpty else { continue }
            let committed = entry?.offset(queueID: id)
            let place: LaggingQueue
            if let entry, committed != nil || group == nil {
                guard let lagging = look(&entry.lagging[id], at: committed ?? 0, queue, now) else { continue }
                place = lagging
            } else if let group, beginsAnywhere {
                let begin = beginning(of: group, topic, queue)
                guard let lagging = look(&group.unread[topic.name, default: [:]][id], at: begin, queue, now) else {
                    // Until messages come: those are waited for from then on.
                    group.unread[topic.name, default: [:]][id] = LaggingQueue(offset: begin, since: now)
                    continue
                }
                place = lagging
            } else {
                continue
            }
            let lag = queue.maxOffset - max(place.offset, queue.minOffset)
            progress.lag += lag
            guard now - place.since >= limits.stoppedAfter else { continue }
            progress.stopped.append(Stopped(queue: id, lag: lag, since: place.since, hasNoOffset: committed == nil))
        }
        return progress
    }

    /// Brings up to date what is known of a group in a queue; `nil` when no message waits there.
    private func look(_ known: inout LaggingQueue?, at offset: Int64, _ queue: ConsumeQueue, _ now: MonotonicTime) -> LaggingQueue? {
        guard max(offset, queue.minOffset) < queue.maxOffset else {
            if known != nil { known = nil }
            return nil
        }
        if let known, known.offset == offset { return known }
        let place = LaggingQueue(offset: offset, since: now)
        known = place
        return place
    }

    /// Whether consumers that share the messages should be at work on the topic's queues without having committed anything.
    /// Programs that pull when they want to may do so in a part of the queues, or keep their offsets themselves; they are expected
    /// to pull anything at all.
    private func isExpectedToBegin(_ group: ConsumerGroup, _ topic: Topic, _ entry: GroupTopicOffsets?) -> Bool {
        var hasSubscriber = false
        for member in group.members.values where member.messageModel == .clustering {
            // Of those whose expression cannot be served that is told already.
            guard let own = member.subscriptions[topic.name], own.defect == nil else { continue }
            if member.consumeType != .actively { return true }
            hasSubscriber = true
        }
        guard hasSubscriber else { return false }
        return entry == nil && !topic.knownQueues.contains { $0.pullers.contains { $0.group.name == group.name } }
    }

    /// Where a group stands in a queue of which it has committed no offset: where its consumer first pulled. Until one pulls, at the
    /// first message, or of groups that begin at the end at the end that was there when they were first seen.
    private func beginning(of group: ConsumerGroup, _ topic: Topic, _ queue: ConsumeQueue) -> Int64 {
        if let puller = topic.puller(ofGroup: group.name, queueID: queue.id) { return puller.firstOffset }
        if group.consumeFromWhere == .firstOffset || group.consumeFromWhere == .minOffset || topic.isRetry { return 0 }
        return group.unread[topic.name]?[queue.id]?.offset ?? queue.maxOffset
    }

    // MARK: Reasons

    private func finding(_ stopped: Stopped, _ group: ConsumerGroup, _ topic: Topic, _ now: MonotonicTime) -> ConsumerGroupFinding {
        let (who, clients) = lastSeen(stopped, group, topic, now)
        let state = stopped.hasNoOffset ? "which has committed no offset there, for" : "whose offset has not moved for"
        return ConsumerGroupFinding(
            .queueStopped, group: group.name, topic: topic.name, queueID: stopped.queue, lag: stopped.lag, since: wall(stopped.since, now),
            clients: clients.prefix(Self.mostClients).map { $0.report(topic: topic.name) },
            message:
                "\(stopped.lag) messages of topic \(topic.name), queue \(stopped.queue) wait for group \(group.name), \(state) "
                + "\(Self.text(now - stopped.since)); \(who); mqadmin consumerStatus -g \(Self.word(group.name)) asks its consumers")
    }

    /// Who pulled the queue last, or was refused, or should pull it.
    private func lastSeen(
        _ stopped: Stopped, _ group: ConsumerGroup, _ topic: Topic, _ now: MonotonicTime
    ) -> (String, clients: [ClientMember]) {
        let puller = topic.puller(ofGroup: group.name, queueID: stopped.queue)
        if let refused = groups.existing(group.name)?.refusedPulls[topic.name], refused.time >= puller?.time ?? refused.time {
            let member = group.members[refused.connection]
            return (
                "a pull of consumer \(member?.name ?? "\(refused.peer)") was refused \(Self.text(now - refused.time)) ago: "
                    + refused.refusal.remark, member.map { [$0] } ?? []
            )
        }
        if let puller {
            let ago = Self.text(now - puller.time)
            if let member = group.members[puller.connection] { return ("consumer \(member.name) pulled it last, \(ago) ago", [member]) }
            return ("a consumer at \(puller.peer), which has left the group, pulled it last, \(ago) ago", [])
        }
        let subscribers = group.sortedMembers.filter { $0.messageModel == .clustering && $0.subscriptions[topic.name] != nil }
        let names = subscribers.prefix(4).map(\.name).joined(separator: ", ")
        return (
            "no consumer of the group has pulled it since this broker started"
                + (names.isEmpty ? "" : ", of those that should: \(names)"), subscribers
        )
    }

    /// What keeps all consumers of the group from the topic, with the remedy; `nil` when nothing does.
    private func obstacle(_ name: String, _ topic: Topic) -> String? {
        if groups.existing(name) == nil, !groups.createsUnknown {
            return "the group does not exist on this broker, which makes none by itself (autoCreateSubscriptionGroup=false); mqadmin "
                + "updateSubGroup -g \(Self.word(name)) makes it"
        }
        if let group = groups.existing(name), !group.config.consumeEnable {
            return "the group is switched off (consumeEnable=false)\(Self.who(group, clock.monotonicNow)); mqadmin updateSubGroup -g "
                + "\(Self.word(name)) -s true switches it on, and sets what is not given to its default"
        }
        if !topic.config.perm.contains(.read) {
            return "the topic may not be read here (perm=\(topic.config.perm.rawValue)); mqadmin updateTopicPerm -t "
                + "\(Self.word(topic.name)) -p \(topic.config.perm.union(.read).rawValue) changes it"
        }
        guard !limits.permission.contains(.read) else { return nil }
        return "broker \(brokerName) may not be read from (brokerPermission=\(limits.permission.rawValue)); mqadmin updateBrokerConfig "
            + "-k brokerPermission -v \(limits.permission.union(.read).rawValue) changes it"
    }

    private static func who(_ group: SubscriptionGroup, _ now: MonotonicTime) -> String {
        group.change.map { ", as \($0.peer) set it \(text(now - $0.time)) ago" } ?? ""
    }

    /// Consumers that broadcast in a group that may not, and were refused lately.
    func findForbiddenBroadcasters(_ group: ConsumerGroup, _ found: inout [ConsumerGroupFinding]) {
        guard let known = groups.existing(group.name), !known.config.consumeBroadcastEnable, known.config.consumeEnable else { return }
        let now = clock.monotonicNow
        for (topic, refused) in known.refusedPulls.sorted(by: { $0.key < $1.key }) {
            guard let member = group.members[refused.connection], member.messageModel == .broadcasting, now - refused.time <= .seconds(120),
                refused.refusal.code == .noPermission
            else { continue }
            found.append(
                ConsumerGroupFinding(
                    .notAllowed, group: group.name, topic: topic, clients: [member.report(topic: topic)],
                    message:
                        "consumer \(member.name) of group \(group.name) wants all messages of topic \(topic) for itself (BROADCASTING) and "
                        + "gets none: the group may not broadcast (consumeBroadcastEnable=false)\(Self.who(known, now)); mqadmin "
                        + "updateSubGroup -g \(Self.word(group.name)) -d true allows it, and sets what is not given to its default"))
        }
    }

    /// Commits that were not taken lately.
    func findOverruns(_ name: String, _ found: inout [ConsumerGroupFinding]) {
        for refusal in overruns.refusals(ofGroup: name, within: limits.stoppedAfter) {
            let member = clients.consumerGroup(name)?.members[refusal.connection]
            found.append(
                ConsumerGroupFinding(
                    .offsetBeyondEnd, group: name, topic: refusal.topic, queueID: refusal.queueID,
                    clients: member.map { [$0.report(topic: refusal.topic)] } ?? [],
                    message:
                        "client \(refusal.client) wanted group \(name) to be at offset \(refusal.offset) in queue \(refusal.queueID) of topic "
                        + "\(refusal.topic), which ends at \(refusal.queueEnd), \(Self.text(clock.monotonicNow - refusal.time)) ago: not taken, "
                        + "since what comes there later would be passed over; start the program anew, or correct it"))
        }
    }

    private func wall(_ time: MonotonicTime, _ now: MonotonicTime) -> Int64 { clock.wallMilliseconds - (now - time).inMilliseconds }

    /// A name as it is written in a shell.
    private static func word(_ name: String) -> String { name.contains("|") ? "'\(name)'" : name }

    private static func text(_ duration: Duration) -> String { "\(max(0, duration.inMilliseconds / 1000)) s" }
}
