import CPrefetch
import RocketMQBase
import RocketMQStore

/// Where in memory lies what a send to a queue touches. With very many queues no cache of the processor holds it any more, and
/// each send would wait for one line of memory after the other; requests that came together are looked at ahead of time instead,
/// and their lines fetched while those before them are handled.
///
/// Memory safety: addresses are given to the processor as hints and never followed. One whose object has gone costs a useless
/// fetch, nothing else. The table belongs to this value alone, and every index into it is masked.
struct QueueHints: ~Copyable {
    private struct Entry {
        var queue: UInt = 0
        var topicQueue: UInt = 0
        var topic: UInt = 0
        var topicName: UInt = 0
        var topicQueues: UInt = 0
        var storedTopicName: UInt = 0
        /// Where the queue's next entry goes.
        var next: UInt = 0
        var unused: UInt = 0
    }

    /// With fewer topics the caches hold all of it, and hints would only cost time.
    static let fewestTopics = 200
    private static let smallest = 4096
    private static let largest = 1 << 18
    private static let line: UInt = 64

    private var entries: UnsafeMutablePointer<Entry>?
    private var capacity = 0
    private var used = 0
    /// Looked at last: its entry is on its way, what it names is not yet.
    private var pending: Int?

    init() {}

    deinit { entries?.deallocate() }

    /// Of a topic's name; for the table alone, nothing depends on it.
    static func hash(_ name: RawSpan) -> UInt64 {
        var hash = UInt64(truncatingIfNeeded: name.byteCount)
        var index = 0
        while index + 8 <= name.byteCount {
            hash = (hash ^ name.bigEndian(UInt64.self, at: index)) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 29
            index += 8
        }
        while index < name.byteCount {
            hash = (hash ^ UInt64(name.byte(at: index))) &* 0x9E37_79B9_7F4A_7C15
            index += 1
        }
        return hash ^ hash >> 32
    }

    @inline(__always)
    private func place(_ topic: UInt64, _ queueID: Int32) -> Int {
        Int(truncatingIfNeeded: topic &+ UInt64(truncatingIfNeeded: queueID) &* 0x632B_E59B_D9B4_E019) & (capacity - 1)
    }

    /// A send to this queue comes soon.
    mutating func announce(_ topic: UInt64, _ queueID: Int32) {
        guard let entries else { return }
        if let pending, pending < capacity { Self.fetch(entries[pending]) }
        let next = place(topic, queueID)
        cprefetch_line(UInt(bitPattern: entries + next))
        pending = next
    }

    private static func fetch(_ entry: Entry) {
        guard entry.queue != 0 else { return }
        // Objects of several lines.
        for line in 0..<4 { cprefetch_line(entry.queue &+ UInt(line) &* Self.line) }
        for line in 0..<5 { cprefetch_line(entry.topic &+ UInt(line) &* Self.line) }
        for line in 0..<2 { cprefetch_line(entry.topicQueue &+ UInt(line) &* Self.line) }
        for line in 0..<2 { cprefetch_line(entry.topicQueues &+ UInt(line) &* Self.line) }
        cprefetch_line(entry.topicName)
        cprefetch_line(entry.storedTopicName)
        cprefetch_line(entry.next)
    }

    /// A send to this queue was staged.
    mutating func note(_ queue: TopicQueue) {
        if entries == nil || used * 2 > capacity { grow() }
        guard let entries else { return }
        let entry = entries + place(queue.topic.hintHash, queue.queue.id)
        let address = Self.address(queue.queue)
        if entry.pointee.queue != address {
            if entry.pointee.queue == 0 { used += 1 }
            entry.pointee.queue = address
            entry.pointee.topicQueue = Self.address(queue)
            entry.pointee.topic = Self.address(queue.topic)
            (entry.pointee.topicName, entry.pointee.topicQueues) = queue.topic.hintAddresses
            entry.pointee.storedTopicName = queue.queue.topicAddress
        }
        entry.pointee.next = queue.queue.nextEntryAddress
    }

    private static func address(_ object: AnyObject) -> UInt { UInt(bitPattern: Unmanaged.passUnretained(object).toOpaque()) }

    /// Begins anew with twice the room: the sends to come fill it.
    @inline(never)
    private mutating func grow() {
        used = 0
        guard capacity < Self.largest else { return }
        entries?.deallocate()
        capacity = max(capacity * 2, Self.smallest)
        // An entry is a line.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity * MemoryLayout<Entry>.stride, alignment: Int(Self.line))
        entries = memory.initializeMemory(as: Entry.self, repeating: Entry(), count: capacity)
        pending = nil
    }
}
