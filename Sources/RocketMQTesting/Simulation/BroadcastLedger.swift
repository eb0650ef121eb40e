import RocketMQBase
import RocketMQProtocol

/// What the members of a broadcasting group processed, each for itself, held against what they are promised.
final class BroadcastLedger: ConsumptionLedger {
    private struct Member {
        /// When its processing of a message ended well.
        var successes: [String: [MonotonicTime]] = [:]
        var finished: [MessageQueue: Set<Int64>] = [:]
        var running: [MessageQueue: Int64] = [:]
        /// What failed and is to be tried again: no position goes past it.
        var failed: [MessageQueue: Set<Int64>] = [:]
        /// Up to where it had come when it ended with something that was still to be tried again.
        var repeatable: [MessageQueue: Int64] = [:]
    }

    private let simulation: Simulation
    private let history: ConsumerHistory
    private var members: [String: Member] = [:]

    init(_ simulation: Simulation, _ history: ConsumerHistory) {
        self.simulation = simulation
        self.history = history
    }

    func began(_ key: String, _ queue: MessageQueue, _ offset: Int64, by consumer: String) {
        let member = members[consumer, default: Member()]
        let isRepeatable = member.repeatable[queue].map { offset <= $0 } ?? false
        if let first = member.successes[key]?.first, !isRepeatable, !history.isSentAgain(key),
            !history.explains(again: simulation.now, since: first)
        {
            history.violated("\(key) of \(queue) at \(offset) is processed again by \(consumer), and nothing explains it")
        }
        guard history.isOrderly else { return }
        if let other = member.running[queue] { history.violated("\(consumer) begins with \(queue) at \(offset) while it is at \(other)") }
        if offset > 0, member.finished[queue]?.contains(offset - 1) != true {
            history.violated("\(consumer) begins with \(queue) at \(offset), and the one before is not finished")
        }
        members[consumer, default: Member()].running[queue] = offset
    }

    func ended(_ key: String, _ queue: MessageQueue, _ offset: Int64, by consumer: String, isSuccess: Bool) {
        members[consumer]?.running[queue] = nil
        guard isSuccess else {
            members[consumer, default: Member()].failed[queue, default: []].insert(offset)
            return
        }
        members[consumer]?.failed[queue]?.remove(offset)
        members[consumer, default: Member()].successes[key, default: []].append(simulation.now)
        members[consumer, default: Member()].finished[queue, default: []].insert(offset)
    }

    func failed(_ key: String, _ queue: MessageQueue, _ offset: Int64) {}

    /// It ended, maybe in the middle of what it did.
    func died(_ consumer: String) {
        guard var member = members[consumer] else { return }
        member.running = [:]
        for queue in member.failed.filter({ !$0.value.isEmpty }).keys { member.repeatable[queue] = member.finished[queue]?.max() }
        members[consumer] = member
    }

    /// Acknowledged messages that one of these members has not processed.
    func missing(_ live: [String]) -> [String] {
        live.flatMap { name in
            history.acknowledged.filter { members[name]?.successes[$0] == nil }.map { "\($0) by \(name)" }
        }
    }
}
