import RocketMQBase
import RocketMQProtocol

/// Lookups of single messages. They may wait for the disk: rare requests, each a handful of small reads.
extension MessageStore {
    /// The entry of a message; `nil` when there is none at the offset.
    public func entry(_ queue: ConsumeQueue, at offset: Int64) -> QueueEntry? { try? findEntry(queue, offset) }

    private func findEntry(_ queue: ConsumeQueue, _ offset: Int64) throws(StoreError) -> QueueEntry? {
        guard offset >= queue.minOffset, offset < queue.maxOffset else { return nil }
        if let recent = queue.recentEntry(offset) { return recent }
        guard let (file, position) = try queue.files.handleForReading(offset) else { return nil }
        let bytes = try readExactly(file, at: position, count: QueueEntry.byteCount)
        guard bytes.count == QueueEntry.byteCount else { return nil }
        let entry = bytes.withUnsafeBytes { QueueEntry(from: $0.baseAddress!) }
        return entry.isVoid || entry.isFiller ? nil : entry
    }

    /// Store timestamp of the message at a queue offset in milliseconds; `nil` when there is none.
    public func storeTimestamp(_ queue: ConsumeQueue, at offset: Int64) throws(StoreError) -> Int64? {
        guard let entry = try findEntry(queue, offset), entry.physicalOffset >= log.minOffset else { return nil }
        return try recordHead(at: entry.physicalOffset, size: entry.size)
    }

    /// The store timestamp of the record that starts at `physicalOffset`.
    private func recordHead(at physicalOffset: Int64, size: Int32) throws(StoreError) -> Int64? {
        let wanted = min(Int(size), MessageRecord.smallest)
        func timestamp(_ bytes: RawSpan) -> Int64? {
            RecordLayout.isRecord(bytes, size: size, at: physicalOffset) ? RecordLayout.storeTimestamp(bytes) : nil
        }
        if let window = log.windowBytes(at: physicalOffset, size: wanted) { return timestamp(window.bytes) }
        guard let file = log.file(holding: physicalOffset), physicalOffset + Int64(size) <= log.writtenOffset else { return nil }
        let bytes = try readExactly(try file.handle(), at: physicalOffset - file.base, count: wanted)
        return timestamp(bytes.span.bytes)
    }

    /// Store timestamp of the oldest message in the log; `nil` when there is none.
    public func earliestStoreTimestamp() throws(StoreError) -> Int64? {
        guard let file = log.files.first, file.base < log.writtenOffset else { return nil }
        let bytes = try readExactly(try file.handle(), at: 0, count: MessageRecord.smallest)
        guard bytes.count == MessageRecord.smallest else { return nil }
        let size = bytes.span.bytes.bigEndian(Int32.self, at: 0)
        return try recordHead(at: file.base, size: size)
    }

    // MARK: By time

    /// The first message stored at `timestamp` or later; the queue's `maxOffset` when all are older. Exact where the store
    /// timestamps of the queue do not run backwards.
    public func firstOffset(_ queue: ConsumeQueue, atOrAfter timestamp: Int64) throws(StoreError) -> Int64 {
        try boundary(queue) { $0 >= timestamp }
    }

    /// The last message stored at `timestamp` or before; `nil` when all are newer.
    public func lastOffset(_ queue: ConsumeQueue, atOrBefore timestamp: Int64) throws(StoreError) -> Int64? {
        let next = try boundary(queue) { $0 > timestamp }
        return next > queue.minOffset ? next - 1 : nil
    }

    /// The first offset whose message is beyond, by halving. Holes count as what lies after them.
    private func boundary(_ queue: ConsumeQueue, _ isBeyond: (Int64) -> Bool) throws(StoreError) -> Int64 {
        var low = queue.minOffset
        var high = queue.maxOffset
        while low < high {
            let middle = low + (high - low) / 2
            var probe = middle
            var found: Int64?
            while probe < high, found == nil {
                found = try storeTimestamp(queue, at: probe)
                probe += 1
            }
            if let found, !isBeyond(found) { low = probe } else { high = middle }
        }
        return low
    }

    // MARK: By physical offset

    /// Appends the record that starts at `physicalOffset` to `output`. False when no record starts there, as with an
    /// offset into the middle of one.
    public func readMessage(at physicalOffset: Int64, into output: inout ByteBuffer) throws(StoreError) -> Bool {
        guard physicalOffset >= log.minOffset, physicalOffset < log.writtenOffset, let file = log.file(holding: physicalOffset) else {
            return false
        }
        let most = min(file.end, log.writtenOffset) - physicalOffset
        guard most >= Int64(MessageRecord.smallest) else { return false }
        let handle = try file.handle()
        let position = physicalOffset - file.base
        let head = try readExactly(handle, at: position, count: MessageRecord.smallest)
        guard head.count == MessageRecord.smallest else { return false }
        let size = head.span.bytes.bigEndian(Int32.self, at: 0)
        guard size >= MessageRecord.smallest, Int64(size) <= most, RecordLayout.isRecord(head.span.bytes, size: size, at: physicalOffset)
        else { return false }
        let bytes = try readExactly(handle, at: position, count: Int(size))
        guard case .record = MessageRecord.find(in: bytes.span.bytes, at: 0, verifyingChecksum: true) else { return false }
        output.append(bytes)
        return true
    }
}
