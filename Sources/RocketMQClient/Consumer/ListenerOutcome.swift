import RocketMQProtocol

/// Who gets the messages, and in which manner.
enum RegisteredListener: Sendable {
    case concurrently(any MessageListenerConcurrently)
    case orderly(any MessageListenerOrderly)

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

    var isOrderly: Bool { if case .orderly = self { true } else { false } }
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

    /// Calls the listener with messages of `queue`.
    init(of listener: RegisteredListener, _ messages: [MessageExt], _ queue: MessageQueue) async {
        var failure: String?
        var succeeded = 0
        switch listener {
        case .concurrently(let listener):
            let context = ConsumeConcurrentlyContext(queue)
            do {
                if try await listener.consumeMessage(messages, context: context) == .consumeSuccess {
                    let ackIndex = context.ackIndex
                    succeeded = ackIndex >= messages.count ? messages.count : max(0, ackIndex + 1)
                }
            } catch { failure = "\(error)" }
            delayLevel = context.delayLevelWhenNextConsume
            suspension = nil
        case .orderly(let listener):
            let context = ConsumeOrderlyContext(queue)
            do {
                if try await listener.consumeMessage(messages, context: context) == .success { succeeded = messages.count }
            } catch { failure = "\(error)" }
            delayLevel = 0
            suspension = context.suspendCurrentQueueTime
        }
        self.succeeded = succeeded
        self.failure = failure
    }
}
