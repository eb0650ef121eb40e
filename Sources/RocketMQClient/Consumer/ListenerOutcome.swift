import RocketMQProtocol

/// How a call of the listener ended.
struct ListenerOutcome: Sendable {
    /// Messages before this index succeeded.
    let succeeded: Int
    /// For those that failed: when they come again.
    let delayLevel: Int
    /// What the listener threw, in words.
    let failure: String?

    /// Calls the listener.
    init(of listener: any MessageListenerConcurrently, _ messages: [MessageExt], _ context: ConsumeConcurrentlyContext) async {
        var failure: String?
        var succeeded = 0
        do {
            if try await listener.consumeMessage(messages, context: context) == .consumeSuccess {
                let ackIndex = context.ackIndex
                succeeded = ackIndex >= messages.count ? messages.count : max(0, ackIndex + 1)
            }
        } catch { failure = "\(error)" }
        self.succeeded = succeeded
        self.failure = failure
        delayLevel = context.delayLevelWhenNextConsume
    }
}
