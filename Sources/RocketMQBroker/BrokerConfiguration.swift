import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// What a broker is started with: its settings, and what the machine says where they are silent.
public struct BrokerConfiguration: Sendable {
    public var settings: SettingsValues
    /// The host that clients are told to connect to: an address or a name.
    public var advertisedHost: String
    /// The address that stands in records and message ids: `advertisedHost` where that is an address.
    public var storeHost: SocketAddress.Host
    /// `brokerName`, or the machine's name.
    public var name: String
    /// By how many seconds local time is ahead of UTC at a time in seconds since 1970, for `deleteWhen` and what counts by days.
    public var localOffsetSeconds: @Sendable (Int64) -> Int64
    public var seed: UInt64
    /// Where the settings were read from, `nil` when from no file: changes are written back there.
    public var settingsFile: String?
    /// Asked while a long start is under way.
    public var interruption = StartInterruption()
    /// Consume queue files that are kept open for reading, and as many for writing.
    public var openQueueFiles = 512
    var timerLimits = TimerIndex.Limits()
    /// What lies farther behind the end of the log counts as old: see `coldReadMaxBytesPerSecond`.
    var coldReadDistance: Int64 = 64 << 20

    /// Makes the index of messages that wait for their time write and merge its files sooner, for tests.
    package mutating func limitTimerIndex(entriesInMemory: Int, runs: Int, logTail: Int64) {
        timerLimits = TimerIndex.Limits(entriesInMemory: entriesInMemory, runs: runs, logTail: logTail)
    }

    public init(
        settings: SettingsValues, advertisedHost: String, storeHost: SocketAddress.Host, name: String,
        localOffsetSeconds: @escaping @Sendable (Int64) -> Int64 = { _ in 0 }, seed: UInt64, settingsFile: String? = nil
    ) {
        self.settings = settings
        self.advertisedHost = advertisedHost
        self.storeHost = storeHost
        self.name = name
        self.localOffsetSeconds = localOffsetSeconds
        self.seed = seed
        self.settingsFile = settingsFile
    }

    var listenAddress: SocketAddress {
        SocketAddress(
            host: SocketAddress.Host(settings[CommonSettings.bindAddress]) ?? .ipv4(0),
            port: UInt16(settings[BrokerSettings.listenPort]))
    }

    var permission: Permission { Permission(rawValue: Int32(settings[BrokerSettings.brokerPermission])) }
    var clusterName: String { settings[BrokerSettings.brokerClusterName] }
    var rootDirectory: String { settings[StoreSettings.storePathRootDir] }
    var delayLevels: [Int64] { settings[StoreSettings.messageDelayLevel].milliseconds }
    var isFlushSynchronous: Bool { settings[StoreSettings.flushDiskType] == .syncFlush }
    var flushTimeout: Duration { .milliseconds(settings[StoreSettings.syncFlushTimeout]) }

    var store: StoreConfiguration {
        var store = StoreConfiguration(rootDirectory: rootDirectory)
        store.commitLogDirectory = settings.commitLogDirectory
        store.retentionInterval = .milliseconds(settings[StoreSettings.cleanResourceInterval])
        store.commitLogFileSize = Int64(settings[StoreSettings.mappedFileSizeCommitLog])
        store.openQueueFiles = openQueueFiles
        store.consumeQueueFileEntries = Int64(settings.consumeQueueFileBytes / 20)
        // The largest body, the longest properties and topic, and the fixed fields with two IPv6 hosts.
        store.maxRecordSize = settings[StoreSettings.maxMessageSize] + 64 << 10
        store.flushInterval = .milliseconds(settings[StoreSettings.flushIntervalCommitLog])
        store.queueWriteInterval = .milliseconds(settings[StoreSettings.flushIntervalConsumeQueue])
        store.coldReadBytesPerSecond = Int64(settings[StoreSettings.coldReadMaxBytesPerSecond])
        store.coldReadDistance = coldReadDistance
        store.isIndexEnabled = settings[StoreSettings.messageIndexEnable]
        store.indexSlots = settings[StoreSettings.maxHashSlotNum]
        store.indexEntries = settings[StoreSettings.maxIndexNum]
        store.delayLevelMilliseconds = delayLevels
        store.retention.reservedHours = Int64(settings[StoreSettings.fileReservedTime])
        store.retention.deleteAtHours = settings[StoreSettings.deleteWhen].hours
        store.localOffsetSeconds = localOffsetSeconds
        store.retention.cleanRatio = Double(settings[StoreSettings.diskMaxUsedSpaceRatio]) / 100
        store.retention.forcedCleanRatio = Double(settings[StoreSettings.diskSpaceCleanForciblyRatio]) / 100
        store.retention.refuseRatio = Double(settings[StoreSettings.diskSpaceWarningLevelRatio]) / 100
        store.retention.mayCleanUnexpired = settings[StoreSettings.cleanFileForciblyEnable]
        store.retention.minFreeBytes = Int64(settings[StoreSettings.diskMinFreeBytes])
        store.retention.maxLogBytes = Int64(settings[StoreSettings.commitLogMaxBytes])
        store.retention.warningSeconds = Int64(settings[StoreSettings.diskSpaceWarningTime])
        store.retention.keepsUnread = settings[StoreSettings.keepUnreadMessages]
        store.writesRecordChecksums = settings[StoreSettings.enabledAppendPropCRC]
        return store
    }

    var topicDefaults: TopicTable.Defaults {
        var defaults = TopicTable.Defaults()
        defaults.autoCreate = settings[BrokerSettings.autoCreateTopicEnable]
        defaults.queues = Int32(settings[BrokerSettings.defaultTopicQueueNums])
        defaults.clusterName = clusterName
        defaults.brokerName = name
        defaults.hasClusterTopic = settings[BrokerSettings.clusterTopicEnable]
        defaults.hasBrokerTopic = settings[BrokerSettings.brokerTopicEnable]
        defaults.isTraceTopicEnabled = settings[BrokerSettings.traceTopicEnable]
        defaults.traceTopic = settings[BrokerSettings.msgTraceTopicName]
        defaults.delayLevels = Int32(delayLevels.count)
        return defaults
    }

    func sending(storeHost: SocketAddress) -> SendConfiguration {
        SendConfiguration(
            storeHost: storeHost, brokerName: name, clusterName: clusterName, regionID: settings[BrokerSettings.regionId],
            isTraceOn: settings[BrokerSettings.traceOn], maxMessageSize: settings[StoreSettings.maxMessageSize],
            permission: permission, rejectsTransactions: settings[BrokerSettings.rejectTransactionMessage], delayLevels: delayLevels)
    }

    func identity(port: UInt16) -> NameServerRegistration.Identity {
        let host = advertisedHost.contains(":") ? "[\(advertisedHost)]" : advertisedHost
        let replication = settings[BrokerSettings.brokerIP2]
        let replicationPort = settings[BrokerSettings.haListenPort] == 0 ? Int(port) + 1 : settings[BrokerSettings.haListenPort]
        return NameServerRegistration.Identity(
            clusterName: clusterName, brokerName: name, brokerID: Int64(settings[BrokerSettings.brokerId]),
            address: "\(host):\(port)", replicationAddress: "\(replication.isEmpty ? host : replication):\(replicationPort)")
    }

    var registration: NameServerRegistration.Configuration {
        NameServerRegistration.Configuration(
            nameServers: settings[BrokerSettings.namesrvAddr],
            period: .milliseconds(settings[BrokerSettings.registerNameServerPeriod]),
            timeout: .milliseconds(settings[BrokerSettings.registerBrokerTimeoutMills]),
            isCompressed: settings[BrokerSettings.compressedRegister], permission: permission)
    }

    var pulling: PullConfiguration {
        PullConfiguration(
            brokerName: name, permission: permission, isLongPollingEnabled: settings[BrokerSettings.longPollingEnable],
            shortPolling: .milliseconds(settings[BrokerSettings.shortPollingTimeMills]),
            mostBytes: settings[BrokerSettings.maxTransferBytesOnMessageInMemory],
            mostMessages: settings[BrokerSettings.maxTransferCountOnMessageInMemory],
            isPropertyFilterEnabled: settings[BrokerSettings.enablePropertyFilter],
            filtersRetries: settings[BrokerSettings.filterSupportRetry])
    }
}
