import RocketMQProtocol
import Synchronization

/// How the consumption of messages of a queue ended, for a listener that keeps their order.
public enum ConsumeOrderlyStatus: Sendable, Hashable {
    case success
    /// The queue waits (`suspendCurrentQueueTime`), then the same messages come again. Nothing behind them is consumed before,
    /// until they succeed or have failed more often than `maxReconsumeTimes`.
    case suspendCurrentQueueAMoment
}

/// What goes with a call of an orderly listener.
public final class ConsumeOrderlyContext: Sendable {
    /// The queue that all messages of the call came from, locked for this client.
    public let messageQueue: MessageQueue

    private let suspension = Mutex<Duration?>(nil)

    init(_ messageQueue: MessageQueue) { self.messageQueue = messageQueue }

    /// With `suspendCurrentQueueAMoment`: how long the queue waits, 10 ms to 30 s; what is outside counts as the nearest of
    /// these. `nil`: as `ConsumerConfiguration.suspendCurrentQueueTime` says.
    public var suspendCurrentQueueTime: Duration? {
        get { suspension.withLock { $0 } }
        set { suspension.withLock { $0 = newValue } }
    }
}

/// Gets the messages of each queue in their order: of one queue one call at a time, and the next messages only when those
/// before them succeeded. Different queues are consumed at once.
///
/// The order holds in the whole group, since a queue is locked at its broker for the member that consumes it. It is the order
/// of a queue: send what belongs together with a `MessageQueueSelector` such as `.hash(of: orderID)`.
public protocol MessageListenerOrderly: MessageListener {
    /// Consumes messages of one queue, at most `consumeMessageBatchMaxSize`. A throw counts as `suspendCurrentQueueAMoment`.
    /// Deliveries can repeat, from some message on, after a failure. The task is cancelled when the queue's lock is lost:
    /// then another member consumes the same messages.
    func consumeMessage(_ messages: [MessageExt], context: ConsumeOrderlyContext) async throws -> ConsumeOrderlyStatus
}

/// A closure as an orderly listener.
struct ClosureOrderlyListener: MessageListenerOrderly {
    let consume: @Sendable ([MessageExt], ConsumeOrderlyContext) async throws -> ConsumeOrderlyStatus

    func consumeMessage(_ messages: [MessageExt], context: ConsumeOrderlyContext) async throws -> ConsumeOrderlyStatus {
        try await consume(messages, context)
    }
}
