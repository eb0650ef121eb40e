import RocketMQBase
import RocketMQProtocol

/// Holds entries of a queue's file against the log, once for a file that a reader comes to: entries of another queue, in order and
/// with tags that nobody asked for, would be passed over by whoever filters, and never be noticed.
struct QueueProof: Sendable {
    let task: QueueRepair.Request
    /// Of what the reader has passed over, and of the file's last entry.
    let offsets: [Int64]

    /// The first offset whose entry leads to no message of the queue; `nil` when there is none. Blocks.
    func run(_ fileSystem: any FileSystem) throws(StoreError) -> Int64? {
        for offset in offsets {
            guard let entry = try task.entry(offset, fileSystem), !entry.isVoid, !entry.isFiller else { continue }
            // Of a part of the log that was deleted, or removed by others, nothing is known.
            guard task.parts.contains(where: { entry.physicalOffset >= $0.base && entry.physicalOffset < $0.end }) else { continue }
            if try !task.isWhole(entry, offset) { return offset }
        }
        return nil
    }
}

extension MessageStore {
    /// What has to be looked at before an entry from a file is passed over because of its tags; `nil` when the file was already.
    func proof(of queue: ConsumeQueue, at offset: Int64) -> DiskNeed? {
        let files = queue.files
        let base = files.base(of: offset)
        guard files.provenBase != base, let task = request(queue, at: offset) else { return nil }
        let last = min(base + files.entriesPerFile, queue.writtenOffset) - 1
        return .proof(QueueProof(task: task, offsets: [offset, last].filter { !isKnownLost(queue, $0) }))
    }

    /// - Parameter odd: an offset whose entry leads elsewhere. Returns what has to be run then.
    func proofEnded(_ queue: ConsumeQueue, at offset: Int64, odd: Int64?) -> QueueRepair? {
        if let odd, !isKnownLost(queue, odd), case .repair(let job)? = repair(of: queue, at: odd) { return job }
        queue.files.provenBase = queue.files.base(of: offset)
        return nil
    }
}

extension QueueRepair.Request {
    /// The entry that a file of the queue has at an offset; `nil` when it has none.
    func entry(_ offset: Int64, _ fileSystem: any FileSystem) throws(StoreError) -> QueueEntry? {
        let base = offset - offset % piece.entriesPerFile
        let path = piece.place.path(base: base * Int64(QueueEntry.byteCount))
        let file: any OpenFile
        do { file = try fileSystem.open(path, .read) } catch {
            if [.notFound, .isDirectory, .wrongKind].contains(error.code) { return nil }
            throw StoreError(error)
        }
        defer { file.close() }
        let bytes: [UInt8]
        do { bytes = try readExactly(file, at: (offset - base) * Int64(QueueEntry.byteCount), count: QueueEntry.byteCount) } catch {
            // The write puts it aside.
            if fileSystem.isDirectory(path) { return nil }
            throw error
        }
        return bytes.count == QueueEntry.byteCount ? bytes.withUnsafeBytes { QueueEntry(from: $0.baseAddress!) } : nil
    }

    /// Whether the log has this queue's message of this offset where the entry says.
    func isWhole(_ entry: QueueEntry, _ offset: Int64) throws(StoreError) -> Bool {
        guard !entry.isVoid, !entry.isFiller, entry.size >= MessageRecord.smallest,
            let part = parts.first(where: { entry.physicalOffset >= $0.base && entry.physicalOffset <= $0.end - Int64(entry.size) }),
            entry.physicalOffset <= logEnd - Int64(entry.size)
        else { return false }
        let bytes = try readExactly(part.file, at: entry.physicalOffset - part.base, count: Int(entry.size))
        return bytes.withUnsafeBytes { raw in
            guard case .record(let record) = MessageRecord.find(in: raw.bytes, at: 0, verifyingChecksum: true) else { return false }
            return record.fields.physicalOffset == entry.physicalOffset && record.size == Int(entry.size) && isOfQueue(record, raw.bytes)
                && record.fields.queueOffset == offset
        }
    }

    func isOfQueue(_ record: MessageRecord, _ bytes: RawSpan) -> Bool {
        record.fields.queueID == piece.place.id && bytes.string(record.topic) == piece.place.topic
    }
}
