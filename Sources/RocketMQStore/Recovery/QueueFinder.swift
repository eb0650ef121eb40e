import CPrefetch
import RocketMQBase

/// Finds a record's queue by the bytes of its topic: a start goes through millions of records.
///
/// With very many queues no cache of the processor holds what a record touches, so that records to come are announced: of each the
/// slot is fetched first, then the queue that it leads to, then what that leads to, while those before are handled.
///
/// Memory safety: queues are retained by the store that is being recovered, which has them for as long as it has this. Addresses
/// are given to the processor as hints only.
struct QueueFinder {
    private var queues: [Unmanaged<ConsumeQueue>] = []
    /// For each slot a part of the hash above, and below it one more than the index into `queues`; 0 when it is free.
    private var slots = [UInt64](repeating: 0, count: 64)
    /// Hashes of the records announced last, in a ring.
    private var announced = [UInt64](repeating: 0, count: ringSize)
    private var turn = 0

    private static let ringSize = 16
    /// So many records later the next step of fetching is done.
    private static let stepDistance = 4
    /// With fewer queues the caches hold all of it.
    private static let fewest = 1000

    mutating func reserve(_ count: Int) {
        queues.reserveCapacity(count)
        while slots.count < count * 2 { grow() }
    }

    mutating func insert(_ queue: ConsumeQueue) {
        queues.append(Unmanaged.passUnretained(queue))
        if slots.count < queues.count * 2 { return grow() }
        enter(queue, number: queues.count)
    }

    /// So many records ahead are worth announcing.
    var lookahead: Int { queues.count < Self.fewest ? 0 : 3 * Self.stepDistance }

    func find(_ topic: RawSpan, _ id: Int32) -> ConsumeQueue? {
        let hash = Self.hash(topic, id)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        // At least half of the slots are free.
        while slots[slot] != 0 {
            if slots[slot] >> 32 == hash >> 32 {
                let found = queues[Int(slots[slot] & 0xFFFF_FFFF) - 1]._withUnsafeGuaranteedRef {
                    $0.id == id && topic.equals($0.topicBytes.bytes) ? $0 : nil
                }
                if let found { return found }
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    /// A record of this topic and queue comes soon.
    mutating func announce(_ topic: RawSpan, _ id: Int32) {
        let hash = Self.hash(topic, id)
        let mask = Self.ringSize - 1
        slots.withUnsafeBufferPointer { slots in
            cprefetch_line(UInt(bitPattern: slots.baseAddress) &+ UInt(Int(truncatingIfNeeded: hash) & (slots.count - 1)) &* 8)
        }
        if let queue = likely(announced[(turn &- Self.stepDistance) & mask]) {
            let address = UInt(bitPattern: queue.toOpaque())
            cprefetch_line(address)
            cprefetch_line(address &+ 64)
            cprefetch_line(address &+ 128)
        }
        if let queue = likely(announced[(turn &- 2 * Self.stepDistance) & mask]) {
            queue._withUnsafeGuaranteedRef {
                cprefetch_line($0.topicAddress)
                cprefetch_line($0.nextEntryAddress)
            }
        }
        announced[turn & mask] = hash
        turn &+= 1
    }

    /// The queue in the hash's own slot: most are there.
    private func likely(_ hash: UInt64) -> Unmanaged<ConsumeQueue>? {
        let slot = slots[Int(truncatingIfNeeded: hash) & (slots.count - 1)]
        return slot != 0 && slot >> 32 == hash >> 32 ? queues[Int(slot & 0xFFFF_FFFF) - 1] : nil
    }

    private mutating func enter(_ queue: ConsumeQueue, number: Int) {
        let hash = Self.hash(queue.topicBytes.bytes, queue.id)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = hash & ~0xFFFF_FFFF | UInt64(number)
    }

    private mutating func grow() {
        slots = [UInt64](repeating: 0, count: slots.count * 2)
        for (index, queue) in queues.enumerated() { queue._withUnsafeGuaranteedRef { enter($0, number: index + 1) } }
    }

    private static func hash(_ topic: RawSpan, _ id: Int32) -> UInt64 {
        var hash = UInt64(truncatingIfNeeded: topic.byteCount) ^ UInt64(UInt32(bitPattern: id)) << 32
        var index = 0
        while index + 8 <= topic.byteCount {
            hash = (hash ^ topic.bigEndian(UInt64.self, at: index)) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 29
            index += 8
        }
        while index < topic.byteCount {
            hash = (hash ^ UInt64(topic.byte(at: index))) &* 0x9E37_79B9_7F4A_7C15
            index += 1
        }
        hash = (hash ^ hash >> 32) &* 0xD6E8_FEB8_6659_FD93
        return hash ^ hash >> 32
    }
}
