import RocketMQBase

/// One queue of a topic: the places of its messages in the log. Confined to the store's thread.
///
/// The newest entries are in memory (`tail`, a ring that grows with activity); older ones are in files of 20-byte entries.
/// What is here is derived from the log and can be rebuilt from it.
///
/// Invariant: `minOffset <= tailStart <= writtenOffset <= maxOffset <= nextOffset`, except that `minOffset` may exceed
/// `tailStart` when retention has passed it; every entry of `tailStart..<nextOffset` is in memory.
public final class ConsumeQueue {
    public let topic: String
    public let id: Int32
    /// The oldest message that is still there.
    public internal(set) var minOffset: Int64
    /// One beyond the newest committed message.
    public internal(set) var maxOffset: Int64
    /// One beyond the newest staged one.
    private(set) var nextOffset: Int64
    /// Entries before it are in the file.
    private(set) var writtenOffset: Int64
    private(set) var tailStart: Int64
    private var tail: UnsafeMutableRawPointer?
    private var tailCapacity = 0

    /// In the store's list of queues with staged messages, and in that of queues whose entries are to be written.
    var isTouched = false
    var isDirty = false
    /// Where the newest message is in the log; kept up to date by recovery only.
    var lastPhysicalOffset: Int64 = -1
    /// The files; kept here so that reaching them needs no lookup.
    let files: QueueFiles
    /// The topic's bytes, for records.
    let topicBytes: UnsafeRawBufferPointer
    /// Whether the topic can stand in a record and as a directory's name.
    let isStorable: Bool
    /// For the broker: whatever it wants to find without a lookup when it has the queue.
    public var attachment: AnyObject?

    static let smallestTail = 16
    /// A tail that grew to this is written early.
    static let largestTail = 8192

    init(topic: String, id: Int32, files: QueueFiles, minOffset: Int64 = 0, maxOffset: Int64 = 0) {
        self.topic = topic
        self.id = id
        self.files = files
        self.minOffset = minOffset
        self.maxOffset = maxOffset
        nextOffset = maxOffset
        writtenOffset = maxOffset
        tailStart = maxOffset
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(topic.utf8.count, 1), alignment: 1)
        bytes.copyBytes(from: topic.utf8)
        topicBytes = UnsafeRawBufferPointer(rebasing: bytes[..<topic.utf8.count])
        isStorable =
            topicBytes.count > 0 && topicBytes.count <= 255 && topic != "." && topic != ".." && id >= 0
            && !topicBytes.contains { $0 < 0x20 || $0 == 0x2F }
    }

    deinit {
        tail?.deallocate()
        topicBytes.deallocate()
    }

    /// Whether no message is there.
    public var isEmpty: Bool { maxOffset <= minOffset }
    var unwrittenCount: Int64 { maxOffset - writtenOffset }

    // MARK: Staging

    @inline(__always)
    func stage(_ entry: QueueEntry) {
        if nextOffset - tailStart >= Int64(tailCapacity) { makeRoom() }
        if let tail { entry.store(to: tail + slot(nextOffset)) }
        nextOffset += 1
    }

    /// Makes what was staged visible, and returns how many entries that are.
    @discardableResult
    func commitStaged() -> Int {
        defer { maxOffset = nextOffset }
        return Int(nextOffset - maxOffset)
    }
    func rollBackStaged() { nextOffset = maxOffset }

    @inline(__always)
    private func slot(_ offset: Int64) -> Int { (Int(truncatingIfNeeded: offset) & (tailCapacity - 1)) * QueueEntry.byteCount }

    /// Forgets the older half of what is in the file, or grows.
    @inline(never)
    private func makeRoom() {
        let written = writtenOffset - tailStart
        if tailCapacity > 0, written >= Int64(max(tailCapacity / 4, 1)) {
            tailStart += min(written, Int64(tailCapacity / 2))
            return
        }
        let larger = max(tailCapacity * 2, Self.smallestTail)
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: larger * QueueEntry.byteCount, alignment: 16)
        if let tail {
            for offset in tailStart..<nextOffset {
                let target = fresh + (Int(truncatingIfNeeded: offset) & (larger - 1)) * QueueEntry.byteCount
                target.copyMemory(from: tail + slot(offset), byteCount: QueueEntry.byteCount)
            }
            tail.deallocate()
        }
        tail = fresh
        tailCapacity = larger
    }

    /// Whether the tail has grown so that its entries should go to the file soon.
    var isTailLarge: Bool { tailCapacity >= Self.largestTail && unwrittenCount > Int64(tailCapacity / 2) }

    /// Gives the tail's memory back when all of it is in the file.
    func freeTail() {
        guard writtenOffset == nextOffset else { return }
        tail?.deallocate()
        tail = nil
        tailCapacity = 0
        tailStart = nextOffset
    }

    // MARK: Reading from memory

    /// The entry at a committed offset, when it is in memory.
    @inline(__always)
    func recentEntry(_ offset: Int64) -> QueueEntry? {
        guard offset >= tailStart, offset < maxOffset, let tail else { return nil }
        return QueueEntry(from: tail + slot(offset))
    }

    // MARK: Writing behind

    /// Writes committed entries that are not in the file yet.
    func writeBehind() throws(StoreError) {
        while writtenOffset < maxOffset {
            guard let tail else { return }
            // As many as lie together in the ring; the files split further where one ends.
            let first = slot(writtenOffset)
            let together = min(maxOffset - writtenOffset, Int64(tailCapacity - first / QueueEntry.byteCount))
            let bytes = UnsafeRawBufferPointer(start: tail + first, count: Int(together) * QueueEntry.byteCount)
            writtenOffset += try files.write(bytes, at: writtenOffset)
        }
    }

    // MARK: For recovery and retention

    /// Starts over at `offset` with nothing in it.
    func reset(to offset: Int64) {
        minOffset = offset
        maxOffset = offset
        nextOffset = offset
        writtenOffset = offset
        tailStart = offset
    }

    /// Forgets the entries from `offset` on, which lies within the queue.
    func cut(to offset: Int64) {
        nextOffset = offset
        maxOffset = offset
        writtenOffset = min(writtenOffset, offset)
        if tailStart > offset {
            tailStart = offset
            writtenOffset = offset
        }
        minOffset = min(minOffset, offset)
    }
}
