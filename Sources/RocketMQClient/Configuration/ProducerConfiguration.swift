import RocketMQProtocol

/// How a producer works. The defaults are the Java client's.
public struct ProducerConfiguration: Sendable {
    /// The producer group: producers of one kind. A broker asks any of them how a transaction ended.
    public var group: String

    /// How long a send may take in all, attempts on other brokers included.
    public var sendTimeout: Duration = .seconds(3)

    /// How long a single attempt may take, so that time is left for another broker when one hangs. `nil`: all the time that
    /// is left. A message whose attempt timed out may be stored twice.
    public var attemptTimeout: Duration?

    /// How often a failed send is tried again, on another broker where there is one.
    public var retryTimesWhenSendFailed = 2

    /// The brokers' refusals that another attempt may get around. Others are final.
    public var retryResponseCodes: Set<ResponseCode> = [
        .topicNotExist, .serviceNotAvailable, .systemError, .noPermission, .noBuyerId, ResponseCode(rawValue: 205),
    ]

    /// Try another broker when a message was stored, but not yet flushed or copied as the broker is set to
    /// (`SendStatus` other than `.sendOK`). The message is then stored more than once.
    public var retryAnotherBrokerWhenNotStoreOK = false

    /// Messages above this are refused before they are sent. Brokers have a limit of their own (`maxMessageSize`).
    public var maxMessageSize = 4 * 1024 * 1024

    /// Bodies of at least this many bytes are compressed; consumers get them back as they were.
    public var compressMessageBodyOver = 4096
    /// With what. Java clients before 4.9.4 read `zlib` alone.
    public var compressionType = CompressionType.zlib
    /// 0 (none) to 9 (smallest, slowest).
    public var compressionLevel: Int32 = 5

    /// Queues that a topic gets when a send creates it (at most as many as the broker's template topic has).
    public var defaultTopicQueueCount: Int32 = 4

    /// The template topic for creating topics.
    public var createTopicKey = SystemTopic.autoCreateKey

    /// Prefer brokers that answered fast and without errors lately; slow ones are left alone for a while, by
    /// `latencyFaultTolerance`. Off, only the broker that just failed a message is avoided for its next attempt.
    public var sendLatencyFaultEnable = false
    /// For how long a broker that answers slowly, or not at all, is avoided.
    public var latencyFaultTolerance = LatencyFaultTolerance.Limits()

    /// How many asynchronous sends (`sendAsync`, `sendWhenRoom`) may wait for their answers at once.
    public var maxInFlight = 10_000

    /// Are told of every attempt to send, in this order.
    public var sendHooks: [any SendMessageHook] = []
    /// Are told how transactions ended.
    public var transactionHooks: [any EndTransactionHook] = []

    /// Message trace; `nil` for none.
    public var trace: TraceConfiguration?

    /// The defaults of the reference for the producer group `group`.
    public init(group: String) { self.group = group }

    func check() throws(MQError) {
        try checkGroup(group, "DEFAULT_PRODUCER")
        try requirePositive([("sendTimeout", sendTimeout), ("attemptTimeout", attemptTimeout ?? .seconds(1))])
        try trace?.check()
        guard (0...100).contains(retryTimesWhenSendFailed) else {
            throw MQError(.invalidConfiguration, "retryTimesWhenSendFailed is \(retryTimesWhenSendFailed)", advice: "set it to 0...100")
        }
        guard (1...FrameFormat.mostBytes).contains(maxMessageSize) else {
            throw MQError(.invalidConfiguration, "maxMessageSize is \(maxMessageSize)", advice: "set it to 1...\(FrameFormat.mostBytes)")
        }
        guard (0...9).contains(compressionLevel) else {
            throw MQError(.invalidConfiguration, "compressionLevel is \(compressionLevel)", advice: "set it to 0...9")
        }
        guard defaultTopicQueueCount > 0, maxInFlight > 0 else {
            throw MQError(.invalidConfiguration, "defaultTopicQueueCount or maxInFlight is not positive", advice: "set both to at least 1")
        }
    }
}

/// Throws for names of groups that brokers would refuse, and for the one that is reserved.
func checkGroup(_ group: String, _ reserved: String) throws(MQError) {
    do throws(InvalidName) { try TopicValidator.check(group: group) } catch {
        throw MQError(.invalidConfiguration, error.description, advice: "choose another name for the group", .init(group: group))
    }
    guard group != reserved else {
        throw MQError(
            .invalidConfiguration, "the group \(reserved) is reserved", advice: "choose a name that says what the group does",
            .init(group: group))
    }
}
