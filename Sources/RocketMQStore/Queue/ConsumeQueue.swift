import RocketMQBase

/// One queue of a topic: the places of its messages in the log. Confined to the store's thread.
///
/// The newest entries are in memory (`tail`, a ring that grows with activity); older ones are in files of 20-byte entries.
/// What is here is derived from the log and can be rebuilt from it.
///
/// Invariant: `minOffset <= tailStart <= writtenOffset <= handedOffset <= maxOffset <= nextOffset`, except that `minOffset` may
/// exceed `tailStart` when retention has passed it; every entry of `tailStart..<nextOffset` is in memory.
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
    /// Entries before it are in the file or on their way.
    private(set) var handedOffset: Int64
    private(set) var tailStart: Int64
    private var tail: UnsafeMutableRawPointer?
    private var tailCapacity = 0

    /// In the store's list of queues with staged messages, and in that of queues whose entries are to be written.
    var isTouched = false
    var isDirty = false
    /// Its topic was deleted: its entries are not written any more.
    var isAbandoned = false
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
    /// So many entries are written early.
    static let largestUnwritten: Int64 = 4096
    /// So many are handed over at a time: a fraction of a millisecond of copying.
    static let mostHandedOver: Int64 = 32768

    init(topic: String, id: Int32, files: QueueFiles, minOffset: Int64 = 0, maxOffset: Int64 = 0) {
        self.topic = topic
        self.id = id
        self.files = files
        self.minOffset = minOffset
        self.maxOffset = maxOffset
        nextOffset = maxOffset
        writtenOffset = maxOffset
        handedOffset = maxOffset
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

    /// Where in memory the next entry goes, and the topic's name for records stands: for those who fetch it ahead of time.
    public var nextEntryAddress: UInt { tail.map { UInt(bitPattern: $0 + slot(nextOffset)) } ?? 0 }
    public var topicAddress: UInt { UInt(bitPattern: topicBytes.baseAddress) }

    /// Whether so many entries wait that they should go to the file soon.
    @inline(__always)
    var isWritingDue: Bool { maxOffset - handedOffset > Self.largestUnwritten }

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

    /// Adds committed entries that are neither in the file nor on their way, up to a limit, to a batch that is going to be
    /// written.
    func handOver(to batch: inout QueueBatch) {
        guard handedOffset < maxOffset else { return }
        let start = batch.bytes.count
        let first = handedOffset
        let end = min(maxOffset, first + Self.mostHandedOver)
        while handedOffset < end, let bytes = together(from: handedOffset, until: end) {
            batch.bytes.append(contentsOf: bytes)
            handedOffset += Int64(bytes.count / QueueEntry.byteCount)
        }
        batch.pieces.append(files.piece(at: first, start..<batch.bytes.count))
    }

    /// The entries handed over from `first` until `end` are in the file. Counts only when those before them are.
    func wasWritten(_ first: Int64, until end: Int64) {
        guard first <= writtenOffset else { return }
        writtenOffset = max(writtenOffset, end)
        handedOffset = max(handedOffset, writtenOffset)
    }

    /// What was handed over was not written: all of it is handed over again later.
    func wasNotWritten() { handedOffset = writtenOffset }

    /// Writes committed entries that are not known to be in the file, at once.
    func writeBehind() throws(StoreError) {
        defer { handedOffset = writtenOffset }
        while writtenOffset < maxOffset, let bytes = together(from: writtenOffset, until: maxOffset) {
            try files.write(bytes, at: writtenOffset)
            writtenOffset += Int64(bytes.count / QueueEntry.byteCount)
        }
    }

    /// As many entries as lie together in the ring.
    private func together(from offset: Int64, until end: Int64) -> UnsafeRawBufferPointer? {
        guard let tail else { return nil }
        let first = slot(offset)
        let count = min(end - offset, Int64(tailCapacity - first / QueueEntry.byteCount))
        return UnsafeRawBufferPointer(start: tail + first, count: Int(count) * QueueEntry.byteCount)
    }

    // MARK: For recovery and retention

    /// Starts over at `offset` with nothing in it.
    func reset(to offset: Int64) {
        minOffset = offset
        maxOffset = offset
        nextOffset = offset
        writtenOffset = offset
        handedOffset = offset
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
        handedOffset = writtenOffset
        minOffset = min(minOffset, offset)
    }
}
