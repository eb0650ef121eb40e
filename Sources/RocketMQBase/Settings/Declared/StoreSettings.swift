/// The settings of a broker's message store.
public enum StoreSettings {
    // MARK: Files

    public static let storePathRootDir = Setting(
        "storePathRootDir", default: "~/store", unit: .path, allowed: "a directory", "The directory of all that the broker keeps."
    ) { !$0.isEmpty }

    /// Empty: `commitlog` under the root. Use `SettingsValues.commitLogDirectory`.
    public static let storePathCommitLog = Setting(
        "storePathCommitLog", default: "", unit: .path, allowed: "one directory",
        "The directory of the commit log, when it is not commitlog under storePathRootDir: a disk of its own, say."
    ) { !$0.contains(",") }

    public static let mappedFileSizeCommitLog = Setting(
        "mappedFileSizeCommitLog", default: 1 << 30, bounds: 4096...Int(Int32.max), unit: .bytes,
        "The size of a new commit log file. Files that exist keep theirs.")

    /// Rounded up to whole entries by `SettingsValues.consumeQueueFileBytes`.
    public static let mappedFileSizeConsumeQueue = Setting(
        "mappedFileSizeConsumeQueue", default: 6_000_000, bounds: 20...Int(Int32.max) - 19, unit: .bytes,
        "The size of a new consume queue file: 20 bytes a message.")

    public static let messageIndexEnable = Setting(
        "messageIndexEnable", default: true, "Whether messages can be found by key.")

    public static let maxHashSlotNum = Setting(
        "maxHashSlotNum", default: 5_000_000, bounds: 1...100_000_000, "The hash slots of a new index file: 4 bytes each.")

    public static let maxIndexNum = Setting(
        "maxIndexNum", default: 20_000_000, bounds: 2...100_000_000, "The keys that a new index file holds: 20 bytes each.")

    public static let maxMessageSize = Setting(
        "maxMessageSize", default: 4 << 20, bounds: 1...(16 << 20) - (64 << 10), unit: .bytes, changeable: true,
        "The largest body of a message, as stored. A request of more than 16 MiB is refused in any case.")

    public static let enabledAppendPropCRC = Setting(
        "enabledAppendPropCRC", default: false, changeable: true,
        "Whether a checksum of the whole record is written with each message, as property __CRC32#, beside that of the body. Where "
            + "there is one it is checked in any case, when a message is read from the disk and at a start after a crash.")

    // MARK: Flush

    public static let flushDiskType = Setting(
        "flushDiskType", default: FlushDiskType.asyncFlush,
        "ASYNC_FLUSH answers when the kernel has the message: a killed broker loses nothing, a power cut the last moments. "
            + "SYNC_FLUSH answers when the disk has it.")

    public static let syncFlushTimeout = Setting(
        "syncFlushTimeout", default: 5000, bounds: 100...600_000, unit: .milliseconds, changeable: true,
        "How long a send waits for the disk before it is answered FLUSH_DISK_TIMEOUT.")

    public static let flushIntervalCommitLog = Setting(
        "flushIntervalCommitLog", default: 500, bounds: 1...600_000, unit: .milliseconds, changeable: true,
        "How often the commit log is flushed under ASYNC_FLUSH.")

    public static let flushIntervalConsumeQueue = Setting(
        "flushIntervalConsumeQueue", default: 1000, bounds: 1...600_000, unit: .milliseconds, changeable: true,
        "How often consume queues are flushed.")

    // MARK: Retention

    public static let fileReservedTime = Setting(
        "fileReservedTime", default: 72, bounds: 1...1_000_000, unit: .hours, changeable: true,
        "Commit log files that were last written so long ago are deleted.")

    public static let deleteWhen = Setting(
        "deleteWhen", default: HoursOfDay(hour: 4), unit: .none, changeable: true,
        "The hours of the day, local time, in which files that are old enough are deleted; one that is skipped when clocks are set forward "
            + "counts with the next.")

    public static let diskMaxUsedSpaceRatio = Setting(
        "diskMaxUsedSpaceRatio", default: 75, bounds: 10...95, unit: .percent, changeable: true,
        "Above this use of the disk, files that are old enough are deleted at any hour.")

    public static let cleanFileForciblyEnable = Setting(
        "cleanFileForciblyEnable", default: true, changeable: true,
        "Whether files are deleted before their time when the disk is nearly full.")

    public static let diskSpaceCleanForciblyRatio = Setting(
        "diskSpaceCleanForciblyRatio", default: 85, bounds: 10...100, unit: .percent, changeable: true,
        "Above this use of the disk, the oldest files are deleted before their time.")

    public static let diskSpaceWarningLevelRatio = Setting(
        "diskSpaceWarningLevelRatio", default: 90, bounds: 10...100, unit: .percent, changeable: true,
        "Above this use of the disk, sends are refused; pulls go on.")

    public static let diskMinFreeBytes = Setting(
        "diskMinFreeBytes", default: 0, bounds: 0...1 << 50, unit: .bytes, changeable: true,
        "With fewer bytes free on the disk sends are refused, with less than twice as many the oldest files are deleted before their "
            + "time, with less than four times as many files that are old enough at any hour. 0: only the ratios count.")

    public static let commitLogMaxBytes = Setting(
        "commitLogMaxBytes", default: 0, bounds: 0...1 << 50, unit: .bytes, changeable: true,
        "The most that the commit log may hold: the oldest files are deleted before their time; where cleanFileForciblyEnable=false "
            + "forbids it, sends are refused. 0: no limit.")

    public static let diskSpaceWarningTime = Setting(
        "diskSpaceWarningTime", default: 3600, bounds: 0...31_536_000, unit: .seconds, changeable: true,
        "A warning is logged when at the present rate the disk is too full for sends within this time. 0: none.")

    public static let keepUnreadMessages = Setting(
        "keepUnreadMessages", default: false, changeable: true,
        "Whether messages that a group has not consumed stay beyond fileReservedTime, or their topic's retention.time, until the disk "
            + "needs the space. Otherwise they go, and the log says whose they were.")

    public static let cleanResourceInterval = Setting(
        "cleanResourceInterval", default: 10_000, bounds: 100...3_600_000, unit: .milliseconds,
        "How often to look for files to delete, and at the use of the disk.")

    public static let coldReadMaxBytesPerSecond = Setting(
        "coldReadMaxBytesPerSecond", default: 64 << 20, bounds: 0...1 << 40, unit: .bytes, changeable: true,
        "What consumers that are more than 64 MiB behind get a second, all together, while producers send: otherwise they take the "
            + "disk and the processor from them. At least twice what is stored meanwhile, and as fast as it goes while hardly anything is. "
            + "0: no limit.")

    // MARK: Delay

    public static let messageDelayLevel = Setting(
        "messageDelayLevel", default: DelayLevels.standard, "The delays that a message can be sent or retried with, level 1 first.")

    public static let flushDelayOffsetInterval = Setting(
        "flushDelayOffsetInterval", default: 10_000, bounds: 100...600_000, unit: .milliseconds,
        "How often the progress of delayed messages is written to its file.")

    public static let timerWheelEnable = Setting(
        "timerWheelEnable", default: true, changeable: true,
        "Whether messages for delivery at any time are taken. Those that wait are delivered all the same.")

    public static let timerMaxDelaySec = Setting(
        "timerMaxDelaySec", default: 10 * 365 * 86_400, bounds: 1...(100 * 365 * 86_400), unit: .seconds, changeable: true,
        "The longest delay of such a message; the reference's default is three days.")

    public static let timerPrecisionMs = Setting(
        "timerPrecisionMs", default: 50, bounds: 10...1000, unit: .milliseconds, changeable: true,
        "How often messages that are due are looked for: so much later than its time a message may come, and never earlier.")

    public static let groups = [
        SettingsGroup(
            "Store: files",
            [
                storePathRootDir, storePathCommitLog, mappedFileSizeCommitLog, mappedFileSizeConsumeQueue, messageIndexEnable,
                maxHashSlotNum, maxIndexNum, maxMessageSize, enabledAppendPropCRC,
            ]),
        SettingsGroup(
            "Store: flush",
            [
                flushDiskType, syncFlushTimeout, flushIntervalCommitLog,
                flushIntervalConsumeQueue,
            ]),
        SettingsGroup("Store: reading", [coldReadMaxBytesPerSecond]),
        SettingsGroup(
            "Store: retention",
            [
                fileReservedTime, deleteWhen, diskMaxUsedSpaceRatio, cleanFileForciblyEnable, diskSpaceCleanForciblyRatio,
                diskSpaceWarningLevelRatio, diskMinFreeBytes, commitLogMaxBytes, diskSpaceWarningTime, keepUnreadMessages,
                cleanResourceInterval,
            ]),
        SettingsGroup(
            "Store: delayed messages", [messageDelayLevel, flushDelayOffsetInterval, timerWheelEnable, timerMaxDelaySec, timerPrecisionMs]),
    ]

    public static let rules = [
        SettingsRule("diskSpaceCleanForciblyRatio") { values in
            let refusal = values[diskSpaceWarningLevelRatio]
            return values[diskSpaceCleanForciblyRatio] <= refusal
                ? nil : "must not be above diskSpaceWarningLevelRatio (\(refusal)): sends would be refused before space is made"
        },
        SettingsRule("commitLogMaxBytes") { values in
            let (most, file) = (values[commitLogMaxBytes], values[mappedFileSizeCommitLog])
            return most == 0 || most >= 2 * file
                ? nil : "must be 0, or at least twice mappedFileSizeCommitLog (\(file)): the file that is written to cannot be deleted"
        },
        SettingsRule("maxIndexNum") { values in
            values.indexFileBytes <= Int(Int32.max)
                ? nil : "and maxHashSlotNum make an index file of \(values.indexFileBytes) bytes; at most \(Int32.max) are possible"
        },
    ]

    /// A store alone, as in tests; a broker's settings hold these and its own.
    public static let schema = SettingsSchema(program: "store", groups: groups, rules: rules)
}

extension SettingsValues {
    /// The directory of the commit log.
    public var commitLogDirectory: String {
        let own = self[StoreSettings.storePathCommitLog]
        return own.isEmpty ? self[StoreSettings.storePathRootDir] + "/commitlog" : own
    }

    /// The size of a new consume queue file: whole entries of 20 bytes.
    public var consumeQueueFileBytes: Int { (self[StoreSettings.mappedFileSizeConsumeQueue] + 19) / 20 * 20 }

    /// The size of a new index file: header, slots, entries.
    public var indexFileBytes: Int { 40 + self[StoreSettings.maxHashSlotNum] * 4 + self[StoreSettings.maxIndexNum] * 20 }
}
