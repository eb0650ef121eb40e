import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Delivers messages that are delayed by level: each level is a queue of the schedule topic in which messages become due in
/// the order they were stored. Confined to the broker's loop.
///
/// A clock that is set back does not hold messages longer than their delay: those from its future wait for the delay on the
/// monotonic clock.
final class DelaySchedule {
    private final class Level {
        let number: Int
        let queue: TopicQueue
        let delayMilliseconds: Int64
        var offset: Int64
        var isBusy = false
        /// When a message from the wall clock's future was first seen at the head.
        var futureSince: MonotonicTime?
        /// Where the record of the message lay that was the first to wait when somebody asked last.
        var head: (offset: Int64, physicalOffset: Int64)?
        init(number: Int, queue: TopicQueue, delayMilliseconds: Int64, offset: Int64) {
            self.number = number
            self.queue = queue
            self.delayMilliseconds = delayMilliseconds
            self.offset = offset
        }
    }

    /// What waits in a level.
    struct Waiting: Equatable {
        /// Of the first of them.
        var offset: Int64
        var pending: Int64
        /// `nil` when that cannot be read.
        var due: Int64?
        /// Due for longer than `overdueAfter`.
        var overdue: Int64?
        /// When the first of these was due, in milliseconds since 1970.
        var oldestOverdue: Int64?
    }

    private let store: MessageStore
    private let round: CommitRound
    private let release: DelayedRelease
    private let loop: any EventLoop
    private let log: Logger
    private let levels: [Level]
    private var records = ByteBuffer(capacity: 4096)
    private var timer: (any ScheduledCall)?

    /// How often due messages are looked for: the precision of delivery.
    static let interval: Duration = .milliseconds(50)
    /// Messages of one level delivered in one tick: fresh sends come in between.
    static let mostAtOnce = 256
    /// Milliseconds after its time from which a message counts as overdue.
    static let overdueAfter: Int64 = 1000

    /// - Parameter offsets: how far each level is known to be, level 1 first.
    init(
        delayLevels: [Int64], offsets: [Int64?], store: MessageStore, topics: TopicTable, round: CommitRound, release: DelayedRelease,
        loop: any EventLoop, log: Logger
    ) {
        self.store = store
        self.round = round
        self.release = release
        self.loop = loop
        self.log = log
        let topic = topics.findOrCreate(SystemTopic.schedule, queues: Int32(delayLevels.count))
        levels = delayLevels.enumerated().map { index, delay in
            let queue = topic.brokerQueue(Int32(index))
            // A missing file must not deliver again what was delivered long ago; a missing queue must not be skipped.
            let known = (index < offsets.count ? offsets[index] : nil) ?? queue.queue.minOffset
            return Level(
                number: index + 1, queue: queue, delayMilliseconds: delay,
                offset: min(max(known, queue.queue.minOffset), queue.queue.maxOffset))
        }
    }

    func start() {
        timer = loop.scheduleRepeatedly(every: Self.interval) { [unowned self] in
            for level in levels where !level.isBusy && level.offset < level.queue.queue.maxOffset { deliver(level) }
        }
    }

    func stop() {
        timer?.cancel()
        timer = nil
    }

    /// How far each level is, level 1 first.
    var offsets: [Int64] { levels.map(\.offset) }

    // MARK: Looking

    /// Finds what waits in each level, level 1 first. What memory does not say comes from the disk, away from the loop.
    func findWaiting(_ completion: @escaping ([Waiting]) -> Void) {
        let now = loop.clock.wallMilliseconds
        let found = FoundWaiting(
            levels.map { level in
                let offset = max(level.offset, level.queue.queue.minOffset)
                let pending = max(0, level.queue.queue.maxOffset - offset)
                return Waiting(offset: offset, pending: pending, due: pending > 0 ? nil : 0, overdue: pending > 0 ? nil : 0)
            })
        store.lookUp(
            steps: levels.count,
            { [levels] (number, reader) throws(LookupInterruption) in
                let (level, waiting) = (levels[number], found.levels[number])
                guard waiting.pending > 0 else { return }
                let queue = level.queue.queue
                func count(storedBefore timestamp: Int64) throws(LookupInterruption) -> Int64 {
                    max(0, try reader.firstOffset(queue, atOrAfter: timestamp) - waiting.offset)
                }
                let due = try count(storedBefore: now - level.delayMilliseconds + 1)
                let overdue = due == 0 ? 0 : try count(storedBefore: now - level.delayMilliseconds - Self.overdueAfter + 1)
                let oldest = overdue == 0 ? nil : try reader.storeTimestamp(queue, at: waiting.offset)
                found.levels[number].due = due
                found.levels[number].overdue = overdue
                found.levels[number].oldestOverdue = oldest.map { $0 + level.delayMilliseconds }
            },
            completion: { _ in completion(found.levels) })
    }

    private final class FoundWaiting {
        var levels: [Waiting]
        init(_ levels: [Waiting]) { self.levels = levels }
    }

    /// By queue of the schedule topic, the offset of the next message to deliver.
    var progress: [Int32: Int64] { Dictionary(uniqueKeysWithValues: levels.map { ($0.queue.queue.id, $0.offset) }) }

    /// No waiting message's record lies before it in the log. Where it would have to be read from the disk this is an earlier
    /// place, and a later call knows more.
    var minPhysicalOffset: Int64 {
        levels.reduce(Int64.max) { least, level in
            guard level.offset < level.queue.queue.maxOffset else { return least }
            findHead(level)
            return min(least, level.head?.physicalOffset ?? 0)
        }
    }

    private func findHead(_ level: Level) {
        let offset = max(level.offset, level.queue.queue.minOffset)
        guard level.head?.offset != offset else { return }
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.entry(level.queue.queue, at: offset) }) { result in
            // Where there is no entry nothing waits.
            if case .success(let entry) = result { level.head = (offset, entry?.physicalOffset ?? .max) }
        }
    }

    // MARK: Delivering

    private func deliver(_ level: Level) {
        records.removeAll()
        let limits = ReadLimits(messages: Self.mostAtOnce, bytes: 1 << 20)
        let result = store.read(level.queue.queue, from: level.offset, limits: limits, filter: .all, into: &records)
        if result == .needsDisk {
            level.isBusy = true
            store.readFromDisk(level.queue.queue, from: level.offset, limits: limits, filter: .all) { [unowned self] result, found in
                level.isBusy = false
                deliver(level, result, found)
            }
        } else {
            deliver(level, result, records)
        }
    }

    private func deliver(_ level: Level, _ result: ReadResult, _ found: borrowing ByteBuffer) {
        switch result {
        case .found(let next, _): stage(level, found, next: next)
        case .offsetTooSmall(let offset), .noMatch(let offset), .offsetTooLarge(let offset): level.offset = offset
        case .atEnd, .emptyQueue, .needsDisk, .later: break
        case .failed(let error):
            log.log(
                .error, limitedBy: "reading delayed messages", "delayed messages of queue \(level.queue.queue.id) cannot be read: \(error)")
        }
    }

    private func isDue(_ level: Level, storedAt timestamp: Int64, _ now: Int64) -> Bool {
        if timestamp <= now {
            level.futureSince = nil
            return timestamp + level.delayMilliseconds <= now
        }
        let monotonicNow = loop.clock.monotonicNow
        let since = level.futureSince ?? monotonicNow
        level.futureSince = since
        return (monotonicNow - since).inMilliseconds >= level.delayMilliseconds
    }

    /// Stages what is due; the level moves on when it is committed.
    private func stage(_ level: Level, _ found: borrowing ByteBuffer, next: Int64) {
        let now = loop.clock.wallMilliseconds
        round.moveTime(to: now)
        var delivered = level.offset
        var failure: StoreError?
        found.withBytes { bytes in
            var at = 0
            while at < bytes.byteCount {
                let size = Int(bytes.bigEndian(Int32.self, at: at))
                let span = bytes.extracting(at..<(at + size))
                at += size
                guard case .record(let record) = MessageRecord.find(in: span, at: 0, verifyingChecksum: false) else { continue }
                guard isDue(level, storedAt: record.fields.storeTimestamp, now) else { return }
                let origin = DeliveryOrigin(kind: level.number, queueOffset: record.fields.queueOffset)
                if case .failed(let error) = release.stage(record, in: span, origin: origin) {
                    failure = error
                    return
                }
                delivered = record.fields.queueOffset + 1
            }
            delivered = next
        }
        if let failure {
            log.log(.error, limitedBy: "delivering delayed messages", "delayed messages are not delivered for now: \(failure)")
        }
        guard delivered > level.offset else { return }
        level.isBusy = true
        round.afterCommit { [unowned self] failure in
            level.isBusy = false
            guard failure == nil else { return }
            level.offset = delivered
            // There may be more that is due: it does not wait for the next look.
            if delivered == next { deliverSoon(level) }
        }
    }

    private func deliverSoon(_ level: Level) {
        guard level.offset < level.queue.queue.maxOffset else { return }
        loop.schedule(after: .zero) { [unowned self] in
            if timer != nil, !level.isBusy { deliver(level) }
        }
    }

    /// Nothing is on its way.
    var isAtRest: Bool { levels.allSatisfy { !$0.isBusy } }
}
