import RocketMQBase
import RocketMQProtocol

/// What happened to messages and queues of one consumer group in a simulation, held against what consumers are promised.
public final class ConsumerHistory: ConsumptionLedger {
    /// Something that explains what would be a fault without it.
    public struct Disturbance {
        public var what: String
        /// Something is broken by it; without this, it is what a group must cope with.
        var isFault: Bool
        /// A broker forgets positions, or a member's commits come late.
        var setsBack: Bool
        var start: MonotonicTime
        /// When it was over; what it set in motion goes on for a while.
        var end: MonotonicTime
    }

    private struct Place: Hashable {
        var queue: MessageQueue
        var offset: Int64
    }

    private struct Record {
        /// Times that it was handed to the broker.
        var sends = 0
        var isAcknowledged = false
        var sendBacks = 0
        /// When its processing ended well, and where.
        var successes: [(at: MonotonicTime, place: Place, consumer: String)] = []
    }

    /// How long after its first success a message is still in no commit: five seconds at the client, five more until the
    /// broker has it in its file, and what was pulled before it and takes longer.
    static let uncommitted: Duration = .seconds(20)
    /// How long it takes until a group has settled again: heartbeats and rebalances of all members.
    static let settling: Duration = .seconds(75)

    private let simulation: Simulation
    let isOrderly: Bool
    private var records: [String: Record] = [:]
    private var finished: [MessageQueue: Set<Int64>] = [:]
    /// All offsets before it are finished.
    private var contiguous: [MessageQueue: Int64] = [:]
    private var running: [MessageQueue: [(consumer: String, offset: Int64, since: MonotonicTime)]] = [:]
    private(set) var disturbances: [Disturbance] = []
    /// What was promised and not kept.
    public private(set) var violations: [String] = []

    /// Members that come and go in good order explain nothing: they hand over what they have.
    private let isStrict: Bool

    init(_ simulation: Simulation, isOrderly: Bool, isStrict: Bool = false) {
        self.simulation = simulation
        self.isOrderly = isOrderly
        self.isStrict = isStrict
    }

    func violated(_ what: String) {
        simulation.note("VIOLATED: \(what)")
        violations.append("at \(simulation.now.nanoseconds / 1_000_000) ms: \(what)")
    }

    // MARK: Disturbances

    /// Something goes on from now; `end` of the returned number ends it.
    func disturb(_ what: String, isFault: Bool = true, setsBack: Bool = false) -> Int {
        simulation.note(what)
        disturbances.append(
            Disturbance(what: what, isFault: isFault, setsBack: setsBack, start: simulation.now, end: MonotonicTime(nanoseconds: .max)))
        return disturbances.count - 1
    }

    func end(_ index: Int, after delay: Duration = .zero) {
        simulation.note("over: \(disturbances[index].what)")
        disturbances[index].end = simulation.now + delay
    }

    /// Whether something explains that a message is processed again now whose processing ended well at `first`.
    func explains(again now: MonotonicTime, since first: MonotonicTime) -> Bool {
        disturbances.contains { disturbance in
            guard disturbance.start <= now, disturbance.isFault || !isStrict else { return false }
            return disturbance.end.nanoseconds == .max || disturbance.end + Self.settling + Self.uncommitted >= first
        }
    }

    /// Since when nothing disturbs; `nil` while something does.
    var calmSince: MonotonicTime? {
        var since = MonotonicTime(nanoseconds: 0)
        for disturbance in disturbances {
            guard disturbance.end <= simulation.now else { return nil }
            since = max(since, disturbance.end)
        }
        return since
    }

    // MARK: Messages

    func sending(_ key: String) { records[key, default: Record()].sends += 1 }
    func acknowledged(_ key: String) { records[key, default: Record()].isAcknowledged = true }
    func sendingBack(_ key: String) { records[key, default: Record()].sendBacks += 1 }

    /// As far as other consumers are concerned it is done with, and must come again; if not, it is missing in the end.
    func failed(_ key: String, _ queue: MessageQueue, _ offset: Int64) { finish(queue, offset) }

    func sentBack(_ queue: MessageQueue, _ offset: Int64) { finish(queue, offset) }

    func began(_ key: String, _ queue: MessageQueue, _ offset: Int64, by consumer: String) {
        let record = records[key, default: Record()]
        if let first = record.successes.first, record.sends < 2, record.sendBacks < 2, !explains(again: simulation.now, since: first.at) {
            violated(
                "\(key) of \(queue) at \(offset) is processed again by \(consumer), after \(first.consumer) at \(first.place.queue) "
                    + "\(first.place.offset), \((simulation.now - first.at).inMilliseconds) ms before, and nothing explains it")
        }
        if isOrderly { checkOrder(queue, offset, consumer) }
        running[queue, default: []].append((consumer, offset, simulation.now))
    }

    private func checkOrder(_ queue: MessageQueue, _ offset: Int64, _ consumer: String) {
        let next = contiguous[queue] ?? 0
        if offset > next { violated("\(consumer) begins with \(queue) at \(offset), and \(next) is not finished") }
        for other in running[queue] ?? [] where !explains(again: simulation.now, since: other.since) {
            violated("\(consumer) begins with \(queue) at \(offset) while \(other.consumer) is at \(other.offset), and nothing explains it")
        }
    }

    func ended(_ key: String, _ queue: MessageQueue, _ offset: Int64, by consumer: String, isSuccess: Bool) {
        running[queue]?.removeAll { $0.consumer == consumer && $0.offset == offset }
        guard isSuccess else { return }
        records[key, default: Record()].successes.append((simulation.now, Place(queue: queue, offset: offset), consumer))
        finish(queue, offset)
    }

    private func finish(_ queue: MessageQueue, _ offset: Int64) {
        finished[queue, default: []].insert(offset)
        while finished[queue]?.contains(contiguous[queue] ?? 0) == true { contiguous[queue, default: 0] += 1 }
    }

    /// A consumer ended in the middle of what it did.
    func died(_ consumer: String) { for queue in running.keys.sorted() { running[queue]?.removeAll { $0.consumer == consumer } } }

    func moved(_ queue: MessageQueue, from: Int64, to: Int64) {
        if to > from { violated("the broker sends a consumer of \(queue) from \(from) on to \(to), past messages") }
    }

    // MARK: Queues

    private var lastOwned: [MessageQueue: MonotonicTime] = [:]

    func taken(_ queue: MessageQueue, by consumer: String) { simulation.note("\(consumer) takes \(queue)") }
    func given(_ queue: MessageQueue, by consumer: String) { simulation.note("\(consumer) gives \(queue) away") }

    /// Looks at who has which queue; to be called about once a second.
    func look(at queues: [MessageQueue], consumers: [any GroupMember], each: Bool) {
        let calm = calmSince
        for queue in queues {
            // In broadcasting each member has all queues.
            let isOwned =
                each
                ? consumers.allSatisfy { !$0.isActive || $0.owns(queue) } : consumers.contains { $0.owns(queue) }
            let last = max(lastOwned[queue] ?? MonotonicTime(nanoseconds: 0), calm ?? simulation.now)
            if isOwned || calm == nil {
                lastOwned[queue] = simulation.now
            } else if simulation.now - last > SimulatedConsumer.rebalanceInterval * 2 {
                violated("\(queue) has no owner for \((simulation.now - last).inMilliseconds) ms")
                lastOwned[queue] = simulation.now
            }
        }
    }

    /// Where the broker had the group when it was last asked.
    private var known: [MessageQueue: Int64] = [:]

    /// The broker says that the group has come so far.
    func position(_ offset: Int64, of queue: MessageQueue) {
        let limit = contiguous[queue] ?? 0
        // A broker that crashes forgets the last commits; what a member said before it was cut off can arrive after it was replaced.
        let isExplained = disturbances.contains { $0.setsBack && ($0.end.nanoseconds == .max || $0.end + Self.settling >= simulation.now) }
        if isStrict, !isExplained, offset < known[queue] ?? 0 {
            violated("the broker has the group at \(offset) of \(queue), after \(known[queue] ?? 0), and nothing explains it")
        }
        known[queue] = offset
        if offset > limit { violated("the broker has the group at \(offset) of \(queue), and \(limit) is not finished") }
    }

    // MARK: In the end

    /// Acknowledged messages that nobody has processed yet.
    public var missing: [String] {
        records.filter { $0.value.isAcknowledged && $0.value.successes.isEmpty }.keys.sorted()
    }

    /// Messages of these keys that were processed.
    func isDelivered(_ key: String) -> Bool { records[key]?.successes.isEmpty == false }

    var acknowledged: [String] { records.filter(\.value.isAcknowledged).keys.sorted() }
    /// It may be stored more than once.
    func isSentAgain(_ key: String) -> Bool { (records[key]?.sends ?? 0) > 1 }

    public var acknowledgedCount: Int { records.values.count { $0.isAcknowledged } }
    public var repeatedCount: Int { records.values.count { $0.successes.count > 1 } }

    /// Where the group has come in all queues in which something was processed.
    func finishedPositions() -> [MessageQueue: Int64] { contiguous }
}
