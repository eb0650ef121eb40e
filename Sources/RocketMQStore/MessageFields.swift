import RocketMQBase

/// The fixed fields of a record, as the broker gives them for one message.
public struct MessageFields: Sendable {
    public var flag: Int32
    /// `sysFlag`. The two bits that say IPv6 for the hosts are set by the store. The transaction type in it decides
    /// whether the message enters its queue: prepared and rolled-back ones do not.
    public var systemFlag: Int32
    public var bornTimestamp: Int64
    public var bornHost: SocketAddress
    /// Milliseconds; must not run backwards within a queue for lookups by time to be exact.
    public var storeTimestamp: Int64
    public var storeHost: SocketAddress
    public var reconsumeTimes: Int32
    public var preparedTransactionOffset: Int64
    /// What the consume queue holds: the hash of the tags, 0 without tags, or the delivery time of a delayed message.
    public var tagsCode: Int64

    public init(
        flag: Int32 = 0, systemFlag: Int32 = 0, bornTimestamp: Int64, bornHost: SocketAddress, storeTimestamp: Int64,
        storeHost: SocketAddress, reconsumeTimes: Int32 = 0, preparedTransactionOffset: Int64 = 0, tagsCode: Int64 = 0
    ) {
        self.flag = flag
        self.systemFlag = systemFlag
        self.bornTimestamp = bornTimestamp
        self.bornHost = bornHost
        self.storeTimestamp = storeTimestamp
        self.storeHost = storeHost
        self.reconsumeTimes = reconsumeTimes
        self.preparedTransactionOffset = preparedTransactionOffset
        self.tagsCode = tagsCode
    }
}

/// Where a message went. It counts as stored after the next successful `commit()`.
public struct Appended: Sendable, Equatable {
    /// 0 for messages that enter no queue.
    public var queueOffset: Int64
    public var physicalOffset: Int64
    /// Bytes of the record.
    public var size: Int32

    public init(queueOffset: Int64, physicalOffset: Int64, size: Int32) {
        self.queueOffset = queueOffset
        self.physicalOffset = physicalOffset
        self.size = size
    }
}
