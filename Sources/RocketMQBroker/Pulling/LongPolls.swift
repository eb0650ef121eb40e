import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// A pull that found nothing and waits for the next message of its queue. Confined to the broker's loop.
final class WaitingPull {
    let connection: ServerConnection
    let request: AnswerTo
    let queue: TopicQueue
    let maxMessages: Int
    let filter: MessageFilter
    /// Where what it gets is counted.
    let work: GroupWork
    /// Moves on past messages that the filter does not let through.
    var offset: Int64
    fileprivate(set) var isDone = false
    fileprivate var deadline = MonotonicTime(nanoseconds: .max)

    init(
        connection: ServerConnection, request: AnswerTo, queue: TopicQueue, offset: Int64, maxMessages: Int, filter: MessageFilter,
        work: GroupWork
    ) {
        self.connection = connection
        self.request = request
        self.queue = queue
        self.offset = offset
        self.maxMessages = maxMessages
        self.filter = filter
        self.work = work
    }
}

/// The pulls that wait. Each is answered once: by a message, by its time-out or because its topic went; those of a
/// connection that ended are forgotten with it.
///
/// Holding, answering and forgetting a pull cost the same however many wait: done ones stay in their lists until they are
/// the larger part of them, and one timer serves all, set to the earliest time-out.
final class LongPolls {
    /// Answers a waiting pull if there is something for it now; whether it was answered, or will be by what was started.
    typealias Serve = (WaitingPull) -> Bool
    /// Tells a pull that there was nothing.
    typealias GiveUp = (WaitingPull) -> Void

    /// What protects the broker from its peers.
    struct Limits {
        /// Pulls held in all, and of one connection; further ones are answered at once.
        var mostWaiting = 1_000_000
        var mostOfConnection = 100_000
        /// A connection that leaves this many bytes of answers unread is served no more until it has read some.
        var mostUnreadBytes = 2 << 20
    }

    private final class OfConnection {
        var pulls: [WaitingPull] = []
        var live = 0
    }

    private let loop: any EventLoop
    private let limits: Limits
    private(set) var count = 0
    private var queues: [ObjectIdentifier: TopicQueue] = [:]
    private var connections: [UInt64: OfConnection] = [:]
    private var sweep: (any ScheduledCall)?
    private var sweepAt = MonotonicTime(nanoseconds: .max)
    /// Queues with messages for pulls whose connections have too much to read.
    private var stalled: [ObjectIdentifier: TopicQueue] = [:]
    var serve: Serve = { _ in false }
    var giveUp: GiveUp = { _ in }

    /// Time-outs that lie closer together are served together.
    private static let sweepInterval: Duration = .milliseconds(20)
    private static let stallInterval: Duration = .milliseconds(50)

    init(loop: any EventLoop, limits: Limits = Limits()) {
        self.loop = loop
        self.limits = limits
    }

    /// Holds a pull for at most `timeout`; `false` when there are too many already.
    func hold(_ pull: WaitingPull, timeout: Duration) -> Bool {
        let id = pull.connection.id
        guard count < limits.mostWaiting, connections[id]?.live ?? 0 < limits.mostOfConnection else { return false }
        count += 1
        pull.deadline = loop.clock.monotonicNow + timeout
        pull.queue.waiting.append(pull)
        queues[ObjectIdentifier(pull.queue)] = pull.queue
        let ofConnection = connections[id] ?? OfConnection()
        connections[id] = ofConnection
        ofConnection.pulls.append(pull)
        ofConnection.live += 1
        if pull.deadline < sweepAt { scheduleSweep(at: pull.deadline) }
        return true
    }

    /// Called after messages of the queue were committed.
    func messagesArrived(in queue: TopicQueue) {
        for pull in queue.waiting where !pull.isDone {
            if pull.connection.stream.isClosed {
                finish(pull)
            } else if pull.connection.stream.output.count > limits.mostUnreadBytes {
                stall(queue)
            } else if serve(pull) {
                finish(pull)
            }
        }
        compact(queue)
    }

    /// The queue is gone: returns the pulls that waited for it, to be answered by the caller.
    func takeAll(of queue: TopicQueue) -> [WaitingPull] {
        let waiting = queue.waiting.filter { !$0.isDone }
        for pull in waiting { finish(pull) }
        compact(queue)
        return waiting
    }

    /// Ends the waiting of some pulls of a connection: they are told that there was nothing.
    func giveUp(of connection: ServerConnection, where isMeant: (WaitingPull) -> Bool) {
        guard let pulls = connections[connection.id]?.pulls else { return }
        for pull in pulls where !pull.isDone && isMeant(pull) {
            finish(pull)
            giveUp(pull)
        }
    }

    /// A connection ended, and with it what waited on it.
    func connectionClosed(_ connection: ServerConnection) {
        guard let ofConnection = connections.removeValue(forKey: connection.id) else { return }
        for pull in ofConnection.pulls { finish(pull) }
    }

    // MARK: Time-outs

    private func scheduleSweep(at time: MonotonicTime) {
        sweep?.cancel()
        sweepAt = time
        sweep = loop.schedule(after: max(time - loop.clock.monotonicNow, .zero)) { [unowned self] in sweepOverdue() }
    }

    private func sweepOverdue() {
        sweep = nil
        sweepAt = MonotonicTime(nanoseconds: .max)
        let now = loop.clock.monotonicNow
        var next = MonotonicTime(nanoseconds: .max)
        var overdue: [WaitingPull] = []
        for queue in queues.values {
            for pull in queue.waiting where !pull.isDone {
                if pull.deadline <= now { overdue.append(pull) } else { next = min(next, pull.deadline) }
            }
        }
        // Who has waited longest goes first.
        overdue.sort {
            ($0.deadline.nanoseconds, $0.connection.id, $0.request.opaque) < ($1.deadline.nanoseconds, $1.connection.id, $1.request.opaque)
        }
        for pull in overdue where !pull.isDone {
            finish(pull)
            giveUp(pull)
            if pull.queue.doneWaiting * 2 > pull.queue.waiting.count { compact(pull.queue) }
        }
        if next.nanoseconds != .max { scheduleSweep(at: max(next, now + Self.sweepInterval)) }
    }

    // MARK: Slow readers

    private func stall(_ queue: TopicQueue) {
        if stalled.isEmpty {
            loop.schedule(after: Self.stallInterval) { [unowned self] in
                let tried = stalled
                stalled = [:]
                for queue in tried.values.sorted(by: { $0.precedes($1) }) { messagesArrived(in: queue) }
            }
        }
        stalled[ObjectIdentifier(queue)] = queue
    }

    // MARK: Lists

    private func finish(_ pull: WaitingPull) {
        guard !pull.isDone else { return }
        pull.isDone = true
        count -= 1
        pull.queue.doneWaiting += 1
        if pull.queue.doneWaiting > 64, pull.queue.doneWaiting * 2 > pull.queue.waiting.count { compact(pull.queue) }
        guard let ofConnection = connections[pull.connection.id] else { return }
        ofConnection.live -= 1
        if ofConnection.live == 0 {
            connections[pull.connection.id] = nil
        } else if ofConnection.pulls.count > 64, ofConnection.live * 2 < ofConnection.pulls.count {
            ofConnection.pulls.removeAll { $0.isDone }
        }
    }

    private func compact(_ queue: TopicQueue) {
        if queue.doneWaiting > 0 { queue.waiting.removeAll { $0.isDone } }
        queue.doneWaiting = 0
        if queue.waiting.isEmpty { queues[ObjectIdentifier(queue)] = nil }
    }
}
