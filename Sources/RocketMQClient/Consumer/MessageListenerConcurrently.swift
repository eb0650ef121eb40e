import RocketMQProtocol
import Synchronization

/// Gets a consumer's messages: a `MessageListenerConcurrently` or a `MessageListenerOrderly`.
public protocol MessageListener: Sendable {}

/// How the consumption of messages ended.
public enum ConsumeConcurrentlyStatus: Sendable, Hashable {
    case consumeSuccess
    /// The messages are delivered again later, at most `maxReconsumeTimes` times; then they become dead letters.
    case reconsumeLater
}

/// What goes with a call of a listener.
public final class ConsumeConcurrentlyContext: Sendable {
    /// The queue that all messages of the call came from.
    public let messageQueue: MessageQueue

    private struct Choices {
        var delayLevel = 0
        var ackIndex = Int.max
    }

    private let choices = Mutex(Choices())

    init(_ messageQueue: MessageQueue) { self.messageQueue = messageQueue }

    /// When failed messages come again: a delay level from 1; 0 lets the broker choose, later each time (10 s, 30 s, 1 min, …);
    /// negative makes them dead letters at once.
    public var delayLevelWhenNextConsume: Int {
        get { choices.withLock { $0.delayLevel } }
        set { choices.withLock { $0.delayLevel = newValue } }
    }

    /// With `consumeSuccess`: the index of the last message that succeeded; those after it are delivered again.
    public var ackIndex: Int {
        get { choices.withLock { $0.ackIndex } }
        set { choices.withLock { $0.ackIndex = newValue } }
    }
}

/// Gets the messages of a consumer, in no certain order, in many calls at once.
public protocol MessageListenerConcurrently: MessageListener {
    /// Consumes messages of one queue, at most `consumeMessageBatchMaxSize`. A throw counts as `reconsumeLater`. Deliveries
    /// can repeat, so that consuming a message twice should do no harm. Code that blocks its thread holds one of Swift's few:
    /// prefer `await`.
    func consumeMessage(_ messages: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus
}

/// A closure as a listener.
struct ClosureListener: MessageListenerConcurrently {
    let consume: @Sendable ([MessageExt], ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus

    func consumeMessage(_ messages: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus {
        try await consume(messages, context)
    }
}
