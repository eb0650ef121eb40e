import RocketMQBase
import RocketMQProtocol

/// Shares differ by at most one queue, as with `.averagely`, but few queues move when a member comes or goes: about as many
/// as must (the new member's share), where `.averagely` moves about half of all.
///
/// A pure function of queues and members, since members know of each other's queues only by computing them: each queue has
/// an order of preference among the members, by hash, and each member one among the queues. They are matched as by Gale and
/// Shapley, so that the result does not depend on who asks, and a change disturbs only those it has to.
public struct AllocateMessageQueueSticky: AllocateMessageQueueStrategy {
    public init() {}
    public var name: String { "STICKY" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        guard let own = clientIDs.firstIndex(of: clientID) else { return [] }
        let queueHashes = queues.map { Self.hash($0.topic, Self.hash($0.brokerName, UInt64(truncatingIfNeeded: $0.queueID) &+ 1)) }
        let memberHashes = clientIDs.map { Self.hash($0, 0) }
        var matching = Matching(queueHashes, memberHashes)
        let (share, rest) = queues.count.quotientAndRemainder(dividingBy: clientIDs.count)
        matching.match(places: share)
        if rest > 0 { matching.match(places: share + 1, keeping: share) }
        return queues.indices.filter { matching.owners[$0] == own }.map { queues[$0] }
    }

    /// FNV-1a with a last mixing, from `seed` on: nothing that may differ between processes.
    private static func hash(_ text: String, _ seed: UInt64) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ mix(seed)
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return mix(hash)
    }

    /// The finalizer of SplitMix64.
    static func mix(_ value: UInt64) -> UInt64 {
        var value = value
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

/// Queues ask members for a place in the order of their liking; a full member keeps those that it likes best.
private struct Matching {
    /// The member of each queue, by index.
    private(set) var owners: [Int?]
    private let queueHashes: [UInt64]
    private let memberHashes: [UInt64]
    private var held: [[Int]]

    init(_ queueHashes: [UInt64], _ memberHashes: [UInt64]) {
        self.queueHashes = queueHashes
        self.memberHashes = memberHashes
        owners = Array(repeating: nil, count: queueHashes.count)
        held = Array(repeating: [], count: memberHashes.count)
    }

    /// How well queue and member suit: the same for both sides, ties by the order of both.
    private func liking(_ queue: Int, _ member: Int) -> (UInt64, Int, Int) {
        (AllocateMessageQueueSticky.mix(queueHashes[queue] ^ memberHashes[member]), queue, member)
    }

    /// Finds places for the queues without one, with so many places a member, of which `keeping` do not change hands any more.
    mutating func match(places: Int, keeping: Int = 0) {
        guard places > 0 else { return }
        var free = owners.indices.filter { owners[$0] == nil }
        var preferences: [Int: [Int]] = [:]
        for queue in free { preferences[queue] = memberHashes.indices.sorted { liking(queue, $0) < liking(queue, $1) } }
        while let queue = free.popLast() {
            guard let member = preferences[queue]?.popLast() else { continue }
            held[member].append(queue)
            owners[queue] = member
            guard held[member].count > places else { continue }
            let candidates = held[member].indices.dropFirst(keeping)
            guard let least = candidates.min(by: { liking(held[member][$0], member) < liking(held[member][$1], member) }) else { continue }
            let loser = held[member].remove(at: least)
            owners[loser] = nil
            free.append(loser)
        }
    }
}

extension AllocateMessageQueueStrategy where Self == AllocateMessageQueueSticky {
    /// Moves as few queues as it can when a member comes or goes; see `AllocateMessageQueueSticky`.
    public static var sticky: Self { AllocateMessageQueueSticky() }
}
