import RocketMQBase
import RocketMQProtocol

/// Locks of queues, and how a queue goes to another member: readers finish what they have, the position is committed, the lock
/// given up, in this order, so that the next owner begins where this one stopped.
extension LitePullCore: QueueHolder {
    private static let commitAttempts = 3
    private static let commitPause = Duration.seconds(1)

    /// Queues that are assigned belong to whom they were given to, whatever others do.
    var usesLocks: Bool { mode == .subscribed && !isBroadcasting }
    var needsLocks: Bool { false }

    /// What it has, and what it is still to finish with.
    var everything: [LitePullQueue] { rotation + leaving.sorted { $0.key < $1.key }.map(\.value) }
    var lockable: [any LockedQueue] { everything.sorted { $0.queue < $1.queue } }
    func lockable(_ queue: MessageQueue) -> (any LockedQueue)? { queues[queue] ?? leaving[queue] }
    func unlock(_ queues: [MessageQueue]) { locks.unlock(queues) }

    func connectionClosed(_ address: String) { if usesLocks { renewal.noteDisconnected(address) } }

    func begin(_ claim: QueueClaim, at offset: Int64, persisted: Int64?) {
        let held = LitePullQueue(claim.queue, startingAt: offset, committed: persisted, isCommittedByHand: !configuration.autoCommit)
        held.lockedAt = claim.lockedAt
        if claim.lockedAt != nil { held.lastLockMilliseconds = runtime.loop.clock.wallMilliseconds }
        queues[claim.queue] = held
        rotation.append(held)
        pull(held)
    }

    /// Stops with a queue. Readers finish what they have of it, or the program commits it: that is waited for, at most for
    /// `handOverTimeout`. What they have not taken yet is the next owner's.
    func leave(_ held: LitePullQueue) {
        remove(held)
        guard usesLocks else {
            let committable = held.committable
            held.drop()
            guard configuration.autoCommit, committable != held.committedOffset else { return }
            return positions.commit(held.queue, committable) { [self] error in
                if let error { log.log(.warning, limitedBy: "commit", "\(error)") }
            }
        }
        leaving[held.queue] = held
        held.leave()
        guard held.isUnfinished else { return commitAndRelease(held) }
        let timer = runtime.schedule(after: configuration.handOverTimeout) { [self] in
            guard held.whenQuiet != nil else { return }
            log.log(
                .warning, limitedBy: "hand over",
                "\(group): messages of \(held.queue) were read and not "
                    + (configuration.autoCommit ? "finished" : "committed")
                    + " within \(configuration.handOverTimeout) (handOverTimeout): its next owner gets them too")
            held.stopWaiting()
        }
        held.whenQuiet = { [self] in
            timer.cancel()
            commitAndRelease(held)
        }
    }

    private func remove(_ held: LitePullQueue) {
        queues[held.queue] = nil
        rotation.removeAll { $0 === held }
    }

    private func commitAndRelease(_ held: LitePullQueue, attempt: Int = 1) {
        guard !held.isDropped, !isStopping else { return release(held) }
        let offset = held.reset ?? held.committable
        guard held.reset != nil || configuration.autoCommit && offset != held.committedOffset else { return release(held) }
        let again = { [self] in
            guard attempt < Self.commitAttempts, !isStopping else { return release(held) }
            _ = runtime.schedule(after: Self.commitPause) { [self] in commitAndRelease(held, attempt: attempt + 1) }
        }
        renewal.confirm(held) { [self] found in
            switch found {
            case .lost: return release(held)
            case .unknown: return again()
            case .ours: break
            }
            positions.commit(held.queue, offset) { [self] error in
                guard let error else { return held.reset == nil || held.reset == offset ? release(held) : commitAndRelease(held) }
                log.log(.warning, limitedBy: "commit", "\(error)")
                again()
            }
        }
    }

    private func release(_ held: LitePullQueue) {
        // At a stop all that is left is committed and given up at once.
        guard leaving[held.queue] === held, !isStopping else { return }
        leaving[held.queue] = nil
        held.drop()
        if held.lockedAt != nil { unlock([held.queue]) }
        if held.isWantedAgain { sharing.divide(held.queue.topic) {} }
    }

    /// Stops with a queue at once, and begins again with the lock and the group's position when it can be had.
    func loseLock(_ queue: MessageQueue, _ reason: String) {
        guard let held = queues[queue] ?? leaving[queue] else { return }
        log.warning("\(group): the lock on \(queue) is lost, so its messages are left to others: \(reason)")
        let finished = held.committable
        let isLeaving = leaving[queue] === held
        held.lockedAt = nil
        held.drop()
        if isLeaving { return release(held) }
        remove(held)
        claims.takeAgain(queue, floor: configuration.autoCommit ? finished : 0)
    }
}
