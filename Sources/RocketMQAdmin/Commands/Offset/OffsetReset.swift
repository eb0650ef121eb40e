import RocketMQBase
import RocketMQProtocol

/// Moves a group to where a topic stood at a time: by way of its connected members, or at the brokers when it has none.
struct OffsetReset: Sendable {
    var group: String
    var topic: String
    /// Milliseconds since 1970; -1 for the end of the queues.
    var timestamp: Int64
    /// Also forward, not only back.
    var force: Bool
    var forCPP = false
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

    enum Outcome {
        case byMembers([MessageQueue: Int64])
        case atBrokers([Moved])
    }

    func run(_ context: AdminContext) async throws(AdminError) -> Outcome {
        let members = AdminClient.members(of: try await context.client.existingRoute(ofTopic: topic))
        guard asksMembers else { return .atBrokers(try await moveAtBrokers(members, context)) }
        var moved: [MessageQueue: Int64] = [:]
        for member in members {
            let part = try await context.client.resetOffsets(
                ofGroup: group, topic: topic, toMilliseconds: timestamp, force: force, forCPP: forCPP, atBroker: member.address)
            guard let part else { return .atBrokers(try await moveAtBrokers(members, context)) }
            moved.merge(part) { $1 }
        }
        return .byMembers(moved)
    }

    private func moveAtBrokers(_ members: [AdminClient.Member], _ context: AdminContext) async throws(AdminError) -> [Moved] {
        var moved: [Moved] = []
        for member in members {
            let known = try await context.client.consumeStatistics(ofGroup: group, atBroker: member.address)
            var queues = known.offsetTable.filter { $0.key.topic == topic }
            if queues.isEmpty {
                queues = try await context.client.topicStatistics(topic, atBroker: member.address).offsetTable.mapValues {
                    OffsetWrapper(brokerOffset: $0.maxOffset, consumerOffset: $0.minOffset, lastTimestamp: 0)
                }
            }
            for (queue, offset) in queues.sorted(by: { $0.key < $1.key }) {
                moved.append(try await move(queue, offset, member.address, context))
            }
        }
        return moved
    }

    private func move(
        _ queue: MessageQueue, _ offset: OffsetWrapper, _ address: String, _ context: AdminContext
    ) async throws(AdminError) -> Moved {
        let target: Int64
        if timestamp == -1 {
            target = try await context.client.maxOffset(of: queue, atBroker: address)
        } else {
            target = try await context.client.offset(of: queue, atMilliseconds: timestamp, atBroker: address)
        }
        var moved = Moved(
            queue: queue, brokerOffset: offset.brokerOffset, consumerOffset: offset.consumerOffset, timestampOffset: target,
            rollbackOffset: offset.consumerOffset)
        if force || target <= offset.consumerOffset {
            try await context.client.commit(target, of: queue, group: group, atBroker: address)
            moved.rollbackOffset = target
        }
        return moved
    }

    /// The new offsets for people and programs.
    static func table(_ outcome: Outcome) -> Table {
        switch outcome {
        case .byMembers(let offsets):
            var table = Table([.init("#brokerName", "brokerName"), .init("#queueId", "queueId"), .init("#offset", "offset")])
            for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) {
                table.add(.init(queue.brokerName), .init(queue.queueID), .init(offset))
            }
            return table
        case .atBrokers(let moved):
            var table = Table([
                .init("#brokerName", "brokerName"), .init("#queueId", "queueId"), .init("#brokerOffset", "brokerOffset"),
                .init("#consumerOffset", "consumerOffset"), .init("#timestampOffset", "timestampOffset"),
                .init("#rollbackOffset", "rollbackOffset"),
            ])
            for entry in moved {
                table.add(
                    .init(entry.queue.brokerName), .init(entry.queue.queueID), .init(entry.brokerOffset), .init(entry.consumerOffset),
                    .init(entry.timestampOffset), .init(entry.rollbackOffset))
            }
            return table
        }
    }
}
