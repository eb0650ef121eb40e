import RocketMQBase
import RocketMQProtocol

/// Moves a group to a place in a topic: by way of its connected members, or at the brokers when it has none.
struct OffsetReset: Sendable {
    /// Where to.
    enum Place: Sendable, Equatable {
        /// Where the topic stood at a time, in milliseconds since 1970; -1 for the end of the queues.
        case time(Int64)
        /// An offset of one queue.
        case offset(Int64)

        var timestamp: Int64 {
            if case .time(let timestamp) = self { timestamp } else { 0 }
        }

        var offset: Int64? {
            if case .offset(let offset) = self { offset } else { nil }
        }
    }

    var group: String
    var topic: String
    var place: Place
    /// Also forward, not only back.
    var force: Bool
    var forCPP = false
    /// Only at this broker, by name or address.
    var broker: String?
    /// Only this queue of that broker.
    var queueID: Int32?
    /// Whether connected members are told; without, only the brokers are.
    var asksMembers = true

    /// Where a queue was, and where it is now.
    struct Moved {
        var queue: MessageQueue
        var brokerOffset: Int64
        var consumerOffset: Int64
        var timestampOffset: Int64
        var rollbackOffset: Int64
    }

    /// What became of it; a group may have members at one broker and none at another.
    struct Outcome {
        var byMembers: [MessageQueue: Int64] = [:]
        var atBrokers: [Moved] = []
    }

    /// Does it and prints what came of it; a broker that fails does not keep the others from it.
    func run(_ context: AdminContext, saying line: String? = nil) async throws(AdminError) {
        let brokers = try await brokers(context)
        var outcome = Outcome()
        let progress = await context.atEach(brokers.map(\.address)) { address throws(AdminError) in
            for member in brokers where member.address == address { try await reset(at: member, &outcome, context) }
        }
        if !progress.done.isEmpty {
            if let line { context.say(line) }
            Self.show(outcome, context)
            if asksMembers, !outcome.atBrokers.isEmpty {
                context.say(
                    "no consumer of group \(group) is connected there, its offsets were set at the brokers. If it broadcasts, that moves nothing: its "
                        + "members keep their positions themselves, and have to be connected")
            }
        }
        try progress.check()
    }

    private func reset(
        at member: AdminClient.Member, _ outcome: inout Outcome, _ context: AdminContext
    ) async throws(AdminError) {
        if asksMembers {
            // A broker that is given a place takes any name that it knows.
            if place.offset != nil {
                try await requireGroup(
                    try await context.client.consumeStatistics(ofGroup: group, atBroker: member.address), member.address, context)
            }
            let told = try await context.client.resetOffsets(
                ofGroup: group, topic: topic, toMilliseconds: place.timestamp, queueID: queueID, offset: place.offset, force: force,
                forCPP: forCPP, atBroker: member.address)
            if let told {
                outcome.byMembers.merge(told.offsets) { $1 }
                if let remark = told.remark, !remark.isEmpty { context.warn("broker \(member.address): \(AdminError.tidy(remark))") }
                return
            }
        } else {
            try await warnOfMembers(member.address, context)
        }
        outcome.atBrokers += try await move(at: member, context)
    }

    /// The topic's brokers, or the one that is meant.
    private func brokers(_ context: AdminContext) async throws(AdminError) -> [AdminClient.Member] {
        let all = AdminClient.members(of: try await context.client.existingRoute(ofTopic: topic))
        guard let broker else { return all }
        let address = try await context.client.brokerAddress(broker)
        guard let found = all.first(where: { $0.address == address }) else {
            throw AdminError(
                .unknownBroker, "broker \(broker) has no queue of topic \(topic)",
                remedy: "it is at \(all.map { "\($0.brokerName) (\($0.address))" }.joined(separator: ", "))")
        }
        return [found]
    }

    /// Members that run set their own offsets again, or have them with themselves.
    private func warnOfMembers(_ address: String, _ context: AdminContext) async throws(AdminError) {
        guard let connected = try await context.client.members(ofGroup: group, atBroker: address) else { return }
        let names = connected.connectionSet.prefix(3).map(\.clientID).joined(separator: ", ")
        guard connected.messageModel == .clustering else {
            throw AdminError(
                .refused,
                "group \(group) is BROADCASTING: its members (\(names)) keep their own positions, and the broker's mean nothing to them",
                remedy: "mqadmin resetOffsetByTime tells those that are connected")
        }
        context.warn(
            "\(connected.connectionSet.count) members of group \(group) are connected (\(names)) and will set their own offsets again: stop them "
                + "first, or use resetOffsetByTime, which tells them")
    }

    // MARK: At a broker

    private func move(at member: AdminClient.Member, _ context: AdminContext) async throws(AdminError) -> [Moved] {
        let known = try await context.client.consumeStatistics(ofGroup: group, atBroker: member.address)
        // With the queues that the group has no offset of yet.
        var queues = try await context.client.topicStatistics(topic, atBroker: member.address).offsetTable.mapValues {
            OffsetWrapper(brokerOffset: $0.maxOffset, consumerOffset: $0.minOffset, lastTimestamp: 0)
        }
        let consumed = known.offsetTable.filter { $0.key.topic == topic }
        if consumed.isEmpty { try await requireGroup(known, member.address, context) }
        queues.merge(consumed) { $1 }
        if let queueID {
            queues = queues.filter { $0.key.queueID == queueID }
            guard !queues.isEmpty else {
                throw AdminError(
                    .wrongCall, "topic \(topic) has no queue \(queueID) at broker \(member.address)",
                    remedy: "mqadmin topicStatus -t \(topic) shows its queues")
            }
        }
        var moved: [Moved] = []
        for (queue, offset) in queues.sorted(by: { $0.key < $1.key }) {
            moved.append(try await move(queue, offset, isNew: consumed[queue] == nil, member.address, context))
        }
        return moved
    }

    /// A group without offsets in the topic must be one that there is: a mistyped name would be given some.
    private func requireGroup(_ known: ConsumeStats, _ address: String, _ context: AdminContext) async throws(AdminError) {
        guard known.offsetTable.isEmpty else { return }
        let names = try await context.client.groupConfigs(ofBroker: address).keys
        guard !names.contains(group) else { return }
        let nearest = nearestName(to: group, among: names).map { "did you mean \($0)? " } ?? ""
        throw AdminError(
            .unknownGroup, "there is no consumer group \(group) at broker \(address)",
            remedy: nearest + "mqadmin updateSubGroup -b \(address) -g \(group) makes it, so that it can be placed before it consumes",
            responseCode: .subscriptionGroupNotExist)
    }

    private func move(
        _ queue: MessageQueue, _ offset: OffsetWrapper, isNew: Bool, _ address: String, _ context: AdminContext
    ) async throws(AdminError) -> Moved {
        let target: Int64
        switch place {
        case .offset(let wanted):
            let start = try await context.client.minOffset(of: queue, atBroker: address)
            let end = try await context.client.maxOffset(of: queue, atBroker: address)
            guard wanted >= start, wanted <= end else {
                throw AdminError(
                    .refused, "group \(group) cannot be moved to offset \(wanted): queue \(queue) has \(start)...\(end)",
                    remedy: "mqadmin topicStatus -t \(topic) shows its queues")
            }
            target = wanted
        case .time(-1): target = try await context.client.maxOffset(of: queue, atBroker: address)
        case .time(let timestamp): target = try await context.client.offset(of: queue, atMilliseconds: timestamp, atBroker: address)
        }
        var moved = Moved(
            queue: queue, brokerOffset: offset.brokerOffset, consumerOffset: offset.consumerOffset, timestampOffset: target,
            rollbackOffset: offset.consumerOffset)
        // Where the group never was there is no forward.
        if force || isNew || target <= offset.consumerOffset || place.offset != nil {
            try await context.client.commit(target, of: queue, group: group, atBroker: address)
            moved.rollbackOffset = target
        }
        return moved
    }

    // MARK: Showing

    /// Prints the new offsets for people and programs.
    private static func show(_ outcome: Outcome, _ context: AdminContext) {
        let (byMembers, atBrokers) = (memberTable(outcome), brokerTable(outcome))
        if outcome.byMembers.isEmpty { return context.show(atBrokers) }
        if outcome.atBrokers.isEmpty { return context.show(byMembers) }
        context.show(
            .array((byMembers.json.array ?? []) + (atBrokers.json.array ?? [])),
            text: "by way of connected members:\n" + byMembers.text + "\nat brokers without members:\n" + atBrokers.text)
    }

    private static func memberTable(_ outcome: Outcome) -> Table {
        var table = Table([.init("#brokerName", "brokerName"), .init("#queueId", "queueId"), .init("#offset", "offset")])
        for (queue, offset) in outcome.byMembers.sorted(by: { $0.key < $1.key }) {
            table.add(.init(queue.brokerName), .init(queue.queueID), .init(offset))
        }
        return table
    }

    private static func brokerTable(_ outcome: Outcome) -> Table {
        var table = Table([
            .init("#brokerName", "brokerName"), .init("#queueId", "queueId"), .init("#brokerOffset", "brokerOffset"),
            .init("#consumerOffset", "consumerOffset"), .init("#timestampOffset", "timestampOffset"),
            .init("#rollbackOffset", "rollbackOffset"),
        ])
        for entry in outcome.atBrokers {
            table.add(
                .init(entry.queue.brokerName), .init(entry.queue.queueID), .init(entry.brokerOffset), .init(entry.consumerOffset),
                .init(entry.timestampOffset), .init(entry.rollbackOffset))
        }
        return table
    }
}
