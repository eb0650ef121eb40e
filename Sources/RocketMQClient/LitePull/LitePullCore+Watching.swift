import RocketMQProtocol

/// Topics whose queues somebody wants to know of.
extension LitePullCore {
    struct Watched {
        /// All queues that can be read, in order, as they were last told of; `nil` before they are known.
        var queues: [MessageQueue]?
        /// For the program: names without the namespace.
        let onChange: @Sendable ([MessageQueue]) -> Void
    }

    /// Calls `onChange` when the topic's queues are others than they were. `completion` when it is known what they are, or when the
    /// topic is not known yet.
    func watch(_ topic: String, _ onChange: @escaping @Sendable ([MessageQueue]) -> Void, completion: @escaping () -> Void) {
        watched[topic] = Watched(queues: runtime.routes.readableQueues(topic)?.sorted(), onChange: onChange)
        guard watched[topic]?.queues == nil else { return completion() }
        runtime.lookUpRoute(topic) { [self] _ in
            noteQueues(of: topic)
            completion()
        }
    }

    func noteQueues(of topic: String) {
        guard let before = watched[topic], let queues = runtime.routes.readableQueues(topic)?.sorted(), queues != before.queues else {
            return
        }
        watched[topic]?.queues = queues
        // What they are at first is no change.
        if before.queues != nil { before.onChange(queues.map(namespace.unwrap)) }
    }
}
