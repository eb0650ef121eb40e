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
    var notes: FlushNotes
    var deletedTopics: DeletedTopics
    var ordinaryFrom: Int64
}

/// Brings log and consume queues to a state that fits together. Believes the log's own checks, and the rest only as far as
/// a checkpoint covers it.
final class Recovery {
    let configuration: StoreConfiguration
    let fileSystem: any FileSystem
    let clock: any SystemClock
    let report: (StoreReportLevel, String) -> Void
    let lastStop: LastStop
    var wasClean: Bool { lastStop == .clean }
    /// Queues' files were not looked at.
    var isBelieving = false
    var checkpoint = Checkpoint()
    /// What the last checkpoint says to have been in the log.
    var safeOffset: Int64 = 0

    var logFiles: [LogFile] = []
    var logFileSize: Int64
    let queueFiles: QueueFileCache
    var topics: [String: [Int32: ConsumeQueue]] = [:]
    /// All of them, for records.
    var finder = QueueFinder()
    /// Queues whose files must be made to end where the queue does.
    var toCut: [ConsumeQueue] = []
    var dirty: [ConsumeQueue] = []
    var hasWriteFailed = false
    /// Queues whose newest message did not follow the one before it, and the offset that it should have had.
    var gaps: [ObjectIdentifier: Int64] = [:]
    /// Messages that begin their queue anew, as it seems.
    var restarts: [ObjectIdentifier: QueueEntry] = [:]
    var needsRebuild = false
    /// Queues whose files turned out to lack messages that are in the log.
    var lacking: [ConsumeQueue] = []
    /// How far queues had got when the last checkpoint was written.
    var known: [QueueTable.Row] = []
    /// The queues of the table, and up to where the log has messages of no others.
    lazy var knownQueues: [String: Set<Int32>] = known.reduce(into: [:]) { $0[$1.topic, default: []].insert($1.id) }
    var knownEnd: Int64 = 0
    /// Messages of queues that cannot be, and the first of them.
    var strangers: (count: Int, first: String) = (0, "")
    /// So many gaps in queues were told of.
    var gapsTold = 0
    var isRebuilt = false
    var hasTable = false
    var lastStoreTimestamp: Int64 = 0
    var end: Int64 = 0
    /// From here on the log was gone through, and has ordinary messages only: see `MessageStore.ordinaryFrom`.
    var ordinaryFrom: Int64 = 0
    /// What is known of the log before it is read, and what of it turned out to be damaged.
    var trust = LogTrust()
    var lost: [LostStretch] = []
    /// The log has lost messages, now or before.
    var hasLoss = false
    /// Whole records follow the end of the log, torn off from it.
    var hasMoreBehindEnd = false
    let notes: FlushNotes
    /// Whose messages are in the log, and belong into no queue.
    var deletedTopics = DeletedTopics()
    private var storedDeletions = DeletedTopics()
    let aside: PutAside
    let progress: StartProgress

    init(
        configuration: StoreConfiguration, fileSystem: any FileSystem, clock: any SystemClock, lastStop: LastStop,
        interruption: StartInterruption, report: @escaping (StoreReportLevel, String) -> Void
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.clock = clock
        self.lastStop = lastStop
        self.report = report
        logFileSize = configuration.commitLogFileSize
        queueFiles = QueueFileCache(
            fileSystem: fileSystem, limit: configuration.openQueueFiles, memory: EntryMemory(limit: configuration.queueEntryMemory))
        notes = FlushNotes(root: configuration.rootDirectory, fileSystem: fileSystem)
        progress = StartProgress(clock: clock, interruption: interruption, report: report)
        aside = PutAside(root: configuration.rootDirectory, fileSystem: fileSystem, progress: progress)
    }

    var root: String { configuration.rootDirectory }
    var logDirectory: String { configuration.commitLogDirectory }
    var queueRoot: String { root + "/consumequeue" }
    var logStart: Int64 { logFiles.first?.base ?? 0 }

    func run() throws(StoreError) -> RecoveredStore {
        checkpoint = Checkpoint(contents(of: "checkpoint"))
        safeOffset = checkpoint.own?.consistentOffset ?? 0
        // Without a checkpoint of ours the note is of other times.
        if checkpoint.own != nil, let note = notes.read() { safeOffset = max(safeOffset, note.offset) }
        try loadLogFiles()
        try refuseEmptyLog()
        reportMissingBeginning()
        deletedTopics = DeletedTopics.read(root: root, fileSystem, report)
        storedDeletions = deletedTopics
        deletedTopics.prune(before: logStart)
        let start = try prepareQueues()
        if needsRebuild, safeOffset > logStart { sayRebuild() }
        let isForeign = checkpoint.own == nil
        trust = makeTrust(start)
        lastStoreTimestamp = checkpoint.logTimestamp
        try scan(from: start)
        for queue in lacking {
            report(.warning, "the consume queue in \(queue.files.place.directory) lacks messages that the commit log has")
            try discard(queue)
        }
        if needsRebuild, start > logStart {
            sayRebuild()
            try beginRebuild()
            needsRebuild = false
            try scan(from: logStart)
        }
        reportStrangers()
        reportMissingEnd()
        try closeStretches()
        try cutLog(isForeign: isForeign)
        let durable = wasClean ? end : min(isForeign ? start : trust.durableEnd, end)
        if lastStop.mayBeOnlyInMemory { try writeAgain(from: durable) }
        try finishQueues()
        try settleDeletions()
        if isForeign { try takeOver() }
        // From here on what is bad before it is damage; a note of other times must not be found again.
        try notes.begin(at: durable, logStart: logStart)
        let log = CommitLog(
            configuration: configuration, directory: logDirectory, files: logFiles, fileSize: logFileSize, end: end,
            areNamesDurable: wasClean, fileSystem: fileSystem)
        return RecoveredStore(
            log: log, topics: topics, queueFiles: queueFiles, dirty: dirty, lastStoreTimestamp: lastStoreTimestamp,
            checkpoint: checkpoint, consistentOffset: isRebuilt ? logStart : min(start, end), durableOffset: durable, notes: notes,
            deletedTopics: deletedTopics, ordinaryFrom: ordinaryFrom)
    }

    /// Before messages are stored: where the log was cut, new ones come into the places of deleted ones.
    private func settleDeletions() throws(StoreError) {
        deletedTopics.settle(logStart: logStart, logEnd: end)
        guard deletedTopics != storedDeletions else { return }
        try DeletedTopicsWriter(root: root, fileSystem: fileSystem).write(deletedTopics, version: 1)
    }

    /// What decides between damage and the end of the log. The note counts only on the log that it was written for: not after
    /// the reference has run, which leaves old records behind its end.
    private func makeTrust(_ start: Int64) -> LogTrust {
        if wasClean { return LogTrust(durableEnd: checkpoint.own?.consistentOffset ?? start, isEndKnown: true) }
        guard let own = checkpoint.own else { return LogTrust(durableTimestamp: checkpoint.logTimestamp) }
        var trust = LogTrust(durableEnd: own.consistentOffset)
        guard let note = believableNote() else { return trust }
        trust.durableEnd = max(trust.durableEnd, note.offset)
        trust.isMemoryIntact = isMemoryIntact(note)
        return trust
    }

    private func believableNote() -> FlushNote? { notes.read().flatMap { $0.offset <= logFiles.last?.end ?? 0 ? $0 : nil } }

    /// Whether all that the last run wrote is there: only the process ended.
    func isMemoryIntact(_ note: FlushNote? = nil) -> Bool {
        guard checkpoint.own != nil, let note = note ?? believableNote() else { return false }
        return notes.isOfThisMemory(note) && !lastStop.mayBeOnlyInMemory
    }

    /// No checkpoint of ours: the reference ran last, or the store is new. What stands beside the reference's files is of other
    /// times, and goes before a checkpoint makes it count again.
    private func takeOver() throws(StoreError) {
        try storing { () throws(FileSystemError) in
            for name in [QueueTable.fileName, IndexList.fileName] where fileSystem.exists(root + "/" + name) {
                try fileSystem.remove(root + "/" + name)
            }
            try fileSystem.synchronizeDirectory(root)
        }
        var page = checkpoint
        // Of the consume queues nothing is known to be durable.
        page.own = Checkpoint.Own(consistentOffset: logStart, isClean: false)
        try write(page)
    }

    /// A log without files where there was one: most likely its disk is not mounted. Started all the same, the broker would
    /// hand out the places of the messages in it a second time.
    private func refuseEmptyLog() throws(StoreError) {
        guard logFiles.isEmpty, safeOffset > 0 else { return }
        throw StoreError(
            .damaged,
            "there are no files in \(logDirectory), and \(safeOffset) bytes of messages were flushed there: mount "
                + "or put back the commit log; to start without those messages, remove \(root)/checkpoint and \(queueRoot)")
    }

    /// Files at the beginning of the log that nobody deleted who says so.
    private func reportMissingBeginning() {
        guard checkpoint.own != nil, let first = logFiles.first, let known = notes.read()?.logStart, known < first.base else { return }
        let last = first.base - logFileSize
        let names = last <= known ? FileName.text(known) : "\(FileName.text(known)) … \(FileName.text(last))"
        report(
            .error,
            "\(logDirectory)/\(names), the beginning of the commit log, is missing, and it was not deleted by this broker: the messages in "
                + "\(first.base - known) bytes are not served, consumers are led past them. To have them again, stop the broker, put the "
                + "files back and start it")
    }

    private func sayRebuild() { report(.warning, "consume queues are missing or damaged, they are rebuilt from the whole commit log") }

    private func reportMissingEnd() {
        guard safeOffset > end else { return }
        report(
            .error,
            "the commit log in \(logDirectory) ends at \(end), and \(safeOffset) bytes were flushed: the messages in "
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
        try write(checkpoint)
    }

    private func write(_ page: Checkpoint) throws(StoreError) {
        try storing { () throws(FileSystemError) in
            do throws(FileSystemError) {
                try fileSystem.replaceDurably(root + "/checkpoint", with: page.encoded(), keepingBackup: false)
            } catch  where error.code == .noSpace {
                // A broker that ended on a full disk must be able to start there: what it has is wanted.
                guard try page.rewriteOwn(in: root + "/checkpoint", fileSystem) else { throw error }
            }
        }
    }

    /// One of the small files; empty when there is none that can be read.
    private func contents(of name: String) -> [UInt8] {
        ((try? fileSystem.contents(of: root + "/" + name, atMost: Self.largest[name] ?? 1 << 20)) ?? nil) ?? []
    }

    // MARK: Where to start

    /// Loads the queues as far as they can be believed, and says from where the log must be gone through.
    private func prepareQueues() throws(StoreError) -> Int64 {
        let logEnd = logFiles.last?.end ?? 0
        var table = QueueTable(contents(of: QueueTable.fileName))
        if let end = table?.endPhysicalOffset {
            // Topics that were deleted after it was written.
            table?.rows.removeAll { row in deletedTopics.rows[row.topic].map { end <= $0.offset } ?? false }
        }
        hasTable = table != nil && checkpoint.own != nil
        if hasTable {
            known = table?.rows ?? []
            // What was flushed by then: behind it the log may have lost its end, and gone on otherwise.
            knownEnd = min(table?.endPhysicalOffset ?? 0, checkpoint.own?.consistentOffset ?? 0)
        }
        if let own = checkpoint.own, own.consistentOffset <= logEnd {
            // Files that a checkpoint knew may have expired since.
            let start = max(own.consistentOffset, logStart)
            if own.isRebuilding {
                isRebuilt = true
                try loadQueues(before: logStart)
                return logStart
            }
            if let table, try isBelieved(table, at: start) {
                believe(table, at: start)
            } else if wasClean, own.isClean, let table, table.endPhysicalOffset == start, table.hasOffsets {
                try loadQueues(table, end: start)
                if needsRebuild { try discardForeign() }
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
        deletedTopics.distrustPlaces()
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

}
