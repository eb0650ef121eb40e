import CPrefetch
import RocketMQBase
import RocketMQStore

/// The queues that were sent to lately, found at once by a request's topic and queue, with where in memory lies what a send to
/// each touches. With very many queues no cache of the processor holds it any more, and each send would wait for one line of
/// memory after the other; requests that came together are looked at ahead of time instead, and their lines fetched while those
/// before them are handled.
///
/// Memory safety: queues in the table are retained by it. Addresses are given to the processor as hints and never followed: one
/// whose object has gone costs a useless fetch, nothing else. The table belongs to this value alone, and every index into it is
/// masked.
struct QueueHints: ~Copyable {
    /// A line of the processor's cache.
    private struct Entry {
        var key: UInt64 = 0
        /// Retained.
        var found: Unmanaged<TopicQueue>?
        var queue: UInt = 0
        var topic: UInt = 0
        var storedTopicName: UInt = 0
        /// Where the queue's next entry goes.
        var next: UInt = 0
        var unused: (UInt, UInt) = (0, 0)
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
    private var pending: UInt64?

    init() {}

    deinit {
        for index in 0..<capacity { entries?[index].found?.release() }
        entries?.deallocate()
    }

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
    private static func key(_ topic: UInt64, _ queueID: Int32) -> UInt64 {
        topic &+ UInt64(truncatingIfNeeded: queueID) &* 0x632B_E59B_D9B4_E019
    }

    /// An entry is in one of two places, which are neighbours.
    @inline(__always)
    private func place(_ key: UInt64, _ way: Int) -> Int { Int(truncatingIfNeeded: key) & (capacity - 1) ^ way }

    @inline(__always)
    private func entry(_ key: UInt64) -> UnsafeMutablePointer<Entry>? {
        guard let entries else { return nil }
        for way in 0..<2 {
            let entry = entries + place(key, way)
            if entry.pointee.key == key, entry.pointee.found != nil { return entry }
        }
        return nil
    }

    /// A send to this queue comes soon.
    mutating func announce(_ topic: UInt64, _ queueID: Int32) {
        guard let entries else { return }
        if let pending, let entry = entry(pending) { Self.fetch(entry.pointee) }
        let next = Self.key(topic, queueID)
        for way in 0..<2 { cprefetch_line(UInt(bitPattern: entries + place(next, way))) }
        pending = next
    }

    private static func fetch(_ entry: Entry) {
        fetch(object: entry.queue)
        fetch(object: UInt(bitPattern: entry.found?.toOpaque()))
        fetch(object: entry.topic)
        cprefetch_line(entry.storedTopicName)
        cprefetch_line(entry.next)
    }

    /// Objects begin anywhere in a line; what a send needs of them lies at their beginnings.
    @inline(__always)
    private static func fetch(object: UInt) {
        cprefetch_line(object)
        cprefetch_line(object &+ 56)
    }

    /// The queue of a request, when it was sent to lately.
    @inline(__always)
    func find(_ topic: RawSpan, _ queueID: Int32) -> TopicQueue? {
        guard let found = entry(Self.key(Self.hash(topic), queueID))?.pointee.found?.takeUnretainedValue(),
            found.queue.id == queueID, found.queue.isOfTopic(topic)
        else { return nil }
        return found
    }

    /// A send to this queue was staged.
    mutating func note(_ queue: TopicQueue) {
        let key = Self.key(queue.topic.hintHash, queue.queue.id)
        if let known = entry(key), known.pointee.found?.toOpaque() == Unmanaged.passUnretained(queue).toOpaque() {
            known.pointee.next = queue.queue.nextEntryAddress
            return
        }
        enter(queue, key)
    }

    @inline(never)
    private mutating func enter(_ queue: TopicQueue, _ key: UInt64) {
        if entries == nil || used * 2 > capacity { grow() }
        guard let entries else { return }
        var target = entry(key) ?? entries + place(key, 0)
        if target.pointee.found != nil, target.pointee.key != key {
            let other = entries + place(key, 1)
            // Of two strangers each gives way now and then.
            if other.pointee.found == nil || key >> 40 & 1 == 1 { target = other }
        }
        if target.pointee.found == nil { used += 1 }
        target.pointee.found?.release()
        target.pointee = Entry(
            key: key, found: Unmanaged.passRetained(queue), queue: Self.address(queue.queue), topic: Self.address(queue.topic),
            storedTopicName: queue.queue.topicAddress, next: queue.queue.nextEntryAddress)
    }

    /// The queue is no longer the one of its topic and number.
    mutating func forget(_ queue: TopicQueue) {
        guard let known = entry(Self.key(queue.topic.hintHash, queue.queue.id)) else { return }
        known.pointee.found?.release()
        known.pointee = Entry()
        used -= 1
    }

    private static func address(_ object: AnyObject) -> UInt { UInt(bitPattern: Unmanaged.passUnretained(object).toOpaque()) }

    /// Begins anew with twice the room: the sends to come fill it.
    @inline(never)
    private mutating func grow() {
        used = 0
        guard capacity < Self.largest else { return }
        for index in 0..<capacity { entries?[index].found?.release() }
        entries?.deallocate()
        capacity = max(capacity * 2, Self.smallest)
        // An entry is a line.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity * MemoryLayout<Entry>.stride, alignment: Int(Self.line))
        entries = memory.initializeMemory(as: Entry.self, repeating: Entry(), count: capacity)
        pending = nil
    }
}
