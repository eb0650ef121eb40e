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
        Set(queues.keys.filter { $0.topic == topic }).union(starting.filter { $0.topic == topic })
    }

    func apply(_ topic: String, _ step: Rebalance, completion: @escaping () -> Void) {
        for queue in step.givenUp {
            starting.remove(queue)
            if let held = queues[queue] { giveUp(held) }
        }
        let done = Countdown(step.taken.count, completion)
        for queue in step.taken {
            takeUp(queue) { [self] error in
                if error != nil { sharing.divideLater() }
                done.step()
            }
        }
    }

    // MARK: Taking and giving

    func takeUp(_ queue: MessageQueue, completion: @escaping (MQError?) -> Void) {
        starting.insert(queue)
        positions.findStart(queue) { [self] result in
            let reset = resets.removeValue(forKey: queue)
            guard starting.remove(queue) != nil, !isStopping else { return completion(nil) }
            switch result {
            case .success(let start):
                let offset = reset ?? start.offset
                log.info("\(group): reads \(queue) from \(offset)")
                let held = LitePullQueue(queue, startingAt: offset, committed: start.persisted)
                queues[queue] = held
                rotation.append(held)
                pull(held)
                completion(nil)
            case .failure(let error):
                log.warning("\(group): cannot begin with \(queue): \(error)")
                completion(error)
            }
        }
    }

    /// Stops with a queue. What is done with is committed when that is automatic; messages that readers have not taken yet are
    /// the next owner's.
    func giveUp(_ held: LitePullQueue) {
        let committable = held.committable
        held.drop()
        queues[held.queue] = nil
        rotation.removeAll { $0 === held }
        guard configuration.autoCommit, committable != held.committedOffset else { return }
        positions.commit(held.queue, committable) { [self] error in
            if let error { log.log(.warning, limitedBy: "commit", "\(error)") }
        }
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
        for held in rotation where held.committable != held.committedOffset { offsets[held.queue] = held.committable }
        commit(offsets, completion: completion)
    }

    /// Commits behind everything that readers have taken.
    func commitTaken(completion: @escaping (MQError?) -> Void) {
        var offsets: [MessageQueue: Int64] = [:]
        for held in rotation where held.position != held.committedOffset { offsets[held.queue] = held.position }
        commit(offsets, completion: completion)
    }

    /// Commits these positions and waits for the brokers' answers; `completion` gets the first failure.
    func commit(_ offsets: [MessageQueue: Int64], completion: @escaping (MQError?) -> Void) {
        var failure: MQError?
        let done = Countdown(offsets.count) { completion(failure) }
        for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) {
            positions.commit(queue, offset) { [self] error in
                if let error {
                    failure = failure ?? error
                    log.log(.warning, limitedBy: "commit", "\(error)")
                } else {
                    queues[queue]?.noteCommitted(offset)
                }
                done.step()
            }
        }
    }
}
