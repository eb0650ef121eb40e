import RocketMQBase
import RocketMQProtocol

/// Queues that come to this member: their lock first, then the group's position, then the first pull.
extension ConsumerCore {
    private static let askAgainSoon = Duration.milliseconds(200)
    private static let askAgain = Duration.seconds(1)

    /// Takes queues up. `completion` when the positions are known of those that nobody else has, or could not be found out.
    func takeUp(_ wanted: [MessageQueue], completion: @escaping () -> Void) {
        var fresh: [QueueClaim] = []
        for queue in wanted {
            if let leaving = leaving[queue] {
                leaving.isWantedAgain = true
            } else {
                fresh.append(QueueClaim(queue, since: runtime.now))
            }
        }
        for claim in fresh { claims[claim.queue] = claim }
        let done = Countdown(fresh.count, completion)
        guard usesLocks else {
            for claim in fresh { findStart(claim) { done.step() } }
            return
        }
        askForLocks(fresh) { done.step() }
    }

    private func askForLocks(_ wanted: [QueueClaim], step: @escaping () -> Void) {
        let asked = runtime.now
        for claim in wanted { claim.isWaiting = false }
        for (brokerName, wanted) in byBroker(wanted, \.queue) {
            lock(Set(wanted.map(\.queue)), brokerName: brokerName) { [self] result in
                for claim in wanted { answered(claim, result, asked, step) }
            }
        }
    }

    private func answered(
        _ claim: QueueClaim, _ result: Result<Set<MessageQueue>, MQError>, _ asked: MonotonicTime, _ step: @escaping () -> Void
    ) {
        let queue = claim.queue
        let isGranted = if case .success(let granted) = result { granted.contains(queue) } else { false }
        guard claims[queue] === claim, !isStopping else {
            // Given up meanwhile, and with it the lock, unless it is wanted again.
            if isGranted, claims[queue] == nil, queues[queue] == nil, leaving[queue] == nil { unlock([queue]) }
            return step()
        }
        if isGranted {
            claim.lockedAt = asked
            return findStart(claim, step)
        }
        let mayGoWithout = runtime.now - claim.since >= configuration.handOverTimeout
        switch result {
        case .failure(let error):
            log.log(.warning, limitedBy: "locks", "\(error)")
            if !isOrderly { return findStart(claim, step) }
        case .success where !isOrderly && mayGoWithout:
            log.log(
                .warning, limitedBy: "hand over",
                "\(group): \(queue) is consumed though the member that had it has not said that it has finished "
                    + "(handOverTimeout): messages that it was at may be delivered twice")
            return findStart(claim, step)
        case .success: break
        }
        claim.isWaiting = true
        claimLater()
        step()
    }

    /// Asks again for the locks that others have: often at first, while they finish what they are at.
    func claimLater() {
        guard claimAgain == nil, !isStopping else { return }
        let now = runtime.now
        let isYoung = claims.values.contains { $0.isWaiting && now - $0.since < configuration.handOverTimeout }
        claimAgain = runtime.schedule(after: isYoung ? Self.askAgainSoon : Self.askAgain) { [self] in
            claimAgain = nil
            let waiting = inOrder(claims).filter(\.isWaiting)
            if !waiting.isEmpty { askForLocks(waiting) {} }
        }
    }

    // MARK: Beginning

    private func findStart(_ claim: QueueClaim, _ step: @escaping () -> Void) {
        let queue = claim.queue
        positions.findStart(queue) { [self] result in
            defer { step() }
            guard claims[queue] === claim, !isStopping else { return }
            switch result {
            case .success(let start):
                // What this member has finished before it lost the lock is finished, committed or not.
                let offset = max(start.offset, claim.floor ?? 0)
                log.info("\(group): consumes \(queue) from \(offset)")
                begin(claim, at: offset, persisted: start.persisted)
            case .failure(let error):
                log.warning("\(group): cannot begin with \(queue): \(error)")
                giveUp(claim)
                sharing.divideLater()
            }
        }
    }

    func begin(_ claim: QueueClaim, at place: Int64, persisted: Int64?) {
        let queue = claim.queue
        let offset = claim.reset ?? place
        claims[queue] = nil
        let held = PullQueue(queue, shownAs: namespace.unwrap(queue), startingAt: offset, persisted: persisted)
        held.lockedAt = claim.lockedAt
        if claim.lockedAt != nil { held.lastLockMilliseconds = runtime.loop.clock.wallMilliseconds }
        queues[queue] = held
        pull(held)
    }
}
