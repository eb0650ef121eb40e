import RocketMQBase
import RocketMQProtocol

/// Who gets the messages, and in which manner.
enum RegisteredListener: Sendable {
    case concurrently(any MessageListenerConcurrently)
    case orderly(any MessageListenerOrderly)
    case onLoop(LoopListener)

    init(_ listener: (any MessageListener)?, group: String) throws(MQError) {
        switch (listener as? any MessageListenerConcurrently, listener as? any MessageListenerOrderly) {
        case (let listener?, nil): self = .concurrently(listener)
        case (nil, let listener?): self = .orderly(listener)
        case (nil, nil):
            let what = listener.map { "the listener \(type(of: $0)) gets no messages" } ?? "the consumer has no listener"
            throw MQError(
                .invalidConfiguration, what,
                advice: "call registerMessageListener before start, with a MessageListenerConcurrently or a MessageListenerOrderly",
                .init(group: group))
        case (.some, .some):
            throw MQError(
                .invalidConfiguration, "the listener is a MessageListenerConcurrently and a MessageListenerOrderly at once",
                advice: "give one type only one of both, so that it is clear whether the order is kept", .init(group: group))
        }
    }

    var isOrderly: Bool {
        switch self {
        case .concurrently: false
        case .orderly: true
        case .onLoop(let listener): listener.isOrderly
        }
    }

    /// Calls the listener with messages of `queue`; `completion` later, on the loop.
    func call(
        _ messages: [MessageExt], _ queue: MessageQueue, on loop: any EventLoop, completion: @escaping @Sendable (ListenerOutcome) -> Void
    ) -> ListenerCall {
        let task: Task<Void, Never>
        switch self {
        case .concurrently(let listener):
            task = Task {
                let outcome = await ListenerOutcome(of: listener, messages, queue)
                loop.execute { completion(outcome) }
            }
        case .orderly(let listener):
            task = Task {
                let outcome = await ListenerOutcome(of: listener, messages, queue)
                loop.execute { completion(outcome) }
            }
        case .onLoop(let listener):
            listener.consume.value(messages, queue) { isSuccess, delayLevel in
                let outcome = ListenerOutcome(succeeded: isSuccess ? messages.count : 0, delayLevel: delayLevel)
                loop.execute { completion(outcome) }
            }
            return ListenerCall(task: nil, cancel: {})
        }
        return ListenerCall(task: task.hashValue, cancel: { task.cancel() })
    }
}

/// A call of a listener that runs.
struct ListenerCall {
    /// The task that it is, by its hash; `nil` when it is none.
    let task: Int?
    let cancel: @Sendable () -> Void
}

/// A listener that is called on the client's loop and answers there, without a task: for simulations, in which nothing may
/// happen on other threads.
package struct LoopListener: Sendable {
    /// Gets messages of a queue; calls back with whether they were consumed, and if not, in which delay level they come again.
    package typealias Consume = ([MessageExt], MessageQueue, @escaping (Bool, Int) -> Void) -> Void

    let isOrderly: Bool
    let consume: LoopBound<Consume>

    package init(isOrderly: Bool, on loop: any EventLoop, consume: @escaping Consume) {
        self.isOrderly = isOrderly
        self.consume = LoopBound(consume, on: loop)
    }
}

/// How a call of the listener ended.
struct ListenerOutcome: Sendable {
    /// Messages before this index succeeded. For an orderly listener all or none.
    let succeeded: Int
    /// For those that failed: when they come again.
    let delayLevel: Int
    /// For those that failed in order: how long their queue waits, where the listener said so.
    let suspension: Duration?
    /// What the listener threw, in words.
    let failure: String?

    /// For hooks.
    var returnType: ConsumeReturnType { failure != nil ? .exception : succeeded > 0 ? .success : .failed }

    init(succeeded: Int, delayLevel: Int, suspension: Duration? = nil, failure: String? = nil) {
        (self.succeeded, self.delayLevel, self.suspension, self.failure) = (succeeded, delayLevel, suspension, failure)
    }

    init(of listener: any MessageListenerConcurrently, _ messages: [MessageExt], _ queue: MessageQueue) async {
        let context = ConsumeConcurrentlyContext(queue)
        var (succeeded, failure) = (0, String?.none)
        do {
            if try await listener.consumeMessage(messages, context: context) == .consumeSuccess {
                let ackIndex = context.ackIndex
                succeeded = ackIndex >= messages.count ? messages.count : max(0, ackIndex + 1)
            }
        } catch { failure = "\(error)" }
        self.init(succeeded: succeeded, delayLevel: context.delayLevelWhenNextConsume, failure: failure)
    }

    init(of listener: any MessageListenerOrderly, _ messages: [MessageExt], _ queue: MessageQueue) async {
        let context = ConsumeOrderlyContext(queue)
        var (succeeded, failure) = (0, String?.none)
        do {
            if try await listener.consumeMessage(messages, context: context) == .success { succeeded = messages.count }
        } catch { failure = "\(error)" }
        self.init(succeeded: succeeded, delayLevel: 0, suspension: context.suspendCurrentQueueTime, failure: failure)
    }
}
