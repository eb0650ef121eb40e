import RocketMQBase
import RocketMQProtocol

/// Where a consumer begins with a queue that it has got: at the group's position, or, when it has none, where the configuration
/// says. Confined to the loop.
final class QueueStart {
    struct Place {
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

    func find(_ queue: MessageQueue, completion: @escaping (Result<Place, MQError>) -> Void) {
        let known = { [self] (position: Int64?) in
            if let position, position >= 0 { return completion(.success(Place(offset: position, persisted: position))) }
            findFirst(queue) { completion($0.map { Place(offset: $0, persisted: nil) }) }
        }
        if let localOffsets { return known(localOffsets.offset(of: queue)) }
        requests.position(queue) { result in
            switch result {
            case .success(let position): known(position)
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
