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
    /// Moves on past messages that the filter does not let through.
    var offset: Int64
    fileprivate(set) var isDone = false
    fileprivate var timeout: (any ScheduledCall)?

    init(
        connection: ServerConnection, request: AnswerTo, queue: TopicQueue, offset: Int64, maxMessages: Int, filter: MessageFilter
    ) {
        self.connection = connection
        self.request = request
        self.queue = queue
        self.offset = offset
        self.maxMessages = maxMessages
        self.filter = filter
    }
}

/// The pulls that wait. Each is answered once: by a message, by its time-out or because its topic went. Those of a
/// connection that ended are forgotten when their queue is next looked at, or at their time-out.
final class LongPolls {
    /// Answers a waiting pull if there is something for it now; whether it was answered, or will be by what was started.
    typealias Serve = (WaitingPull) -> Bool
    /// Tells a pull that there was nothing.
    typealias GiveUp = (WaitingPull) -> Void

    private let loop: any EventLoop
    private(set) var count = 0
    /// A broker does not hold more than these; further pulls are answered at once.
    private let mostWaiting: Int
    var serve: Serve = { _ in false }
    var giveUp: GiveUp = { _ in }

    init(loop: any EventLoop, mostWaiting: Int = 1_000_000) {
        self.loop = loop
        self.mostWaiting = mostWaiting
    }

    /// Holds a pull for at most `timeout`; `false` when there are too many already.
    func hold(_ pull: WaitingPull, timeout: Duration) -> Bool {
        guard count < mostWaiting else { return false }
        count += 1
        pull.queue.waiting.append(pull)
        pull.timeout = loop.schedule(after: timeout) { [unowned self] in
            guard !pull.isDone else { return }
            remove(pull)
            giveUp(pull)
        }
        return true
    }

    /// Called after messages of the queue were committed.
    func messagesArrived(in queue: TopicQueue) {
        for pull in queue.waiting where !pull.isDone {
            if pull.connection.stream.isClosed || serve(pull) { finish(pull) }
        }
        queue.waiting.removeAll { $0.isDone }
    }

    /// The queue is gone: returns the pulls that waited for it, to be answered by the caller.
    func takeAll(of queue: TopicQueue) -> [WaitingPull] {
        let waiting = queue.waiting.filter { !$0.isDone }
        for pull in waiting { finish(pull) }
        queue.waiting = []
        return waiting
    }

    private func remove(_ pull: WaitingPull) {
        finish(pull)
        pull.queue.waiting.removeAll { $0 === pull }
    }

    private func finish(_ pull: WaitingPull) {
        guard !pull.isDone else { return }
        pull.isDone = true
        pull.timeout?.cancel()
        pull.timeout = nil
        count -= 1
    }
}
