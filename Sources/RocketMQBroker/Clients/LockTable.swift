import RocketMQBase
import RocketMQProtocol

/// Which consumer of a group may consume a queue, for consumers that keep the order. A lock lives for a minute; clients
/// renew theirs every 20 s. Confined to the broker's loop.
final class LockTable {
    /// How long a lock lives unless it is renewed. The reference: 60 s.
    static let lifetime: Duration = .seconds(60)
    /// How long the lock of a client lives that is not connected any more: clients of every language stop to trust a lock
    /// that they could not renew for so long.
    static let orphanLifetime: Duration = .seconds(30)

    private struct Lock {
        var clientID: String
        var renewedAt: MonotonicTime
    }

    private let clock: any SystemClock
    private var locks: [String: [MessageQueue: Lock]] = [:]
    private var sweptAt: MonotonicTime

    init(clock: any SystemClock) {
        self.clock = clock
        sweptAt = clock.monotonicNow
    }

    /// Locks or renews those queues that no other client holds; returns them, and of the others those whose holder is connected
    /// and renews its lock.
    ///
    /// - Parameter isConnected: whether a client is a member of the group now.
    func lock(
        _ queues: Set<MessageQueue>, group: String, clientID: String, isConnected: (_ clientID: String) -> Bool
    ) -> (granted: Set<MessageQueue>, heldByMembers: Set<MessageQueue>) {
        let now = clock.monotonicNow
        sweep(now)
        var held = locks.removeValue(forKey: group) ?? [:]
        let granted = queues.filter { queue in
            guard let lock = held[queue] else { return true }
            let age = now - lock.renewedAt
            return lock.clientID == clientID || age > Self.lifetime || age > Self.orphanLifetime && !isConnected(lock.clientID)
        }
        let others = queues.subtracting(granted).filter { queue in
            guard let lock = held[queue] else { return false }
            return now - lock.renewedAt <= Self.orphanLifetime && isConnected(lock.clientID)
        }
        for queue in granted { held[queue] = Lock(clientID: clientID, renewedAt: now) }
        if !held.isEmpty { locks[group] = held }
        return (granted, others)
    }

    /// Gives up the locks that the client holds.
    func unlock(_ queues: Set<MessageQueue>, group: String, clientID: String) {
        guard var held = locks.removeValue(forKey: group) else { return }
        for queue in queues where held[queue]?.clientID == clientID { held[queue] = nil }
        if !held.isEmpty { locks[group] = held }
    }

    /// Who has the lock on a queue, as far as it was renewed in time.
    func holder(of queue: MessageQueue, group: String) -> String? {
        guard let lock = locks[group]?[queue], clock.monotonicNow - lock.renewedAt <= Self.lifetime else { return nil }
        return lock.clientID
    }

    /// Forgets locks that ended long ago, now and then.
    private func sweep(_ now: MonotonicTime) {
        guard now - sweptAt > Self.lifetime else { return }
        sweptAt = now
        for group in Array(locks.keys) {
            let alive = locks[group]?.filter { now - $0.value.renewedAt <= Self.lifetime } ?? [:]
            locks[group] = alive.isEmpty ? nil : alive
        }
    }
}
