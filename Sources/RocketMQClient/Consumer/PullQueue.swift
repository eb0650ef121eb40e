import RocketMQBase
import RocketMQProtocol

/// One queue that this consumer has: what is held of it, what its pulling is doing, its lock. Confined to the loop.
final class PullQueue: PulledQueue, LockedQueue {
    enum Phase {
        /// A pull is at the broker.
        case pulling
        /// The next pull waits for a time.
        case resting(any ScheduledCall)
        /// The next pull waits until enough messages are finished.
        case full
        /// The consumer is paused.
        case paused
        /// On its way to another member: nothing is begun any more, what runs still counts.
        case leaving
        /// Gone: whatever still comes of it does not count.
        case dropped
    }

    let queue: MessageQueue
    /// The queue as the listener sees it: without the namespace.
    let shownQueue: MessageQueue
    var process: ProcessQueue
    var phase = Phase.paused
    /// Where the next pull begins.
    var nextOffset: Int64
    /// Counts the pulls: what comes of one does not count when another was begun in its place.
    var pulls = 0
    /// The position that the broker has, as far as is known: sent there, and answered.
    var persistedOffset: Int64?
    var acknowledgedOffset: Int64?
    /// Where the broker suggests to read: 0, its master, unless that is busy.
    var suggestedBrokerID: Int64 = BrokerData.masterID
    /// Among those that wait until this consumer holds less.
    var isWaitingForRoom = false

    /// For an orderly listener: what was pulled and waits, in order.
    var waiting = FIFO<MessageExt>()
    /// For an orderly listener: messages to be consumed before those in `waiting`, since they were not consumed successfully.
    var again: [MessageExt] = []
    /// For an orderly listener: whether the queue has its turn already, runs, or is suspended.
    var isScheduled = false

    /// When the broker last granted the lock; `nil` without one.
    var lockedAt: MonotonicTime?
    var isInDoubt = false

    /// Listener calls that run, and messages on their way back to the broker.
    var unfinished = 0
    /// Called when `unfinished` becomes 0.
    var whenQuiet: (() -> Void)?
    /// For a queue that leaves: called when it has left.
    var whenLeft: [() -> Void] = []
    /// For a queue that leaves: where a tool has set the group's position meanwhile.
    var reset: Int64?
    /// For a queue that leaves: this member is to have it again.
    var isWantedAgain = false

    /// What is done in the topic, for tools.
    let rates: RecentRates
    // Milliseconds since 1970, for tools.
    var lastPullMilliseconds: Int64 = 0
    var lastConsumeMilliseconds: Int64 = 0
    var lastLockMilliseconds: Int64 = 0

    init(
        _ queue: MessageQueue, shownAs shownQueue: MessageQueue, startingAt offset: Int64, persisted: Int64?, rates: RecentRates
    ) {
        self.queue = queue
        self.rates = rates
        self.shownQueue = shownQueue
        process = ProcessQueue(startingAt: offset)
        nextOffset = offset
        persistedOffset = persisted
        acknowledgedOffset = persisted
    }

    /// Whether it is pulled from and consumed.
    var isActive: Bool {
        switch phase {
        case .leaving, .dropped: false
        default: true
        }
    }
    var furthest: Int64 { process.committable }
    var isDropped: Bool { if case .dropped = phase { true } else { false } }
    var isFull: Bool { if case .full = phase { true } else { false } }
    var hasWaiting: Bool { !again.isEmpty || !waiting.isEmpty }

    /// The next messages in order, at most `count`.
    func takeNext(_ count: Int) -> [MessageExt] {
        var messages = again
        again = []
        if messages.count > count {
            again = Array(messages[count...])
            messages.removeLast(messages.count - count)
        }
        while messages.count < count, let message = waiting.popFirst() { messages.append(message) }
        return messages
    }

    /// Ends pulling and forgets what waits.
    func enter(_ end: Phase) {
        if case .resting(let timer) = phase { timer.cancel() }
        phase = end
        waiting.removeAll()
        again = []
    }

    func noteUnfinished(_ change: Int) {
        unfinished += change
        if unfinished == 0 { stopWaiting() }
    }

    /// Goes on with what waits for the queue to be quiet, whether it is or not.
    func stopWaiting() {
        let quiet = whenQuiet
        whenQuiet = nil
        quiet?()
    }
}
