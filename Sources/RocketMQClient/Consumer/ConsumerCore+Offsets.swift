import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Positions: of the group at the brokers, or of this member in a local file.
extension ConsumerCore {
    struct Start {
        var offset: Int64
        /// What the broker has; `nil` when nothing.
        var persisted: Int64?
    }

    /// Where to begin with a queue: at the group's position (14), or where the configuration says when it has none.
    func findStart(_ queue: MessageQueue, completion: @escaping (Result<Start, MQError>) -> Void) {
        if let localOffsets {
            if let offset = localOffsets.offset(of: queue) { return completion(.success(Start(offset: offset, persisted: offset))) }
            return findFirstStart(queue) { completion($0.map { Start(offset: $0, persisted: nil) }) }
        }
        ask(.queryConsumerOffset, queue, ["consumerGroup": group], "ask for the group's position") { [self] result in
            switch result {
            case .success(let offset): completion(.success(Start(offset: offset, persisted: offset)))
            case .failure(let error) where error.responseCode == .queryNotFound:
                findFirstStart(queue) { completion($0.map { Start(offset: $0, persisted: nil) }) }
            case .failure(let error): completion(.failure(error))
            }
        }
    }

    private func findFirstStart(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        // What failed is never skipped.
        if queue.topic == retryTopic { return askLeast(queue, completion: completion) }
        guard configuration.consumeFromWhere != .firstOffset else { return askLeast(queue, completion: completion) }
        guard isYounger(queue) else { return findConfiguredStart(queue, completion: completion) }
        askLeast(queue) { [self] result in
            // A queue whose beginning is gone was there before, with a broker that was away.
            if case .success(let least) = result, least > 0 { return findConfiguredStart(queue, completion: completion) }
            completion(result)
        }
    }

    /// Whether the queue came into being while this consumer, or another broadcasting one with its file, was there.
    private func isYounger(_ queue: MessageQueue) -> Bool {
        if localOffsets?.knows(topic: queue.topic) == true { return true }
        return firstQueues[queue.topic].map { !$0.contains(queue) } ?? false
    }

    private func askLeast(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        ask(.getMinOffset, queue, [:], "ask for the least offset", completion: completion)
    }

    private func findConfiguredStart(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        guard configuration.consumeFromWhere == .timestamp else {
            return ask(.getMaxOffset, queue, [:], "ask for the greatest offset", completion: completion)
        }
        let timestamp = configuration.consumeTimestampMilliseconds ?? startedMilliseconds - 30 * 60_000
        ask(.searchOffsetByTimestamp, queue, ["timestamp": String(timestamp)], "ask for the offset at a time", completion: completion)
    }

    /// A request to a queue's broker whose answer is an offset.
    private func ask(
        _ code: RequestCode, _ queue: MessageQueue, _ more: [String: String], _ action: String,
        completion: @escaping (Result<Int64, MQError>) -> Void
    ) {
        var context = MQError.Context(topic: queue.topic, group: group, brokerName: queue.brokerName)
        guard let (address, _) = runtime.routes.readAddress(queue.brokerName) else { return completion(.failure(noBroker(queue))) }
        context.brokerAddress = address
        let fields = more.merging(queueFields(queue)) { old, _ in old }
        runtime.call(.request(code, fields), at: address, timeout: runtime.configuration.requestTimeout) { result in
            switch result {
            case .success(let response) where response.responseCode == .success:
                guard let offset = response.fields["offset"].flatMap({ Int64($0) }), offset >= 0 else {
                    return completion(.failure(MQError(.malformedAnswer, "cannot \(action): the answer has no offset", context)))
                }
                completion(.success(offset))
            case .success(let response): completion(.failure(MQError(response, doing: action, context)))
            case .failure(let error): completion(.failure(MQError(error, doing: action, context)))
            }
        }
    }

    func queueFields(_ queue: MessageQueue) -> [String: String] {
        ["topic": queue.topic, "queueId": String(queue.queueID), "bname": queue.brokerName]
    }

    func noBroker(_ queue: MessageQueue) -> MQError {
        MQError(
            .brokerNotFound, "the queue's broker is in no route", advice: "see whether it is up (mqadmin clusterList)",
            .init(topic: queue.topic, group: group, brokerName: queue.brokerName))
    }

    // MARK: Committing

    private func commitRequest(_ queue: MessageQueue, _ offset: Int64) -> RemotingCommand {
        let fields = queueFields(queue).merging(["consumerGroup": group, "commitOffset": String(offset)]) { old, _ in old }
        return .request(.updateConsumerOffset, fields)
    }

    /// Commits one position and waits for the broker's answer.
    func commit(_ queue: MessageQueue, _ offset: Int64, completion: @escaping (Bool) -> Void) {
        if let localOffsets {
            localOffsets.set(queue, offset)
            return localOffsets.save { completion($0 == nil) }
        }
        guard let address = runtime.routes.masterAddress(queue.brokerName) else { return completion(false) }
        runtime.call(commitRequest(queue, offset), at: address, timeout: runtime.configuration.requestTimeout) { [self] result in
            let context = MQError.Context(topic: queue.topic, group: group, brokerName: queue.brokerName, brokerAddress: address)
            var failure: MQError?
            switch result {
            case .success(let response):
                if response.responseCode != .success { failure = MQError(response, doing: "commit offset \(offset)", context) }
            case .failure(let error): failure = MQError(error, doing: "commit offset \(offset)", context)
            }
            if let failure { log.log(.warning, limitedBy: "commit", "\(failure)") }
            completion(failure == nil)
        }
    }

    /// Every few seconds: commits what has changed, without waiting.
    func persistOffsets() {
        if let localOffsets {
            for held in queues.values { localOffsets.set(held.queue, held.process.committable) }
            return localOffsets.save()
        }
        for held in inOrder(queues) where held.process.committable != held.persistedOffset {
            guard let address = runtime.routes.masterAddress(held.queue.brokerName) else { continue }
            let offset = held.process.committable
            runtime.callOneway(commitRequest(held.queue, offset), at: address) { error in
                if error == nil { held.persistedOffset = offset }
            }
        }
    }

    func closeLocalOffsets(completion: @escaping () -> Void) {
        guard let localOffsets else { return completion() }
        localOffsets.save { error in
            localOffsets.close()
            completion()
        }
    }
}
