import RocketMQBase

/// Finds a record's queue by the bytes of its topic: a start goes through millions of records.
struct QueueFinder {
    private var queues: [ConsumeQueue] = []
    /// For each slot a part of the hash above, and below it one more than the index into `queues`; 0 when it is free.
    private var slots = [UInt64](repeating: 0, count: 64)

    mutating func reserve(_ count: Int) {
        queues.reserveCapacity(count)
        while slots.count < count * 2 { grow() }
    }

    mutating func insert(_ queue: ConsumeQueue) {
        queues.append(queue)
        if slots.count < queues.count * 2 { return grow() }
        enter(queue, number: queues.count)
    }

    func find(_ topic: RawSpan, _ id: Int32) -> ConsumeQueue? {
        let hash = Self.hash(topic, id)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        // At least half of the slots are free.
        while slots[slot] != 0 {
            if slots[slot] >> 32 == hash >> 32 {
                let queue = queues[Int(slots[slot] & 0xFFFF_FFFF) - 1]
                if queue.id == id, queue.isOfTopic(topic) { return queue }
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private mutating func enter(_ queue: ConsumeQueue, number: Int) {
        let hash = Self.hash(queue.topicBytes.bytes, queue.id)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = hash & ~0xFFFF_FFFF | UInt64(number)
    }

    private mutating func grow() {
        slots = [UInt64](repeating: 0, count: slots.count * 2)
        for (index, queue) in queues.enumerated() { enter(queue, number: index + 1) }
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
