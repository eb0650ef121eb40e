/// What a message is, for traces.
public enum MessageKind: Int, Sendable, Hashable {
    case normal = 0
    /// The first part of a transaction.
    case transactionHalf = 1
    /// The outcome of a transaction.
    case transactionCommit = 2
    case delayed = 3
}

/// How a call of a listener ended, for traces and hooks.
public enum ConsumeReturnType: Int, Sendable, Hashable {
    case success = 0
    /// It took longer than `consumeTimeout`.
    case timeout = 1
    /// The listener threw.
    case exception = 2
    /// For readers of the reference's traces: Java listeners can return nothing.
    case returnedNull = 3
    /// The listener wants it again later.
    case failed = 4
}

/// One line of a message's history, as clients write it into the trace topic. Many records stand in one message's body, each of
/// fields with U+0001 between them and U+0002 at its end; the message's keys are the ids and keys of all messages in it.
public enum TraceRecord: Sendable, Hashable {
    /// A producer has sent it (`Pub`).
    case published(Publication)
    /// A listener was called with it (`SubBefore`).
    case consuming(ConsumptionStart)
    /// The listener's call ended (`SubAfter`).
    case consumed(ConsumptionEnd)
    /// The producer told the outcome of its transaction (`EndTransaction`).
    case transactionEnded(TransactionEnd)

    public struct Publication: Sendable, Hashable {
        /// When the send began, in milliseconds since 1970.
        public var timestamp: Int64
        public var regionID: String
        public var group: String
        public var topic: String
        public var messageID: String
        public var tags: String?
        /// With blanks between them.
        public var keys: String?
        /// `host:port` of the broker.
        public var storeHost: String
        public var bodyLength: Int
        public var costMilliseconds: Int64
        public var kind: MessageKind
        public var offsetMessageID: String
        public var isSuccess: Bool

        public init(
            timestamp: Int64, regionID: String, group: String, topic: String, messageID: String, tags: String?, keys: String?,
            storeHost: String, bodyLength: Int, costMilliseconds: Int64, kind: MessageKind, offsetMessageID: String, isSuccess: Bool
        ) {
            self.timestamp = timestamp
            self.regionID = regionID
            self.group = group
            self.topic = topic
            self.messageID = messageID
            self.tags = tags
            self.keys = keys
            self.storeHost = storeHost
            self.bodyLength = bodyLength
            self.costMilliseconds = costMilliseconds
            self.kind = kind
            self.offsetMessageID = offsetMessageID
            self.isSuccess = isSuccess
        }
    }

    public struct ConsumptionStart: Sendable, Hashable {
        public var timestamp: Int64
        public var regionID: String
        public var group: String
        /// Joins it with its end.
        public var requestID: String
        public var messageID: String
        public var retryTimes: Int32
        public var keys: String?

        public init(
            timestamp: Int64, regionID: String, group: String, requestID: String, messageID: String, retryTimes: Int32, keys: String?
        ) {
            self.timestamp = timestamp
            self.regionID = regionID
            self.group = group
            self.requestID = requestID
            self.messageID = messageID
            self.retryTimes = retryTimes
            self.keys = keys
        }
    }

    public struct ConsumptionEnd: Sendable, Hashable {
        public var requestID: String
        public var messageID: String
        /// Of the call, divided by the number of its messages.
        public var costMilliseconds: Int64
        public var isSuccess: Bool
        public var keys: String?
        public var outcome: ConsumeReturnType
        /// Absent in records of old clients, as is the group.
        public var timestamp: Int64?
        public var group: String?

        public init(
            requestID: String, messageID: String, costMilliseconds: Int64, isSuccess: Bool, keys: String?, outcome: ConsumeReturnType,
            timestamp: Int64?, group: String?
        ) {
            self.requestID = requestID
            self.messageID = messageID
            self.costMilliseconds = costMilliseconds
            self.isSuccess = isSuccess
            self.keys = keys
            self.outcome = outcome
            self.timestamp = timestamp
            self.group = group
        }
    }

    public struct TransactionEnd: Sendable, Hashable {
        public var timestamp: Int64
        public var regionID: String
        public var group: String
        public var topic: String
        public var messageID: String
        public var tags: String?
        public var keys: String?
        public var storeHost: String
        public var transactionID: String
        /// `COMMIT_MESSAGE`, `ROLLBACK_MESSAGE` or `UNKNOW`, as the reference spells them.
        public var state: String
        /// The broker had asked.
        public var isFromCheck: Bool

        public init(
            timestamp: Int64, regionID: String, group: String, topic: String, messageID: String, tags: String?, keys: String?,
            storeHost: String, transactionID: String, state: String, isFromCheck: Bool
        ) {
            self.timestamp = timestamp
            self.regionID = regionID
            self.group = group
            self.topic = topic
            self.messageID = messageID
            self.tags = tags
            self.keys = keys
            self.storeHost = storeHost
            self.transactionID = transactionID
            self.state = state
            self.isFromCheck = isFromCheck
        }
    }

    public var messageID: String {
        switch self {
        case .published(let record): record.messageID
        case .consuming(let record): record.messageID
        case .consumed(let record): record.messageID
        case .transactionEnded(let record): record.messageID
        }
    }

    /// The user's keys of the message, with blanks between them.
    public var messageKeys: String? {
        switch self {
        case .published(let record): record.keys
        case .consuming(let record): record.keys
        case .consumed(let record): record.keys
        case .transactionEnded(let record): record.keys
        }
    }
}
