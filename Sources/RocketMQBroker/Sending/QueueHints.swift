import CPrefetch
import RocketMQBase
import RocketMQStore

/// The queues that were sent to lately, found at once by a request's topic and queue. With very many queues no cache of the
/// processor holds what a send touches any more, and each send would wait for one line of memory after the other; requests that
/// came together are announced ahead of time instead, and their lines fetched step by step while those before them are handled:
/// first the line of the table, then the queue that it names, then what that names.
///
/// Memory safety: queues in the table are retained by it. Those in the ring of announced requests are too, since whatever lets a
/// queue go empties the ring. Other addresses are given to the processor as hints and never followed: one whose object has gone
/// costs a useless fetch, nothing else. Table and ring belong to this value alone, and every index into them is masked.
struct QueueHints: ~Copyable {
    /// Four are a line of the processor's cache.
    private struct Entry {
        /// The address of the retained `TopicQueue`, below a part of its key; 0 when there is none.
        var found: UInt64 = 0
        /// That of its queue.
        var queue: UInt = 0
    }

    /// A request that is not handled yet.
    private struct Announced {
        var key: UInt64 = 0
        /// Its `TopicQueue`, when it was found in the table; 0 otherwise.
        var found: UInt = 0
    }

    /// With fewer topics the caches hold all of it, and hints would only cost time.
    static let fewestTopics = 200
    private static let smallest = 4096
    private static let largest = 1 << 19
    private static let ways = 4
    private static let addressBits: UInt64 = 48

    private var entries: UnsafeMutablePointer<Entry>?
    private var capacity = 0
    private var used = 0

    private static let ringSize = 16
    private let ring: UnsafeMutablePointer<Announced>
    /// Requests that were announced, whose queue was looked for, whose queue was followed, and that were handled: each at most
    /// the one before it, but that requests may be handled before they are looked for.
    private var announced = 0
    private var looked = 0
    private var followed = 0
    private var handled = 0
    private var hasStepped = false
    /// What `find` found last.
    private var lastFound: UInt = 0

    init() {
        ring = .allocate(capacity: Self.ringSize)
        ring.initialize(repeating: Announced(), count: Self.ringSize)
    }

    deinit {
        for index in 0..<capacity { if let entries { Self.release(entries[index]) } }
        entries?.deallocate()
        ring.deallocate()
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

    /// Of a queue, from the hash of its topic's name.
    @inline(__always)
    static func key(_ topic: UInt64, _ queueID: Int32) -> UInt64 {
        topic &+ UInt64(truncatingIfNeeded: queueID) &* 0x632B_E59B_D9B4_E019
    }

    // MARK: The table

    /// Entries of a line, where those of a key are.
    @inline(__always)
    private func bucket(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key) & (capacity - 1) & ~(Self.ways - 1) }

    @inline(__always)
    private func place(_ key: UInt64) -> UnsafeMutablePointer<Entry>? {
        guard let entries else { return nil }
        let first = entries + bucket(key)
        for way in 0..<Self.ways where first[way].found != 0 && (first[way].found ^ key) >> Self.addressBits == 0 { return first + way }
        return nil
    }

    private static func address(_ entry: Entry) -> UInt { UInt(truncatingIfNeeded: entry.found & (1 << addressBits - 1)) }

    private static func address(_ object: AnyObject) -> UInt { UInt(bitPattern: Unmanaged.passUnretained(object).toOpaque()) }

    @inline(__always)
    private static func queue(at address: UInt) -> TopicQueue? {
        UnsafeRawPointer(bitPattern: address).map { Unmanaged<TopicQueue>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func release(_ entry: Entry) {
        guard let address = UnsafeRawPointer(bitPattern: address(entry)) else { return }
        Unmanaged<TopicQueue>.fromOpaque(address).release()
    }

    // MARK: Requests to come

    /// A send to this queue comes soon. Sends are handled in the order in which they are announced.
    mutating func announce(_ topic: UInt64, _ queueID: Int32) {
        guard let entries else { return }
        step(behind: Self.distance)
        hasStepped = true
        let key = Self.key(topic, queueID)
        cprefetch_line(UInt(bitPattern: entries + bucket(key)))
        ring[announced & (Self.ringSize - 1)] = Announced(key: key)
        announced += 1
        // Those that did not come.
        handled = max(handled, announced - Self.ringSize)
        looked = max(looked, handled)
        followed = max(followed, handled)
    }

    /// Goes on from what was asked for some steps before, which is there by now.
    @inline(__always)
    private mutating func step(behind distance: Int) {
        if followed + distance <= looked {
            follow(ring[followed & (Self.ringSize - 1)].found)
            followed += 1
        }
        if looked + distance <= announced {
            look(&ring[looked & (Self.ringSize - 1)])
            looked += 1
        }
    }

    /// Requests announced between the steps for one: scanning a single one takes less time than a line of memory when the memory
    /// is busy.
    private static let distance = 2

    @inline(__always)
    private func look(_ request: inout Announced) {
        guard let entry = place(request.key) else { return }
        request.found = Self.address(entry.pointee)
        Self.fetch(object: request.found)
        Self.fetch(object: entry.pointee.queue)
    }

    @inline(__always)
    private func follow(_ address: UInt) {
        guard let found = UnsafeRawPointer(bitPattern: address) else { return }
        Unmanaged<TopicQueue>.fromOpaque(found)._withUnsafeGuaranteedRef { found in
            Self.fetch(object: found.topicAddress)
            cprefetch_line(found.queue.topicAddress)
            cprefetch_line(found.queue.nextEntryAddress)
        }
    }

    /// What a send needs of an object lies at its beginning, which may be anywhere in a line.
    @inline(__always)
    private static func fetch(object: UInt) {
        cprefetch_line(object)
        cprefetch_line(object &+ 64)
    }

    private mutating func emptyRing() {
        looked = announced
        followed = announced
        handled = announced
        lastFound = 0
    }

    // MARK: Requests

    /// The queue of a request, when it was sent to lately.
    @inline(__always)
    mutating func find(_ topic: RawSpan, _ queueID: Int32) -> TopicQueue? {
        if !hasStepped { step(behind: 1) }
        hasStepped = false
        if handled < looked {
            let next = ring[handled & (Self.ringSize - 1)].found
            if let found = Self.queue(at: next), found.queue.id == queueID, found.queue.isOfTopic(topic) {
                handled += 1
                lastFound = next
                return found
            }
        }
        return findSlowly(topic, queueID)
    }

    /// It was not announced, it is not the one whose turn it is, or it is not in the table.
    @inline(never)
    private mutating func findSlowly(_ topic: RawSpan, _ queueID: Int32) -> TopicQueue? {
        let key = Self.key(Self.hash(topic), queueID)
        for number in handled..<announced where ring[number & (Self.ringSize - 1)].key == key {
            handled = number + 1
            looked = max(looked, handled)
            followed = max(followed, handled)
            break
        }
        guard let entry = place(key), let found = Self.queue(at: Self.address(entry.pointee)), found.queue.id == queueID,
            found.queue.isOfTopic(topic)
        else { return nil }
        lastFound = Self.address(entry.pointee)
        return found
    }

    /// A send to this queue was staged.
    @inline(__always)
    mutating func note(_ queue: TopicQueue) { if lastFound != Self.address(queue) { enter(queue) } }

    @inline(never)
    private mutating func enter(_ queue: TopicQueue) {
        let key = queue.hintKey
        let address = UInt64(Self.address(queue))
        guard address >> Self.addressBits == 0 else { return }
        if let known = place(key), Self.address(known.pointee) == UInt(address) { return }
        if entries == nil || used * 4 > capacity && capacity < Self.largest { grow() }
        guard let entries else { return }
        let first = entries + bucket(key)
        var target = place(key)
        for way in 0..<Self.ways where target == nil && first[way].found == 0 {
            target = first + way
            used += 1
        }
        // Of too many strangers any gives way.
        let entry = target ?? first + Int(truncatingIfNeeded: key >> 40) & (Self.ways - 1)
        if entry.pointee.found != 0 {
            emptyRing()
            Self.release(entry.pointee)
        }
        _ = Unmanaged.passRetained(queue)
        let tag = key & ~(1 << Self.addressBits - 1)
        entry.pointee = Entry(found: tag | address, queue: Self.address(queue.queue))
    }

    /// The queue is no longer the one of its topic and number.
    mutating func forget(_ queue: TopicQueue) {
        guard let known = place(queue.hintKey), Self.address(known.pointee) == Self.address(queue) else { return }
        emptyRing()
        Self.release(known.pointee)
        known.pointee = Entry()
        used -= 1
    }

    /// Begins anew with more room: the sends to come fill it.
    private mutating func grow() {
        emptyRing()
        for index in 0..<capacity { if let entries { Self.release(entries[index]) } }
        entries?.deallocate()
        used = 0
        capacity = max(capacity * 2, Self.smallest)
        // Lines begin where entries do.
        let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity * MemoryLayout<Entry>.stride, alignment: 64)
        entries = memory.initializeMemory(as: Entry.self, repeating: Entry(), count: capacity)
    }
}
