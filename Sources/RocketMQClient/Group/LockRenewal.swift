import RocketMQBase
import RocketMQProtocol

/// Whether a queue is this member's still.
enum LockConfirmation {
    case ours
    /// Another member has it, or had it meanwhile.
    case lost
    case unknown(MQError)
}

/// Renews the locks of a consumer, and tells for how long they can be trusted: a process that hung or was cut off may find another
/// member at its queues, whose position it must not set back. Confined to the loop.
final class LockRenewal {
    private static let renewAgain = Duration.seconds(1)

    private let locks: QueueLocks
    private unowned let owner: any QueueHolder
    private var timer: (any ScheduledCall)?
    private var soon: (any ScheduledCall)?
    /// Those who wait to hear whether a queue is this member's still.
    private var waiting: [MessageQueue: [(LockConfirmation) -> Void]] = [:]
    private var isStopped = false

    init(_ locks: QueueLocks, owner: any QueueHolder) {
        self.locks = locks
        self.owner = owner
    }

    private var runtime: RuntimeCore { locks.requests.runtime }
    private var log: Logger { runtime.log }

    /// For how long a granted lock counts.
    private var lifetime: Duration { owner.configuration.queueLockInterval * 1.5 }

    func start() {
        timer = runtime.loop.scheduleRepeatedly(every: owner.configuration.queueLockInterval) { [self] in renew() }
    }

    func stop() {
        isStopped = true
        timer?.cancel()
        soon?.cancel()
        (timer, soon) = (nil, nil)
        for queue in waiting.keys.sorted() { settle(queue, .unknown(shutDown)) }
    }

    private var shutDown: MQError { MQError(.shutDown, "this consumer has been shut down", .init(group: locks.requests.group)) }

    // MARK: Trust

    /// It has the lock, and no other member can have got it.
    func isLocked(_ held: any LockedQueue) -> Bool { held.lockedAt.map { runtime.now - $0 < lifetime } ?? false }

    /// It had the lock, and it may have ended since: another member may have the queue.
    private func isDoubtful(_ held: any LockedQueue) -> Bool {
        held.lockedAt.map { held.isInDoubt || runtime.now - $0 >= lifetime } ?? false
    }

    /// A connection to a broker ended, and with it this client's membership there: whoever gets its queues meanwhile waits for
    /// `handOverTimeout` only. So nothing is committed over the next connection before it is known whose they are.
    func noteDisconnected(_ address: String) {
        var isAny = false
        for held in owner.lockable
        where held.lockedAt != nil && runtime.routes.masterAddress(held.queue.brokerName) == address {
            held.isInDoubt = true
            isAny = true
        }
        if isAny { renewSoon(after: Self.renewAgain) }
    }

    /// Whether a position may be committed. If not, it is being found out.
    func mayCommit(_ held: any LockedQueue) -> Bool {
        guard isDoubtful(held) else { return true }
        renewSoon(after: .zero)
        return false
    }

    /// `completion` with whether the queue is this member's still, as far as can be found out.
    func confirm(_ held: any LockedQueue, completion: @escaping (LockConfirmation) -> Void) {
        guard isDoubtful(held) else { return completion(.ours) }
        guard !isStopped else { return completion(.unknown(shutDown)) }
        waiting[held.queue, default: []].append(completion)
        renewSoon(after: .zero)
    }

    private func settle(_ queue: MessageQueue, _ found: LockConfirmation) {
        for completion in waiting.removeValue(forKey: queue) ?? [] { completion(found) }
    }

    // MARK: Renewing

    private var isUrgent = false

    private func renewSoon(after delay: Duration) {
        guard !isStopped, soon == nil || delay == .zero && !isUrgent else { return }
        soon?.cancel()
        isUrgent = delay == .zero
        soon = runtime.schedule(after: delay) { [self] in renew() }
    }

    /// Renews all locks, and tries for those that are not had.
    func renew() {
        soon?.cancel()
        soon = nil
        isUrgent = false
        let wanted = Set(owner.lockable.map(\.queue)).union(owner.claims.locked)
        for (brokerName, queues) in QueueLocks.byBroker(wanted.sorted(), \.self) {
            let asked = runtime.now
            locks.lock(Set(queues), brokerName: brokerName) { [self, owner] result in
                guard !isStopped else { return }
                switch result {
                case .success(let answer):
                    for queue in queues { note(queue, isGranted: answer.lockedQueues.contains(queue), asked, owner) }
                case .failure(let error): for queue in queues { failed(queue, error, owner) }
                }
            }
        }
        // What nobody asks for any more.
        for queue in waiting.keys.sorted() where !wanted.contains(queue) { settle(queue, .lost) }
    }

    private func failed(_ queue: MessageQueue, _ error: MQError, _ owner: any QueueHolder) {
        if error.saysUnsupported, !owner.needsLocks {
            // Another broker than before: there is nothing to go by.
            owner.lockable(queue)?.lockedAt = nil
            return settle(queue, .ours)
        }
        log.log(.warning, limitedBy: "locks", "\(error)")
        settle(queue, .unknown(error))
        if owner.needsLocks || owner.lockable(queue)?.lockedAt != nil { renewSoon(after: Self.renewAgain) }
    }

    private func note(_ queue: MessageQueue, isGranted: Bool, _ asked: MonotonicTime, _ owner: any QueueHolder) {
        if let claim = owner.claims[queue] { claim.lockedAt = isGranted ? asked : nil }
        guard let held = owner.lockable(queue) else { return settle(queue, .lost) }
        guard isGranted else {
            if owner.needsLocks || held.lockedAt != nil { owner.loseLock(queue, "the broker gave it to another member of the group") }
            return settle(queue, .lost)
        }
        guard isDoubtful(held) else {
            take(held, asked)
            return settle(queue, .ours)
        }
        // Another member may have had the queue meanwhile, and left again, or does without locks.
        owner.positions.stored(queue) { [self, owner] result in
            guard !isStopped, owner.lockable(queue) === held, isDoubtful(held) else {
                return settle(queue, owner.lockable(queue) === held ? .ours : .lost)
            }
            switch result {
            case .success(let position):
                let isOurs = (position ?? 0) <= held.furthest
                take(held, asked)
                if !isOurs {
                    owner.unlock([queue])
                    owner.loseLock(queue, "the group has gone on to \(position ?? 0) without this member")
                }
                settle(queue, isOurs ? .ours : .lost)
            case .failure(let error):
                log.log(.warning, limitedBy: "locks", "\(error)")
                settle(queue, .unknown(error))
                renewSoon(after: Self.renewAgain)
            }
        }
    }

    private func take(_ held: any LockedQueue, _ asked: MonotonicTime) {
        held.lockedAt = asked
        held.isInDoubt = false
        held.lastLockMilliseconds = runtime.loop.clock.wallMilliseconds
    }
}
