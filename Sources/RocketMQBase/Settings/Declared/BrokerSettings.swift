/// The settings of a broker, but for its store's (`StoreSettings`); `schema` holds both.
public enum BrokerSettings {
    // MARK: Identity and network

    public static let brokerClusterName = Setting(
        "brokerClusterName", default: "DefaultCluster", allowed: "a name without blanks", "The cluster that the broker belongs to.",
        accepts: SettingChecks.isName)

    /// Empty: the machine's host name, filled in at the start.
    public static let brokerName = Setting(
        "brokerName", default: "", allowed: "a name without blanks",
        "The broker's name, the same for a master and its slaves; the host's name when it is not set."
    ) { $0.isEmpty || SettingChecks.isName($0) }

    public static let brokerId = Setting(
        "brokerId", default: 0, bounds: 0...Int.max, "0 for a master; each slave of a name has its own above 0.")

    public static let brokerRole = Setting(
        "brokerRole", default: BrokerRole.asyncMaster, "Master or slave; SYNC_MASTER answers when a slave has the message.")

    public static let listenPort = Setting(
        "listenPort", default: 10911, bounds: 0...65535, "The port that clients connect to; 0 lets the system choose.")

    /// 0: the port after `listenPort`. Use `SettingsValues.replicationPort`.
    public static let haListenPort = Setting(
        "haListenPort", default: 0, bounds: 0...65535, "The port that slaves connect to; 0 stands for the one after listenPort.")

    public static let brokerIP1 = Setting(
        "brokerIP1", default: "", allowed: "an IP address or host name without a port",
        "The address that name servers tell clients to connect to; chosen at the start when it is not set."
    ) { $0.isEmpty || SettingChecks.isHost($0) }

    public static let brokerIP2 = Setting(
        "brokerIP2", default: "", allowed: "an IP address or host name without a port",
        "The address that slaves connect to; brokerIP1 when it is not set."
    ) { $0.isEmpty || SettingChecks.isHost($0) }

    // MARK: Name servers

    public static let namesrvAddr = Setting.addresses("namesrvAddr", "The name servers to register with: all of them.")

    public static let registerNameServerPeriod = Setting(
        "registerNameServerPeriod", default: 30_000, bounds: 1000...60_000, unit: .milliseconds, "How often the broker registers.")

    public static let registerBrokerTimeoutMills = Setting(
        "registerBrokerTimeoutMills", default: 6000, bounds: 100...60_000, unit: .milliseconds,
        "How long a name server has to answer a registration.")

    public static let compressedRegister = Setting(
        "compressedRegister", default: false, changeable: true, "Whether registrations are compressed: for many topics.")

    // MARK: Topics, groups and sends

    public static let brokerPermission = Setting(
        "brokerPermission", default: 6, bounds: 0...7, changeable: true,
        "What clients may do, whatever the topic allows: 2 write, 4 read, 6 both.")

    public static let autoCreateTopicEnable = Setting(
        "autoCreateTopicEnable", default: true, changeable: true, "Whether the first send to an unknown topic creates it.")

    public static let defaultTopicQueueNums = Setting(
        "defaultTopicQueueNums", default: 8, bounds: 1...65_535, unit: .queues, changeable: true,
        "The most queues that a topic created by a send gets; the producer may ask for fewer.")

    public static let clusterTopicEnable = Setting(
        "clusterTopicEnable", default: true, "Whether there is a topic by the cluster's name.")

    public static let brokerTopicEnable = Setting(
        "brokerTopicEnable", default: true, "Whether there is a topic by the broker's name.")

    public static let autoCreateSubscriptionGroup = Setting(
        "autoCreateSubscriptionGroup", default: true, changeable: true, "Whether an unknown group's first request creates it.")

    public static let regionId = Setting(
        "regionId", default: "DefaultRegion", allowed: "a name without blanks", "The region told to producers, for message trace.",
        accepts: SettingChecks.isName)

    public static let traceOn = Setting(
        "traceOn", default: true, changeable: true, "Whether producers are told to trace their messages, if they can.")

    public static let traceTopicEnable = Setting(
        "traceTopicEnable", default: false, "Whether this broker keeps the messages of message trace.")

    public static let msgTraceTopicName = Setting(
        "msgTraceTopicName", default: "RMQ_SYS_TRACE_TOPIC", allowed: "a topic", "The topic of message trace.",
        accepts: SettingChecks.isName)

    public static let storeReplyMessageEnable = Setting(
        "storeReplyMessageEnable", default: true, changeable: true,
        "Whether replies of request and reply are kept in their topic, besides being handed to the client that waits.")

    public static let recallMessageEnable = Setting(
        "recallMessageEnable", default: true, changeable: true,
        "Whether producers may take messages back that wait for their time.")

    // MARK: Pulls

    public static let longPollingEnable = Setting(
        "longPollingEnable", default: true, changeable: true,
        "Whether a pull that finds nothing waits for as long as the consumer allows.")

    public static let shortPollingTimeMills = Setting(
        "shortPollingTimeMills", default: 1000, bounds: 1...60_000, unit: .milliseconds, changeable: true,
        "How long such a pull waits when longPollingEnable is false.")

    public static let maxTransferCountOnMessageInMemory = Setting(
        "maxTransferCountOnMessageInMemory", default: 32, bounds: 1...100_000, unit: .messages, changeable: true,
        "The most messages in the answer to a pull.")

    public static let maxTransferBytesOnMessageInMemory = Setting(
        "maxTransferBytesOnMessageInMemory", default: 256 << 10, bounds: 1...(15 << 20), unit: .bytes, changeable: true,
        "The most bytes in the answer to a pull; one message is always sent, however large.")

    public static let enablePropertyFilter = Setting(
        "enablePropertyFilter", default: true, "Whether consumers may select messages by SQL conditions on properties.")

    public static let filterSupportRetry = Setting(
        "filterSupportRetry", default: false, "Whether such conditions are applied to retried messages too.")

    // MARK: Consumers

    public static let flushConsumerOffsetInterval = Setting(
        "flushConsumerOffsetInterval", default: 5000, bounds: 100...600_000, unit: .milliseconds,
        "How often the consumers' offsets are written to their file.")

    public static let channelExpiredTimeout = Setting(
        "channelExpiredTimeout", default: 120_000, bounds: 1000...3_600_000, unit: .milliseconds,
        "A client that has sent no heartbeat for so long is taken out of its groups.")

    public static let notifyConsumerIdsChangedEnable = Setting(
        "notifyConsumerIdsChangedEnable", default: true, changeable: true,
        "Whether the consumers of a group are told at once when one joins or leaves.")

    // MARK: Transactions

    public static let rejectTransactionMessage = Setting(
        "rejectTransactionMessage", default: false, changeable: true, "Whether transactional messages are refused.")

    public static let transactionTimeOut = Setting(
        "transactionTimeOut", default: 6000, bounds: 0...86_400_000, unit: .milliseconds, changeable: true,
        "How old an undecided message is before its producer is asked for the first time.")

    public static let transactionCheckMax = Setting(
        "transactionCheckMax", default: 15, bounds: 1...10_000, changeable: true,
        "How often a producer is asked before the message is set aside.")

    public static let transactionCheckInterval = Setting(
        "transactionCheckInterval", default: 60_000, bounds: 100...86_400_000, unit: .milliseconds, changeable: true,
        "How often undecided messages are looked at.")

    public static let maxMsgsNumBatch = Setting(
        "maxMsgsNumBatch", default: 64, bounds: 1...10_000, unit: .messages, changeable: true,
        "The most messages that a query by key of a program in Java gets at a time: the reference stops there, and programs know it. "
            + "Others get as many as they ask for.")

    // MARK: Operation

    public static let configBlackList = Setting.blackList(default: ["configBlackList", "brokerConfigPath"])

    public static let groups =
        [
            SettingsGroup("Identity", [brokerClusterName, brokerName, brokerId, brokerRole]),
            SettingsGroup(
                "Network",
                [
                    listenPort, haListenPort, CommonSettings.bindAddress, brokerIP1, brokerIP2, CommonSettings.idleSeconds,
                ]),
            SettingsGroup("Name servers", [namesrvAddr, registerNameServerPeriod, registerBrokerTimeoutMills, compressedRegister]),
            SettingsGroup(
                "Topics, groups and sends",
                [
                    brokerPermission, autoCreateTopicEnable, defaultTopicQueueNums, clusterTopicEnable, brokerTopicEnable,
                    autoCreateSubscriptionGroup, regionId, traceOn, traceTopicEnable, msgTraceTopicName, storeReplyMessageEnable,
                    recallMessageEnable,
                ]),
            SettingsGroup(
                "Pulls and filters",
                [
                    longPollingEnable, shortPollingTimeMills, maxTransferCountOnMessageInMemory, maxTransferBytesOnMessageInMemory,
                    enablePropertyFilter,
                    filterSupportRetry, maxMsgsNumBatch,
                ]),
            SettingsGroup("Consumers", [flushConsumerOffsetInterval, channelExpiredTimeout, notifyConsumerIdsChangedEnable]),
            consumerWatch,
            SettingsGroup("Sends that come twice", [deduplicationWindow, deduplicationMaxKeys]),
            SettingsGroup(
                "Transactions", [rejectTransactionMessage, transactionTimeOut, transactionCheckMax, transactionCheckInterval]),
        ] + StoreSettings.groups + [SettingsGroup("Operation", [configBlackList, CommonSettings.logLevel])]

    public static let rules =
        StoreSettings.rules + [
            SettingsRule("brokerRole") { values in
                values[brokerRole] == .asyncMaster ? nil : "must be ASYNC_MASTER: this broker does not replicate"
            },
            SettingsRule("brokerId") { values in
                values[brokerId] == 0 ? nil : "must be 0, a master's: this broker does not replicate"
            },
            SettingsRule("haListenPort") { values in
                let (port, own) = (values[listenPort], values[haListenPort])
                if own == 0, port == 65_535 { return "must be set: there is no port after listenPort 65535" }
                return own != 0 && own == port ? "must not be listenPort (\(port))" : nil
            },
        ]

    public static let schema = SettingsSchema(
        program: "mqbroker", groups: groups, withoutEffect: ReferenceKeys.forBroker, refused: ReferenceKeys.refused,
        formerNames: ReferenceKeys.formerNames, rules: rules)

    /// What no request may change, whatever `configBlackList` says.
    public static func forbiddenNames(_ values: SettingsValues) -> Set<String> {
        Set(values[configBlackList] + ["configBlackList", "brokerConfigPath", "rocketmqHome"])
    }
}

extension SettingsValues {
    /// The port that slaves connect to; 0, the system's choice, when `listenPort` is 0 and no other is set.
    public var replicationPort: Int {
        let (port, own) = (self[BrokerSettings.listenPort], self[BrokerSettings.haListenPort])
        return own != 0 ? own : port == 0 ? 0 : port + 1
    }
}
