import RocketMQBase

/// Bounds what recovery must go through after a crash: every so often log and consume queues are made durable up to a
/// common offset, which is then noted in the checkpoint file.
extension MessageStore {
    func checkpointIfDue(_ now: MonotonicTime) {
        guard !upkeep.isCheckpointing, !upkeep.hasFlushFailed, now - upkeep.lastCheckpoint >= configuration.checkpointInterval,
            upkeep.queuesWrittenOffset > upkeep.checkpointedOffset
        else { return }
        let offset = min(upkeep.queuesWrittenOffset, flushedOffset)
        guard offset > upkeep.checkpointedOffset else { return }
        upkeep.lastCheckpoint = now
        upkeep.isCheckpointing = true
        let unsynced = queueFiles.takeUnsynced()
        let table = makeTableIfChanged()
        let page = makeCheckpoint(consistentOffset: offset, isClean: false)
        let root = configuration.rootDirectory
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            var failure: StoreError?
            do throws(StoreError) {
                try Self.synchronize(unsynced, fileSystem)
                try Self.write(page, table: table, root: root, fileSystem)
            } catch { failure = error }
            let ended = failure
            loop.execute { store.value.checkpointEnded(at: offset, failure: ended) }
        }
    }

    private func checkpointEnded(at offset: Int64, failure: StoreError?) {
        upkeep.isCheckpointing = false
        if let failure {
            // Recovery goes from the last good checkpoint, which is never advanced again: entries before it may be lost.
            upkeep.hasFlushFailed = true
            report(.warning, "consume queues cannot be made durable, a start after a crash will take longer: \(failure)")
            return
        }
        upkeep.checkpointedOffset = offset
    }

    /// Makes consume queue files durable, and the directories that name new ones.
    static func synchronize(_ files: [(place: QueuePlace, base: Int64)], _ fileSystem: any FileSystem) throws(StoreError) {
        for item in files {
            try storing { () throws(FileSystemError) in
                let file: any OpenFile
                // Gone with its topic since.
                do throws(FileSystemError) {
                    file = try fileSystem.open(item.place.path(base: item.base), .update)
                } catch where error.code == .notFound { return }
                defer { file.close() }
                try file.synchronize()
            }
        }
    }

    // MARK: The files

    func makeCheckpoint(consistentOffset: Int64, isClean: Bool) -> Checkpoint {
        var page = Checkpoint()
        let timestamp = isClean ? lastStoreTimestamp : upkeep.queuesWrittenTimestamp
        page.logTimestamp = timestamp
        page.queueTimestamp = timestamp
        page.indexTimestamp = 0
        page.own = Checkpoint.Own(consistentOffset: consistentOffset, indexedOffset: 0, isClean: isClean)
        return page
    }

    func writeCheckpoint(consistentOffset: Int64, isClean: Bool) throws(StoreError) {
        let page = makeCheckpoint(consistentOffset: consistentOffset, isClean: isClean)
        try Self.write(page, table: nil, root: configuration.rootDirectory, fileSystem)
    }

    private static func write(
        _ page: Checkpoint, table: QueueTable?, root: String, _ fileSystem: any FileSystem
    ) throws(StoreError) {
        try storing { () throws(FileSystemError) in
            if let table { try fileSystem.replaceDurably(root + "/" + QueueTable.fileName, with: table.encoded(), keepingBackup: false) }
            try fileSystem.replaceDurably(root + "/checkpoint", with: page.encoded(), keepingBackup: false)
        }
    }

    private func makeTable() -> QueueTable {
        var rows: [QueueTable.Row] = []
        for (topic, queues) in topics {
            for (id, queue) in queues where queue.maxOffset > 0 {
                rows.append(
                    QueueTable.Row(
                        topic: topic, id: id, minOffset: queue.minOffset, maxOffset: queue.maxOffset,
                        entriesPerFile: queue.files.entriesPerFile))
            }
        }
        return QueueTable(minPhysicalOffset: log.minOffset, endPhysicalOffset: log.writtenOffset, rows: rows)
    }

    /// The table, when there are queues that the last written one does not name.
    private func makeTableIfChanged() -> QueueTable? {
        guard upkeep.hasNewQueues else { return nil }
        upkeep.hasNewQueues = false
        return makeTable()
    }

    func writeQueueTable() throws(StoreError) {
        let path = configuration.rootDirectory + "/" + QueueTable.fileName
        let bytes = makeTable().encoded()
        try storing { () throws(FileSystemError) in try fileSystem.replaceDurably(path, with: bytes, keepingBackup: false) }
    }
}
