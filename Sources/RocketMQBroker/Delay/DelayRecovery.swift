import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Finds out at the start which delayed messages wait: from the manifest, and from the log behind what it covers. Without
/// a manifest that is all of the log. Blocks.
struct DelayRecovery {
    let directory: String
    let rootDirectory: String
    let store: MessageStore
    let queue: ConsumeQueue
    let levelCount: Int
    let index: TimerIndex
    let fileSystem: any FileSystem
    let loop: any EventLoop
    let worker: any BackgroundWorker
    let log: Logger

    /// What the log says of deliveries.
    private struct Deliveries {
        var timed: DeliveredSet
        /// One beyond the last that was delivered, by level from 0.
        var levels: [Int64?]
        var hasTimerRecords = false
        /// Of a store that the reference wrote.
        var reference: ReferenceTimers?
    }

    /// The levels of the schedule topic that there are or were: those beyond `levelCount` may come back.
    private var queueCount: Int {
        let last = store.queues(topic: SystemTopic.schedule).last?.id ?? -1
        return min(max(levelCount, Int(last) + 1), Self.mostLevels)
    }
    private static let mostLevels = 1000

    /// Fills the index; returns how far each level is, level 1 first, also of those that the settings have no more.
    func run(known: [Int32: Int64]) throws -> [Int64?] {
        let isNew = !fileSystem.isDirectory(directory)
        try fileSystem.createDirectoryDurably(directory)
        let manifest = believableManifest()
        // A store in which this never ran has no marks to be found.
        if manifest == nil, isNew, queue.maxOffset == 0 {
            try index.load([], nextRunID: 1, queueOffset: queue.maxOffset, logOffset: store.writtenOffset)
            return levels(known, nil, [])
        }
        // Names are never used again: an attempt that a crash ends leaves files that the old manifest must not take for its own.
        let nextRunID = max(manifest?.nextRunID ?? 1, (existingIDs().max() ?? 0) + 1)
        do throws(FileSystemError) { return try recover(manifest, known, nextRunID) } catch {
            guard manifest != nil else { throw error }
            log.warning("the index of the messages that wait for their time is built anew from the log: \(error)")
            return try recover(nil, known, nextRunID)
        }
    }

    /// What the last run has left; `nil` when that is nothing, or damaged.
    private func believableManifest() -> DelayManifest? {
        let path = directory + "/" + DelayManifest.fileName
        let why: String
        do throws(FileSystemError) {
            guard let bytes = try fileSystem.contents(of: path) else { return nil }
            if let manifest = DelayManifest(bytes) {
                if manifest.logOffset <= store.writtenOffset, manifest.queueOffset <= queue.maxOffset { return manifest }
                why = "is of another log, or of more of this one than there is"
            } else {
                why = "is damaged"
            }
        } catch { why = "cannot be read: \(error)" }
        log.warning("the file \(path) \(why): the index of the messages that wait for their time is built anew from the log")
        return nil
    }

    private func levels(_ known: [Int32: Int64], _ manifest: DelayManifest?, _ delivered: [Int64?]) -> [Int64?] {
        (0..<queueCount).map { index in
            var all = [known[Int32(index + 1)]]
            if let levels = manifest?.levels, index < levels.count { all.append(levels[index]) }
            if index < delivered.count { all.append(delivered[index]) }
            return all.compactMap { $0 }.max()
        }
    }

    private func recover(
        _ manifest: DelayManifest?, _ known: [Int32: Int64], _ nextRunID: Int64
    ) throws(FileSystemError) -> [Int64?] {
        let start = max(manifest?.logOffset ?? 0, store.minPhysicalOffset)
        let firstUnknown = max(manifest?.queueOffset ?? 0, 0)
        if manifest == nil {
            log.info("finding delayed messages in all of the log, \((store.writtenOffset - start) >> 20) MiB")
        }
        let reference =
            manifest != nil
            ? nil
            : ReferenceTimers.of(rootDirectory, fileSystem, queueEnd: queue.maxOffset, now: loop.clock.wallMilliseconds, log)
        let deliveries = try scan(from: start, reference)
        var runs: [TimerRun] = []
        var recalls: [TimerEntry] = []
        for run in manifest?.runs ?? [] {
            let opened = try TimerRun(
                run.info, done: run.done, directory: directory, fileSystem: fileSystem, loop: loop, worker: worker)
            let most = deliveries.timed.count(from: run.info.firstQueueOffset, through: run.info.lastQueueOffset)
            recalls += try opened.recover(most: most) { deliveries.timed.contains($0) }
            runs.append(opened)
        }
        removeOtherFiles(Set(runs.map(\.info.id)))
        try index.load(runs, nextRunID: nextRunID, queueOffset: firstUnknown, logOffset: start)
        for recall in recalls { index.insert(recall) }
        let count = runs.count
        if deliveries.hasTimerRecords { try takeRecords(from: start, firstUnknown, deliveries) }
        // What cannot be found again in this way, or would be found twice, must not be looked for again.
        if manifest == nil || !recalls.isEmpty || index.runs.count > count {
            do throws(FileSystemError) { try index.endWriting(queueEnd: queue.maxOffset, logEnd: store.writtenOffset) } catch {
                // With all of it in memory the next start looks for it from where this one has begun.
                guard recalls.isEmpty, index.runs.count == count else { throw error }
                log.error("messages that wait for their time are kept in memory, their index cannot be written for now: \(error)")
            }
        }
        return levels(known, manifest, deliveries.levels)
    }

    private func scan(from start: Int64, _ reference: ReferenceTimers?) throws(FileSystemError) -> Deliveries {
        var found = Deliveries(
            timed: DeliveredSet(first: queue.minOffset, end: queue.maxOffset), levels: Array(repeating: nil, count: queueCount),
            reference: reference)
        try forEachRecord(from: start) { record, bytes in
            if bytes.equals(record.topic, "rmq_sys_wheel_timer") {
                found.hasTimerRecords = true
                found.reference?.note(record, in: bytes)
            }
            guard let origin = DeliveryOrigin(record.fields.preparedTransactionOffset) else { return }
            if origin.kind == DeliveryOrigin.timer {
                found.timed.insert(origin.queueOffset)
            } else if origin.kind <= found.levels.count {
                found.levels[origin.kind - 1] = max(found.levels[origin.kind - 1] ?? 0, origin.queueOffset + 1)
            }
        }
        return found
    }

    private func takeRecords(from start: Int64, _ firstUnknown: Int64, _ known: Deliveries) throws(FileSystemError) {
        var failure: FileSystemError?
        try forEachRecord(from: start) { record, bytes in
            guard failure == nil, bytes.equals(record.topic, "rmq_sys_wheel_timer"), record.fields.queueOffset >= firstUnknown,
                !known.timed.contains(record.fields.queueOffset), known.reference?.isPending(record, in: bytes) ?? true
            else { return }
            guard let timer = TimerRecord(record, in: bytes) else {
                log.log(
                    .error, limitedBy: "damaged timer records", "a record of \(queue.topic) does not say when it is due, it is passed over")
                return
            }
            index.insert(timer.entry)
            do throws(FileSystemError) { try index.writeIfMuch() } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func forEachRecord(from start: Int64, _ use: (MessageRecord, RawSpan) -> Void) throws(FileSystemError) {
        // The store has gone through the log itself, and knows where none of these are.
        do throws(StoreError) { try store.forEachRecord(from: start, until: store.ordinaryFrom, use) } catch {
            throw FileSystemError(operation: "read", path: "the commit log", code: .inputOutput, reason: error.reason)
        }
    }

    // MARK: Files

    private func existingIDs() -> [Int64] {
        ((try? fileSystem.list(directory)) ?? []).compactMap { name in
            name.hasSuffix(".run") ? Int64(name.dropLast(4)) : nil
        }
    }

    private func removeOtherFiles(_ used: Set<Int64>) {
        for id in existingIDs() where !used.contains(id) { try? fileSystem.remove(TimerRunInfo.path(directory, id)) }
    }
}
