import RocketMQBase
import RocketMQProtocol

/// What the next look at the disk needs to know of the last.
struct Retention {
    var isUnderWay = false
    /// Messages are refused because the disk is full.
    var hasRefused = false
    var hasWarned = false
    /// The log's end at the last looks, and how many of them found it so.
    var lastEnd: Int64 = -1
    var quietLooks = 0
    /// Asked for by an administrator: expired files go whatever the hour.
    var isDemanded = false
}

/// Deleting old files, and refusing messages while the disk is full.
extension MessageStore {
    func scheduleRetention() {
        loop.schedule(after: configuration.retentionInterval) { [weak self] in
            guard let self, !self.upkeep.isClosed else { return }
            self.giveMemoryBackWhenIdle()
            self.lookAfterSpace()
            self.scheduleRetention()
        }
    }

    /// After half a minute or so without a message: what is in memory is in files as well.
    private func giveMemoryBackWhenIdle() {
        retention.quietLooks = log.writtenOffset == retention.lastEnd ? retention.quietLooks + 1 : 0
        retention.lastEnd = log.writtenOffset
        guard retention.quietLooks == 3 else { return }
        log.trimWindow()
        readCache.clear()
        for queues in topics.values { for queue in queues.values { queue.freeTail() } }
    }

    /// Deletes expired files now, not only at the hours of the policy.
    public func deleteExpiredFiles() {
        retention.isDemanded = true
        lookAfterSpace()
    }

    /// Looks at the disk and the age of the oldest files, and does what the policy says. The work is done in the background.
    public func lookAfterSpace() {
        guard !retention.isUnderWay, !upkeep.isClosed else { return }
        retention.isUnderWay = true
        let logDirectory = configuration.commitLogDirectory
        // A file's newest message is as old as the first of the next file, nearly.
        let following = log.files.dropFirst().prefix(10).filter { $0.base < log.writtenOffset }
        let handles = following.compactMap { file in (try? file.handle()).map { (file.base, $0) } }
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            let space = try? fileSystem.space(at: logDirectory)
            var timestamps: [Int64] = []
            for (base, file) in handles {
                guard let timestamp = Self.firstTimestamp(file, base: base) else { break }
                timestamps.append(timestamp)
            }
            let found = timestamps
            loop.execute { store.value.decide(space, found) }
        }
    }

    private static func firstTimestamp(_ file: any OpenFile, base: Int64) -> Int64? {
        guard let bytes = try? readExactly(file, at: 0, count: MessageRecord.smallest), bytes.count == MessageRecord.smallest else {
            return nil
        }
        let span = bytes.span.bytes
        guard RecordLayout.isRecord(span, size: span.bigEndian(Int32.self, at: 0), at: base) else { return nil }
        return RecordLayout.storeTimestamp(span)
    }

    private func decide(_ space: (total: UInt64, available: UInt64)?, _ lastTimestamps: [Int64]) {
        guard !upkeep.isClosed else { return }
        let policy = configuration.retention
        var used = 0.0
        if let space, space.total > 0 {
            used = 1 - Double(space.available) / Double(space.total)
            judge(used, policy)
        }
        let now = clock.wallMilliseconds
        let hour = Int((now / 1000 + policy.timeZoneOffsetSeconds) / 3600 % 24)
        let isTime = policy.deleteAtHours.contains(hour) || retention.isDemanded || used > policy.cleanRatio
        let isForced = used > policy.forcedCleanRatio && policy.mayCleanUnexpired
        retention.isDemanded = false
        var gone: [String] = []
        for (index, timestamp) in lastTimestamps.enumerated() {
            let file = log.files[0]
            let isExpired = timestamp < now - policy.reservedHours * 3_600_000
            // Above the threshold one file goes at a time, whatever its age; it may be enough.
            guard isExpired && isTime || isForced && index == 0, mayDeleteFile?(file.base, file.end) ?? true else { break }
            report(
                isExpired ? .information : .warning,
                "\(file.path) is deleted, \(isExpired ? "its messages have expired" : "the disk is \(Self.percent(used)) full")")
            gone.append(log.removeFirstFile().path)
        }
        guard !gone.isEmpty else {
            retention.isUnderWay = false
            return
        }
        readCache.clear()
        remove(gone)
    }

    private static func percent(_ part: Double) -> String { "\(Int((part * 100).rounded())) %" }

    /// Refuses messages above the last threshold, and takes them again below it.
    private func judge(_ used: Double, _ policy: RetentionPolicy) {
        if used > policy.refuseRatio {
            if !retention.hasRefused, refusal == nil {
                retention.hasRefused = true
                let reason =
                    "messages are refused, the disk of \(configuration.rootDirectory) is \(Self.percent(used)) full, "
                    + "above the \(Self.percent(policy.refuseRatio)) allowed"
                refusal = StoreError(.notWritable, reason)
                report(.error, reason)
            }
        } else if retention.hasRefused {
            retention.hasRefused = false
            if !upkeep.hasFlushFailed { refusal = nil }
            report(.information, "messages are taken again, the disk is \(Self.percent(used)) full")
        }
        if used > policy.cleanRatio, !retention.hasWarned {
            report(.warning, "the disk of \(configuration.rootDirectory) is \(Self.percent(used)) full")
        }
        retention.hasWarned = used > policy.cleanRatio
    }

    // MARK: What follows a deletion

    /// A queue whose head may be gone.
    private struct Trim: Sendable {
        var place: QueuePlace
        var entriesPerFile: Int64
        var minOffset: Int64
        var writtenOffset: Int64
    }

    private func remove(_ paths: [String]) {
        let minPhysical = log.minOffset
        let queues = topics.values.flatMap { $0.values }.filter { $0.minOffset < $0.maxOffset }
        let trims = queues.map {
            Trim(
                place: $0.files.place, entriesPerFile: $0.files.entriesPerFile, minOffset: $0.minOffset, writtenOffset: $0.writtenOffset)
        }
        let carried = LoopBound((store: self, queues: queues), on: loop)
        let index = index
        workers.housekeeper.run { [loop, fileSystem] in
            var failures: [String] = []
            func trying(_ work: () throws(StoreError) -> Void) {
                do throws(StoreError) { try work() } catch { failures.append("\(error)") }
            }
            for path in paths {
                trying { () throws(StoreError) in try storing { () throws(FileSystemError) in try fileSystem.remove(path) } }
            }
            var minima: [Int64] = []
            for trim in trims {
                var first = trim.minOffset
                trying { () throws(StoreError) in first = try Self.trim(trim, minPhysical, fileSystem) }
                minima.append(first)
            }
            trying { () throws(StoreError) in try index?.removeFiles(before: minPhysical) }
            let (found, failed) = (minima, failures)
            loop.execute {
                let (store, queues) = carried.value
                store.trimmed(queues, found, minPhysical)
                for failure in failed { store.report(.warning, "an expired file stays on the disk: \(failure)") }
            }
        }
    }

    /// Removes files of a queue that only name deleted messages; returns the first offset that is left of those written.
    private static func trim(_ trim: Trim, _ minPhysical: Int64, _ fileSystem: any FileSystem) throws(StoreError) -> Int64 {
        let names = try storing { () throws(FileSystemError) in
            fileSystem.isDirectory(trim.place.directory) ? try fileSystem.list(trim.place.directory) : []
        }
        let found = try QueueOnDisk(
            place: trim.place, names: names, defaultEntriesPerFile: trim.entriesPerFile, fileSystem: fileSystem)
        guard let found else { return trim.minOffset }
        let first = try found.firstOffset(at: minPhysical, end: trim.writtenOffset)
        for base in found.bases.dropLast() where base + found.entriesPerFile <= first {
            let path = trim.place.path(base: base * Int64(QueueEntry.byteCount))
            try storing { () throws(FileSystemError) in try fileSystem.remove(path) }
        }
        return max(first, trim.minOffset)
    }

    private func trimmed(_ queues: [ConsumeQueue], _ minima: [Int64], _ minPhysical: Int64) {
        retention.isUnderWay = false
        entryScratch.clear()
        for (queue, minimum) in zip(queues, minima) {
            var first = max(queue.minOffset, minimum)
            // What was only in memory then.
            while first < queue.maxOffset, let entry = queue.recentEntry(first), entry.physicalOffset < minPhysical { first += 1 }
            if first > queue.minOffset {
                queue.minOffset = first
                queue.files.close()
            }
        }
    }
}
