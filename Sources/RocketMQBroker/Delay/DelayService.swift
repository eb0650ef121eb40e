import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// All delayed messages of a broker, by level and at any time, and how far their delivery is: each is delivered once, also
/// when the broker was killed. Confined to the broker's loop.
final class DelayService {
    let levels: DelaySchedule
    let timer: TimerService
    let release: DelayedRelease
    private let directory: String
    private let store: MessageStore
    private let loop: any EventLoop
    private let fileSystem: any FileSystem
    private let worker: any BackgroundWorker
    private let log: Logger

    /// Progress that may be written when the log is durable up to `end`: what a loss of power takes away of the deliveries
    /// must be delivered again.
    private var candidate: (manifest: DelayManifest, obsolete: [Int64], end: Int64)?
    private var published: DelayManifest
    private var isWriting = false
    private var saveTimer: (any ScheduledCall)?
    /// How far the levels are that `messageDelayLevel` has no more, in the order of their queues: kept for when it has them
    /// again.
    private let removedLevels: [(level: Int, offset: Int64)]
    /// Called when `delayOffset.json` is to be written: see `publishedLevels`.
    var onPublished: (() -> Void)?

    struct Configuration {
        var delayLevels: [Int64]
        var timer: TimerService.Configuration
        var rootDirectory: String
        var storeHost: SocketAddress
        var limits = TimerIndex.Limits()
    }

    /// - Parameter known: the offsets of `delayOffset.json`, by level from 1.
    init(
        _ configuration: Configuration, known: [Int32: Int64], store: MessageStore, topics: TopicTable, round: CommitRound,
        fileSystem: any FileSystem, loop: any EventLoop, worker: any BackgroundWorker, log: Logger
    ) throws(BrokerError) {
        self.store = store
        self.loop = loop
        self.fileSystem = fileSystem
        self.worker = worker
        self.log = log
        directory = configuration.rootDirectory + "/timer"
        let index = TimerIndex(directory: directory, fileSystem: fileSystem, loop: loop, worker: worker, log: log)
        index.limits = configuration.limits
        let queue = topics.findOrCreate(SystemTopic.timer, queues: 1).brokerQueue(0)
        let recovery = DelayRecovery(
            directory: directory, rootDirectory: configuration.rootDirectory, store: store, queue: queue.queue,
            levelCount: configuration.delayLevels.count, index: index,
            fileSystem: fileSystem, loop: loop, worker: worker, log: log)
        let found: [Int64?]
        do { found = try recovery.run(known: known) } catch {
            throw BrokerError("delayed messages cannot be found in \(directory) and the log: \(error)")
        }
        index.repair = TimerRepair(store: store, queue: queue.queue, fileSystem: fileSystem, loop: loop, worker: worker)
        release = DelayedRelease(
            store: store, topics: topics, round: round, storeHost: configuration.storeHost, log: log)
        levels = DelaySchedule(
            delayLevels: configuration.delayLevels, offsets: found, store: store, topics: topics, round: round, release: release,
            loop: loop, log: log)
        timer = TimerService(
            configuration.timer, index: index, queue: queue, store: store, round: round, release: release, loop: loop, log: log)
        let count = configuration.delayLevels.count
        removedLevels = found.enumerated().dropFirst(count).map { index, offset in
            (index + 1, offset ?? store.existingQueue(topic: SystemTopic.schedule, id: Int32(index))?.minOffset ?? 0)
        }
        published = DelayManifest(logOffset: 0, queueOffset: 0, nextRunID: 0, levels: [], runs: [])
        do throws(FileSystemError) {
            let manifest = makeManifest()
            try fileSystem.replaceDurably(path, with: manifest.encoded(), keepingBackup: false)
            published = manifest
        } catch {
            // What the last run has left is still there, and says to the next start what it has said to this one.
            log.error("the progress of delayed messages is not written for now, a start will take longer: \(error)")
        }
        warnOfMissingLevels()
        if index.pending > 0 { log.info("\(index.pending) messages wait for their time") }
    }

    private var path: String { directory + "/" + DelayManifest.fileName }

    /// Messages that wait in levels that `messageDelayLevel` has no more, by level: nobody delivers them.
    private var stranded: [(level: Int, count: Int64)] {
        removedLevels.compactMap { level, offset in
            guard let queue = store.existingQueue(topic: SystemTopic.schedule, id: Int32(level - 1)) else { return nil }
            let waiting = queue.maxOffset - max(offset, queue.minOffset)
            return waiting > 0 ? (level, waiting) : nil
        }
    }

    private func warnOfMissingLevels() {
        for (level, count) in stranded {
            log.warning(
                "\(count) messages wait in delay level \(level), and messageDelayLevel has \(levels.offsets.count) levels: they stay where they "
                    + "are until it has as many levels as before")
        }
    }

    /// How far delivery is, by queue of the schedule topic.
    var progress: [Int32: Int64] {
        levels.progress.merging(removedLevels.map { (Int32($0.level - 1), $0.offset) }) { $1 }
    }

    // MARK: Running

    /// - Parameter interval: `flushDelayOffsetInterval`.
    func start(every interval: Duration) {
        levels.start()
        timer.start()
        saveTimer = loop.scheduleRepeatedly(every: interval) { [unowned self] in save() }
    }

    /// Ends delivery and writes how far it is; `completion` is called when that is done, or cannot be in time: the next start
    /// then finds out from the log.
    func stop(_ completion: @escaping () -> Void) {
        levels.stop()
        timer.stop()
        saveTimer?.cancel()
        let deadline = loop.clock.monotonicNow + .seconds(3)
        whenTrue({ [levels, timer] in levels.isAtRest && timer.isAtRest }, until: deadline) { [self] in
            timer.index.lookAfter(queueEnd: timer.queue.queue.maxOffset, logEnd: store.writtenOffset, isForced: true)
            whenTrue({ [timer] in !timer.index.isBusy }, until: deadline) { [self] in
                candidate = nil
                save()
                whenTrue({ [self] in isPublished }, until: deadline, completion)
            }
        }
    }

    private var isPublished: Bool {
        publish()
        return candidate == nil && !isWriting
    }

    private func whenTrue(_ condition: @escaping () -> Bool, until deadline: MonotonicTime, _ work: @escaping () -> Void) {
        if condition() || loop.clock.monotonicNow >= deadline { return work() }
        store.requestFlush()
        loop.schedule(after: .milliseconds(10)) { [self] in whenTrue(condition, until: deadline, work) }
    }

    /// The log file whose last byte lies before `end` is not needed.
    func mayDelete(upTo end: Int64) -> Bool {
        if levels.minPhysicalOffset < end { return false }
        guard timer.index.minPhysicalOffset < end else { return true }
        // What is in memory says no more than where the oldest of it was; in a run it says exactly.
        timer.index.lookAfter(queueEnd: timer.queue.queue.maxOffset, logEnd: store.writtenOffset, isForced: true)
        if timer.index.runs.contains(where: { !$0.isAtEnd && $0.info.minPhysicalOffset < end }) {
            log.log(.warning, limitedBy: "log files kept", "a log file is kept beyond its time: messages in it wait for their delivery")
        }
        return false
    }

    // MARK: Progress

    /// The offsets of the levels for `delayOffset.json`, by level from 1: they never run ahead of what is durable.
    var publishedLevels: [Int32: Int64] {
        Dictionary(uniqueKeysWithValues: published.levels.enumerated().map { (Int32($0 + 1), $1) })
    }

    private func makeManifest() -> DelayManifest {
        let (runs, nextRunID) = timer.index.state
        return DelayManifest(
            logOffset: timer.index.logOffset, queueOffset: timer.index.queueOffset, nextRunID: nextRunID,
            levels: levels.offsets + removedLevels.map(\.offset),
            runs: runs.map { DelayManifest.Run(info: $0.info, done: $0.done) })
    }

    private func save() {
        if let damage = timer.index.damage { return giveUp(damage) }
        publish()
        guard candidate == nil, !isWriting else { return }
        let manifest = makeManifest()
        guard manifest != published else { return }
        candidate = (manifest, timer.index.takeObsolete(), store.writtenOffset)
        publish()
    }

    private func publish() {
        guard let (manifest, obsolete, end) = candidate, !isWriting, store.flushedOffset >= end else { return }
        candidate = nil
        isWriting = true
        let service = LoopBound(self, on: loop)
        worker.run { [loop, fileSystem, path, directory] in
            var failure: FileSystemError?
            do throws(FileSystemError) {
                try fileSystem.replaceDurably(path, with: manifest.encoded(), keepingBackup: false)
                for id in obsolete { try? fileSystem.remove(TimerRunInfo.path(directory, id)) }
            } catch { failure = error }
            let ended = failure
            loop.execute { service.value.published(manifest, ended) }
        }
    }

    private func published(_ manifest: DelayManifest, _ failure: FileSystemError?) {
        isWriting = false
        if let failure {
            return log.log(
                .error, limitedBy: "progress of delayed messages",
                "the progress of delayed messages is not written for now, a start will take longer: \(failure)")
        }
        published = manifest
        onPublished?()
    }

    /// Without a manifest the next start finds everything in the log.
    private func giveUp(_ damage: FileSystemError) {
        log.log(
            .error, limitedBy: "damaged timer runs",
            "a part of the messages that wait for their time cannot be found until the broker is started again, which builds their index anew: "
                + "\(damage)")
        worker.run { [fileSystem, path] in try? fileSystem.remove(path) }
    }

    // MARK: Visibility

    /// For the broker's runtime table (28); -1 stands for what cannot be read.
    func describe(_ completion: @escaping ([String: String]) -> Void) {
        let now = loop.clock.wallMilliseconds
        timer.findWaiting(upTo: now) { [self] due in
            timer.findWaiting(upTo: now - DelaySchedule.overdueAfter - 1) { [self] overdue in
                levels.findWaiting { [self] waiting in
                    completion(timerEntries(try? due.get().count, try? overdue.get(), now).merging(levelEntries(waiting)) { $1 })
                }
            }
        }
    }

    private func timerEntries(_ due: Int64?, _ overdue: (count: Int64, earliest: Int64?)?, _ now: Int64) -> [String: String] {
        [
            "timerPendingCount": "\(timer.index.pending)", "timerDueCount": "\(due ?? -1)",
            "timerOverdueCount": "\(overdue?.count ?? -1)", "timerOldestOverdueTimestamp": "\(overdue?.earliest ?? -1)",
            "timerDeliveredCount": "\(timer.deliveredMessages)", "timerEntriesInMemory": "\(timer.index.entriesInMemory)",
            // The reference's names.
            "timerReadBehind": "\(overdue?.earliest.map { max(0, now - $0) / 1000 } ?? 0)", "timerOffsetBehind": "0",
            "timerCongestNum": "\(timer.index.pending)",
        ]
    }

    private func levelEntries(_ waiting: [DelaySchedule.Waiting]) -> [String: String] {
        var table: [String: String] = [:]
        for (index, level) in waiting.enumerated() {
            table["scheduleMessageOffset_\(index + 1)"] = "\(level.offset),\(level.offset + level.pending)"
            table["delayLevelWaiting_\(index + 1)"] =
                "\(level.pending),\(level.due ?? -1),\(level.overdue ?? -1),\(level.oldestOverdue ?? -1)"
        }
        for (level, count) in stranded { table["delayLevelRemoved_\(level)"] = "\(count)" }
        /// -1 when it is not known of each level.
        func sum(_ counts: [Int64?]) -> Int64 { counts.contains(nil) ? -1 : counts.reduce(0) { $0 + ($1 ?? 0) } }
        table["delayPendingCount"] = "\(waiting.reduce(0) { $0 + $1.pending })"
        table["delayDueCount"] = "\(sum(waiting.map(\.due)))"
        table["delayOverdueCount"] = "\(sum(waiting.map(\.overdue)))"
        table["delayOldestOverdueTimestamp"] = "\(waiting.compactMap(\.oldestOverdue).min() ?? -1)"
        return table
    }
}
