import RocketMQBase
import RocketMQProtocol

/// One queue of a pull consumer: what was pulled ahead, what readers have of it, and the positions. Confined to the loop.
///
/// Invariant: `committable` never passes a message that no reader has, or that its reader has not come back from.
final class LitePullQueue: PulledQueue, LockedQueue {
    enum Phase {
        case idle
        case pulling
        /// The next pull waits for a time.
        case resting(any ScheduledCall)
        /// On its way to another member: nothing more of it goes to readers, what they are at still counts.
        case leaving
        /// Given away: whatever still comes of it does not count.
        case dropped
    }

    let queue: MessageQueue
    var phase = Phase.idle
    /// Counts the jumps to other offsets: what was pulled before one does not count after it.
    private(set) var jumps = 0
    /// Counts the pulls: what comes of one does not count when another was begun in its place.
    var pulls = 0
    private(set) var isPaused = false
    /// Where the next pull begins.
    private(set) var nextOffset: Int64
    /// The position that the broker has, as far as is known.
    var committedOffset: Int64?
    var suggestedBrokerID: Int64 = BrokerData.masterID
    var lastPullMilliseconds: Int64 = 0

    /// When the broker last granted the lock; `nil` without one.
    var lockedAt: MonotonicTime?
    var isInDoubt = false
    var lastLockMilliseconds: Int64 = 0

    /// For a queue that leaves: called when readers are done with it.
    var whenQuiet: (() -> Void)?
    /// For a queue that leaves: where a tool has set the group's position meanwhile.
    var reset: Int64?
    /// For a queue that leaves: this member is to have it again.
    var isWantedAgain = false

    /// Pulled and not with a reader, in order.
    private var buffer = FIFO<MessageExt>()
    private(set) var bufferedBytes = 0
    /// Given back by readers, before all of `buffer`.
    private var returned: [MessageExt] = []
    /// With readers that take one message after the other.
    private(set) var reading: [ReadBatch] = []
    /// Taken whole by readers who say with their next call that they are done.
    private(set) var taken: [ReadBatch] = []
    /// Behind the last message that was given to a reader.
    private var readOffset: Int64
    /// Behind the last message that a reader has taken whom nothing is known of any more; `nil` before the first.
    private var takenBefore: Int64?
    /// The program commits.
    let isCommittedByHand: Bool
    /// What the program has committed last; `nil` while a commit is under way, or may have been done
    /// though it failed.
    var committedByHand: Int64?
    /// This member has read nothing before it.
    private(set) var leastOffset: Int64

    init(_ queue: MessageQueue, startingAt offset: Int64, committed: Int64?, isCommittedByHand: Bool = false) {
        self.queue = queue
        self.isCommittedByHand = isCommittedByHand
        nextOffset = offset
        readOffset = offset
        leastOffset = offset
        committedOffset = committed
    }

    var isDropped: Bool { if case .dropped = phase { true } else { false } }
    /// Whether it is pulled from and read.
    var isActive: Bool {
        switch phase {
        case .leaving, .dropped: false
        default: true
        }
    }
    var isIdle: Bool { if case .idle = phase { true } else { false } }
    var bufferedCount: Int { buffer.count + returned.count }
    var isReadable: Bool { !isPaused && bufferedCount > 0 && isActive }

    /// The program has said that everything before it is done with.
    private var doneBefore: Int64 = 0

    /// Everything before it is done with.
    var committable: Int64 { max(doneBefore, least((reading + taken).map(\.firstUnfinished))) }
    /// The offset of the next message that a reader will take.
    var position: Int64 { least(reading.map(\.firstUntaken)) }

    /// The greatest position that the program has asked to commit, whether that was done or not.
    var askedToCommit: Int64 = 0
    /// As far as the group can have come by this member. What a program has only read does not count: others may have come there.
    var furthest: Int64 { isCommittedByHand ? max(askedToCommit, committedOffset ?? 0) : committable }

    /// A reader has messages of it and has not said that it is done with them.
    var isUnfinished: Bool {
        guard isCommittedByHand else { return !taken.isEmpty || reading.contains { $0.taken > 0 } }
        let handedOut = reading.filter { $0.taken > 0 }.map(\.firstUntaken).max()
        guard let last = [handedOut, takenBefore].compactMap(\.self).max() else { return false }
        return last > committedOffset ?? 0
    }

    private func least(_ offsets: [Int64]) -> Int64 {
        min(offsets.min() ?? readOffset, returned.first?.queueOffset ?? readOffset, readOffset)
    }

    /// The program has committed this position.
    func noteCommitted(_ offset: Int64) {
        committedOffset = offset
        doneBefore = offset
        if isCommittedByHand { committedByHand = offset }
        noteProgress()
    }

    // MARK: From the broker

    /// Takes what was pulled, and goes on at `next`.
    func append(_ messages: [MessageExt], next: Int64) {
        for message in messages where message.queueOffset >= nextOffset {
            bufferedBytes += message.body.count
            buffer.append(message)
            nextOffset = message.queueOffset + 1
        }
        nextOffset = max(nextOffset, next)
        // There is nothing for us before it.
        if buffer.isEmpty, returned.isEmpty { readOffset = nextOffset }
    }

    // MARK: To readers

    /// The next messages, at most `limit`; `nil` when there are none.
    func take(_ limit: Int) -> ReadBatch? {
        var messages: [MessageExt] = []
        if !returned.isEmpty {
            messages = Array(returned.prefix(limit))
            returned.removeFirst(messages.count)
        } else {
            while messages.count < limit, let message = buffer.popFirst() {
                bufferedBytes -= message.body.count
                messages.append(message)
            }
        }
        guard let last = messages.last else { return nil }
        readOffset = max(readOffset, last.queueOffset + 1)
        if bufferedCount == 0 { readOffset = max(readOffset, nextOffset) }
        return ReadBatch(queue, messages)
    }

    func startReading(_ batch: ReadBatch) { reading.append(batch) }

    /// A reader gets all of the batch at once, and says with its next call that it is done.
    func takeWhole(_ batch: ReadBatch) {
        guard let index = reading.firstIndex(where: { $0 === batch }) else { return }
        reading.remove(at: index)
        noteTaken(batch.messages.last)
        taken.append(ReadBatch(queue, batch.messages))
    }

    /// A reader is done with what it took; what it did not take goes to the next. `isFinished`: also with the last that it took.
    func endReading(_ batch: ReadBatch, isFinished: Bool) {
        guard let index = reading.firstIndex(where: { $0 === batch }) else { return }
        reading.remove(at: index)
        batch.revoke()
        if batch.taken > 0 { noteTaken(batch.messages[batch.taken - 1]) }
        if !batch.rest.isEmpty { returned = (batch.rest + returned).sorted { $0.queueOffset < $1.queueOffset } }
        defer { noteProgress() }
        guard !isFinished, batch.taken > 0 else { return }
        let last = batch.taken - 1
        taken.append(ReadBatch(queue, [batch.messages[last]], taken: 1))
    }

    /// Goes on with what waits for readers, when they are done.
    func noteProgress() { if whenQuiet != nil, !isUnfinished { stopWaiting() } }

    /// Goes on with what waits for readers, whether they are done or not.
    func stopWaiting() {
        let quiet = whenQuiet
        whenQuiet = nil
        quiet?()
    }

    private func noteTaken(_ message: MessageExt?) {
        if let message { takenBefore = max(takenBefore ?? 0, message.queueOffset + 1) }
    }

    /// The readers of what was taken whole say that they are done.
    func finishTaken() {
        taken = []
        noteProgress()
    }

    // MARK: Pausing

    /// Nothing more goes to readers, also of what they have and have not taken yet.
    func pause() {
        isPaused = true
        takeBack()
    }

    /// Readers get no more of what they have.
    private func takeBack() {
        let rest = reading.flatMap { $0.takeBack() }
        if !rest.isEmpty { returned = (rest + returned).sorted { $0.queueOffset < $1.queueOffset } }
    }

    func resume() { isPaused = false }

    // MARK: Jumping

    /// Goes on at another offset: what was pulled or read before does not count.
    func jump(to offset: Int64) {
        jumps += 1
        for batch in reading { batch.revoke() }
        (reading, taken, returned) = ([], [], [])
        buffer.removeAll()
        bufferedBytes = 0
        nextOffset = offset
        readOffset = offset
        doneBefore = 0
        takenBefore = nil
        leastOffset = min(leastOffset, offset)
        if case .resting(let timer) = phase { timer.cancel() }
        if isActive { phase = .idle }
    }

    /// Ends pulling, and leaves to the next owner what readers have not taken.
    func leave() {
        if case .resting(let timer) = phase { timer.cancel() }
        phase = .leaving
        takeBack()
        buffer.removeAll()
        bufferedBytes = 0
    }

    /// Gives the queue away.
    func drop() {
        if case .resting(let timer) = phase { timer.cancel() }
        phase = .dropped
        for batch in reading { batch.revoke() }
    }
}
