import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Locks on queues, which brokers keep for a group (41, 42): one member at a time has a queue.
///
/// An orderly listener gets nothing without the lock. For a concurrent one it is how a queue is handed over: the new owner
/// waits for the lock, and the old one gives it up when its position is committed. Members that do not lock, such as the
/// other clients' concurrent consumers, are not waited for, nor are those that do not answer for `handOverTimeout`.
extension ConsumerCore {
    private static let renewAgain = Duration.seconds(1)

    var usesLocks: Bool { !isBroadcasting }

    /// For how long a granted lock counts.
    private var lockLifetime: Duration { configuration.queueLockInterval * 1.5 }

    func isLocked(_ held: PullQueue) -> Bool { held.lockedAt.map { runtime.now - $0 < lockLifetime } ?? false }

    /// Asks for the locks on queues of one broker; `completion` gets those that were granted.
    func lock(_ wanted: Set<MessageQueue>, brokerName: String, completion: @escaping (Result<Set<MessageQueue>, MQError>) -> Void) {
        var context = MQError.Context(group: group, brokerName: brokerName)
        guard let address = runtime.routes.masterAddress(brokerName) else {
            return completion(.failure(MQError(.brokerNotFound, "cannot lock queues: their broker has no master in any route", context)))
        }
        context.brokerAddress = address
        let body = LockBatchRequestBody(consumerGroup: group, clientID: runtime.clientID, messageQueues: wanted)
        runtime.call(.request(.lockBatchMq, body: body.encoded()), at: address, timeout: runtime.configuration.requestTimeout) { result in
            switch result {
            case .success(let response) where response.responseCode == .success:
                do throws(MalformedBytes) {
                    completion(.success(try LockBatchResponseBody(decoding: response.body).lockedQueues.intersection(wanted)))
                } catch {
                    completion(.failure(MQError(.malformedAnswer, "the answer to a lock cannot be read: \(error)", context)))
                }
            case .success(let response): completion(.failure(MQError(response, doing: "lock queues", context)))
            case .failure(let error): completion(.failure(MQError(error, doing: "lock queues", context)))
            }
        }
    }

    func byBroker<Value>(_ values: [Value], _ queue: KeyPath<Value, MessageQueue>) -> [(String, [Value])] {
        Dictionary(grouping: values) { $0[keyPath: queue].brokerName }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Gives locks up, without waiting. One whose call still runs is kept until the call ends.
    func unlock(_ queues: [MessageQueue]) {
        let quiet = queues.filter { !busy.contains($0) }
        if quiet.count < queues.count { unlockWhenQuiet.formUnion(Set(queues).subtracting(quiet)) }
        for (brokerName, queues) in byBroker(quiet, \.self) {
            guard let address = runtime.routes.masterAddress(brokerName) else { continue }
            let body = UnlockBatchRequestBody(consumerGroup: group, clientID: runtime.clientID, messageQueues: Set(queues))
            runtime.callOneway(.request(.unlockBatchMq, body: body.encoded()), at: address)
        }
    }

    // MARK: Renewing

    /// Renews all locks, and tries for those that are not had.
    func renewLocks() {
        renewSoon?.cancel()
        renewSoon = nil
        var wanted = Set(queues.keys).union(leaving.keys)
        for claim in claims.values where claim.lockedAt != nil { wanted.insert(claim.queue) }
        for (brokerName, queues) in byBroker(wanted.sorted(), \.self) {
            let asked = runtime.now
            lock(Set(queues), brokerName: brokerName) { [self] result in
                switch result {
                case .success(let granted): for queue in queues { note(queue, isGranted: granted.contains(queue), asked) }
                case .failure(let error):
                    log.log(.warning, limitedBy: "locks", "\(error)")
                    renewAgainSoon()
                }
            }
        }
    }

    private func renewAgainSoon() {
        guard renewSoon == nil, !(isStopping && leaving.isEmpty) else { return }
        renewSoon = runtime.schedule(after: Self.renewAgain) { [self] in renewLocks() }
    }

    private func note(_ queue: MessageQueue, isGranted: Bool, _ asked: MonotonicTime) {
        if let claim = claims[queue] { claim.lockedAt = isGranted ? asked : nil }
        guard let held = queues[queue] ?? leaving[queue] else { return }
        if isGranted {
            held.lockedAt = asked
            held.lastLockMilliseconds = runtime.loop.clock.wallMilliseconds
        } else {
            held.lockedAt = nil
            if isOrderly { loseLock(held, "the broker gave it to another member of the group") }
        }
    }

    /// In order: stops with a queue at once, and begins again with the lock and the group's position when it can be had.
    func loseLock(_ held: PullQueue, _ reason: String) {
        let queue = held.queue
        log.warning("\(group): the lock on \(queue) is lost, so its messages are left to others: \(reason)")
        for call in running.values where call.batch.queue === held { call.listening.cancel() }
        let finished = held.process.committable
        let isLeaving = leaving[queue] === held
        held.lockedAt = nil
        discard(held)
        if isLeaving { return held.stopWaiting() }
        queues[queue] = nil
        let claim = QueueClaim(queue, since: runtime.now, floor: finished)
        claims[queue] = claim
        claim.isWaiting = true
        claimLater()
    }
}
