import RocketMQBase

/// A call that waits for its time.
final class TimedCall: ScheduledCall {
    let deadline: MonotonicTime
    private(set) var work: (() -> Void)?
    private let order: UInt64

    init(deadline: MonotonicTime, order: UInt64, work: @escaping () -> Void) {
        self.deadline = deadline
        self.order = order
        self.work = work
    }

    func cancel() { work = nil }

    /// Calls due at the same time run in the order they were scheduled.
    func isBefore(_ other: TimedCall) -> Bool {
        deadline == other.deadline ? order < other.order : deadline < other.deadline
    }
}

/// The calls that wait, the next one first.
struct TimerHeap {
    private var calls: [TimedCall] = []
    private var scheduled: UInt64 = 0

    var next: MonotonicTime? { calls.first?.deadline }

    mutating func schedule(at deadline: MonotonicTime, _ work: @escaping () -> Void) -> TimedCall {
        scheduled += 1
        let call = TimedCall(deadline: deadline, order: scheduled, work: work)
        calls.append(call)
        var child = calls.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard calls[child].isBefore(calls[parent]) else { break }
            calls.swapAt(child, parent)
            child = parent
        }
        return call
    }

    /// Takes out the next call that is due, if any; cancelled ones are dropped on the way.
    mutating func popDue(_ now: MonotonicTime) -> TimedCall? {
        while let first = calls.first, first.work == nil || first.deadline <= now {
            calls.swapAt(0, calls.count - 1)
            calls.removeLast()
            sink()
            if first.work != nil { return first }
        }
        return nil
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < calls.count && calls[child].isBefore(calls[least]) {
                least = child
            }
            if least == parent { return }
            calls.swapAt(least, parent)
            parent = least
        }
    }

    mutating func removeAll() { calls.removeAll() }
}
