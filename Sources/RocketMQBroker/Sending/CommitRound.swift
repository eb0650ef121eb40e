import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// One tick's worth of storing: whatever is staged between two ends of a tick is written together, then answered
/// together, then shown to the pulls that wait for it. Confined to the broker's loop.
final class CommitRound {
    private let store: MessageStore
    private let longPolls: LongPolls
    private let counters: BrokerCounters
    private let loop: any EventLoop
    private let isFlushSynchronous: Bool
    var flushTimeout: Duration

    private var afterWrite = HeldAnswers()
    private var afterFlush = HeldAnswers()
    private var arrivals: [TopicQueue] = []
    private var outcomes: [(StoreError?) -> Void] = []
    private var stagedEnd: Int64 = 0
    private var flushExpiry: (any ScheduledCall)?
    private var tickMilliseconds: Int64 = 0

    init(
        store: MessageStore, longPolls: LongPolls, counters: BrokerCounters, loop: any EventLoop, isFlushSynchronous: Bool,
        flushTimeout: Duration
    ) {
        self.store = store
        self.longPolls = longPolls
        self.counters = counters
        self.loop = loop
        self.isFlushSynchronous = isFlushSynchronous
        self.flushTimeout = flushTimeout
        store.onFlushed = { [unowned self] in flushed($0) }
    }

    /// The time of the tick, read once: the store timestamp of all that is staged in it.
    var wallMilliseconds: Int64 {
        if tickMilliseconds == 0 { tickMilliseconds = loop.clock.wallMilliseconds }
        return tickMilliseconds
    }

    /// The time was read again within the tick, and what becomes due until then is staged: neither it nor what follows it in
    /// the log bears an earlier time.
    func moveTime(to milliseconds: Int64) { tickMilliseconds = max(tickMilliseconds, milliseconds) }

    /// Counts a staged message and has the pulls that wait for it looked at after the commit.
    @inline(__always)
    func noteStaged(_ appended: Appended, _ queue: TopicQueue) {
        stagedEnd = appended.physicalOffset + Int64(appended.size)
        queue.topic.storedMessages += 1
        queue.topic.storedBytes += Int64(appended.size)
        counters.storedMessages += 1
        counters.storedBytes += Int64(appended.size)
        if !queue.waiting.isEmpty { list(queue) }
    }

    /// Has the pulls that wait for the queue looked at after the commit: for one that came when its message was staged already.
    func list(_ queue: TopicQueue) {
        guard !queue.isListed else { return }
        queue.isListed = true
        arrivals.append(queue)
    }

    /// Holds an answer until what was staged so far is stored as durably as promised.
    @inline(__always)
    func hold(
        _ request: AnswerTo, for connection: ServerConnection, topic: Topic, waitsForFlush: Bool, _ encode: (inout ByteBuffer) -> Void
    ) {
        let newTopic = topic.answersAwaitingRoute == nil ? nil : topic
        if topic.isFlushSynchronous ?? isFlushSynchronous, waitsForFlush {
            let deadline = loop.clock.monotonicNow + flushTimeout
            afterFlush.hold(for: connection, request, until: stagedEnd, newTopic: newTopic, deadline: deadline, encode)
        } else {
            afterWrite.hold(for: connection, request, until: stagedEnd, newTopic: newTopic, encode)
        }
    }

    /// As above, a success with these fields, for requests that are not sends. One-way requests get none.
    func holdSuccess(_ request: RemotingCommand, for connection: ServerConnection, topic: Topic, _ fields: [String: String] = [:]) {
        guard !request.isOneway else { return }
        let to = AnswerTo(opaque: request.opaque, serialization: request.serialization)
        hold(to, for: connection, topic: topic, waitsForFlush: true) { output in
            var answer = RemotingCommand.success(fields)
            answer.opaque = to.opaque
            answer.serialization = to.serialization
            answer.flag |= FrameFormat.responseFlag
            answer.encode(into: &output)
        }
    }

    /// Answers for a message that was staged before, in this tick or an earlier one, when the log has got to `end`: at once if
    /// it has.
    func holdAgain(
        _ request: AnswerTo, for connection: ServerConnection, topic: Topic, until end: Int64, waitsForFlush: Bool,
        _ encode: (inout ByteBuffer) -> Void
    ) {
        let needsFlush = (topic.isFlushSynchronous ?? isFlushSynchronous) && waitsForFlush
        let isReached = end <= (needsFlush ? store.flushedOffset : store.writtenOffset)
        if needsFlush, !isReached, store.hasFlushFailed {
            return connection.answer(
                request, .response(.systemError, "the message is stored, but may not be durable: a flush failed, see the broker's log"))
        }
        let newTopic = topic.answersAwaitingRoute == nil ? nil : topic
        if isReached {
            guard !connection.stream.isClosed else { return }
            guard let newTopic else {
                encode(&connection.stream.output)
                return connection.stream.flushLater()
            }
            var answer = ByteBuffer(capacity: 256)
            encode(&answer)
            newTopic.answersAwaitingRoute?.append(Topic.DelayedAnswer(connection: connection, bytes: answer.copyBytes()))
            return
        }
        let until = max(end, stagedEnd)
        guard needsFlush else { return afterWrite.hold(for: connection, request, until: until, newTopic: newTopic, encode) }
        let deadline = loop.clock.monotonicNow + flushTimeout
        afterFlush.hold(
            for: connection, request, until: max(until, afterFlush.lastRequiredOffset), newTopic: newTopic, deadline: deadline, encode)
        guard stagedEnd == 0 else { return }
        // No commit follows that would ask for the flush.
        afterFlush.endTick()
        store.requestFlush()
        watchFlush()
    }

    /// Calls `work` after this tick's commit, with what went wrong if it did. For work of the broker's own.
    func afterCommit(_ work: @escaping (StoreError?) -> Void) { outcomes.append(work) }

    /// Something is staged in part and the rest of it cannot be: takes back everything since the last commit.
    func abort(_ refusal: SendRefusal) {
        store.rollBack()
        stagedEnd = 0
        failStaged(refusal)
        finish(StoreError(.disk, refusal.remark))
    }

    /// At the end of each tick.
    func endTick() {
        tickMilliseconds = 0
        if stagedEnd > 0 { commit() }
        if !outcomes.isEmpty { finish(nil) }
        guard !arrivals.isEmpty else { return }
        let woken = arrivals
        arrivals.removeAll(keepingCapacity: true)
        for queue in woken {
            queue.isListed = false
            longPolls.messagesArrived(in: queue)
        }
    }

    private func commit() {
        stagedEnd = 0
        do throws(StoreError) {
            try store.commit()
            afterWrite.release(upTo: store.writtenOffset)
            finish(nil)
        } catch {
            failStaged(SendRefusal(error))
            finish(error)
        }
        afterWrite.endTick()
        afterFlush.endTick()
        if !afterFlush.isEmpty {
            store.requestFlush()
            watchFlush()
        }
    }

    private func failStaged(_ refusal: SendRefusal) {
        afterWrite.fail(beyond: store.writtenOffset, refusal.code, refusal.remark)
        afterFlush.fail(beyond: store.writtenOffset, refusal.code, refusal.remark)
    }

    private func finish(_ failure: StoreError?) {
        guard !outcomes.isEmpty else { return }
        let called = outcomes
        outcomes.removeAll()
        for work in called { work(failure) }
    }

    /// The store's flush got further, or failed.
    private func flushed(_ failure: StoreError?) {
        afterFlush.release(upTo: store.flushedOffset)
        if let failure {
            afterFlush.fail(
                beyond: store.flushedOffset, .systemError, "the message may not be durable, and is not acknowledged: \(failure)")
        }
    }

    /// Answers FLUSH_DISK_TIMEOUT to those that have waited too long for the disk.
    private func watchFlush() {
        guard flushExpiry == nil else { return }
        flushExpiry = loop.schedule(after: .milliseconds(100)) { [unowned self] in
            flushExpiry = nil
            afterFlush.expire(
                at: loop.clock.monotonicNow, as: .flushDiskTimeout,
                "stored, but not flushed to disk within \(flushTimeout.inMilliseconds) ms (syncFlushTimeout)")
            if !afterFlush.isEmpty { watchFlush() }
        }
    }
}
