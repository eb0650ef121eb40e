import RocketMQBase

/// Finds topics by the bytes of their names, as they stand in requests: with very many topics each look costs what it has
/// to fetch from memory, so a look touches one slot and the topic. Confined to the broker's loop.
struct TopicNames {
    private struct Slot {
        var hash = 0
        var topic: Topic?
    }
    private var slots: [Slot] = Array(repeating: Slot(), count: 64)
    private var count = 0

    init(_ topics: some Collection<Topic>) { for topic in topics { insert(topic) } }

    /// Adds a topic whose name is not in yet.
    mutating func insert(_ topic: Topic) {
        count += 1
        if count * 2 > slots.count {
            let old = slots
            slots = Array(repeating: Slot(), count: old.count * 2)
            for slot in old where slot.topic != nil { enter(slot) }
        }
        enter(Slot(hash: topic.withNameBytes { Self.hash($0) }, topic: topic))
    }

    private mutating func enter(_ slot: Slot) {
        var place = slot.hash & (slots.count - 1)
        while slots[place].topic != nil { place = (place + 1) & (slots.count - 1) }
        slots[place] = slot
    }

    @inline(__always)
    func find(_ name: RawSpan) -> Topic? {
        let hash = Self.hash(name)
        var place = hash & (slots.count - 1)
        while let topic = slots[place].topic {
            if slots[place].hash == hash, topic.isNamed(name) { return topic }
            place = (place + 1) & (slots.count - 1)
        }
        return nil
    }

    /// Seeded for each process, so that nobody can choose names that collide.
    @inline(__always)
    private static func hash(_ name: RawSpan) -> Int {
        var hasher = Hasher()
        name.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }
}
