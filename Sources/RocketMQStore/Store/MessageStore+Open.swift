import RocketMQBase

extension MessageStore {
    /// Opens the store in `configuration.rootDirectory`, creating it when it is missing, and repairs what a crash left
    /// behind. Blocks until done; says every second how far it is when it takes long.
    ///
    /// - Throws: `.lockedByOther` when another process has it open; `.damaged` when files of the log are missing between
    ///   others; `.disk` and `.noSpace` with path and reason; `.interrupted` when `interruption` says so, which leaves what a
    ///   kill would.
    public static func open(
        _ configuration: StoreConfiguration, fileSystem: any FileSystem, clock: any SystemClock, loop: any EventLoop,
        workers: StoreWorkers, interruption: StartInterruption = StartInterruption(),
        report: @escaping (StoreReportLevel, String) -> Void
    ) throws(StoreError) -> MessageStore {
        let root = configuration.rootDirectory
        let locks = try storing { () throws(FileSystemError) in
            try fileSystem.createDirectoryDurably(root)
            fileSystem.synchronizeNames(above: root)
            try fileSystem.createDirectoryDurably(configuration.commitLogDirectory)
            if let kind = fileSystem.kind(of: root + "/lock"), kind != .file {
                throw FileSystemError(operation: "lock", path: root + "/lock", code: .wrongKind, reason: "it is \(kind.text) and no file")
            }
            let lock = try fileSystem.open(root + "/lock", .createOrUpdate)
            try lock.lockExclusively()
            // Two stores of different roots may have been given one log. A file beside those of the log would keep the
            // reference from reading it.
            guard let directory = try? fileSystem.open(configuration.commitLogDirectory, .read) else { return [lock] }
            try directory.lockExclusively()
            return [lock, directory]
        }
        try Recovery.clearWay(of: configuration, fileSystem, report)
        try storing { () throws(FileSystemError) in
            // On a full disk queues make it when they are written.
            do throws(FileSystemError) { try fileSystem.createDirectory(root + "/consumequeue") } catch  where error.code == .noSpace {}
        }
        let began = clock.monotonicNow
        let lastStop = try Recovery.readMark(root, fileSystem, report)
        let wasClean = lastStop == .clean
        // Before anything is changed: a start that does not come to its end is no clean stop.
        try storing { () throws(FileSystemError) in
            try fileSystem.open(root + "/abort", .createOrUpdate).close()
            try fileSystem.synchronizeDirectory(root)
        }
        let recovery = Recovery(
            configuration: configuration, fileSystem: fileSystem, clock: clock, lastStop: lastStop, interruption: interruption,
            report: report)
        let recovered: RecoveredStore
        do throws(StoreError) { recovered = try recovery.run() } catch {
            if error.code == .disk { markDistrust(root, fileSystem) }
            throw error
        }
        // What a failed sync left in doubt was written again, and synced.
        if lastStop == .failedSync {
            try storing { () throws(FileSystemError) in
                let mark = try fileSystem.open(root + "/abort", .replace)
                mark.close()
            }
        }
        let index = try makeIndex(
            configuration, recovered, wasClean: wasClean, fileSystem: fileSystem, clock: clock, progress: recovery.progress)
        let took = (clock.monotonicNow - began).inMilliseconds
        let how = wasClean ? "after a clean stop" : "after an unclean stop"
        report(.information, "store opened \(how) in \(took) ms, the commit log ends at \(recovered.log.writtenOffset)")
        let store = MessageStore(
            configuration: configuration, fileSystem: fileSystem, clock: clock, loop: loop, workers: workers, locks: locks,
            recovered: recovered, index: index, interruption: interruption, report: report)
        store.removeLeftovers()
        store.scheduleUpkeep()
        store.scheduleIndexing(after: .milliseconds(100))
        store.scheduleRetention()
        return store
    }

    /// Makes everything durable and marks the stop as clean. Blocks. Nothing may be called afterwards.
    ///
    /// - Throws: why the stop is not a clean one; also when something had failed before that leaves it in doubt.
    public func close() throws(StoreError) {
        guard !upkeep.isClosed else { return }
        upkeep.isClosed = true
        let checkpointFailure = upkeep.checkpointFailure
        defer {
            refusal = StoreError(.notWritable, "the store is closed")
            queueFiles.writer.close()
            flushNotes.close()
            for lock in locks { lock.close() }
        }
        try commit()
        // After a failed flush nothing proves what is on the disk: the next start must look.
        if let failure = upkeep.flushFailure { throw failure }
        if checkpointFailure == nil {
            // What is on its way may not arrive any more.
            for queue in upkeep.dirtyQueues + upkeep.pass + queueWrites.underWay.flatMap(\.queues) where !queue.isAbandoned {
                try queue.writeBehind()
            }
        }
        let end = log.writtenOffset
        let files = try unflushedFiles(until: end)
        try storing { () throws(FileSystemError) in
            for file in files { try file.synchronize() }
            try fileSystem.synchronizeDirectory(log.directory)
        }
        flushedOffset = end
        if let failure = Self.lostName(files, size: log.fileSize) ?? Self.lostName(locks) { throw failure }
        flushNotes.flushed(end)
        if deletions.writtenVersion < deletions.version { try deletions.writer.write(deletions.table, version: deletions.version) }
        // Then nothing proves what is in the queues' files: the next start must look.
        if let checkpointFailure { throw checkpointFailure }
        try Self.synchronize(queueFiles.writer.takeUnsynced(), fileSystem)
        try index?.synchronize(isLast: true)
        for note in index?.takeNotes() ?? [] { report(.warning, note) }
        try writeLastCheckpoint(consistentOffset: end)
        let root = configuration.rootDirectory
        try storing { () throws(FileSystemError) in
            try fileSystem.remove(root + "/abort")
            try fileSystem.synchronizeDirectory(root)
        }
    }
}
