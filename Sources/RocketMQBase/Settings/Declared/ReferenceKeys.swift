/// The reference's property names (of its releases 4.9.8 and 5.3.3) that have no effect here, so that its configuration files
/// can be used as they are: each is accepted with a line that says why it does nothing.
///
/// A key that is declared as a setting leaves this table.
enum ReferenceKeys {
    private enum Owner { case broker, nameServer, both }

    private static let families: [(owner: Owner, reason: String, names: String)] = [
        (
            .both, "requests run on event loops, which have no thread pools or queues to size",
            """
            ackMessageThreadPoolNums ackThreadPoolQueueCapacity adminBrokerThreadPoolNums adminBrokerThreadPoolQueueCapacity
            batchDispatchRequestThreadPoolNums brokerFastFailureEnable clientAsyncSemaphoreValue clientCallbackExecutorThreads
            clientManagerThreadPoolQueueCapacity clientManageThreadPoolNums clientOnewaySemaphoreValue clientWorkerThreads
            compactionThreadNum consumerManagerThreadPoolQueueCapacity consumerManageThreadPoolNums dispatchCqThreads
            endTransactionPoolQueueCapacity endTransactionThreadPoolNums heartbeatThreadPoolNums heartbeatThreadPoolQueueCapacity
            litePullMessageThreadPoolNums litePullThreadPoolQueueCapacity loadBalanceProcessorThreadPoolNums
            loadBalanceThreadPoolQueueCapacity processReplyMessageThreadPoolNums pullMessageThreadPoolNums pullThreadPoolQueueCapacity
            putMessageFutureThreadPoolNums putThreadPoolQueueCapacity queryMessageThreadPoolNums queryThreadPoolQueueCapacity
            recoverThreadPoolNums replyThreadPoolQueueCapacity sendMessageThreadPoolNums sendThreadPoolQueueCapacity
            serverAsyncSemaphoreValue serverCallbackExecutorThreads serverOnewaySemaphoreValue serverSelectorThreads serverWorkerThreads
            timerGetMessageThreadNum timerPutMessageThreadNum waitTimeMillsInAckQueue waitTimeMillsInAdminBrokerQueue
            waitTimeMillsInHeartbeatQueue waitTimeMillsInLitePullQueue waitTimeMillsInPullQueue waitTimeMillsInSendQueue
            waitTimeMillsInTransactionQueue
            """
        ),
        (
            .both, "connections are not tuned one by one",
            """
            channelNotActiveInterval clientChannelMaxIdleTimeSeconds clientCloseSocketIfTimeout clientPooledByteBufAllocatorEnable
            clientSocketRcvBufSize clientSocketSndBufSize connectTimeoutMillis disableCallbackExecutor disableNettyWorkerGroup
            enableReconnectForGoAway enableShutdownGracefully isScanAvailableNameSrv maxReconnectIntervalTimeSeconds scanAvailableNameSrv
            serverNettyWorkerGroupEnable serverPooledByteBufAllocatorEnable serverSocketBacklog serverSocketRcvBufSize
            serverSocketSndBufSize shutdownWaitTimeSeconds socksProxyConfig useEpollNativeSelector useTLS writeBufferHighWaterMark
            writeBufferLowWaterMark
            """
        ),
        (
            .broker, "the log is not written through mapped memory",
            """
            appendAckAsync cleanSwapedMapInterval commitCommitLogLeastPages commitCommitLogThoroughInterval commitIntervalCommitLog
            commitLogForceSwapMapInterval commitLogSwapMapInterval commitLogSwapMapReserveFileNum dataReadAheadEnable
            destroyMapedFileIntervalForcibly fastFailIfNoBufferInStorePool flushLeastPagesWhenWarmMapedFile logicQueueForceSwapMapInterval
            logicQueueSwapMapInterval logicQueueSwapMapReserveFileNum mappedFileSwapEnable osPageCacheBusyTimeOutMills
            redeleteHangedFileInterval spinLockCollisionRetreatOptimalDegree transferMsgByHeap transientStorePoolEnable
            transientStorePoolSize useReentrantLockWhenPutMessage warmMapedFileEnable
            """
        ),
        (
            .broker, "conditions are evaluated for each message, without bit maps or filter servers",
            """
            bitMapLengthConsumeQueueExt enableCalcFilterBitMap enableConsumeQueueExt expectConsumerNumUseFilter filterServerNums
            mappedFileSizeConsumeQueueExt maxErrorRateOfBloomFilter
            """
        ),
        (
            .broker, "the log is flushed by interval and by size alone",
            """
            flushCommitLogLeastPages flushCommitLogThoroughInterval flushConsumeQueueLeastPages flushConsumeQueueThoroughInterval
            """
        ),
        (
            .broker, "answers to pulls are limited in the same way wherever the messages are",
            """
            maxTransferBytesOnMessageInDisk maxTransferCountOnMessageInDisk
            """
        ),
        (
            .broker, "files are deleted on a thread of their own, one after another",
            """
            deleteCommitLogFilesInterval
            """
        ),
        (
            .broker, "a condition is kept as long as its group has consumers",
            """
            filterDataCleanTimeSpan
            """
        ),
        (
            .broker, "this broker does not replicate",
            """
            slaveReadEnable
            """
        ),
        (
            .broker, "there are no light message queues",
            """
            enableLmq enableMultiDispatch litePullMessageEnable maxLmqConsumeQueueNum
            """
        ),
        (
            .broker, "there are no compaction topics",
            """
            compactionCqMappedFileSize compactionMappedFileSize compactionScheduleInternal enableCompaction maxOffsetMapSize
            """
        ),
        (
            .broker, "the timer has other files and no wheel",
            """
            mappedFileSizeTimerLog timerCheckMetricsWhen timerColdDataCheckIntervalMs timerCongestNumEachSlot timerEnableCheckMetrics
            timerEnableDisruptor timerEnableRetryUntilSuccess timerFlushIntervalMs timerInterceptDelayLevel
            timerMetricSmallThreshold timerProgressLogIntervalMs timerRollWindowSlot timerSkipUnknownError
            timerStopDequeue timerStopEnqueue timerWarmEnable
            """
        ),
        (
            .broker, "there is no pop consumption",
            """
            defaultPopShareQueueNum enableNotifyAfterPopOrderLockRelease enableNotifyBeforePopCalculateLag enablePopBatchAck
            enablePopBufferMerge enablePopLog enablePopMessageThreshold initPopOffsetByCheckMsgInMem maxPopPollingSize popCkMaxBufferSize
            popCkOffsetMaxQueueSize popCkStayBufferTime popCkStayBufferTimeOut popConsumerFSServiceInit popConsumerKVServiceEnable
            popConsumerKVServiceInit popConsumerKVServiceLog popFromRetryProbability popInflightMessageThreshold
            popLongPollingForceNotifyInterval popPollingMapSize popPollingSize popResponseReturnActualRetryTopic popReviveMaxAttemptTimes
            popReviveMaxReturnSizePerRead retrieveMessageFromPopRetryTopicV1 reviveAckWaitMs reviveInterval reviveMaxSlow reviveQueueNum
            reviveScanTime
            """
        ),
        (
            .broker, "replication has no such choice",
            """
            compatibleWithOldNameSrv duplicationEnable enableRemoteEscape enableSlaveActingMaster forwardTimeout haFlowControlEnable
            haHousekeepingInterval haMasterAddress haMaxGapNotInSync haMaxTimeSlaveNotCatchup haSendHeartbeatInterval haSlaveFallbehindMax
            haTransferBatchSize maxSlaveResendLength offsetCheckInSlave readOnlyCommitLogStorePaths replicasPerDiskPartition skipPreOnline
            slaveTimeout syncBrokerMemberGroupPeriod syncBrokerMetadataPeriod syncFromLastFile syncMasterFlushOffsetWhenStartup
            totalReplicas
            """
        ),
        (
            .both, "there is no controller",
            """
            allAckInSyncStateSet asyncLearner brokerElectionPriority checkSyncStateSetPeriod controllerAddr controllerDLegerGroup
            controllerDLegerPeers controllerDLegerSelfId controllerHeartBeatTimeoutMills controllerRequestThreadPoolQueueCapacity
            controllerStorePath controllerThreadPoolNums controllerType electMasterMaxRetryCount enableAutoInSyncReplicas
            enableElectUncleanMaster fetchControllerAddrByDnsLookup inSyncReplicas isProcessReadEvent jraftConfig jRaftControllerRPCAddr
            jRaftElectionTimeoutMs jRaftGroupId jRaftInitConf jRaftScanWaitTimeoutMs jRaftServerId jRaftSnapshotIntervalSecs
            mappedFileSize minInSyncReplicas notifyBrokerRoleChanged processReadEvent scanInactiveMasterInterval storePathEpochFile
            syncControllerMetadataPeriod
            """
        ),
        (
            .broker, "there is no DLedger",
            """
            dLegerGroup dLegerPeers dLegerSelfId preferredLeaderId storePathDLedgerCommitLog
            """
        ),
        (
            .both, "there is no access control",
            """
            aclCacheExpiredSecond aclCacheMaxNum aclCacheRefreshSecond authConfigPath authenticationMetadataProvider
            authenticationProvider authenticationStrategy authenticationWhitelist authorizationMetadataProvider authorizationProvider
            authorizationStrategy authorizationWhitelist clusterName configName initAuthenticationUser
            innerClientAuthenticationCredentials migrateAuthFromV1Enabled statefulAuthenticationCacheExpiredSecond
            statefulAuthenticationCacheMaxNum statefulAuthorizationCacheExpiredSecond statefulAuthorizationCacheMaxNum
            userCacheExpiredSecond userCacheMaxNum userCacheRefreshSecond
            """
        ),
        (
            .broker, "consume queues and tables are kept in files, not in RocksDB",
            """
            bottomMostCompressionTypeForConsumeQueueStore cleanRocksDBDirtyCQIntervalMin enableRocksDBLog memTableFlushIntervalMs
            realTimePersistRocksDBConfig rocksdbCompressionType rocksdbCQDoubleWriteEnable rocksdbFlushWalFrequency
            rocksdbWalFileRollingThreshold statRocksDBCQIntervalSec
            """
        ),
        (
            .broker, "there is no tiered storage",
            """
            commitLogRollingInterval commitLogRollingMinimumSize objectStoreAccessKey objectStoreBucket objectStoreEndpoint
            objectStoreSecretKey readAheadCacheEnable readAheadCacheExpireDuration readAheadCacheSizeThresholdRate
            readAheadMessageCountThreshold readAheadMessageSizeThreshold recordGetMessageResult tieredBackendServiceProvider
            tieredMetadataServiceProvider tieredStorageLevel tieredStoreCommitLogMaxSize tieredStoreConsumeQueueMaxSize
            tieredStoreCrcCheckEnable tieredStoreDeleteFileEnable tieredStoreDeleteFileInterval tieredStoreFilePath
            tieredStoreFileReservedTime tieredStoreGroupCommit tieredStoreGroupCommitCount tieredStoreGroupCommitSize
            tieredStoreGroupCommitTimeout tieredStoreIndexFileMaxHashSlotNum tieredStoreIndexFileMaxIndexNum
            tieredStoreMaxGroupCommitCount tieredStoreMaxPendingLimit
            """
        ),
        (
            .broker, "cold reads are not counted or held back",
            """
            accessMessageInMemoryHotRatio accessMessageInMemoryMaxRatio cgColdReadThreshold coldCtrStrategyEnable
            coldDataFlowControlEnable coldDataScanEnable globalColdReadThreshold usePIDColdCtrStrategy
            """
        ),
        (
            .broker, "there is no such statistic or exporter of metrics",
            """
            accountStatsEnable accountStatsPrintZeroValues autoDeleteUnusedStats commercialBaseCount commercialBigCount commercialEnable
            commercialSizePerMsg commercialTimerCount commercialTransCount enableDetailStat enableLmqStats enableScheduleMessageStats
            estimateAccumulation maxStatsIdleTimeInMinutes metricGrpcExporterIntervalInMills metricGrpcExporterTimeOutInMills
            metricLoggingExporterIntervalInMills metricsExporterType metricsGrpcExporterHeader metricsGrpcExporterTarget metricsInDelta
            metricsLabel metricsOtelCardinalityLimit metricsPromExporterHost metricsPromExporterPort sampleCountThreshold sampleSteps
            transactionMetricFlushInterval
            """
        ),
        (
            .broker, "nothing here depends on it",
            """
            allowRecallWhenBrokerNotWriteable appendCkAsync asyncSendEnable autoMessageVersionOnTopicLen broadcastOffsetExpireMaxSecond
            broadcastOffsetExpireSecond brokerConfigPath brokerHeartbeatInterval brokerNotActiveTimeoutMillis checkCRCOnRecover
            cleanOfflineBrokerInterval clearRetryTopicWhenDeleteTopic consumerFallbehindThreshold consumerOffsetUpdateVersionStep
            correctLogicMinOffsetForceInterval correctLogicMinOffsetSleepInterval debugLockEnable defaultMessageRequestMode
            defaultQueryMaxNum delayOffsetUpdateVersionStep deleteConsumeQueueFilesInterval deleteFileBatchMax
            disableConsumeIfConsumerReadSlowly disappearTimeAfterStart diskFallRecorded dispatchCqCacheNum dispatchFromSenderThread
            enableAsyncReput enableBatchPush enableBroadcastOffsetStore enableBuildConsumeQueueConcurrently enableCleanExpiredOffset
            enableCreateSysGroup enableFastChannelEventProcess enableMixedMessageType enableNetWorkFlowControl
            enableRegisterProducer enableRetryTopicV2 enableScheduleAsyncDeliver enableSingleTopicRegister enableSkipLongAwaitingAck
            enableSplitRegistration fetchNamesrvAddrInterval flushCommitLogTimed flushConsumerOffsetHistoryInterval forceRegister
            forceVerifyPropCRC highSpeedMode inBrokerContainer isBrokerContainer isEnableBatchPush isInBrokerContainer isolateLogEnable
            loadBalancePollNameServerInterval lockInStrictMode logicalDiskSpaceCleanForciblyThreshold mapperFileSizeBatchConsumeQueue
            maxAsyncPutMessageRequests maxBatchDeleteFilesNum maxChecksumRange maxConsumeQueueScan maxDelayTime maxFilterMessageSize
            maxHaTransferByteInSecond maxRecoveryCommitlogFiles maxTopicLength messageIndexSafe messageStorePlugIn
            printChannelGroups printChannelGroupsMinNum pullBatchMaxMessageCount putConsumeQueueDataByFileChannel putMessageTimeout
            putMsgIndexHightWater readUnCommitted realTimeNotifyConsumerChange recheckReputOffsetFromCq
            recoverConcurrently rejectPullConsumerEnable rmqAddressServerDomain rmqAddressServerSubGroup
            scheduleAsyncDeliverMaxPendingLimit scheduleAsyncDeliverMaxResendNum2Blocked searchBcqByCacheEnable sendHeartbeatTimeoutMillis
            serverLoadBalancerEnable skipWhenCKRePutReachMaxTimes splitRegistrationSize startAcceptSendRequestTimeStamp
            storePathBrokerIdentity storeType subscriptionExpiredTimeout topicQueueLockNum
            transactionOpBatchInterval transactionOpMsgMaxSize travelCqFileNumWhenGetMessage updateNameServerAddrPeriod useABSLock
            useServerSideResetOffset useStaticSubscription validateSystemTopicWhenUpdateTopic wakeCommitWhenPutMessage
            wakeFlushWhenPutMessage
            """
        ),
        (
            .nameServer, "nothing here depends on it",
            """
            clientRequestThreadPoolNums clientRequestThreadPoolQueueCapacity clusterTest defaultThreadPoolNums
            defaultThreadPoolQueueCapacity deleteTopicWithBrokerRegistration enableAllTopicList enableTopicList needWaitForService
            notifyMinBrokerIdChanged productEnvName returnOrderTopicConfigToBroker supportActingMaster unRegisterBrokerQueueCapacity
            waitSecondsForService
            """
        ),
        (
            .both, "nothing here depends on it",
            """
            configManagerVersion rocketmqHome
            """
        ),
    ]

    /// What the broker's settings were called until release 4.5.
    static let formerNames = [
        "mapedFileSizeCommitLog": "mappedFileSizeCommitLog",
        "mapedFileSizeConsumeQueue": "mappedFileSizeConsumeQueue",
    ]

    /// Keys that ask for something whose absence must stop the start, when they are `true`.
    static let refused: [String: String] = [
        "aclEnable": "access control",
        "authenticationEnabled": "authentication",
        "authorizationEnabled": "authorization",
        "enableControllerInNamesrv": "controller inside the name server",
        "enableControllerMode": "controller mode",
        "enableDLegerCommitLog": "replication by DLedger",
        "fetchNameSrvAddrByDnsLookup": "lookup of name servers by DNS",
        "fetchNamesrvAddrByAddressServer": "lookup of name servers by an address server",
    ]

    /// By key, why it has no effect in a broker.
    static let forBroker = reasons(
        elsewhere: .nameServer, "it is a setting of the name server's", declaredElsewhere: NameServerSettings.groups)

    /// By key, why it has no effect in a name server.
    static let forNameServer = reasons(
        elsewhere: .broker, "it is a setting of the broker's", declaredElsewhere: BrokerSettings.groups)

    private static func reasons(
        elsewhere other: Owner, _ otherReason: String, declaredElsewhere groups: [SettingsGroup]
    ) -> [String: String] {
        var found: [String: String] = [:]
        for family in families {
            let reason = family.owner == other ? otherReason : family.reason
            for name in family.names.split(whereSeparator: { $0 == " " || $0 == "\n" }) { found[String(name)] = reason }
        }
        for setting in groups.flatMap(\.settings) { found[setting.name] = otherReason }
        return found
    }
}
