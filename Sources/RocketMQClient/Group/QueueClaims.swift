import RocketMQBase
import RocketMQProtocol

/// A queue that this member is to have and has not begun with yet: it waits for its lock or for its position.
final class QueueClaim {
    let queue: MessageQueue
    let since: MonotonicTime
    /// What this member has finished itself, before it lost the lock.
    var floor: Int64?
    /// Where a tool has set the group's position since the claim was made.
    var reset: Int64?
    /// When the broker granted the lock; `nil` without one.
    var lockedAt: MonotonicTime?
    /// Another client has the lock: it is asked for again.
    var isWaiting = false
    /// Since when no member is known to be there that has the lock.
    var orphanedSince: MonotonicTime

    init(_ queue: MessageQueue, since: MonotonicTime, floor: Int64? = nil, lockedAt: MonotonicTime? = nil) {
        self.queue = queue
        self.since = since
        orphanedSince = since
        self.floor = floor
        self.lockedAt = lockedAt
    }
}

/// Queues that come to this member: their lock first, then the group's position, then their owner begins. Confined to the loop.
final class QueueClaims {
    private static let askAgainSoon = Duration.milliseconds(200)
    private static let askAgain = Duration.seconds(1)

    private let locks: QueueLocks
    private unowned let owner: any QueueHolder
    private var table: [MessageQueue: QueueClaim] = [:]
    private var again: (any ScheduledCall)?
    /// Brokers that were said not to know locks.
    private var toldOf: Set<String> = []

    init(_ locks: QueueLocks, owner: any QueueHolder) {
        self.locks = locks
        self.owner = owner
    }

    private var runtime: RuntimeCore { locks.requests.runtime }
    private var group: String { locks.requests.group }
    private var log: Logger { runtime.log }
    private var timeout: Duration { owner.configuration.handOverTimeout }

    subscript(_ queue: MessageQueue) -> QueueClaim? { table[queue] }

    /// Queues that are being claimed.
    var queues: Set<MessageQueue> { Set(table.keys) }

    private var inOrder: [QueueClaim] { table.values.sorted { $0.queue < $1.queue } }

    /// Those of them whose lock was granted.
    var locked: [MessageQueue] { inOrder.filter { $0.lockedAt != nil }.map(\.queue) }

    // MARK: Claiming

    /// Takes queues up. `completion` when the positions are known of those that nobody else has, or with why one could not be
    /// found out.
    func take(_ wanted: [MessageQueue], completion: @escaping (MQError?) -> Void) {
        let fresh = wanted.map { QueueClaim($0, since: runtime.now) }
        for claim in fresh { table[claim.queue] = claim }
        var failure: MQError?
        let done = Countdown(fresh.count) { completion(failure) }
        let step = { (error: MQError?) in
            failure = failure ?? error
            done.step()
        }
        guard owner.usesLocks else {
            for claim in fresh { findStart(claim, step) }
            return
        }
        askForLocks(fresh, step)
    }

    /// Takes a queue up anew that was lost to another member.
    func takeAgain(_ queue: MessageQueue, floor: Int64) {
        let claim = QueueClaim(queue, since: runtime.now, floor: floor)
        table[queue] = claim
        claim.isWaiting = true
        askLater()
    }

    /// A claim that its owner begins with itself.
    func hold(_ queue: MessageQueue, lockedAt: MonotonicTime?) -> QueueClaim {
        let claim = QueueClaim(queue, since: runtime.now, lockedAt: lockedAt)
        table[queue] = claim
        return claim
    }

    func giveUp(_ claim: QueueClaim) {
        guard table[claim.queue] === claim else { return }
        table[claim.queue] = nil
        if claim.lockedAt != nil { owner.unlock([claim.queue]) }
    }

    /// Gives up all of them, or those of one topic.
    func giveUpAll(of topic: String? = nil) { for claim in inOrder where topic == nil || claim.queue.topic == topic { giveUp(claim) } }

    func stop() {
        again?.cancel()
        again = nil
        giveUpAll()
    }

    // MARK: Locks

    private func askForLocks(_ wanted: [QueueClaim], _ step: @escaping (MQError?) -> Void) {
        let asked = runtime.now
        for claim in wanted { claim.isWaiting = false }
        for (brokerName, wanted) in QueueLocks.byBroker(wanted, \.queue) {
            locks.lock(Set(wanted.map(\.queue)), brokerName: brokerName) { [self, owner] result in
                for claim in wanted { answered(claim, result, asked, owner, step) }
            }
        }
    }

    private func answered(
        _ claim: QueueClaim, _ result: Result<LockBatchResponseBody, MQError>, _ asked: MonotonicTime, _ owner: any QueueHolder,
        _ step: @escaping (MQError?) -> Void
    ) {
        let queue = claim.queue
        let isGranted = if case .success(let answer) = result { answer.lockedQueues.contains(queue) } else { false }
        guard table[queue] === claim, !owner.isStopping else {
            // Given up meanwhile, and with it the lock, unless it is wanted again.
            if isGranted, table[queue] == nil, owner.lockable(queue) == nil { owner.unlock([queue]) }
            return step(nil)
        }
        if isGranted {
            claim.lockedAt = asked
            return findStart(claim, step)
        }
        if !owner.needsLocks, mayGoWithout(claim, result) { return findStart(claim, step) }
        if case .failure(let error) = result { log.log(.warning, limitedBy: "locks", "\(error)") }
        claim.isWaiting = true
        askLater()
        step(nil)
    }

    /// Whether a queue is begun without its lock, and says why.
    private func mayGoWithout(_ claim: QueueClaim, _ result: Result<LockBatchResponseBody, MQError>) -> Bool {
        if case .failure(let error) = result, error.saysUnsupported {
            if toldOf.insert(claim.queue.brokerName).inserted {
                log.warning(
                    "\(group): the broker \(claim.queue.brokerName) does not know locks on queues, so messages may be delivered twice when "
                        + "its queues change hands: \(error)")
            }
            return true
        }
        if case .success(let answer) = result, answer.heldByMembers.contains(claim.queue) {
            // It finishes what it is at, or does not know yet that the queue is to change hands.
            claim.orphanedSince = runtime.now
            return false
        }
        guard runtime.now - claim.orphanedSince >= timeout else { return false }
        log.log(
            .warning, limitedBy: "hand over",
            "\(group): \(claim.queue) is consumed though the member that had it has not said that it has finished (handOverTimeout): "
                + "messages that it was at may be delivered twice")
        return true
    }

    /// Asks again for the locks that others have: often at first, while they finish what they are at.
    private func askLater() {
        guard again == nil, !owner.isStopping else { return }
        let now = runtime.now
        let isYoung = table.values.contains { $0.isWaiting && now - $0.since < timeout }
        again = runtime.schedule(after: isYoung ? Self.askAgainSoon : Self.askAgain) { [self, owner] in
            again = nil
            let waiting = inOrder.filter(\.isWaiting)
            if !waiting.isEmpty, !owner.isStopping { askForLocks(waiting) { _ in } }
        }
    }

    // MARK: Beginning

    private func findStart(_ claim: QueueClaim, _ step: @escaping (MQError?) -> Void) {
        let queue = claim.queue
        owner.positions.findStart(queue) { [self, owner] result in
            guard table[queue] === claim, !owner.isStopping else { return step(nil) }
            switch result {
            case .success(let start):
                // What this member has finished before it lost the lock is finished, committed or not.
                begin(claim, at: max(start.offset, claim.floor ?? 0), persisted: start.persisted)
                step(nil)
            case .failure(let error):
                log.warning("\(group): cannot begin with \(queue): \(error)")
                giveUp(claim)
                owner.sharing.divideLater()
                step(error)
            }
        }
    }

    /// Lets the owner begin, at `offset` or where a tool has set the position meanwhile.
    func begin(_ claim: QueueClaim, at offset: Int64, persisted: Int64?) {
        let offset = claim.reset ?? offset
        table[claim.queue] = nil
        log.info("\(group): begins with \(claim.queue) at \(offset)")
        owner.begin(claim, at: offset, persisted: persisted)
    }
}

extension MQError {
    /// The broker does not know the request at all.
    var saysUnsupported: Bool { responseCode == .requestCodeNotSupported }
}
