import RocketMQBase
import RocketMQProtocol

/// Locks of queues: see `QueueLocks`.
extension ConsumerCore: QueueHolder {
    var usesLocks: Bool { !isBroadcasting }
    var needsLocks: Bool { isOrderly }

    var lockable: [any LockedQueue] { inOrder(queues) + inOrder(leaving) }
    func lockable(_ queue: MessageQueue) -> (any LockedQueue)? { queues[queue] ?? leaving[queue] }

    func begin(_ claim: QueueClaim, at offset: Int64, persisted: Int64?) {
        let queue = claim.queue
        let held = PullQueue(
            queue, shownAs: namespace.unwrap(queue), startingAt: offset, persisted: persisted, rates: rates(of: queue.topic))
        held.lockedAt = claim.lockedAt
        if claim.lockedAt != nil { held.lastLockMilliseconds = runtime.loop.clock.wallMilliseconds }
        queues[queue] = held
        pull(held)
    }

    func connectionClosed(_ address: String) { if usesLocks { renewal.noteDisconnected(address) } }

    /// Gives locks up, without waiting. One whose call still runs is kept until the call ends.
    func unlock(_ queues: [MessageQueue]) {
        let quiet = queues.filter { !busy.contains($0) }
        if quiet.count < queues.count { unlockWhenQuiet.formUnion(Set(queues).subtracting(quiet)) }
        locks.unlock(quiet)
    }

    /// Stops with a queue at once, and begins again with the lock and the group's position when it can be had.
    func loseLock(_ queue: MessageQueue, _ reason: String) {
        guard let held = queues[queue] ?? leaving[queue] else { return }
        log.warning("\(group): the lock on \(queue) is lost, so its messages are left to others: \(reason)")
        for call in running.values where call.batch.queue === held { call.listening.cancel() }
        let finished = held.process.committable
        let isLeaving = leaving[queue] === held
        held.lockedAt = nil
        discard(held)
        if isLeaving { return held.stopWaiting() }
        queues[queue] = nil
        claims.takeAgain(queue, floor: finished)
    }
}
