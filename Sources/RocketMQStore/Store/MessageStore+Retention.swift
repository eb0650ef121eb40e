import RocketMQBase
import RocketMQProtocol

/// What the next look at the disk needs to know of the last.
struct Retention {
    var isUnderWay = false
    /// Changes of the log's files when its size was last held against its limit.
    fileprivate var nameChanges = 0
    /// Files of the log have gone, and not all queues begin behind them yet.
    var isTrimming = false
    /// Messages are refused because the disk is full.
    var hasRefused = false
    var watch = SpaceWatch()
    /// The log's end at the last looks, and how many of them found it so.
    var lastEnd: Int64 = -1
    var quietLooks = 0
    /// Asked for by an administrator: expired files go whatever the hour.
    var isDemanded = false
    /// The file that stays for unread messages, as it was said last.
    var keptFile: Int64 = -1
    /// Topics with a retention of their own.
    var topics: [String: TopicRetention] = [:]
    var isExpiringTopics = false
}

extension RetentionPolicy {
    /// Whether a time, in seconds since 1970, is in one of the hours at which expired files go. Where clocks are set forward an
    /// hour that is skipped counts with the one that follows it, so that no day is without; where they are set back an hour
    /// that comes twice counts both times, which does no harm: what has expired goes once.
    func isHourOfDeletion(at seconds: Int64, localOffset: (Int64) -> Int64) -> Bool {
        func hours(_ seconds: Int64) -> Int64 { (seconds + localOffset(seconds)) / 3600 }
        let now = hours(seconds)
        // An hour ago the clock showed the hour before, unless it was set since.
        let first = min(max(hours(seconds - 3600) + 1, now - 23), now)
        return (first...now).contains { deleteAtHours.contains(Int($0 % 24)) }
    }
}

/// When files of the log go, and messages are refused while the disk is full.
extension MessageStore {
    /// How near the store is to the limits of its disk, as the last look found it.
    public var space: SpaceState { retention.watch.state }

    func scheduleRetention() {
        loop.schedule(after: retention.watch.nextLook(configuration.retentionInterval)) { [weak self] in
            guard let self, !self.upkeep.isClosed else { return }
            self.giveMemoryBackWhenIdle()
            self.checkNames(self.clock.monotonicNow)
            self.lookAfterSpace()
            self.lookAfterFiles()
            self.expireTopics()
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
        for queues in topics.values { for queue in queues.values { queue.freeRecent() } }
        queueFiles.memory.trim()
    }

    /// With each new file of the log: by the time of the next look much may have come, on a small disk too much.
    @inline(__always)
    func keepToLogLimit() {
        guard log.nameChanges != retention.nameChanges else { return }
        retention.nameChanges = log.nameChanges
        let most = configuration.retention.maxLogBytes
        if most > 0, log.writtenOffset - log.minOffset > most { lookAfterSpace() }
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
        let (logDirectory, root) = (configuration.commitLogDirectory, configuration.rootDirectory)
        // A file's newest message is as old as the first of the next file, nearly.
        let following = log.files.dropFirst().prefix(Self.mostFilesOfALook).filter { $0.base < log.writtenOffset }
        let handles = following.compactMap { file in (try? file.handle()).map { (file.base, $0) } }
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            let disks = Self.disks(logDirectory, root, fileSystem)
            let timestamps = handles.map { Self.firstTimestamp($0.1, base: $0.0) }
            loop.execute { store.value.decide(disks, timestamps) }
        }
    }

    /// The disk of the log, and that of everything else where it is another.
    private static func disks(_ logDirectory: String, _ root: String, _ fileSystem: any FileSystem) -> [DiskSpace] {
        guard let log = try? fileSystem.space(at: logDirectory) else { return [] }
        guard let rest = try? fileSystem.space(at: root), rest != log else {
            return [DiskSpace(place: root, total: log.total, available: log.available)]
        }
        return [
            DiskSpace(place: logDirectory, total: log.total, available: log.available),
            DiskSpace(place: root, total: rest.total, available: rest.available),
        ]
    }

    private static var mostFilesOfALook: Int { 10 }

    private static func firstTimestamp(_ file: any OpenFile, base: Int64) -> Int64? {
        guard let bytes = try? readExactly(file, at: 0, count: MessageRecord.smallest), bytes.count == MessageRecord.smallest else {
            return nil
        }
        let span = bytes.span.bytes
        guard RecordLayout.isRecord(span, size: span.bigEndian(Int32.self, at: 0), at: base) else { return nil }
        return RecordLayout.storeTimestamp(span)
    }

    /// - Parameter lastTimestamps: of the oldest files, where they are known; there is a file behind each.
    private func decide(_ disks: [DiskSpace], _ lastTimestamps: [Int64?]) {
        guard !upkeep.isClosed else { return }
        let policy = configuration.retention
        take(disks)
        judge()
        let now = clock.wallMilliseconds
        let isHour = policy.isHourOfDeletion(at: now / 1000, localOffset: configuration.localOffsetSeconds)
        let isTime = isHour || retention.isDemanded || retention.watch.state.level >= .low
        retention.isDemanded = false
        let latest = now - policy.reservedHours * 3_600_000
        // Not before a checkpoint tells how far its queues had got.
        let checkpointed = log.files.prefix { $0.end <= upkeep.checkpointedOffset }.count
        let expired = isTime ? min(checkpointed, lastTimestamps.prefix { $0.map { $0 < latest } ?? false }.count) : 0
        let forced = min(forcedFiles(policy), lastTimestamps.count)
        guard policy.keepsUnread, expired > forced else { return delete(expired: expired, forced: forced) }
        findUnread { [self] unread in
            let read = log.files.prefix(expired).prefix { $0.end <= unread.floor }.count
            if read < expired { sayKept(log.files[read], unread) }
            delete(expired: read, forced: forced)
        }
    }

    /// How many files must go even when they have not expired. For the disk one at a time, since it may be enough.
    private func forcedFiles(_ policy: RetentionPolicy) -> Int {
        guard policy.mayCleanUnexpired, retention.watch.state.level >= .scarce else { return 0 }
        let tooMuch = policy.maxLogBytes > 0 ? log.writtenOffset - log.minOffset - policy.maxLogBytes : 0
        return max(1, Int(clamping: (max(0, tooMuch) + log.fileSize - 1) / log.fileSize))
    }

    private func delete(expired: Int, forced: Int) {
        var gone: [LogFile] = []
        while gone.count < max(expired, forced), let file = log.files.first, file.end < log.writtenOffset, file.end <= flushedOffset {
            guard mayDeleteFile?(file.base, file.end) ?? true else { break }
            let isExpired = gone.count < expired
            let why = isExpired ? "its messages have expired" : retention.watch.state.reason
            report(isExpired ? .information : .warning, "\(file.path) is deleted, \(why)")
            gone.append(log.removeFirstFile())
        }
        guard !gone.isEmpty else {
            retention.isUnderWay = false
            return
        }
        readCache.clear()
        remove(gone, because: gone.count > expired ? retention.watch.state.reason : "they have expired")
    }

    /// Looks whether what was deleted was enough. Deletes nothing.
    func judgeAgain() {
        let (logDirectory, root) = (configuration.commitLogDirectory, configuration.rootDirectory)
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            let disks = Self.disks(logDirectory, root, fileSystem)
            loop.execute {
                let store = store.value
                guard !store.upkeep.isClosed, !disks.isEmpty else { return }
                store.take(disks)
                // Less than a file's worth would be used up before anybody looks again.
                if store.space.bytesUntilRefusal >= store.log.fileSize { store.judge() }
            }
        }
    }

    private func take(_ disks: [DiskSpace]) {
        let warning = retention.watch.take(
            disks, logStart: log.minOffset, logEnd: log.writtenOffset, now: clock.monotonicNow, configuration.retention)
        if let warning { report(.warning, warning) }
    }

    /// Refuses messages above the last threshold, and takes them again below it.
    private func judge() {
        let state = retention.watch.state
        if state.level == .exhausted {
            guard !retention.hasRefused, refusal == nil else { return }
            retention.hasRefused = true
            let reason =
                "messages are refused, \(state.reason); they are taken again when there is room: free some, "
                + "lower fileReservedTime, or raise the limit"
            refusal = StoreError(.notWritable, reason)
            report(.error, reason)
        } else if retention.hasRefused {
            retention.hasRefused = false
            if !upkeep.hasFlushFailed { refusal = nil }
            report(.information, "messages are taken again, \(state.forecast)")
        }
    }
}
