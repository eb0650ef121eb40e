import RocketMQBase

/// Bounds what recovery must go through after a crash: every so often log and consume queues are made durable up to a
/// common offset, which is then noted in the checkpoint file.
extension MessageStore {
    func checkpointIfDue(_ now: MonotonicTime) {
        guard !upkeep.isCheckpointing, !upkeep.hasFlushFailed, !upkeep.hasCheckpointFailed,
            now - upkeep.lastCheckpoint >= configuration.checkpointInterval,
            upkeep.queuesWrittenOffset > upkeep.checkpointedOffset, let table = upkeep.writtenTable
        else { return }
        let offset = upkeep.queuesWrittenOffset
        guard flushedOffset >= offset else { return requestFlush() }
        upkeep.lastCheckpoint = now
        upkeep.isCheckpointing = true
        let unsynced = queueFiles.writer.takeUnsynced()
        upkeep.writtenTable = nil
        let page = makeCheckpoint(consistentOffset: offset, isClean: false)
        let index = index
        let writer = checkpointWriter
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            var end = CheckpointEnd.done
            do throws(StoreError) {
                try Self.synchronize(unsynced, fileSystem)
                do throws(StoreError) { try index?.synchronize() } catch  where error.code == .noSpace { end = .notWritten(error, table) }
                if case .done = end {
                    var page = page
                    page.indexTimestamp = index?.newest.timestamp ?? 0
                    // What it says is true later as well.
                    do throws(StoreError) { try writer.write(page, table) } catch { end = .notWritten(error, table) }
                }
            } catch { end = .notDurable(error) }
            let ended = end
            loop.execute { store.value.checkpointEnded(at: offset, ended) }
        }
    }

    private enum CheckpointEnd: Sendable {
        case done
        /// Queues are durable, and there was no room for the index or for the files that say so.
        case notWritten(StoreError, QueueTable.Draft)
        case notDurable(StoreError)
    }

    private func checkpointEnded(at offset: Int64, _ end: CheckpointEnd) {
        upkeep.isCheckpointing = false
        switch end {
        case .done:
            upkeep.checkpointedOffset = offset
            if upkeep.isCheckpointLate { report(.information, "the checkpoint could be written again") }
            upkeep.isCheckpointLate = false
        case .notWritten(let failure, let table):
            if upkeep.queuesWrittenOffset == offset, upkeep.writtenTable == nil { upkeep.writtenTable = table }
            guard !upkeep.isCheckpointLate else { return }
            upkeep.isCheckpointLate = true
            report(.warning, "a start after a crash takes longer until the checkpoint can be written, which is tried again: \(failure)")
        case .notDurable(let failure):
            // Recovery goes from the last good checkpoint, which is never advanced again: entries before it may be lost.
            upkeep.checkpointFailure = failure
            report(.warning, "consume queues cannot be made durable, a start after a crash will take longer: \(failure)")
        }
    }

    /// Makes consume queue files durable, and the directories that name new ones.
    static func synchronize(_ files: [QueueWriter.Unsynced], _ fileSystem: any FileSystem) throws(StoreError) {
        if files.count > 64, let root = files.first?.place.root {
            let isDone = try storing { () throws(FileSystemError) in try fileSystem.synchronizeAll(at: root) }
            if isDone { return }
        }
        var directories: Set<String> = []
        for item in files {
            directories.formUnion([item.place.directory, item.place.root + "/" + item.place.topic, item.place.root])
            try storing { () throws(FileSystemError) in
                let file: any OpenFile
                // Gone with its topic since.
                do throws(FileSystemError) {
                    file = try fileSystem.open(item.place.path(base: item.base), .update)
                } catch  where error.code == .notFound { return }
                defer { file.close() }
                try file.synchronize()
            }
        }
        // Files may be new, and so may the directories that they are in. Syncing one that has not changed costs next to nothing.
        for directory in directories {
            do throws(FileSystemError) { try fileSystem.synchronizeDirectory(directory) } catch  where error.code == .notFound {
                continue
            } catch { throw StoreError(error) }
        }
    }

    // MARK: The files

    func makeCheckpoint(consistentOffset: Int64, isClean: Bool) -> Checkpoint {
        var page = Checkpoint()
        let timestamp = isClean ? lastStoreTimestamp : upkeep.queuesWrittenTimestamp
        page.logTimestamp = timestamp
        page.queueTimestamp = timestamp
        page.own = Checkpoint.Own(consistentOffset: consistentOffset, isClean: isClean)
        return page
    }

    /// Table and checkpoint of a clean stop.
    func writeLastCheckpoint(consistentOffset: Int64) throws(StoreError) {
        var page = makeCheckpoint(consistentOffset: consistentOffset, isClean: true)
        page.indexTimestamp = index?.newest.timestamp ?? 0
        try checkpointWriter.write(page, makeTable(isCurrent: true), isLast: true)
    }

    /// All queues with messages. After a crash each must be found with at least the messages named here, so only what is
    /// certainly durable by then may be named.
    ///
    /// - Parameter isCurrent: with their offsets; otherwise it is only said that they exist.
    ///
    /// It takes the loop a few milliseconds with 100,000 queues.
    func makeTable(isCurrent: Bool) -> QueueTable.Draft {
        // While files are being deleted the queues' beginnings are not those of this log yet.
        let start = retention.isTrimming ? -1 : log.minOffset
        return QueueTable.Draft(
            minPhysicalOffset: start, endPhysicalOffset: log.writtenOffset, names: roll.names, ranges: roll.ranges, hasOffsets: isCurrent)
    }

    /// A table for a checkpoint that comes after the pass that begins now: it says what every queue had when the log ended where
    /// the checkpoint says, neither less nor more.
    func makeTableForCheckpoint(_ now: MonotonicTime) -> QueueTable.Draft? {
        guard now + configuration.queueWriteInterval - upkeep.lastCheckpoint >= configuration.checkpointInterval else { return nil }
        return makeTable(isCurrent: true)
    }
}

/// All queues one after the other, as tables of them have them.
struct QueueRoll {
    private(set) var names: [QueueTable.Name] = []
    private var queues: [ConsumeQueue] = []

    init(_ topics: [String: [Int32: ConsumeQueue]]) {
        for queue in topics.values.joined() { add(queue.value) }
    }

    mutating func add(_ queue: ConsumeQueue) {
        queues.append(queue)
        names.append(QueueTable.Name(topic: queue.topic, entriesPerFile: queue.files.entriesPerFile, id: queue.id))
    }

    /// The offsets that each has now.
    var ranges: [(min: Int64, max: Int64)] { queues.map { ($0.minOffset, $0.maxOffset) } }
}
