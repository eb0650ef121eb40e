import RocketMQBase

/// Durability: flushing the log, and the upkeep that follows commits.
extension MessageStore {
    /// Asks that everything committed until now become durable; `onFlushed` tells. One flush runs at a time and serves all
    /// who asked before it started; the next starts when it ends.
    public func requestFlush() {
        guard log.writtenOffset > flushedOffset else { return }
        if isFlushing { isFlushWanted = true } else { startFlush() }
    }

    func startFlush() {
        guard !isFlushing, !upkeep.hasFlushFailed, !upkeep.isClosed else { return }
        let target = log.writtenOffset
        guard target > flushedOffset else { return }
        isFlushWanted = false
        upkeep.lastFlush = clock.monotonicNow
        let files: [any OpenFile]
        do { files = try unflushedFiles(until: target) } catch {
            flushEnded(at: target, names: 0, failure: error)
            return
        }
        isFlushing = true
        let directory = log.areNamesDurable ? nil : log.directory
        let names = log.nameChanges
        let root = configuration.rootDirectory
        let size = log.fileSize
        let store = LoopBound(self, on: loop)
        workers.flusher.run { [loop, fileSystem, flushNotes] in
            var failure: StoreError?
            do throws(StoreError) {
                try storing { () throws(FileSystemError) in
                    for file in files { try file.synchronize() }
                    if let directory { try fileSystem.synchronizeDirectory(directory) }
                }
            } catch { failure = error }
            if failure != nil { Self.markDistrust(root, fileSystem) }
            // What has no name is not stored, however well it was written.
            failure = Self.lostName(files, size: size) ?? failure
            // Before anybody is told: a start after a kill knows what was promised.
            if failure == nil { flushNotes.flushed(target) }
            let ended = failure
            loop.execute { store.value.flushEnded(at: target, names: names, failure: ended) }
        }
    }

    /// A sync failed: should this process be killed, the next one must not believe what the system has in memory. A loss of
    /// power takes the mark, but that memory as well.
    static func markDistrust(_ root: String, _ fileSystem: any FileSystem) {
        do throws(FileSystemError) {
            let file = try fileSystem.open(root + "/abort", .createOrUpdate)
            defer { file.close() }
            var failure: FileSystemError?
            Array("a sync failed\n".utf8).withUnsafeBytes { bytes in
                do throws(FileSystemError) { try file.write(bytes, at: 0) } catch { failure = error }
            }
            if let failure { throw failure }
        } catch {
            // Nothing more can be done about it on this disk; messages are refused all the same.
        }
    }

    func unflushedFiles(until target: Int64) throws(StoreError) -> [any OpenFile] {
        var handles: [any OpenFile] = []
        for file in log.files where file.end > flushedOffset && file.base < target { handles.append(try file.handle()) }
        return handles
    }

    private func flushEnded(at target: Int64, names: Int, failure: StoreError?) {
        isFlushing = false
        if let failure { return flushFailed(failure) }
        log.namesAreDurable(names)
        flushedOffset = max(flushedOffset, target)
        onFlushed?(nil)
        if isFlushWanted { startFlush() }
    }

    /// The kernel may have dropped the pages: what it says of them from now on proves nothing.
    func flushFailed(_ failure: StoreError) {
        let cause = failure.code == .removed ? "" : "a flush failed: "
        let reason = "messages are refused until the broker is started again, \(cause)\(failure)"
        upkeep.flushFailure = failure
        refusal = StoreError(.notWritable, reason)
        report(.error, reason)
        onFlushed?(refusal)
    }

    // MARK: Upkeep

    func afterCommit() {
        if log.writtenOffset - flushedOffset >= configuration.flushDirtyBytes { requestFlush() }
        allocateAheadIfNeeded()
        keepToLogLimit()
        scheduleUpkeep()
        if index != nil, !indexing.isUnderWay { scheduleIndexing(after: .milliseconds(20)) }
    }

    func scheduleUpkeep(after delay: Duration = .milliseconds(100)) {
        guard !upkeep.isScheduled, !upkeep.isClosed else { return }
        upkeep.isScheduled = true
        loop.schedule(after: delay) { [weak self] in
            guard let self else { return }
            self.upkeep.isScheduled = false
            self.keepUp()
        }
    }

    /// One short step of what is due; sets the timer again as long as something is left to do.
    func keepUp() {
        guard !upkeep.isClosed else { return }
        let now = clock.monotonicNow
        if log.writtenOffset > flushedOffset, !upkeep.hasFlushFailed, now - upkeep.lastFlush >= configuration.flushInterval {
            requestFlush()
        }
        checkNames(now)
        writeQueuesBehind(now)
        checkpointIfDue(now)
        synchronizeNoteIfDue(now)
        // What is under way on the worker calls again by itself.
        if log.writtenOffset > flushedOffset && !upkeep.hasFlushFailed || !upkeep.dirtyQueues.isEmpty
            || upkeep.checkpointedOffset < log.writtenOffset && !upkeep.hasFlushFailed && !upkeep.hasCheckpointFailed
            || upkeep.durableNote < flushedOffset
        {
            scheduleUpkeep()
        }
    }

    /// Makes the note of what is flushed durable, a moment later than the log.
    private func synchronizeNoteIfDue(_ now: MonotonicTime) {
        guard upkeep.durableNote < flushedOffset, !upkeep.isSynchronizingNote, now - upkeep.lastNote >= .seconds(1) else { return }
        upkeep.lastNote = now
        upkeep.isSynchronizingNote = true
        let offset = flushedOffset
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, flushNotes] in
            flushNotes.synchronize()
            loop.execute {
                store.value.upkeep.isSynchronizingNote = false
                store.value.upkeep.durableNote = offset
            }
        }
    }
}
