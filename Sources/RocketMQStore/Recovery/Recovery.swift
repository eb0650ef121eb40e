import RocketMQBase
import RocketMQProtocol

/// What recovery found and repaired: everything that a running store starts from.
struct RecoveredStore {
    var log: CommitLog
    var topics: [String: [Int32: ConsumeQueue]]
    var queueFiles: QueueFileCache
    /// Queues with entries that could not be written yet.
    var dirty: [ConsumeQueue]
    var lastStoreTimestamp: Int64
    var checkpoint: Checkpoint
    /// Everything before it was consistent on disk before this start.
    var consistentOffset: Int64
    /// The log before it is on the disk, whatever becomes of the power.
    var durableOffset: Int64
    var indexedOffset: Int64
}

/// Brings log and consume queues to a state that fits together. Believes the log's own checks, and the rest only as far as
/// a checkpoint covers it.
final class Recovery {
    let configuration: StoreConfiguration
    let fileSystem: any FileSystem
    private let clock: any SystemClock
    let report: (StoreReportLevel, String) -> Void
    let wasClean: Bool
    /// A sync failed in the last run: the system may show what it will never write.
    private let mayBeOnlyInMemory: Bool
    private var checkpoint = Checkpoint()
    /// What the last checkpoint says to have been in the log.
    private var safeOffset: Int64 = 0

    var logFiles: [LogFile] = []
    private var logFileSize: Int64
    let queueFiles: QueueFileCache
    var topics: [String: [Int32: ConsumeQueue]] = [:]
    /// Queues whose files must be made to end where the queue does.
    var toCut: [ConsumeQueue] = []
    private var dirty: [ConsumeQueue] = []
    /// Queues whose newest message did not follow the one before it, and the offset that it should have had.
    private var gaps: [ObjectIdentifier: Int64] = [:]
    var needsRebuild = false
    /// Queues whose files turned out to lack messages that are in the log.
    private var lacking: [ConsumeQueue] = []
    /// How far queues had got when the last checkpoint was written.
    private var known: [QueueTable.Row] = []
    private var isRebuilt = false
    private var hasTable = false
    private var lastStoreTimestamp: Int64 = 0
    private var end: Int64 = 0

    init(
        configuration: StoreConfiguration, fileSystem: any FileSystem, clock: any SystemClock, wasClean: Bool,
        mayBeOnlyInMemory: Bool, report: @escaping (StoreReportLevel, String) -> Void
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.clock = clock
        self.wasClean = wasClean
        self.mayBeOnlyInMemory = mayBeOnlyInMemory
        self.report = report
        logFileSize = configuration.commitLogFileSize
        queueFiles = QueueFileCache(fileSystem: fileSystem, limit: configuration.openQueueFiles)
    }

    private var root: String { configuration.rootDirectory }
    private var logDirectory: String { configuration.commitLogDirectory }
    var queueRoot: String { root + "/consumequeue" }
    var logStart: Int64 { logFiles.first?.base ?? 0 }

    func run() throws(StoreError) -> RecoveredStore {
        checkpoint = Checkpoint((try? fileSystem.contents(of: root + "/checkpoint")) ?? [])
        safeOffset = checkpoint.own?.consistentOffset ?? 0
        try loadLogFiles()
        try refuseEmptyLog()
        let start = try prepareQueues()
        lastStoreTimestamp = checkpoint.logTimestamp
        try scan(from: start)
        for queue in lacking {
            report(.warning, "the consume queue in \(queue.files.place.directory) lacks messages that the commit log has")
            try discard(queue)
        }
        if needsRebuild, start > logStart {
            report(.warning, "consume queues are missing or damaged, they are rebuilt from the whole commit log")
            try beginRebuild()
            needsRebuild = false
            try scan(from: logStart)
        }
        reportMissingEnd()
        try limitIndex()
        try cutLog()
        let durable = wasClean ? end : min(checkpoint.own?.consistentOffset ?? start, end)
        if mayBeOnlyInMemory { try writeAgain(from: durable) }
        try finishQueues()
        let log = CommitLog(
            configuration: configuration, directory: logDirectory, files: logFiles, fileSize: logFileSize, end: end,
            areNamesDurable: wasClean, fileSystem: fileSystem)
        return RecoveredStore(
            log: log, topics: topics, queueFiles: queueFiles, dirty: dirty, lastStoreTimestamp: lastStoreTimestamp,
            checkpoint: checkpoint, consistentOffset: isRebuilt ? logStart : min(start, end), durableOffset: durable,
            indexedOffset: checkpoint.own?.indexedOffset ?? 0)
    }

    /// A log without files where there was one: most likely its disk is not mounted. Started all the same, the broker would
    /// hand out the places of the messages in it a second time.
    private func refuseEmptyLog() throws(StoreError) {
        guard logFiles.isEmpty, safeOffset > 0 else { return }
        throw StoreError(
            .damaged,
            "there are no files in \(logDirectory), and the last checkpoint knows \(safeOffset) bytes of messages there: mount "
                + "or put back the commit log; to start without those messages, remove \(root)/checkpoint and \(queueRoot)")
    }

    private func reportMissingEnd() {
        guard safeOffset > end else { return }
        report(
            .error,
            "the commit log in \(logDirectory) ends at \(end), and \(safeOffset) bytes were safe at the last checkpoint: the messages in "
                + "\(safeOffset - end) bytes are missing. If files were moved away or a disk was changed, stop the broker and put "
                + "them back: what is sent from now on takes the places of the missing messages")
    }

    /// Notes that the consume queues are not what the checkpoint says, before they are changed: a loss of power in between
    /// could leave files that look whole and are not.
    func beginRebuild() throws(StoreError) {
        guard !isRebuilt else { return }
        isRebuilt = true
        guard var own = checkpoint.own else { return }
        own.isClean = false
        own.isRebuilding = true
        checkpoint.own = own
        try writeCheckpoint()
    }

    /// The index may be ahead of what is left of the log. Its entries of messages that are gone must never be believed again,
    /// since others will come in their places; and there may be no checkpoint before the next crash.
    private func limitIndex() throws(StoreError) {
        guard var own = checkpoint.own, own.indexedOffset > end else { return }
        own.indexedOffset = end
        checkpoint.own = own
        try writeCheckpoint()
    }

    private func writeCheckpoint() throws(StoreError) {
        let bytes = checkpoint.encoded()
        try storing { () throws(FileSystemError) in
            try fileSystem.replaceDurably(root + "/checkpoint", with: bytes, keepingBackup: false)
        }
    }

    // MARK: Log files

    private func loadLogFiles() throws(StoreError) {
        let names: [String]
        do { names = try fileSystem.list(logDirectory) } catch  where error.code == .notFound { names = [] } catch {
            throw StoreError(error)
        }
        let bases = names.compactMap(FileName.offset).sorted()
        var sizes: [Int64] = []
        for base in bases {
            sizes.append(
                try storing { () throws(FileSystemError) in
                    let file = try fileSystem.open(logDirectory + "/" + FileName.text(base), .read)
                    defer { file.close() }
                    return try file.size()
                })
        }
        // All are of one size, but for one that a crash cut short.
        if let size = sizes.max(), size > 0 { logFileSize = size }
        for (index, base) in bases.enumerated() {
            let path = logDirectory + "/" + FileName.text(base)
            guard base == bases[0] + Int64(index) * logFileSize, sizes[index] <= logFileSize else {
                throw StoreError(
                    .damaged,
                    "\(path) with \(sizes[index]) bytes does not continue the commit log of files of \(logFileSize) bytes; "
                        + "a file before it is missing: put it back, or move this one and those after it away")
            }
            let file = LogFile(base: base, size: logFileSize, path: path, fileSystem: fileSystem)
            if sizes[index] < logFileSize {
                report(.warning, "\(path) has \(sizes[index]) of \(logFileSize) bytes, it is brought to its size")
                let handle = try file.handle()
                try storing { () throws(FileSystemError) in try handle.truncate(to: logFileSize) }
            }
            logFiles.append(file)
        }
    }

    // MARK: Where to start

    /// Loads the queues as far as they can be believed, and says from where the log must be gone through.
    private func prepareQueues() throws(StoreError) -> Int64 {
        let logEnd = logFiles.last?.end ?? 0
        let table = QueueTable((try? fileSystem.contents(of: root + "/" + QueueTable.fileName)) ?? [])
        hasTable = table != nil && checkpoint.own != nil
        if hasTable { known = table?.rows ?? [] }
        if let own = checkpoint.own, own.consistentOffset >= logStart, own.consistentOffset <= logEnd {
            let start = own.consistentOffset
            if own.isRebuilding {
                isRebuilt = true
                try loadQueues(before: logStart)
                return logStart
            }
            if wasClean, own.isClean, let table, table.endPhysicalOffset == start {
                try loadQueues(table, end: start)
            } else {
                try loadQueues(before: start)
                try compare(with: table)
            }
            if needsRebuild {
                try beginRebuild()
                return logStart
            }
            return start
        }
        checkpoint.own = nil
        if wasClean {
            let last = try loadQueues(before: logEnd)
            return needsRebuild ? logStart : max(last, logStart)
        }
        let start = try referenceStart()
        try loadQueues(before: start)
        return needsRebuild ? logStart : start
    }

    /// The newest file whose first message is older than what the reference's checkpoint says to be durable.
    private func referenceStart() throws(StoreError) -> Int64 {
        let durable = max(min(checkpoint.logTimestamp, checkpoint.queueTimestamp), 0) - 3000
        for file in logFiles.reversed() {
            let bytes = try readExactly(try file.handle(), at: 0, count: 128)
            let timestamp = bytes.withUnsafeBytes { raw -> Int64? in
                guard raw.count >= MessageRecord.smallest else { return nil }
                let size = raw.bytes.bigEndian(Int32.self, at: 0)
                return RecordLayout.isRecord(raw.bytes, size: size, at: file.base) ? RecordLayout.storeTimestamp(raw.bytes) : nil
            }
            if let timestamp, timestamp > 0, timestamp <= durable { return file.base }
        }
        return logStart
    }

    // MARK: Going through the log

    private func scan(from start: Int64) throws(StoreError) {
        let total = (logFiles.last?.end ?? 0) - start
        var progress = Progress(now: clock.monotonicNow)
        let trusted = checkpoint.own?.consistentOffset ?? (wasClean ? start : 0)
        var scanner = LogScanner(files: logFiles, from: start, trustedEnd: trusted)
        var count = 0
        while true {
            switch try scanner.next() {
            case .record(let record, let offset):
                scanner.withRecord(record, at: offset) { dispatch($0, record, at: offset, scannedFrom: start) }
                count += 1
                if count & 1023 == 0, progress.isDue(clock.monotonicNow) {
                    report(.information, "recovering: \((offset - start) >> 20) of at most \(total >> 20) MiB of the commit log checked")
                }
            case .hole(let from, let to):
                report(.error, "\(to - from) bytes of the commit log at offset \(from) are damaged, the messages in them are lost")
            case .end(let offset):
                end = offset
                return
            }
        }
    }

    private func dispatch(_ bytes: RawSpan, _ record: MessageRecord, at offset: Int64, scannedFrom start: Int64) {
        let fields = record.fields
        lastStoreTimestamp = fields.storeTimestamp
        guard RecordLayout.entersQueue(fields.systemFlag.rawValue) else { return }
        let topic = bytes.string(record.topic)
        let place = QueuePlace(root: queueRoot, topic: topic, id: fields.queueID)
        let queue =
            topics[topic]?[fields.queueID]
            ?? add(place, entriesPerFile: configuration.consumeQueueFileEntries, minOffset: 0, maxOffset: 0)
        // Its entry is there already; entries are in the order of the log.
        guard offset > queue.lastPhysicalOffset, queue.isStorable, fields.queueOffset < 1 << 50 else { return }
        if queue.lastPhysicalOffset < 0, queue.isEmpty {
            // Nothing is known of it but, at most, where its files begin.
            let isUnexpected = fields.queueOffset > queue.maxOffset
            queue.reset(to: fields.queueOffset)
            // With a table we would know of a queue that has lost its files; it is a deleted topic's, then.
            if isUnexpected, start > logStart, !hasTable { needsRebuild = true }
        } else if let expected = gaps[ObjectIdentifier(queue)], fields.queueOffset >= expected, fields.queueOffset < queue.maxOffset {
            // The gap before was none: the message behind it has a wrong queue offset.
            queue.cut(to: expected)
        } else if fields.queueOffset > 0, fields.queueOffset < queue.maxOffset {
            report(
                .error, "the message at offset \(offset) of the commit log repeats queue offset \(fields.queueOffset), it is passed over")
            return
        } else if fields.queueOffset < queue.maxOffset {
            // The topic was deleted and made again: the newer message has the place.
            queue.cut(to: fields.queueOffset)
            if !toCut.contains(where: { $0 === queue }) { toCut.append(queue) }
        } else if fields.queueOffset - queue.maxOffset > 1_000_000 {
            report(.error, "the message at offset \(offset) of the commit log claims queue offset \(fields.queueOffset), it is passed over")
            return
        }
        if fields.queueOffset > queue.maxOffset, start > logStart, !queue.isDirty, !lacking.contains(where: { $0 === queue }) {
            lacking.append(queue)
        }
        gaps[ObjectIdentifier(queue)] = queue.maxOffset < fields.queueOffset ? queue.maxOffset : nil
        while queue.nextOffset < fields.queueOffset { queue.stage(.filler) }
        let tagsCode = TagsCode.of(record, in: bytes, topic: topic, delays: configuration.delayLevelMilliseconds)
        queue.stage(QueueEntry(physicalOffset: offset, size: Int32(truncatingIfNeeded: record.size), tagsCode: tagsCode))
        queue.commitStaged()
        queue.lastPhysicalOffset = offset
        if !queue.isDirty {
            queue.isDirty = true
            dirty.append(queue)
        }
        if queue.isWritingDue { try? queue.writeBehind() }
    }

    // MARK: Cutting

    /// Nothing may be left behind the end that could be taken for a record later.
    private func cutLog() throws(StoreError) {
        while let last = logFiles.last, last.base > end {
            if try readExactly(last.handle(), at: 0, count: MessageRecord.endOfFileSize).contains(where: { $0 != 0 }) {
                report(.warning, "\(last.path) lies behind the end of the commit log at \(end), it is removed")
            }
            last.release()
            // One by one: should the power take this back, no file between others may be missing.
            try storing { () throws(FileSystemError) in
                try fileSystem.remove(last.path)
                try fileSystem.synchronizeDirectory(logDirectory)
            }
            logFiles.removeLast()
        }
        guard let last = logFiles.last, last.end > end else { return }
        let handle = try last.handle()
        let next = try readExactly(handle, at: end - last.base, count: 8)
        if wasClean, next.allSatisfy({ $0 == 0 }) { return }
        try reportCut(handle, from: end - last.base, in: last)
        // Durably, or what was cut could follow the messages that are written from here on.
        try storing { () throws(FileSystemError) in
            try handle.clear(from: end - last.base)
            try handle.synchronize()
        }
    }

    /// Says how much is cut, as far as a moment of reading tells.
    private func reportCut(_ file: any OpenFile, from start: Int64, in last: LogFile) throws(StoreError) {
        var lastWritten: Int64?
        var position = start
        while position < last.size, position - start < 64 << 20 {
            let bytes = try readExactly(file, at: position, count: Int(min(1 << 20, last.size - position)))
            guard !bytes.isEmpty else { break }
            if let index = bytes.lastIndex(where: { $0 != 0 }) { lastWritten = position + Int64(index) } else { break }
            position += Int64(bytes.count)
        }
        guard let lastWritten else { return }
        report(
            .warning,
            "\(lastWritten - start + 1) bytes of \(last.path) behind offset \(end), where the last whole record ends, are cut: a record "
                + "there was not written to its end, or is damaged")
    }

    /// Writes what the log shows once more, so that a sync brings it to the disk.
    private func writeAgain(from start: Int64) throws(StoreError) {
        report(.warning, "the disk failed in the last run: the commit log is written again from offset \(start) to \(end)")
        for file in logFiles where file.end > start && file.base < end {
            let handle = try file.handle()
            var position = max(start, file.base) - file.base
            let stop = min(end, file.end) - file.base
            while position < stop {
                let bytes = try readExactly(handle, at: position, count: Int(min(stop - position, Int64(LogScanner.readSize))))
                guard !bytes.isEmpty else { break }
                var failure: FileSystemError?
                bytes.withUnsafeBytes { buffer in
                    do throws(FileSystemError) { try handle.write(buffer, at: position) } catch { failure = error }
                }
                if let failure { throw StoreError(failure) }
                position += Int64(bytes.count)
            }
            try storing { () throws(FileSystemError) in try handle.synchronize() }
        }
    }

    private func finishQueues() throws(StoreError) {
        for row in known where row.maxOffset > 0 {
            // All its messages are gone, and its files as well; offsets go on where they were all the same.
            let place = QueuePlace(root: queueRoot, topic: row.topic, id: row.id)
            let queue =
                topics[row.topic]?[row.id] ?? add(place, entriesPerFile: row.entriesPerFile, minOffset: 0, maxOffset: 0)
            if queue.isEmpty, queue.maxOffset < row.maxOffset { queue.reset(to: row.maxOffset) }
        }
        // Entries of messages that the log turned out not to have.
        for queue in topics.values.joined().map(\.value) where queue.lastPhysicalOffset >= end {
            let names = try fileNames(queue.files.place)
            try queue.writeBehind()
            guard
                let found = try QueueOnDisk(
                    place: queue.files.place, names: names, defaultEntriesPerFile: queue.files.entriesPerFile, fileSystem: fileSystem)
            else { continue }
            queue.cut(to: try found.end(before: end))
            if !toCut.contains(where: { $0 === queue }) { toCut.append(queue) }
        }
        for queue in toCut {
            let bases = try fileNames(queue.files.place).compactMap(FileName.offset).map { $0 / Int64(QueueEntry.byteCount) }
            try queue.files.cut(to: queue.writtenOffset, bases: bases.sorted())
        }
        var left: [ConsumeQueue] = []
        for queue in dirty {
            do {
                try queue.writeBehind()
                queue.isDirty = false
            } catch {
                left.append(queue)
            }
        }
        if !left.isEmpty { report(.warning, "\(left.count) consume queues could not be written yet, they are kept in memory") }
        dirty = left
    }
}

/// Says when a long recovery should be heard of again.
private struct Progress {
    private var last: MonotonicTime
    init(now: MonotonicTime) { last = now }
    mutating func isDue(_ now: MonotonicTime) -> Bool {
        guard now - last >= .seconds(1) else { return false }
        last = now
        return true
    }
}
