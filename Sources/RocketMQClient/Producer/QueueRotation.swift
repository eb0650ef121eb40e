import RocketMQBase
import RocketMQProtocol

/// Takes the queues of one topic in turn. Pure.
struct QueueRotation {
    private var position: Int

    /// Begins anywhere, so that many short-lived producers don't all begin at the first queue.
    init(random: inout RandomSource) { position = Int.random(in: 0..<65_536, using: &random) }

    init(startingAt position: Int) { self.position = position }

    private mutating func step(_ count: Int) -> Int {
        position = position == .max ? 0 : position + 1
        return position % count
    }

    /// The next queue; one of another broker than `avoided`, where there is one.
    mutating func next(in queues: [MessageQueue], avoiding avoided: String? = nil) -> MessageQueue? {
        guard !queues.isEmpty else { return nil }
        if let avoided {
            for _ in queues.indices {
                let queue = queues[step(queues.count)]
                if queue.brokerName != avoided { return queue }
            }
        }
        return queues[step(queues.count)]
    }

    /// The next queue of a broker that answers well; when there is none, one of a broker that is not the worst.
    mutating func next(in queues: [MessageQueue], by tolerance: inout LatencyFaultTolerance, now: MonotonicTime) -> MessageQueue? {
        guard !queues.isEmpty else { return nil }
        for _ in queues.indices {
            let queue = queues[step(queues.count)]
            if tolerance.isAvailable(queue.brokerName, now: now) { return queue }
        }
        if let name = tolerance.pickLeastBad(among: Set(queues.map(\.brokerName)), now: now) {
            return next(in: queues.filter { $0.brokerName == name })
        }
        return next(in: queues)
    }
}
