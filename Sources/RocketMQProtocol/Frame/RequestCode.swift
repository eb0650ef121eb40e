/// The number that says what a request asks for. Names and numbers are those of the reference.
///
/// In the binary header a code has 16 bits, so 200050 arrives as 3442: see `binaryForm`.
public struct RequestCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public var rawValue: Int32
    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }

    /// The code as the 16 bits of a binary header show it.
    public var binaryForm: Int32 { Int32(Int16(truncatingIfNeeded: rawValue)) }

    /// `SEND_MESSAGE_V2 (310)`, or the number alone when the code is not known.
    public var description: String { Self.names[rawValue].map { "\($0) (\(rawValue))" } ?? "\(rawValue)" }
}

extension RequestCode {
    public static let sendMessage = Self(rawValue: 10)
    public static let pullMessage = Self(rawValue: 11)
    public static let queryMessage = Self(rawValue: 12)
    public static let queryConsumerOffset = Self(rawValue: 14)
    public static let updateConsumerOffset = Self(rawValue: 15)
    public static let updateAndCreateTopic = Self(rawValue: 17)
    public static let updateAndCreateTopicList = Self(rawValue: 18)
    public static let getAllTopicConfig = Self(rawValue: 21)
    public static let updateBrokerConfig = Self(rawValue: 25)
    public static let getBrokerConfig = Self(rawValue: 26)
    public static let getBrokerRuntimeInfo = Self(rawValue: 28)
    public static let searchOffsetByTimestamp = Self(rawValue: 29)
    public static let getMaxOffset = Self(rawValue: 30)
    public static let getMinOffset = Self(rawValue: 31)
    public static let getEarliestMsgStoretime = Self(rawValue: 32)
    public static let viewMessageById = Self(rawValue: 33)
    public static let heartBeat = Self(rawValue: 34)
    public static let unregisterClient = Self(rawValue: 35)
    public static let consumerSendMsgBack = Self(rawValue: 36)
    public static let endTransaction = Self(rawValue: 37)
    public static let getConsumerListByGroup = Self(rawValue: 38)
    public static let checkTransactionState = Self(rawValue: 39)
    public static let notifyConsumerIdsChanged = Self(rawValue: 40)
    public static let lockBatchMq = Self(rawValue: 41)
    public static let unlockBatchMq = Self(rawValue: 42)
    public static let getAllConsumerOffset = Self(rawValue: 43)
    public static let getAllDelayOffset = Self(rawValue: 45)
    public static let checkClientConfig = Self(rawValue: 46)
    public static let updateAndCreateAclConfig = Self(rawValue: 50)
    public static let deleteAclConfig = Self(rawValue: 51)
    public static let getBrokerClusterAclInfo = Self(rawValue: 52)
    public static let updateGlobalWhiteAddrsConfig = Self(rawValue: 53)
    public static let getTimerCheckPoint = Self(rawValue: 60)
    public static let getTimerMetrics = Self(rawValue: 61)
    public static let putKvConfig = Self(rawValue: 100)
    public static let getKvConfig = Self(rawValue: 101)
    public static let deleteKvConfig = Self(rawValue: 102)
    public static let registerBroker = Self(rawValue: 103)
    public static let unregisterBroker = Self(rawValue: 104)
    public static let getRouteinfoByTopic = Self(rawValue: 105)
    public static let getBrokerClusterInfo = Self(rawValue: 106)
    public static let updateAndCreateSubscriptiongroup = Self(rawValue: 200)
    public static let getAllSubscriptiongroupConfig = Self(rawValue: 201)
    public static let getTopicStatsInfo = Self(rawValue: 202)
    public static let getConsumerConnectionList = Self(rawValue: 203)
    public static let getProducerConnectionList = Self(rawValue: 204)
    public static let wipeWritePermOfBroker = Self(rawValue: 205)
    public static let getAllTopicListFromNameserver = Self(rawValue: 206)
    public static let deleteSubscriptiongroup = Self(rawValue: 207)
    public static let getConsumeStats = Self(rawValue: 208)
    public static let deleteTopicInBroker = Self(rawValue: 215)
    public static let deleteTopicInNamesrv = Self(rawValue: 216)
    public static let registerTopicInNamesrv = Self(rawValue: 217)
    public static let getKvlistByNamespace = Self(rawValue: 219)
    public static let resetConsumerClientOffset = Self(rawValue: 220)
    public static let getConsumerStatusFromClient = Self(rawValue: 221)
    public static let invokeBrokerToResetOffset = Self(rawValue: 222)
    public static let invokeBrokerToGetConsumerStatus = Self(rawValue: 223)
    public static let getTopicsByCluster = Self(rawValue: 224)
    public static let updateAndCreateSubscriptiongroupList = Self(rawValue: 225)
    public static let queryTopicConsumeByWho = Self(rawValue: 300)
    public static let queryConsumeTimeSpan = Self(rawValue: 303)
    public static let getSystemTopicListFromNs = Self(rawValue: 304)
    public static let getSystemTopicListFromBroker = Self(rawValue: 305)
    public static let cleanExpiredConsumequeue = Self(rawValue: 306)
    public static let getConsumerRunningInfo = Self(rawValue: 307)
    public static let queryCorrectionOffset = Self(rawValue: 308)
    public static let consumeMessageDirectly = Self(rawValue: 309)
    public static let sendMessageV2 = Self(rawValue: 310)
    public static let getUnitTopicList = Self(rawValue: 311)
    public static let getHasUnitSubTopicList = Self(rawValue: 312)
    public static let getHasUnitSubUnunitTopicList = Self(rawValue: 313)
    public static let cloneGroupOffset = Self(rawValue: 314)
    public static let viewBrokerStatsData = Self(rawValue: 315)
    public static let cleanUnusedTopic = Self(rawValue: 316)
    public static let getBrokerConsumeStats = Self(rawValue: 317)
    public static let updateNamesrvConfig = Self(rawValue: 318)
    public static let getNamesrvConfig = Self(rawValue: 319)
    public static let sendBatchMessage = Self(rawValue: 320)
    public static let queryConsumeQueue = Self(rawValue: 321)
    public static let queryDataVersion = Self(rawValue: 322)
    public static let resumeCheckHalfMessage = Self(rawValue: 323)
    public static let sendReplyMessage = Self(rawValue: 324)
    public static let sendReplyMessageV2 = Self(rawValue: 325)
    public static let pushReplyMessageToClient = Self(rawValue: 326)
    public static let addWritePermOfBroker = Self(rawValue: 327)
    public static let getAllProducerInfo = Self(rawValue: 328)
    public static let deleteExpiredCommitlog = Self(rawValue: 329)
    public static let queryTopicsByConsumer = Self(rawValue: 343)
    public static let querySubscriptionByConsumer = Self(rawValue: 345)
    public static let getTopicConfig = Self(rawValue: 351)
    public static let getSubscriptiongroupConfig = Self(rawValue: 352)
    public static let updateAndGetGroupForbidden = Self(rawValue: 353)
    public static let checkRocksdbCqWriteProgress = Self(rawValue: 354)
    public static let exportRocksdbConfigToJson = Self(rawValue: 355)
    public static let litePullMessage = Self(rawValue: 361)
    public static let recallMessage = Self(rawValue: 370)
    public static let queryAssignment = Self(rawValue: 400)
    public static let setMessageRequestMode = Self(rawValue: 401)
    public static let getAllMessageRequestMode = Self(rawValue: 402)
    public static let updateAndCreateStaticTopic = Self(rawValue: 513)
    public static let getBrokerMemberGroup = Self(rawValue: 901)
    public static let addBroker = Self(rawValue: 902)
    public static let removeBroker = Self(rawValue: 903)
    public static let brokerHeartbeat = Self(rawValue: 904)
    public static let notifyMinBrokerIdChange = Self(rawValue: 905)
    public static let exchangeBrokerHaInfo = Self(rawValue: 906)
    public static let getBrokerHaStatus = Self(rawValue: 907)
    public static let resetMasterFlushOffset = Self(rawValue: 908)
    public static let controllerAlterSyncStateSet = Self(rawValue: 1001)
    public static let controllerElectMaster = Self(rawValue: 1002)
    public static let controllerRegisterBroker = Self(rawValue: 1003)
    public static let controllerGetReplicaInfo = Self(rawValue: 1004)
    public static let controllerGetMetadataInfo = Self(rawValue: 1005)
    public static let controllerGetSyncStateData = Self(rawValue: 1006)
    public static let getBrokerEpochCache = Self(rawValue: 1007)
    public static let notifyBrokerRoleChanged = Self(rawValue: 1008)
    public static let updateControllerConfig = Self(rawValue: 1009)
    public static let getControllerConfig = Self(rawValue: 1010)
    public static let cleanBrokerData = Self(rawValue: 1011)
    public static let controllerGetNextBrokerId = Self(rawValue: 1012)
    public static let controllerApplyBrokerId = Self(rawValue: 1013)
    public static let brokerCloseChannelRequest = Self(rawValue: 1014)
    public static let checkNotActiveBrokerRequest = Self(rawValue: 1015)
    public static let getBrokerLiveInfoRequest = Self(rawValue: 1016)
    public static let raftBrokerHeartBeatEventRequest = Self(rawValue: 1018)
    public static let updateColdDataFlowCtrConfig = Self(rawValue: 2001)
    public static let removeColdDataFlowCtrConfig = Self(rawValue: 2002)
    public static let getColdDataFlowCtrInfo = Self(rawValue: 2003)
    public static let setCommitlogReadMode = Self(rawValue: 2004)
    public static let authCreateUser = Self(rawValue: 3001)
    public static let authUpdateUser = Self(rawValue: 3002)
    public static let authDeleteUser = Self(rawValue: 3003)
    public static let authGetUser = Self(rawValue: 3004)
    public static let authListUser = Self(rawValue: 3005)
    public static let authCreateAcl = Self(rawValue: 3006)
    public static let authUpdateAcl = Self(rawValue: 3007)
    public static let authDeleteAcl = Self(rawValue: 3008)
    public static let authGetAcl = Self(rawValue: 3009)
    public static let authListAcl = Self(rawValue: 3010)
    /// Not of the reference: what is wrong with consumer groups, see `ConsumerGroupReport`.
    public static let checkConsumerGroups = Self(rawValue: 9101)
    /// Not of the reference: transactions that nobody has decided, see `UndecidedTransactionReport`.
    public static let listUndecidedTransactions = Self(rawValue: 9102)
    public static let popMessage = Self(rawValue: 200050)
    public static let ackMessage = Self(rawValue: 200051)
    public static let peekMessage = Self(rawValue: 200052)
    public static let changeMessageInvisibletime = Self(rawValue: 200053)
    public static let notification = Self(rawValue: 200054)
    public static let pollingInfo = Self(rawValue: 200055)
    public static let popRollback = Self(rawValue: 200056)
    public static let batchAckMessage = Self(rawValue: 200151)
}

extension RequestCode {
    static let names: [Int32: String] = [
        10: "SEND_MESSAGE",
        11: "PULL_MESSAGE",
        12: "QUERY_MESSAGE",
        14: "QUERY_CONSUMER_OFFSET",
        15: "UPDATE_CONSUMER_OFFSET",
        17: "UPDATE_AND_CREATE_TOPIC",
        18: "UPDATE_AND_CREATE_TOPIC_LIST",
        21: "GET_ALL_TOPIC_CONFIG",
        25: "UPDATE_BROKER_CONFIG",
        26: "GET_BROKER_CONFIG",
        28: "GET_BROKER_RUNTIME_INFO",
        29: "SEARCH_OFFSET_BY_TIMESTAMP",
        30: "GET_MAX_OFFSET",
        31: "GET_MIN_OFFSET",
        32: "GET_EARLIEST_MSG_STORETIME",
        33: "VIEW_MESSAGE_BY_ID",
        34: "HEART_BEAT",
        35: "UNREGISTER_CLIENT",
        36: "CONSUMER_SEND_MSG_BACK",
        37: "END_TRANSACTION",
        38: "GET_CONSUMER_LIST_BY_GROUP",
        39: "CHECK_TRANSACTION_STATE",
        40: "NOTIFY_CONSUMER_IDS_CHANGED",
        41: "LOCK_BATCH_MQ",
        42: "UNLOCK_BATCH_MQ",
        43: "GET_ALL_CONSUMER_OFFSET",
        45: "GET_ALL_DELAY_OFFSET",
        46: "CHECK_CLIENT_CONFIG",
        50: "UPDATE_AND_CREATE_ACL_CONFIG",
        51: "DELETE_ACL_CONFIG",
        52: "GET_BROKER_CLUSTER_ACL_INFO",
        53: "UPDATE_GLOBAL_WHITE_ADDRS_CONFIG",
        60: "GET_TIMER_CHECK_POINT",
        61: "GET_TIMER_METRICS",
        100: "PUT_KV_CONFIG",
        101: "GET_KV_CONFIG",
        102: "DELETE_KV_CONFIG",
        103: "REGISTER_BROKER",
        104: "UNREGISTER_BROKER",
        105: "GET_ROUTEINFO_BY_TOPIC",
        106: "GET_BROKER_CLUSTER_INFO",
        200: "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP",
        201: "GET_ALL_SUBSCRIPTIONGROUP_CONFIG",
        202: "GET_TOPIC_STATS_INFO",
        203: "GET_CONSUMER_CONNECTION_LIST",
        204: "GET_PRODUCER_CONNECTION_LIST",
        205: "WIPE_WRITE_PERM_OF_BROKER",
        206: "GET_ALL_TOPIC_LIST_FROM_NAMESERVER",
        207: "DELETE_SUBSCRIPTIONGROUP",
        208: "GET_CONSUME_STATS",
        215: "DELETE_TOPIC_IN_BROKER",
        216: "DELETE_TOPIC_IN_NAMESRV",
        217: "REGISTER_TOPIC_IN_NAMESRV",
        219: "GET_KVLIST_BY_NAMESPACE",
        220: "RESET_CONSUMER_CLIENT_OFFSET",
        221: "GET_CONSUMER_STATUS_FROM_CLIENT",
        222: "INVOKE_BROKER_TO_RESET_OFFSET",
        223: "INVOKE_BROKER_TO_GET_CONSUMER_STATUS",
        224: "GET_TOPICS_BY_CLUSTER",
        225: "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST",
        300: "QUERY_TOPIC_CONSUME_BY_WHO",
        303: "QUERY_CONSUME_TIME_SPAN",
        304: "GET_SYSTEM_TOPIC_LIST_FROM_NS",
        305: "GET_SYSTEM_TOPIC_LIST_FROM_BROKER",
        306: "CLEAN_EXPIRED_CONSUMEQUEUE",
        307: "GET_CONSUMER_RUNNING_INFO",
        308: "QUERY_CORRECTION_OFFSET",
        309: "CONSUME_MESSAGE_DIRECTLY",
        310: "SEND_MESSAGE_V2",
        311: "GET_UNIT_TOPIC_LIST",
        312: "GET_HAS_UNIT_SUB_TOPIC_LIST",
        313: "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST",
        314: "CLONE_GROUP_OFFSET",
        315: "VIEW_BROKER_STATS_DATA",
        316: "CLEAN_UNUSED_TOPIC",
        317: "GET_BROKER_CONSUME_STATS",
        318: "UPDATE_NAMESRV_CONFIG",
        319: "GET_NAMESRV_CONFIG",
        320: "SEND_BATCH_MESSAGE",
        321: "QUERY_CONSUME_QUEUE",
        322: "QUERY_DATA_VERSION",
        323: "RESUME_CHECK_HALF_MESSAGE",
        324: "SEND_REPLY_MESSAGE",
        325: "SEND_REPLY_MESSAGE_V2",
        326: "PUSH_REPLY_MESSAGE_TO_CLIENT",
        327: "ADD_WRITE_PERM_OF_BROKER",
        328: "GET_ALL_PRODUCER_INFO",
        329: "DELETE_EXPIRED_COMMITLOG",
        343: "QUERY_TOPICS_BY_CONSUMER",
        345: "QUERY_SUBSCRIPTION_BY_CONSUMER",
        351: "GET_TOPIC_CONFIG",
        352: "GET_SUBSCRIPTIONGROUP_CONFIG",
        353: "UPDATE_AND_GET_GROUP_FORBIDDEN",
        354: "CHECK_ROCKSDB_CQ_WRITE_PROGRESS",
        355: "EXPORT_ROCKSDB_CONFIG_TO_JSON",
        361: "LITE_PULL_MESSAGE",
        370: "RECALL_MESSAGE",
        400: "QUERY_ASSIGNMENT",
        401: "SET_MESSAGE_REQUEST_MODE",
        402: "GET_ALL_MESSAGE_REQUEST_MODE",
        513: "UPDATE_AND_CREATE_STATIC_TOPIC",
        901: "GET_BROKER_MEMBER_GROUP",
        902: "ADD_BROKER",
        903: "REMOVE_BROKER",
        904: "BROKER_HEARTBEAT",
        905: "NOTIFY_MIN_BROKER_ID_CHANGE",
        906: "EXCHANGE_BROKER_HA_INFO",
        907: "GET_BROKER_HA_STATUS",
        908: "RESET_MASTER_FLUSH_OFFSET",
        1001: "CONTROLLER_ALTER_SYNC_STATE_SET",
        1002: "CONTROLLER_ELECT_MASTER",
        1003: "CONTROLLER_REGISTER_BROKER",
        1004: "CONTROLLER_GET_REPLICA_INFO",
        1005: "CONTROLLER_GET_METADATA_INFO",
        1006: "CONTROLLER_GET_SYNC_STATE_DATA",
        1007: "GET_BROKER_EPOCH_CACHE",
        1008: "NOTIFY_BROKER_ROLE_CHANGED",
        1009: "UPDATE_CONTROLLER_CONFIG",
        1010: "GET_CONTROLLER_CONFIG",
        1011: "CLEAN_BROKER_DATA",
        1012: "CONTROLLER_GET_NEXT_BROKER_ID",
        1013: "CONTROLLER_APPLY_BROKER_ID",
        1014: "BROKER_CLOSE_CHANNEL_REQUEST",
        1015: "CHECK_NOT_ACTIVE_BROKER_REQUEST",
        1016: "GET_BROKER_LIVE_INFO_REQUEST",
        1018: "RAFT_BROKER_HEART_BEAT_EVENT_REQUEST",
        2001: "UPDATE_COLD_DATA_FLOW_CTR_CONFIG",
        2002: "REMOVE_COLD_DATA_FLOW_CTR_CONFIG",
        2003: "GET_COLD_DATA_FLOW_CTR_INFO",
        2004: "SET_COMMITLOG_READ_MODE",
        3001: "AUTH_CREATE_USER",
        3002: "AUTH_UPDATE_USER",
        3003: "AUTH_DELETE_USER",
        3004: "AUTH_GET_USER",
        3005: "AUTH_LIST_USER",
        3006: "AUTH_CREATE_ACL",
        3007: "AUTH_UPDATE_ACL",
        3008: "AUTH_DELETE_ACL",
        3009: "AUTH_GET_ACL",
        3010: "AUTH_LIST_ACL",
        9101: "CHECK_CONSUMER_GROUPS",
        9102: "LIST_UNDECIDED_TRANSACTIONS",
        200050: "POP_MESSAGE",
        200051: "ACK_MESSAGE",
        200052: "PEEK_MESSAGE",
        200053: "CHANGE_MESSAGE_INVISIBLETIME",
        200054: "NOTIFICATION",
        200055: "POLLING_INFO",
        200056: "POP_ROLLBACK",
        200151: "BATCH_ACK_MESSAGE",
    ]
}
