import RocketMQBase

/// Where an entry stands among all others: by its time, then by the offset of its record in the timer's queue. What takes a
/// message back stands right before it.
struct TimerKey: Comparable, Hashable {
    /// Milliseconds since 1970 at which something is to be done with the record.
    var wake: Int64
    /// Twice the record's queue offset, plus one for the message itself.
    var order: Int64

    static func < (left: Self, right: Self) -> Bool {
        left.wake != right.wake ? left.wake < right.wake : left.order < right.order
    }
}

/// A message that waits for its time, or the recall of one: where its record is. 32 bytes in memory and on disk.
struct TimerEntry: Equatable {
    var key: TimerKey
    var physicalOffset: Int64
    /// Bytes of the record.
    var size: Int32

    static let byteCount = 32

    /// The record's offset in the timer's queue; of a recall that of the message which it takes back.
    var queueOffset: Int64 { key.order >> 1 }
    var isRecall: Bool { key.order & 1 == 0 }

    static func message(_ queueOffset: Int64, wake: Int64, physicalOffset: Int64, size: Int32) -> TimerEntry {
        TimerEntry(key: TimerKey(wake: wake, order: queueOffset << 1 | 1), physicalOffset: physicalOffset, size: size)
    }

    /// - Parameters:
    ///   - queueOffset: of the message that is taken back.
    ///   - physicalOffset: of the record that says so.
    static func recall(of queueOffset: Int64, wake: Int64, physicalOffset: Int64) -> TimerEntry {
        TimerEntry(key: TimerKey(wake: wake, order: queueOffset << 1), physicalOffset: physicalOffset, size: 0)
    }

    func write(to memory: UnsafeMutableRawPointer) {
        memory.storeBytes(of: key.wake.bigEndian, as: Int64.self)
        memory.storeBytes(of: key.order.bigEndian, toByteOffset: 8, as: Int64.self)
        memory.storeBytes(of: physicalOffset.bigEndian, toByteOffset: 16, as: Int64.self)
        memory.storeBytes(of: size.bigEndian, toByteOffset: 24, as: Int32.self)
        memory.storeBytes(of: 0, toByteOffset: 28, as: Int32.self)
    }

    init(key: TimerKey, physicalOffset: Int64, size: Int32) {
        self.key = key
        self.physicalOffset = physicalOffset
        self.size = size
    }

    /// From 32 bytes at `offset` of `bytes`, which the caller has checked to be there.
    init(_ bytes: RawSpan, at offset: Int) {
        key = TimerKey(wake: bytes.bigEndian(Int64.self, at: offset), order: bytes.bigEndian(Int64.self, at: offset + 8))
        physicalOffset = bytes.bigEndian(Int64.self, at: offset + 16)
        size = bytes.bigEndian(Int32.self, at: offset + 24)
    }
}

/// Entries of which the first is taken out first. A binary heap.
struct TimerEntryHeap {
    private(set) var entries: [TimerEntry] = []
    /// A lower bound of where their records lie; `Int64.max` when there never was one.
    private(set) var minPhysicalOffset = Int64.max

    var count: Int { entries.count }
    var isEmpty: Bool { entries.isEmpty }
    var first: TimerEntry? { entries.first }

    mutating func insert(_ entry: TimerEntry) {
        minPhysicalOffset = entries.isEmpty ? entry.physicalOffset : min(minPhysicalOffset, entry.physicalOffset)
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entry.key < entries[parent].key else { break }
            entries[child] = entries[parent]
            child = parent
        }
        entries[child] = entry
    }

    mutating func removeFirst() -> TimerEntry? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return last }
        var hole = 0
        while true {
            var child = 2 * hole + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1].key < entries[child].key { child += 1 }
            guard entries[child].key < last.key else { break }
            entries[hole] = entries[child]
            hole = child
        }
        entries[hole] = last
        return first
    }

    func contains(_ key: TimerKey) -> Bool { entries.contains { $0.key == key } }

    /// Messages less recalls among those up to `wake`, and the earliest of them.
    func waiting(upTo wake: Int64) -> (count: Int64, earliest: Int64?) {
        var (count, earliest): (Int64, Int64?) = (0, nil)
        for entry in entries where entry.key.wake <= wake {
            count += entry.isRecall ? -1 : 1
            earliest = min(earliest ?? entry.key.wake, entry.key.wake)
        }
        return (count, earliest)
    }
}
