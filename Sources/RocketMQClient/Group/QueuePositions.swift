import RocketMQBase
import RocketMQProtocol

/// A consumer's positions: those of its group at the brokers, or in broadcasting its own in a local file. Confined to the loop.
final class QueuePositions {
    /// Where to begin with a queue.
    struct Start {
        var offset: Int64
        /// What is stored as the position; `nil` when nothing.
        var persisted: Int64?
    }

    private let requests: GroupRequests
    private let configuration: ConsumerConfiguration
    private let startedMilliseconds: Int64
    /// For broadcasting.
    private let localOffsets: LocalOffsetStore?
    /// The queues that each topic had when it was subscribed to: others are younger than the group.
    private var firstQueues: [String: Set<MessageQueue>] = [:]

    init(
        _ requests: GroupRequests, _ configuration: ConsumerConfiguration, startedMilliseconds: Int64,
        localOffsets: LocalOffsetStore? = nil
    ) {
        self.requests = requests
        self.configuration = configuration
        self.startedMilliseconds = startedMilliseconds
        self.localOffsets = localOffsets
    }

    /// Notes which queues a topic has when it is subscribed to.
    func noteQueues(of topic: String) { firstQueues[topic] = Set(requests.runtime.routes.readableQueues(topic) ?? []) }

    // MARK: Stored ones

    /// What is stored; `nil` when nothing is.
    func stored(_ queue: MessageQueue, completion: @escaping (Result<Int64?, MQError>) -> Void) {
        guard let localOffsets else {
            // Who names a time means it, however young the queue is.
            return requests.position(queue, orZero: configuration.consumeFromWhere != .timestamp, completion: completion)
        }
        completion(.success(localOffsets.offset(of: queue).flatMap { $0 >= 0 ? $0 : nil }))
    }

    /// Stores a position and waits until it is.
    func commit(_ queue: MessageQueue, _ offset: Int64, completion: @escaping (MQError?) -> Void) {
        guard let localOffsets else { return requests.commit(queue, offset, completion: completion) }
        localOffsets.set(queue, offset)
        localOffsets.save { [requests] error in
            completion(
                error.map {
                    MQError(
                        .invalidConfiguration, "cannot write offset \(offset): \($0)",
                        advice: "see that localOffsetDirectory can be written to; it is in memory until a later try succeeds",
                        .init(topic: queue.topic, group: requests.group), underlying: $0)
                })
        }
    }

    /// Stores what was set, and lets others use the file.
    func close(completion: @escaping () -> Void) {
        guard let localOffsets else { return completion() }
        localOffsets.save { _ in
            localOffsets.close()
            completion()
        }
    }

    // MARK: Where to begin

    /// At the stored position, or, when there is none, where the configuration says.
    func findStart(_ queue: MessageQueue, completion: @escaping (Result<Start, MQError>) -> Void) {
        stored(queue) { [self] result in
            switch result {
            case .success(let position?): completion(.success(Start(offset: position, persisted: position)))
            case .success(nil): findFirst(queue) { completion($0.map { Start(offset: $0, persisted: nil) }) }
            case .failure(let error): completion(.failure(error))
            }
        }
    }

    /// Where to go on in a queue whose topic was gone: where the group stands, if brokers still know that, or at the beginning, since
    /// all that is in it came while this consumer was there. A position in a local file is of the topic that was.
    func findAfterDeletion(_ queue: MessageQueue, completion: @escaping (Result<Start, MQError>) -> Void) {
        let begin = { [requests] in
            requests.leastOffset(queue) { completion($0.map { Start(offset: $0, persisted: nil) }) }
        }
        guard localOffsets == nil else { return begin() }
        requests.position(queue) { result in
            switch result {
            case .success(let position?): completion(.success(Start(offset: position, persisted: position)))
            case .success(nil): begin()
            case .failure(let error): completion(.failure(error))
            }
        }
    }

    private func findFirst(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        // What failed is never skipped.
        let isRetry = queue.topic == SystemTopic.retry(of: requests.group)
        if isRetry || configuration.consumeFromWhere == .firstOffset { return requests.leastOffset(queue, completion: completion) }
        guard isYounger(queue) else { return findConfigured(queue, completion: completion) }
        requests.leastOffset(queue) { [self] result in
            // A queue whose beginning is gone was there before, with a broker that was away.
            if case .success(let least) = result, least > 0 { return findConfigured(queue, completion: completion) }
            completion(result)
        }
    }

    /// Whether the queue came into being while this consumer, or another broadcasting one with its file, was there.
    private func isYounger(_ queue: MessageQueue) -> Bool {
        if localOffsets?.knows(topic: queue.topic) == true { return true }
        return firstQueues[queue.topic].map { !$0.contains(queue) } ?? false
    }

    private func findConfigured(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        guard configuration.consumeFromWhere == .timestamp else { return requests.greatestOffset(queue, completion: completion) }
        let time = configuration.consumeTimestampMilliseconds ?? startedMilliseconds - 30 * 60_000
        requests.offset(queue, atMilliseconds: time, completion: completion)
    }
}
