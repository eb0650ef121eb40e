import RocketMQBase
import RocketMQProtocol

/// Which queues this member has, and the positions in them.
extension LitePullCore: QueueSharer {
    var isSharing: Bool { isActive && !isStopping && mode == .subscribed }

    func membersChanged() { rebalance() }

    func routeChanged(_ topic: String) {
        noteQueues(of: topic)
        guard subscriptions[topic] != nil, isSharing else { return }
        if isBroadcasting { takeAll(topic) {} } else { sharing.divide(topic) {} }
    }

    /// Divides the queues of all topics anew. `completion` when the positions of those that came are known, or could not be
    /// found out for now.
    func rebalance(completion: @escaping () -> Void = {}) {
        guard isSharing else { return completion() }
        guard isBroadcasting else { return sharing.divideAll(completion: completion) }
        let done = Countdown(subscriptions.count, completion)
        for topic in subscriptions.keys.sorted() { takeAll(topic) { done.step() } }
    }

    /// In broadcasting.
    private func takeAll(_ topic: String, completion: @escaping () -> Void) {
        guard let all = runtime.routes.readableQueues(topic) else { return completion() }
        apply(topic, Rebalance(broadcasting: all, owned: owned(topic)), completion: completion)
    }

    func owned(_ topic: String) -> Set<MessageQueue> {
        Set(queues.keys.filter { $0.topic == topic }).union(claims.queues.filter { $0.topic == topic })
    }

    func apply(_ topic: String, _ step: Rebalance, completion: @escaping () -> Void) {
        for queue in leaving.keys where queue.topic == topic { leaving[queue]?.isWantedAgain = false }
        for queue in step.givenUp {
            if let claim = claims[queue] { claims.giveUp(claim) }
            if let held = queues[queue] { leave(held) }
        }
        for queue in step.taken { leaving[queue]?.isWantedAgain = true }
        claims.take(step.taken.filter { leaving[$0] == nil }) { _ in completion() }
    }

    // MARK: Positions

    /// Where to go on in a queue.
    func seek(_ queue: MessageQueue, to place: SeekTarget, completion: @escaping (MQError?) -> Void) {
        guard let held = queues[queue] else { return completion(notAssigned(queue)) }
        let jump = { [self] (result: Result<Int64, MQError>) in
            switch result {
            case .success(let offset):
                guard !held.isDropped else { return completion(notAssigned(queue)) }
                held.jump(to: offset)
                pull(held)
                completion(nil)
            case .failure(let error): completion(error)
            }
        }
        switch place.kind {
        case .offset(let offset):
            guard offset >= 0 else {
                return completion(MQError(.invalidConfiguration, "there is no offset \(offset)", .init(topic: queue.topic, group: group)))
            }
            jump(.success(offset))
        case .begin: requests.leastOffset(queue, completion: jump)
        case .end: requests.greatestOffset(queue, completion: jump)
        case .time(let milliseconds): requests.offset(queue, atMilliseconds: milliseconds, completion: jump)
        }
    }

    /// Goes on when the queue's broker is known, after asking for the topic's route if need be.
    func withRoute<Value>(_ queue: MessageQueue, _ fail: @escaping (Result<Value, MQError>) -> Void, _ goOn: @escaping () -> Void) {
        guard runtime.routes.readAddress(queue.brokerName) == nil else { return goOn() }
        runtime.lookUpRoute(queue.topic) { error in
            if let error { return fail(.failure(error)) }
            goOn()
        }
    }

    func notAssigned(_ queue: MessageQueue) -> MQError {
        MQError(
            .notAssigned, "this member does not have queue \(queue.queueID)",
            advice: "look at assignment, and wait for the group's queues to be shared out",
            .init(
                topic: queue.topic, group: group, brokerName: queue.brokerName))
    }

    /// Commits how far readers are done, where that has changed.
    func commitDone(completion: @escaping (MQError?) -> Void) {
        var offsets: [MessageQueue: Int64] = [:]
        for held in everything where held.committable != held.committedOffset && held.reset == nil && renewal.mayCommit(held) {
            offsets[held.queue] = held.committable
        }
        store(offsets, completion: completion)
    }

    /// Commits behind everything that readers have taken.
    func commitTaken(completion: @escaping (MQError?) -> Void) {
        var offsets: [MessageQueue: Int64] = [:]
        for held in everything where held.position != held.committedOffset && held.reset == nil { offsets[held.queue] = held.position }
        commit(offsets, completion: completion)
    }

    /// Commits what the program says and waits for the brokers' answers; `completion` gets the first failure. Other members'
    /// queues are theirs to commit.
    ///
    /// - Parameter areOfMessages: they are behind messages that were read here, and count for as long as their queue has been had.
    func commit(_ offsets: [MessageQueue: Int64], areOfMessages: Bool = false, completion: @escaping (MQError?) -> Void) {
        guard usesLocks else { return store(offsets, completion: completion) }
        var ours: [MessageQueue: Int64] = [:]
        var failure: MQError?
        let done = Countdown(offsets.count) { [self] in store(ours) { completion(failure ?? $0) } }
        for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            let step = { [self] (found: LockConfirmation) in
                switch found {
                case .ours: ours[queue] = offset
                case .lost: failure = failure ?? lost(queue, offset)
                case .unknown(let error): failure = failure ?? error
                }
                done.step()
            }
            if let held = queues[queue] ?? leaving[queue], !areOfMessages || offset > held.leastOffset {
                renewal.confirm(held, completion: step)
            } else {
                step(.lost)
            }
        }
    }

    private func lost(_ queue: MessageQueue, _ offset: Int64) -> MQError {
        MQError(
            .notAssigned, "cannot commit offset \(offset): this member does not have queue \(queue.queueID) any more",
            advice: "its messages from the group's position on go to the member that has it now; what takes longer than handOverTimeout "
                + "between reading and committing may be read twice",
            .init(topic: queue.topic, group: group, brokerName: queue.brokerName))
    }

    private func store(_ offsets: [MessageQueue: Int64], completion: @escaping (MQError?) -> Void) {
        var failure: MQError?
        let done = Countdown(offsets.count) { completion(failure) }
        for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            let held = queues[queue] ?? leaving[queue]
            let jumps = held?.jumps
            held?.committedByHand = nil
            if let held { held.askedToCommit = max(held.askedToCommit, offset) }
            positions.commit(queue, offset) { [self] error in
                if let error {
                    failure = failure ?? error
                    log.log(.warning, limitedBy: "commit", "\(error)")
                } else if held?.jumps == jumps {
                    // After a jump it says nothing of where this member is.
                    held?.noteCommitted(offset)
                }
                done.step()
            }
        }
    }
}
