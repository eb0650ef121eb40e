import RocketMQBase
import RocketMQProtocol

/// Request and reply: a message whose consumer answers with another one.
extension DefaultMQProducer {
    /// Sends a message and waits for the reply of whoever consumes it.
    ///
    /// ```swift
    /// let reply = try await producer.request(Message(topic: "Prices", text: "tea"), timeout: .seconds(3))
    /// ```
    ///
    /// `timeout` is for all of it: sending, consuming, replying. The consumer uses `reply(to:body:)`, or in Java
    /// `MessageUtil.createReplyMessage`. Throws `.timedOut` when no reply came; the request may have been consumed all the same.
    public func request(_ message: Message, timeout: Duration = .seconds(3)) async throws(MQError) -> MessageExt {
        try await request(message, timeout) { [self] message, timeout throws(MQError) in try await send(message, timeout: timeout) }
    }

    /// As above, to the queue that a selector chooses.
    public func request(
        _ message: Message, selecting selector: some MessageQueueSelector, timeout: Duration = .seconds(3)
    ) async throws(MQError) -> MessageExt {
        try await request(message, timeout) { [self] message, timeout throws(MQError) in
            try await send(message, selecting: selector, timeout: timeout)
        }
    }

    /// As above, to one queue.
    public func request(_ message: Message, to queue: MessageQueue, timeout: Duration = .seconds(3)) async throws(MQError) -> MessageExt {
        try await request(message, timeout) { [self] message, timeout throws(MQError) in
            try await send(message, to: queue, timeout: timeout)
        }
    }

    private func request(
        _ message: Message, _ timeout: Duration, _ send: (Message, Duration) async throws(MQError) -> SendResult
    ) async throws(MQError) -> MessageExt {
        guard timeout > .zero else {
            throw MQError(.invalidConfiguration, "the request's time-out is \(timeout)", advice: "give it more than zero")
        }
        let clock = runtime.loop.clock
        let deadline = clock.monotonicNow + timeout
        let id = runtime.uniqueKeys.next(wallMilliseconds: clock.wallMilliseconds)
        var message = message
        message.properties[PropertyName.correlationID] = id
        message.properties[PropertyName.replyToClient] = runtime.clientID
        message.properties[PropertyName.timeToLive] = String(max(1, timeout.inMilliseconds))
        await introduce(message.topic)
        let pending = PendingReply()
        expect(id, until: deadline, message.topic, pending)
        do throws(MQError) {
            _ = try await send(message, max(.milliseconds(1), deadline - clock.monotonicNow))
            // What the send has taught of brokers and clusters.
            await introduce(message.topic)
        } catch {
            runtime.execute { $0.replies.end(id, .failure(error)) }
            throw error
        }
        let result = await withTaskCancellationHandler {
            await pending.result
        } onCancel: { [runtime, topic = message.topic] in
            let error = MQError(.cancelled, "the task was cancelled while it waited for a reply", .init(topic: topic))
            runtime.execute { $0.replies.end(id, .failure(error)) }
        }
        return try result.get()
    }

    private func introduce(_ topic: String) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            runtime.execute { core in core.introduceForReplies(core.namespace.wrap(topic)) { continuation.resume() } }
        }
    }

    private func expect(_ id: String, until deadline: MonotonicTime, _ topic: String, _ pending: PendingReply) {
        let group = configuration.group
        runtime.execute { core in
            guard core.isRunning else {
                return pending.complete(.failure(MQError(.shutDown, "this producer has been shut down", .init(topic: topic, group: group))))
            }
            core.replies.expect(
                id, within: max(.zero, deadline - core.now), on: core.loop,
                failure: {
                    MQError(
                        .timedOut, "no reply came in time",
                        advice: "see that a consumer of the topic runs and replies (mqadmin consumerProgress), or give it more time; the "
                            + "request may have been consumed all the same", .init(topic: topic, group: group))
                }
            ) { pending.complete($0) }
        }
    }

    // MARK: Replying

    /// Replies to a request that this program consumed: returns when the requester has the reply. Throws `.replyNotDelivered`
    /// when it cannot have it: it is gone, or has given up.
    @discardableResult
    public func reply(to request: MessageExt, body: [UInt8], timeout: Duration? = nil) async throws(MQError) -> SendResult {
        try await reply(MessageUtil.createReplyMessage(to: request, body: body), to: request, timeout: timeout)
    }

    @discardableResult
    public func reply(to request: MessageExt, text: String, timeout: Duration? = nil) async throws(MQError) -> SendResult {
        try await reply(to: request, body: Array(text.utf8), timeout: timeout)
    }

    /// With a reply that was made by `MessageUtil.createReplyMessage` and given properties of the user's.
    @discardableResult
    public func reply(_ reply: Message, to request: MessageExt, timeout: Duration? = nil) async throws(MQError) -> SendResult {
        do throws(MQError) {
            return try await send(reply, selecting: ReplyQueueSelector(brokerName: request.brokerName), timeout: timeout)
        } catch {
            guard error.responseCode == .systemError else { throw error }
            throw MQError(
                .replyNotDelivered, error.message,
                advice: "client \(MessageUtil.replyToClient(of: request) ?? "") does not wait any more: there is nobody to reply to",
                .init(
                    topic: reply.topic, group: configuration.group, brokerName: error.brokerName, brokerAddress: error.brokerAddress,
                    responseCode: error.responseCode), underlying: error)
        }
    }
}
