import RocketMQBase
import RocketMQProtocol

extension DefaultMQProducer {
    /// Takes back a message that waits for its time (`Message.delay`, `Message.deliverAtMilliseconds`): it is not delivered.
    ///
    /// - Parameters:
    ///   - handle: of the result of its send (`SendResult.recallHandle`).
    ///   - timeout: `sendTimeout` when `nil`.
    /// - Returns: the message's id.
    /// - Throws: `.refused` when it cannot be taken back: it was delivered or recalled already. Brokers of the reference do
    ///   not look, and answer with success too where there was nothing to be taken back.
    @discardableResult
    public func recallMessage(_ topic: String, handle: String, timeout: Duration? = nil) async throws(MQError) -> String {
        let context = MQError.Context(topic: topic, group: configuration.group)
        guard let parsed = RecallHandle(handle) else {
            throw MQError(
                .invalidMessage, "\"\(handle)\" is no recall handle", advice: "use recallHandle of the result of the message's send",
                context)
        }
        guard parsed.topic == topic else {
            throw MQError(.invalidMessage, "the recall handle is of topic \(parsed.topic)", advice: "name that topic", context)
        }
        let request = RemotingCommand.request(
            .recallMessage,
            ["producerGroup": configuration.group, "topic": topic, "recallHandle": handle, "bname": parsed.brokerName])
        let timeout = timeout ?? configuration.sendTimeout
        return try await runtime.perform { (core: RuntimeCore, done: @escaping (Result<String, MQError>) -> Void) in
            var context = context
            context.brokerName = parsed.brokerName
            let asked = context
            func ask(_ address: String) {
                core.call(request, at: address, timeout: timeout) { result in
                    switch result {
                    case .success(let answer) where answer.responseCode == .success: done(.success(answer.fields["msgId"] ?? parsed.key))
                    case .success(let answer): done(.failure(MQError(answer, doing: "recall the message", asked)))
                    case .failure(let error): done(.failure(MQError(error, doing: "recall the message", asked)))
                    }
                }
            }
            if let address = core.routes.masterAddress(parsed.brokerName) { return ask(address) }
            core.lookUpRoute(topic) { error in
                if let address = core.routes.masterAddress(parsed.brokerName) { return ask(address) }
                done(
                    .failure(
                        error
                            ?? MQError(
                                .brokerNotFound, "the broker at which the message waits is not in the topic's route, or has no master",
                                advice: "see whether it is up (mqadmin topicRoute)", asked)))
            }
        }
    }
}
