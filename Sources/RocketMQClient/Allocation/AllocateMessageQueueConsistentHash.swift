import RocketMQBase
import RocketMQProtocol

/// Members stand on a ring, each at many places, and a queue belongs to the next member from its own place on: a member that
/// comes or goes moves only the queues near its places. Shares are uneven; more places make them less so.
///
/// Places are those of the Java client's strategy of this name (the first four bytes of MD5), so that both agree in one group.
public struct AllocateMessageQueueConsistentHash: AllocateMessageQueueStrategy {
    /// Places of each member, at least 1. All members of a group must use the same.
    public var virtualNodeCount: Int

    /// `virtualNodeCount`: points of each client on the ring, from 1; all members must have the same. The reference's default is 10.
    public init(virtualNodeCount: Int = 10) { self.virtualNodeCount = virtualNodeCount }
    public var name: String { "CONSISTENT_HASH" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        // Where two places coincide, the member that comes later has it.
        var owners: [UInt32: String] = [:]
        for member in clientIDs {
            for index in 0..<max(1, virtualNodeCount) { owners[Self.place(of: "\(member)-\(index)")] = member }
        }
        let ring = owners.keys.sorted()
        guard !ring.isEmpty else { return [] }
        return queues.filter { queue in
            let place = Self.place(of: "MessageQueue [topic=\(queue.topic), brokerName=\(queue.brokerName), queueId=\(queue.queueID)]")
            return owners[Self.next(ring, from: place)] == clientID
        }
    }

    private static func place(of text: String) -> UInt32 { MD5.digest(text.utf8).prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }

    /// The first place on the ring that is not before `place`; behind the last one comes the first.
    private static func next(_ ring: [UInt32], from place: UInt32) -> UInt32 {
        var low = 0
        var high = ring.count
        while low < high {
            let middle = (low + high) / 2
            if ring[middle] < place { low = middle + 1 } else { high = middle }
        }
        return ring[low == ring.count ? 0 : low]
    }
}

extension AllocateMessageQueueStrategy where Self == AllocateMessageQueueConsistentHash {
    /// By a ring of hashes with 10 points a client: few queues move when a member comes or goes.
    public static var consistentHash: Self { AllocateMessageQueueConsistentHash() }
    /// By a ring of hashes with `virtualNodeCount` points a client (from 1).
    public static func consistentHash(virtualNodeCount: Int) -> Self {
        AllocateMessageQueueConsistentHash(virtualNodeCount: virtualNodeCount)
    }
}
