import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Delivers delayed messages: each level is a queue of the schedule topic in which messages become due in the order they
/// were stored. How far each level has got is kept in `delayOffset.json`; after a crash what was delivered since its last
/// write is delivered again. Confined to the broker's loop.
final class DelaySchedule {
    private final class Level {
        let queue: TopicQueue
        let delayMilliseconds: Int64
        var offset: Int64
        var isBusy = false
        init(queue: TopicQueue, delayMilliseconds: Int64, offset: Int64) {
            self.queue = queue
            self.delayMilliseconds = delayMilliseconds
            self.offset = offset
        }
    }

    private let store: MessageStore
    private let round: CommitRound
    private let mover: MessageMover
    private let topics: TopicTable
    private let loop: any EventLoop
    private let log: Logger
    private let levels: [Level]
    private var records = ByteBuffer(capacity: 4096)
    private var timer: (any ScheduledCall)?
    private(set) var isChanged = false

    /// How often due messages are looked for: the precision of delivery.
    static let interval: Duration = .milliseconds(50)
    /// Messages of one level delivered in one tick: fresh sends come in between.
    static let mostAtOnce = 256

    init(
        delayLevels: [Int64], offsets: [Int32: Int64], store: MessageStore, topics: TopicTable, round: CommitRound,
        mover: MessageMover, loop: any EventLoop, log: Logger
    ) {
        self.store = store
        self.round = round
        self.mover = mover
        self.topics = topics
        self.loop = loop
        self.log = log
        let topic = topics.findOrCreate(SystemTopic.schedule, queues: Int32(delayLevels.count))
        levels = delayLevels.enumerated().map { index, delay in
            let queue = topic.brokerQueue(Int32(index))
            // A missing file must not deliver again what was delivered long ago; a missing queue must not be skipped.
            let known = offsets[Int32(index + 1)] ?? queue.queue.minOffset
            return Level(
                queue: queue, delayMilliseconds: delay, offset: min(max(known, queue.queue.minOffset), queue.queue.maxOffset))
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

    /// Offsets by level, counted from 1, for `delayOffset.json`.
    var offsets: [Int32: Int64] {
        isChanged = false
        return Dictionary(uniqueKeysWithValues: levels.enumerated().map { (Int32($0 + 1), $1.offset) })
    }

    /// By queue of the schedule topic, the offset of the next message to deliver.
    var progress: [Int32: Int64] { Dictionary(uniqueKeysWithValues: levels.map { ($0.queue.queue.id, $0.offset) }) }

    /// Messages that wait, over all levels.
    var pendingMessages: Int64 { levels.reduce(0) { $0 + max(0, $1.queue.queue.maxOffset - $1.offset) } }

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
        case .found(let next, let count): stage(level, found, next: next, count: count)
        case .offsetTooSmall(let offset), .noMatch(let offset), .offsetTooLarge(let offset):
            level.offset = offset
            isChanged = true
        case .atEnd, .emptyQueue, .needsDisk: break
        case .failed(let error):
            log.log(
                .error, limitedBy: "reading delayed messages", "delayed messages of queue \(level.queue.queue.id) cannot be read: \(error)")
        }
    }

    /// Stages what is due; the level moves on when it is committed.
    private func stage(_ level: Level, _ found: borrowing ByteBuffer, next: Int64, count: Int) {
        let now = loop.clock.wallMilliseconds
        var delivered = level.offset
        var failure: StoreError?
        found.withBytes { bytes in
            var at = 0
            while at < bytes.byteCount {
                let size = Int(bytes.bigEndian(Int32.self, at: at))
                let record = bytes.extracting(at..<(at + size))
                at += size
                guard let stored = try? StoredMessage(record: record) else { continue }
                guard stored.fields.storeTimestamp + level.delayMilliseconds <= now else { return }
                let queueOffset: Int64 = record.bigEndian(Int64.self, at: 20)
                let message = released(stored)
                if hasTarget(message) {
                    do throws(StoreError) { _ = try mover.stage(message) } catch {
                        failure = error
                        return
                    }
                }
                delivered = queueOffset + 1
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
            isChanged = true
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

    /// Whether the message can go where it belongs: not when its topic was deleted while it waited, since nobody could read
    /// it. The topics of retries are the broker's own, and made anew.
    private func hasTarget(_ message: StoredMessage) -> Bool {
        if topics.find(message.topic) != nil { return true }
        if message.topic.hasPrefix(SystemTopic.retryPrefix) {
            _ = topics.findOrCreate(message.topic, queues: message.queueID + 1)
            return true
        }
        log.log(
            .warning, limitedBy: "delayed messages of deleted topics",
            "a delayed message for topic \(message.topic) is dropped: the topic was deleted")
        return false
    }

    /// The message as it was before it was delayed.
    private func released(_ message: StoredMessage) -> StoredMessage {
        var message = message
        if let topic = message.properties[PropertyName.realTopic] { message.topic = topic }
        message.queueID = message.properties[PropertyName.realQueueID].flatMap { Int32($0) } ?? 0
        message.properties[PropertyName.delayTimeLevel] = nil
        return message
    }
}
