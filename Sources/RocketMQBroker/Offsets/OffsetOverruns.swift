import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Commits beyond the ends of their queues. They are not taken: what comes there later would be passed over, though nobody
/// consumed it. The last of each group and queue is remembered until one there is taken, for those who look after groups. Confined to
/// the broker's loop.
final class OffsetOverruns {
    /// A commit that was not taken.
    struct Refusal {
        var group: String
        var topic: String
        var queueID: Int32
        var offset: Int64
        var queueEnd: Int64
        /// Who sent it.
        var client: String
        var connection: UInt64
        var time: MonotonicTime
        /// A later commit was taken.
        fileprivate var isOver = false
        /// Clients that were told of for this queue.
        fileprivate var told: Set<String> = []
    }

    private struct Place: Hashable {
        var topic: String
        var queueID: Int32
    }

    /// Remembered, and told of one by one; those of clients that commit anywhere are not worth more.
    private static let most = 1024
    private static let mostLines = 64
    private static let mostTold = 16
    private let clients: ClientTable
    private let clock: any SystemClock
    private let log: Logger
    private var byGroup: [String: [Place: Refusal]] = [:]
    private var count = 0
    /// Of these, those that are not over.
    private var openCount = 0

    init(clients: ClientTable, clock: any SystemClock, log: Logger) {
        self.clients = clients
        self.clock = clock
        self.log = log
    }

    /// Notes a commit that is not taken; told of once for a client and queue.
    func refused(
        _ offset: Int64, group: String, topic: String, queueID: Int32, queueEnd: Int64, _ connection: ServerConnection
    ) {
        let place = Place(topic: topic, queueID: queueID)
        let known = byGroup[group]?[place]
        if known == nil {
            if count >= Self.most { (byGroup, count, openCount) = ([:], 0, 0) }
            count += 1
        }
        if known?.isOver ?? true { openCount += 1 }
        let client = clients.consumerGroup(group)?.members[connection.id]?.name ?? "\(connection.peer)"
        var refusal = Refusal(
            group: group, topic: topic, queueID: queueID, offset: offset, queueEnd: queueEnd, client: client, connection: connection.id,
            time: clock.monotonicNow, told: known?.told ?? [])
        let isNew = refusal.told.count < Self.mostTold && refusal.told.insert(client).inserted
        byGroup[group, default: [:]][place] = refusal
        guard isNew else { return }
        let line =
            "client \(client) wants group \(group) to be at offset \(offset) in queue \(queueID) of topic \(topic), which ends at "
            + "\(queueEnd): not taken, since what comes there later would be passed over"
        if count <= Self.mostLines { log.warning(line) } else { log.log(.warning, limitedBy: "commit beyond the end", line) }
    }

    /// A commit was taken, so that what was not taken in this queue before is over.
    @inline(__always)
    func taken(group: String, topic: String, queueID: Int32) {
        if openCount > 0 { end(group, Place(topic: topic, queueID: queueID)) }
    }

    /// The topic is deleted, and its queues with it.
    func forget(topic: String) {
        guard openCount > 0 else { return }
        for (group, refusals) in byGroup { for place in refusals.keys where place.topic == topic { end(group, place) } }
    }

    /// Kept, so that who is told of is not told of again.
    private func end(_ group: String, _ place: Place) {
        guard byGroup[group]?[place]?.isOver == false else { return }
        byGroup[group]?[place]?.isOver = true
        openCount -= 1
    }

    /// What is remembered of the group and not older than `age`, sorted.
    func refusals(ofGroup group: String, within age: Duration) -> [Refusal] {
        guard let refusals = byGroup[group] else { return [] }
        let now = clock.monotonicNow
        for (place, refusal) in refusals where now - refusal.time > age {
            end(group, place)
            byGroup[group]?[place] = nil
            count -= 1
        }
        if byGroup[group]?.isEmpty == true { byGroup[group] = nil }
        return (byGroup[group] ?? [:]).values.filter { !$0.isOver }.sorted { ($0.topic, $0.queueID) < ($1.topic, $1.queueID) }
    }

    /// The refusal as the client is told of it.
    static func reason(_ offset: Int64, group: String, topic: String, queueID: Int32, queueEnd: Int64) -> String {
        "group \(group) cannot commit the offset \(offset) in queue \(queueID) of topic \(topic), which ends at \(queueEnd): what comes "
            + "there later would be passed over; mqadmin skipAccumulatedMessage leads a group to the end"
    }
}
