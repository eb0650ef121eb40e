/// The number that says how a request ended. 0 is success; 10, 11 and 12 say that a message is stored but not as durably
/// as asked for.
public struct ResponseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public var rawValue: Int32
    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }
    /// `TOPIC_NOT_EXIST (17)`, or the number alone when the code is not known.
    public var description: String { Self.names[rawValue].map { "\($0) (\(rawValue))" } ?? "\(rawValue)" }
}

extension ResponseCode {
    public static let success = Self(rawValue: 0)
    public static let systemError = Self(rawValue: 1)
    public static let systemBusy = Self(rawValue: 2)
    public static let requestCodeNotSupported = Self(rawValue: 3)
    public static let transactionFailed = Self(rawValue: 4)
    public static let flushDiskTimeout = Self(rawValue: 10)
    public static let slaveNotAvailable = Self(rawValue: 11)
    public static let flushSlaveTimeout = Self(rawValue: 12)
    public static let messageIllegal = Self(rawValue: 13)
    public static let serviceNotAvailable = Self(rawValue: 14)
    public static let versionNotSupported = Self(rawValue: 15)
    public static let noPermission = Self(rawValue: 16)
    public static let topicNotExist = Self(rawValue: 17)
    public static let topicExistAlready = Self(rawValue: 18)
    public static let pullNotFound = Self(rawValue: 19)
    public static let pullRetryImmediately = Self(rawValue: 20)
    public static let pullOffsetMoved = Self(rawValue: 21)
    public static let queryNotFound = Self(rawValue: 22)
    public static let subscriptionParseFailed = Self(rawValue: 23)
    public static let subscriptionNotExist = Self(rawValue: 24)
    public static let subscriptionNotLatest = Self(rawValue: 25)
    public static let subscriptionGroupNotExist = Self(rawValue: 26)
    public static let filterDataNotExist = Self(rawValue: 27)
    public static let filterDataNotLatest = Self(rawValue: 28)
    public static let invalidParameter = Self(rawValue: 29)
    public static let transactionShouldCommit = Self(rawValue: 200)
    public static let transactionShouldRollback = Self(rawValue: 201)
    public static let transactionStateUnknow = Self(rawValue: 202)
    public static let transactionStateGroupWrong = Self(rawValue: 203)
    public static let noBuyerId = Self(rawValue: 204)
    public static let consumerNotOnline = Self(rawValue: 206)
    public static let consumeMsgTimeout = Self(rawValue: 207)
    public static let noMessage = Self(rawValue: 208)
    public static let pollingFull = Self(rawValue: 209)
    public static let pollingTimeout = Self(rawValue: 210)
    public static let brokerNotExist = Self(rawValue: 211)
    public static let brokerDispatchNotComplete = Self(rawValue: 212)
    public static let broadcastConsumption = Self(rawValue: 213)
    public static let flowControl = Self(rawValue: 215)
    public static let notLeaderForQueue = Self(rawValue: 501)
    public static let illegalOperation = Self(rawValue: 604)
    public static let goAway = Self(rawValue: 1500)
}

extension ResponseCode {
    static let names: [Int32: String] = [
        0: "SUCCESS",
        1: "SYSTEM_ERROR",
        2: "SYSTEM_BUSY",
        3: "REQUEST_CODE_NOT_SUPPORTED",
        4: "TRANSACTION_FAILED",
        10: "FLUSH_DISK_TIMEOUT",
        11: "SLAVE_NOT_AVAILABLE",
        12: "FLUSH_SLAVE_TIMEOUT",
        13: "MESSAGE_ILLEGAL",
        14: "SERVICE_NOT_AVAILABLE",
        15: "VERSION_NOT_SUPPORTED",
        16: "NO_PERMISSION",
        17: "TOPIC_NOT_EXIST",
        18: "TOPIC_EXIST_ALREADY",
        19: "PULL_NOT_FOUND",
        20: "PULL_RETRY_IMMEDIATELY",
        21: "PULL_OFFSET_MOVED",
        22: "QUERY_NOT_FOUND",
        23: "SUBSCRIPTION_PARSE_FAILED",
        24: "SUBSCRIPTION_NOT_EXIST",
        25: "SUBSCRIPTION_NOT_LATEST",
        26: "SUBSCRIPTION_GROUP_NOT_EXIST",
        27: "FILTER_DATA_NOT_EXIST",
        28: "FILTER_DATA_NOT_LATEST",
        29: "INVALID_PARAMETER",
        200: "TRANSACTION_SHOULD_COMMIT",
        201: "TRANSACTION_SHOULD_ROLLBACK",
        202: "TRANSACTION_STATE_UNKNOW",
        203: "TRANSACTION_STATE_GROUP_WRONG",
        204: "NO_BUYER_ID",
        206: "CONSUMER_NOT_ONLINE",
        207: "CONSUME_MSG_TIMEOUT",
        208: "NO_MESSAGE",
        209: "POLLING_FULL",
        210: "POLLING_TIMEOUT",
        211: "BROKER_NOT_EXIST",
        212: "BROKER_DISPATCH_NOT_COMPLETE",
        213: "BROADCAST_CONSUMPTION",
        215: "FLOW_CONTROL",
        501: "NOT_LEADER_FOR_QUEUE",
        604: "ILLEGAL_OPERATION",
        1500: "GO_AWAY",
    ]
}
