import RocketMQBase
import RocketMQProtocol

/// An attempt to send a message, as hooks see it.
public struct SendMessageContext: Sendable {
    /// The group that sends.
    public var producerGroup: String
    /// For a batch its first message.
    public var message: Message
    /// The id that the client gave it; for a batch those of all its messages, separated by commas.
    public var messageID: String
    public var kind: MessageKind
    /// Bytes of the body before compression; for a batch of all its messages together.
    public var bodyLength: Int
    /// Where this attempt goes to.
    public var messageQueue: MessageQueue
    /// `host:port` of the broker.
    public var brokerAddress: String
    /// From 1: a message whose attempt failed may be sent again.
    public var attempt: Int
    /// No answer is awaited: success means that it was handed to the connection.
    public var isOneway: Bool
    /// When the attempt began, in milliseconds since 1970.
    public var startedMilliseconds: Int64
}

/// Is told before and after each attempt to send a message. Called on the client's event loop: it must be quick, and must not
/// block. Given in `ProducerConfiguration.sendHooks`.
public protocol SendMessageHook: Sendable {
    func beforeSend(_ context: SendMessageContext)
    /// One-way sends count as successes when they were handed to a connection; their results have no offset.
    func afterSend(_ context: SendMessageContext, took: Duration, result: Result<SendResult, MQError>)
}

extension SendMessageHook {
    public func beforeSend(_ context: SendMessageContext) {}
    public func afterSend(_ context: SendMessageContext, took: Duration, result: Result<SendResult, MQError>) {}
}

/// How a transaction ended, as it is told to the broker.
public struct EndTransactionContext: Sendable {
    public var producerGroup: String
    public var topic: String
    public var tags: String?
    /// With blanks between them.
    public var keys: String?
    public var messageID: String
    public var transactionID: String
    public var state: LocalTransactionState
    /// The broker had asked.
    public var isFromCheck: Bool
    public var brokerAddress: String
}

/// Is told when a producer tells a broker how a transaction ended. As `SendMessageHook`; given in
/// `ProducerConfiguration.transactionHooks`.
public protocol EndTransactionHook: Sendable {
    func endTransaction(_ context: EndTransactionContext)
}

/// An attempt that hooks were told of.
struct HookedAttempt {
    var context: SendMessageContext
    var started: MonotonicTime
}

extension SendRequest {
    var kind: MessageKind {
        if systemFlag.transaction == .prepared { return .transactionHalf }
        return message.delayLevel > 0 || message.delay != nil || message.deliverAtMilliseconds != nil ? .delayed : .normal
    }

    /// What hooks are told of an attempt: names as the program has them.
    func context(
        _ namespace: Namespace, _ group: String, to queue: MessageQueue, at address: String, attempt: Int, isOneway: Bool,
        startedMilliseconds: Int64
    ) -> SendMessageContext {
        var message = message
        if !namespace.isNone { message.topic = namespace.unwrap(message.topic) }
        return SendMessageContext(
            producerGroup: namespace.unwrap(group), message: message, messageID: messageID, kind: kind,
            bodyLength: isBatch ? body.count : message.body.count, messageQueue: namespace.unwrap(queue), brokerAddress: address,
            attempt: attempt, isOneway: isOneway, startedMilliseconds: startedMilliseconds)
    }
}
