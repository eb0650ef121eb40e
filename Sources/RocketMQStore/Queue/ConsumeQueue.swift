import RocketMQBase

/// One queue of a topic: the places of its messages in the log. Confined to the store's thread.
///
/// The newest entries are in memory (`recent`); older ones are in files of 20-byte entries. What is here is derived from the log
/// and can be rebuilt from it.
///
/// Invariant: `minOffset <= recent.start <= writtenOffset <= handedOffset <= maxOffset <= nextOffset`, except that `minOffset` may
/// exceed `recent.start` when retention has passed it.
public final class ConsumeQueue {
    // What every send needs comes first, and lies together: with very many queues each line of memory counts.
    /// One beyond the newest committed message.
    public internal(set) var maxOffset: Int64
    /// Entries before it are in the file or on their way.
    private(set) var handedOffset: Int64
    /// The topic's bytes, for records.
    let topicBytes: UnsafeRawBufferPointer
    public let id: Int32
    /// In the store's list of queues with staged messages, and in that of queues whose entries are to be written.
    var isTouched = false
    var isDirty = false
    /// Whether the topic can stand in a record and as a directory's name.
    let isStorable: Bool
    /// Its topic was deleted: its entries are not written any more.
    var isAbandoned = false
    private var recent: RecentEntries

    /// Entries before it are in the file.
    private(set) var writtenOffset: Int64
    /// The oldest message that is still there.
    public internal(set) var minOffset: Int64
    /// Where the newest message is in the log; kept up to date by recovery only.
    var lastPhysicalOffset: Int64 = -1
    /// The files; kept here so that reaching them needs no lookup.
    let files: QueueFiles
    /// Owns `topicBytes`.
    let storedTopic: StoredTopic
    /// For the broker: whatever it wants to find without a lookup when it has the queue.
    public var attachment: AnyObject?

    /// Of the entries that are in the file, at most so many stay in memory for readers, where there is enough of it.
    private static let mostKept: Int64 = 4096
    /// So many entries are written early.
    static let largestUnwritten: Int64 = 4096
    /// So many are handed over at a time: a fraction of a millisecond of copying.
    static let mostHandedOver: Int64 = 32768

    init(_ topic: StoredTopic, id: Int32, files: QueueFiles, minOffset: Int64 = 0, maxOffset: Int64 = 0) {
        storedTopic = topic
        topicBytes = topic.bytes
        self.id = id
        self.files = files
        self.minOffset = minOffset
        self.maxOffset = maxOffset
        recent = RecentEntries(at: maxOffset)
        writtenOffset = maxOffset
        handedOffset = maxOffset
        isStorable = topic.isStorable && id >= 0
    }

    deinit { recent.reset(to: 0, files.memory) }

    public var topic: String { storedTopic.name }

    /// One beyond the newest staged message.
    @inline(__always)
    var nextOffset: Int64 { recent.end }

    /// Whether messages are staged that nobody sees before the commit.
    public var hasStaged: Bool { nextOffset > maxOffset }

    /// Whether its topic's name has these bytes.
    public func isOfTopic(_ name: RawSpan) -> Bool {
        name.byteCount == topicBytes.count && name.withUnsafeBytes { $0.elementsEqual(topicBytes) }
    }

    /// Whether no message is there.
    public var isEmpty: Bool { maxOffset <= minOffset }

    /// Where it lies, for those who fetch it ahead of time.
    var address: UInt { UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque()) }

    // MARK: Staging

    @inline(__always)
    func stage(_ entry: QueueEntry) {
        if recent.isFull { recent.addPiece(files.memory) }
        recent.append(entry)
    }

    /// Makes what was staged visible, and returns how many entries that are.
    @discardableResult
    func commitStaged() -> Int {
        defer { maxOffset = nextOffset }
        return Int(nextOffset - maxOffset)
    }
    func rollBackStaged() { recent.cut(to: maxOffset, files.memory) }

    /// Where in memory the next entry goes, and the topic's name for records stands: for those who fetch it ahead of time.
    public var nextEntryAddress: UInt { recent.nextAddress }
    public var topicAddress: UInt { UInt(bitPattern: topicBytes.baseAddress) }

    /// Whether so many entries wait that they should go to the file soon.
    @inline(__always)
    var isWritingDue: Bool { maxOffset - handedOffset > Self.largestUnwritten }

    /// Gives the memory of the newest entries back when all of them are in the file.
    func freeRecent() { if writtenOffset == nextOffset { recent.reset(to: nextOffset, files.memory) } }

    // MARK: Reading from memory

    /// The entry at a committed offset, when it is in memory.
    @inline(__always)
    func recentEntry(_ offset: Int64) -> QueueEntry? { offset < maxOffset ? recent.entry(offset) : nil }

    // MARK: Writing behind

    /// Adds committed entries that are neither in the file nor on their way, up to a limit, to a batch that is going to be
    /// written.
    func handOver(to batch: inout QueueBatch) {
        guard handedOffset < maxOffset else { return }
        let start = batch.bytes.count
        let first = handedOffset
        let end = min(maxOffset, first + Self.mostHandedOver)
        while handedOffset < end, let bytes = recent.together(from: handedOffset, until: end) {
            batch.bytes.append(contentsOf: bytes)
            handedOffset += Int64(bytes.count / QueueEntry.byteCount)
        }
        batch.pieces.append(files.piece(at: first, start..<batch.bytes.count, first: minOffset))
    }

    /// The entries handed over from `first` until `end` are in the file. Counts only when those before them are.
    func wasWritten(_ first: Int64, until end: Int64) {
        guard first <= writtenOffset else { return }
        let kept = files.memory.isScarce ? 0 : min(end - first, Self.mostKept)
        writtenOffset = max(writtenOffset, end)
        handedOffset = max(handedOffset, writtenOffset)
        files.isUnchecked = false
        forgetWritten(keeping: kept)
    }

    private func forgetWritten(keeping kept: Int64) {
        if files.memory.isScarce, writtenOffset == nextOffset { return freeRecent() }
        recent.forget(before: writtenOffset - kept, files.memory)
    }

    /// What was handed over was not written: all of it is handed over again later.
    func wasNotWritten() { handedOffset = writtenOffset }

    /// Writes committed entries that are not known to be in the file, at once.
    func writeBehind() throws(StoreError) {
        defer { handedOffset = writtenOffset }
        while writtenOffset < maxOffset, let bytes = recent.together(from: writtenOffset, until: maxOffset) {
            try files.write(bytes, at: writtenOffset, first: minOffset)
            writtenOffset += Int64(bytes.count / QueueEntry.byteCount)
            files.isUnchecked = false
        }
        forgetWritten(keeping: 0)
    }

    // MARK: For recovery and retention

    /// Starts over at `offset` with nothing in it.
    func reset(to offset: Int64) {
        recent.reset(to: offset, files.memory)
        minOffset = offset
        maxOffset = offset
        writtenOffset = offset
        handedOffset = offset
    }

    /// Forgets the entries from `offset` on, which lies within the queue.
    func cut(to offset: Int64) {
        if recent.start <= offset {
            recent.cut(to: offset, files.memory)
            writtenOffset = min(writtenOffset, offset)
        } else {
            recent.reset(to: offset, files.memory)
            writtenOffset = offset
        }
        maxOffset = offset
        handedOffset = writtenOffset
        minOffset = min(minOffset, offset)
    }
}
