/// What a store is told at the start. Sizes only matter for files that do not exist yet: those that do keep theirs.
public struct StoreConfiguration: Sendable {
    /// `storePathRootDir`: holds `commitlog/`, `consumequeue/`, `index/`, `checkpoint`, `abort` and `lock`.
    public var rootDirectory: String
    /// The commit log's directory when it is not `commitlog` under the root (`storePathCommitLog`).
    public var commitLogDirectory: String {
        get { ownCommitLogDirectory ?? rootDirectory + "/commitlog" }
        set { ownCommitLogDirectory = newValue }
    }
    private var ownCommitLogDirectory: String?
    /// Bytes of a commit log file (`mappedFileSizeCommitLog`).
    public var commitLogFileSize: Int64 = 1 << 30
    /// Entries of a consume queue file (`mappedFileSizeConsumeQueue` / 20).
    public var consumeQueueFileEntries: Int64 = 300_000
    /// The largest record: body, properties and the rest, in bytes.
    public var maxRecordSize = 4 << 20 + 64 << 10
    /// Whether records carry a checksum of all of them in the property `__CRC32#`, as 5.x writes it (`enabledAppendPropCRC`).
    public var writesRecordChecksums = false

    /// The recent log kept in memory: it is staged there and served from there. Taken from the system as it fills.
    public var windowSegments = 4
    public var windowSegmentSize = 8 << 20

    /// Bytes a second of old messages that are read while others are stored, where a read may be delayed
    /// (`coldReadMaxBytesPerSecond`); 0: as fast as it goes. Old is what lies so far behind the end of the log.
    public var coldReadBytesPerSecond: Int64 = 0
    public var coldReadDistance: Int64 = 64 << 20

    /// `ASYNC_FLUSH`: at the latest after this time, or when this many bytes wait.
    public var flushInterval: Duration = .milliseconds(500)
    public var flushDirtyBytes: Int64 = 64 << 20
    /// How often consume queue entries go to their files.
    public var queueWriteInterval: Duration = .seconds(1)
    /// Memory for entries that wait to be written; two thirds of it begin to be written whatever the time.
    public var queueEntryMemory = 120 << 20
    /// How often the files are made durable up to a common point, from which recovery after a crash starts.
    public var checkpointInterval: Duration = .seconds(10)
    /// Consume queue files open at a time.
    public var openQueueFiles = 512
    /// Up to so many queues a start looks into the files of each. With more it believes the list of queues that the last
    /// checkpoint left, as far as nothing speaks against it, and a queue's files are looked at when they are first used.
    public var queuesCheckedAtStart = 1000
    /// How much of the log's next bytes is allocated on the disk ahead of use, at most.
    public var allocateAheadLimit: Int64 = 64 << 20

    /// `messageIndexEnable`, `maxHashSlotNum`, `maxIndexNum`.
    public var isIndexEnabled = true
    public var indexSlots = 5_000_000
    public var indexEntries = 20_000_000

    /// Delay of each level in milliseconds, level 1 first: consume queues of delayed messages hold delivery times in the
    /// place of tags codes, which recovery must compute again.
    public var delayLevelMilliseconds: [Int64] = StoreConfiguration.referenceDelayLevels

    public var retention = RetentionPolicy()
    /// By how many seconds local time is ahead of UTC at a time in seconds since 1970: it may change twice a year.
    public var localOffsetSeconds: @Sendable (Int64) -> Int64 = { _ in 0 }
    /// How often disk space and the age of files are looked at.
    public var retentionInterval: Duration = .seconds(10)

    public init(rootDirectory: String) { self.rootDirectory = rootDirectory }

    /// `1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h`.
    public static let referenceDelayLevels: [Int64] =
        ([1, 5, 10, 30] + (1...10).map { $0 * 60 } + [1200, 1800, 3600, 7200]).map { $0 * 1000 }
}

/// When files of the log are deleted.
public struct RetentionPolicy: Sendable, Equatable {
    /// Hours after the last message of a file (`fileReservedTime`).
    public var reservedHours: Int64 = 72
    /// Hours of the day, by the local time of `StoreConfiguration`, at which expired files go (`deleteWhen`).
    public var deleteAtHours: [Int] = [4]
    /// Part of the disk in use above which expired files go at once (`diskMaxUsedSpaceRatio`).
    public var cleanRatio = 0.75
    /// Above it the oldest file goes even when it has not expired.
    public var forcedCleanRatio = 0.85
    /// Above it messages are refused (`diskSpaceWarningLevelRatio`).
    public var refuseRatio = 0.90
    /// Whether the forced clean may delete what has not expired (`cleanFileForciblyEnable`).
    public var mayCleanUnexpired = true
    /// Free bytes of the disk below which messages are refused; below twice as many the oldest file goes even when it has not
    /// expired, below four times as many expired files go at once (`diskMinFreeBytes`). 0: only the ratios count.
    public var minFreeBytes: Int64 = 0
    /// Bytes of the log above which the oldest files go even when they have not expired, or, where they may not, messages are
    /// refused (`commitLogMaxBytes`). 0: no limit.
    public var maxLogBytes: Int64 = 0
    /// Says so once when the room for messages will not last so many seconds at the present rate (`diskSpaceWarningTime`).
    public var warningSeconds: Int64 = 3600
    /// Expired messages that a group has not read stay until the space is needed (`keepUnreadMessages`).
    public var keepsUnread = false
    public init() {}
}
