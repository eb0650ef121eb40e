import RocketMQBase
import RocketMQProtocol

/// Queues that come to an end here: what runs is finished, the position committed, the lock given up, in this order, so that
/// the next owner begins where this one stopped.
extension ConsumerCore {
    private static let commitAttempts = 3
    private static let commitPause = Duration.seconds(1)

    /// Stops with a queue. Calls that run are waited for, at most for `limit`; what still runs then is consumed again by the
    /// next owner. In order, the queue stays as long as its call runs.
    func leave(_ held: PullQueue, within limit: Duration? = nil, completion: (() -> Void)? = nil) {
        queues[held.queue] = nil
        leaving[held.queue] = held
        held.enter(.leaving)
        if let completion { held.whenLeft.append(completion) }
        guard held.unfinished > 0 else { return commitAndRelease(held) }
        var timer: (any ScheduledCall)?
        held.whenQuiet = { [self] in
            timer?.cancel()
            commitAndRelease(held)
        }
        guard let limit, !isOrderly else { return }
        timer = runtime.schedule(after: limit) { [self] in
            log.log(
                .warning, limitedBy: "hand over",
                "\(group): \(held.unfinished) calls for \(held.queue) did not end within \(limit) (handOverTimeout): its next owner gets "
                    + "their messages too")
            held.stopWaiting()
        }
    }

    private func commitAndRelease(_ held: PullQueue, attempt: Int = 1) {
        // Of one that was lost another member says how far the group is.
        guard !held.isDropped else { return release(held) }
        let committable = held.reset ?? held.process.committable
        guard committable != held.acknowledgedOffset || held.reset != nil else { return release(held) }
        renewal.confirm(held) { [self] found in
            switch found {
            case .ours: commit(held, committable, attempt: attempt)
            case .lost: release(held)
            case .unknown: commitLater(held, attempt: attempt)
            }
        }
    }

    private func commit(_ held: PullQueue, _ committable: Int64, attempt: Int) {
        commit(held.queue, committable) { [self] isCommitted in
            if isCommitted, let reset = held.reset, reset != committable { return commitAndRelease(held, attempt: attempt) }
            if isCommitted { release(held) } else { commitLater(held, attempt: attempt) }
        }
    }

    private func commitLater(_ held: PullQueue, attempt: Int) {
        guard attempt < Self.commitAttempts, !isStopping else { return release(held) }
        _ = runtime.schedule(after: Self.commitPause) { [self] in commitAndRelease(held, attempt: attempt + 1) }
    }

    private func release(_ held: PullQueue) {
        guard leaving[held.queue] === held else { return }
        discard(held)
        leaving[held.queue] = nil
        if held.lockedAt != nil { unlock([held.queue]) }
        let left = held.whenLeft
        held.whenLeft = []
        for completion in left { completion() }
        if held.isWantedAgain, !isStopping { rebalance(held.queue.topic) {} }
    }

    /// Forgets a queue: whatever still comes of it does not count.
    func discard(_ held: PullQueue) {
        guard !held.isDropped else { return }
        self.held.remove(count: held.process.count, byteCount: held.process.byteCount)
        held.enter(.dropped)
        pullWhereThereIsRoom()
    }

    /// Goes on at another place: what was pulled before does not count.
    func jump(_ held: PullQueue, to offset: Int64, because reason: String) {
        log.warning("\(group): \(held.queue) goes on at \(offset) instead of \(held.nextOffset): \(reason)")
        let queue = held.queue
        discard(held)
        queues[queue] = nil
        let claim = claims.hold(queue, lockedAt: held.lockedAt)
        commit(queue, offset) { [self] isCommitted in
            guard claims[queue] === claim, !isStopping else { return }
            claims.begin(claim, at: offset, persisted: isCommitted ? offset : nil)
        }
    }

    /// The queue's topic was deleted. When it is there again it is another one: nothing that was held or is known of positions counts.
    func beginAfterDeletion(_ held: PullQueue) {
        discard(held)
        queues[held.queue] = nil
        find(claims.hold(held.queue, lockedAt: held.lockedAt))
    }

    private func find(_ claim: QueueClaim) {
        _ = runtime.schedule(after: GroupPulls.afterFailure) { [self] in
            guard claims[claim.queue] === claim, !isStopping else { return }
            positions.findAfterDeletion(claim.queue) { [self] result in
                guard claims[claim.queue] === claim, !isStopping else { return }
                switch result {
                case .success(let start): claims.begin(claim, at: start.offset, persisted: start.persisted)
                case .failure(let error):
                    log.log(.warning, limitedBy: "pull", "\(error)")
                    find(claim)
                }
            }
        }
    }

    /// Positions set from outside (220).
    func resetOffsets(topic: String, to offsets: [MessageQueue: Int64]) {
        for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) where queue.topic == topic && offset >= 0 {
            claims[queue]?.floor = nil
            claims[queue]?.reset = offset
            leaving[queue]?.reset = offset
            if let held = queues[queue] { jump(held, to: offset, because: "the position was reset by a tool") }
        }
    }
}
