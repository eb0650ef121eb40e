import RocketMQProtocol

/// How far a message that was stored has come. All but `sendOK` mean that it is stored, and may be lost if its broker is
/// lost now.
public enum SendStatus: String, Sendable, Hashable {
    case sendOK = "SEND_OK"
    case flushDiskTimeout = "FLUSH_DISK_TIMEOUT"
    case flushSlaveTimeout = "FLUSH_SLAVE_TIMEOUT"
    case slaveNotAvailable = "SLAVE_NOT_AVAILABLE"

    init?(_ code: ResponseCode) {
        switch code {
        case .success: self = .sendOK
        case .flushDiskTimeout: self = .flushDiskTimeout
        case .flushSlaveTimeout: self = .flushSlaveTimeout
        case .slaveNotAvailable: self = .slaveNotAvailable
        default: return nil
        }
    }
}

extension SendStatus: CustomStringConvertible {
    public var description: String { rawValue }
}

/// Where a message was stored.
public struct SendResult: Sendable, Hashable {
    /// Whether the message is stored as its broker promises; see `SendStatus`.
    public var status: SendStatus
    /// The id that this client gave the message (`UNIQ_KEY`); for a batch those of all its messages, separated by commas.
    public var messageID: String
    /// Where the message is.
    public var messageQueue: MessageQueue
    /// The message's place in its queue; for a batch its first message's.
    public var queueOffset: Int64
    /// The broker's id, by which tools find the message; for a batch those of all its messages, separated by commas.
    public var offsetMessageID: String
    /// Of half messages: what the broker knows the transaction by.
    public var transactionID: String?
    /// `MSG_REGION` of the broker's answer, which traces carry on.
    public var regionID: String
    /// Of a message that waits for its time: what `recallMessage` takes it back by. `nil` where there is nothing to take back.
    public var recallHandle: String?
    /// Whether the broker wants messages traced.
    public var isTraceOn: Bool

    public init(
        status: SendStatus, messageID: String, messageQueue: MessageQueue, queueOffset: Int64, offsetMessageID: String,
        transactionID: String? = nil, regionID: String = "DefaultRegion",
        recallHandle: String? = nil, isTraceOn: Bool = true
    ) {
        self.status = status
        self.messageID = messageID
        self.messageQueue = messageQueue
        self.queueOffset = queueOffset
        self.offsetMessageID = offsetMessageID
        self.transactionID = transactionID
        self.regionID = regionID
        self.recallHandle = recallHandle
        self.isTraceOn = isTraceOn
    }
}

extension SendResult {
    /// From a broker's answer to 310 or 320; `nil` when it is not one of a stored message.
    init?(_ response: RemotingCommand, messageID: String, queue: MessageQueue) {
        guard let status = SendStatus(response.responseCode), let queueID = response.fields["queueId"].flatMap({ Int32($0) }),
            let offset = response.fields["queueOffset"].flatMap({ Int64($0) })
        else { return nil }
        var stored = queue
        stored.queueID = queueID
        self.init(
            status: status, messageID: messageID, messageQueue: stored, queueOffset: offset,
            offsetMessageID: response.fields["msgId"] ?? "", transactionID: response.fields["transactionId"],
            regionID: response.fields["MSG_REGION"].flatMap { $0.isEmpty ? nil : $0 } ?? "DefaultRegion",
            recallHandle: response.fields["recallHandle"], isTraceOn: response.fields["TRACE_ON"] != "false")
    }
}
