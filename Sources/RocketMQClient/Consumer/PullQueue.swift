import RocketMQBase
import RocketMQProtocol

/// One queue that this consumer has: what is held of it and what its pulling is doing. Confined to the loop.
final class PullQueue {
    enum Phase {
        /// A pull is at the broker.
        case pulling
        /// The next pull waits for a time.
        case resting(any ScheduledCall)
        /// The next pull waits until enough messages are finished.
        case full
        /// The consumer is paused.
        case paused
        /// Given away: whatever still comes of it does not count.
        case dropped
    }

    let queue: MessageQueue
    var process: ProcessQueue
    var phase = Phase.paused
    /// Where the next pull begins.
    var nextOffset: Int64
    /// The position that the broker has, as far as is known.
    var persistedOffset: Int64?
    /// Where the broker suggests to read: 0, its master, unless that is busy.
    var suggestedBrokerID: Int64 = BrokerData.masterID
    // Milliseconds since 1970, for tools.
    var lastPullMilliseconds: Int64 = 0
    var lastConsumeMilliseconds: Int64 = 0

    init(_ queue: MessageQueue, startingAt offset: Int64, persisted: Int64?) {
        self.queue = queue
        process = ProcessQueue(startingAt: offset)
        nextOffset = offset
        persistedOffset = persisted
    }

    var isDropped: Bool { if case .dropped = phase { true } else { false } }
    var isFull: Bool { if case .full = phase { true } else { false } }

    func drop() {
        if case .resting(let timer) = phase { timer.cancel() }
        phase = .dropped
    }
}
