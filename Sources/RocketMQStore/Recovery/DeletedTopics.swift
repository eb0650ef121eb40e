import RocketMQBase
import RocketMQProtocol
import Synchronization

/// Up to where in the log the messages of deleted topics are, in the file `deleted-topics` beside the reference's: they stay in
/// the log until its files expire, and whoever goes through it must not take them for messages of a topic that was made again.
struct DeletedTopics: Equatable, Sendable {
    /// The last deletion of a topic.
    struct Row: Equatable, Sendable {
        /// The end of the log then.
        var offset: Int64
        /// When that was, and no earlier than any message before it.
        var time: Int64
        /// The reference has run since, which may have cut the log and gone on with other messages in the same places: only those
        /// that are older than the deletion are deleted.
        var isTimeDecisive = false

        func covers(_ physicalOffset: Int64, storedAt timestamp: Int64) -> Bool {
            physicalOffset < offset && (!isTimeDecisive || timestamp <= time)
        }
    }
    var rows: [String: Row] = [:]

    static let fileName = "deleted-topics"
    private static let magic: UInt64 = 0x5357_4654_4454_5031
    private static let smallestRow = 2 + 8 + 8 + 4

    init() {}

    /// Whether a message was deleted with its topic.
    func covers(_ topic: String, _ physicalOffset: Int64, storedAt timestamp: Int64) -> Bool {
        guard !rows.isEmpty, let row = rows[topic] else { return false }
        return row.covers(physicalOffset, storedAt: timestamp)
    }

    /// As above, of an entry of a queue, which tells no time.
    func covers(_ topic: String, _ entry: QueueEntry) -> Bool {
        guard !rows.isEmpty, let row = rows[topic] else { return false }
        return !entry.isVoid && !entry.isFiller && !row.isTimeDecisive && row.covers(entry.physicalOffset, storedAt: 0)
    }

    /// Forgets what the log does not reach back to.
    mutating func prune(before logStart: Int64) {
        guard !rows.isEmpty else { return }
        rows = rows.filter { $0.value.offset > logStart }
    }

    /// At a start, when the log's end is known: what is stored from there on is not deleted.
    mutating func settle(logStart: Int64, logEnd: Int64) {
        for (topic, row) in rows { rows[topic]?.offset = min(row.offset, logEnd) }
        prune(before: logStart)
    }

    /// The reference may have run since.
    mutating func distrustPlaces() {
        for topic in Array(rows.keys) { rows[topic]?.isTimeDecisive = true }
    }

    // MARK: The file

    /// `nil` for anything that is not a whole, undamaged table.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 16 else { return nil }
        let span = bytes.span.bytes
        let covered = bytes.count - 4
        guard Checksum.crc32(span.extracting(0..<covered)) == span.bigEndian(UInt32.self, at: covered) else { return nil }
        do throws(MalformedBytes) { try read(span.extracting(0..<covered)) } catch { return nil }
    }

    private mutating func read(_ bytes: RawSpan) throws(MalformedBytes) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt64.self, "magic") == Self.magic else { throw MalformedBytes("not a table of deleted topics") }
        let count = Int(try reader.integer(Int32.self, "count"))
        rows.reserveCapacity(max(0, min(count, bytes.byteCount / Self.smallestRow)))
        while reader.remaining > 0 {
            let size = Int(try reader.integer(UInt16.self, "topic length"))
            let topic = bytes.string(try reader.skip(size, "topic"))
            rows[topic] = Row(
                offset: try reader.integer(Int64.self, "offset"), time: try reader.integer(Int64.self, "time"),
                isTimeDecisive: try reader.integer(Int32.self, "kind") != 0)
        }
        guard rows.count == count else { throw MalformedBytes("the table of deleted topics contradicts itself") }
    }

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: 16 + rows.count * 64)
        buffer.append(bigEndian: Self.magic)
        buffer.append(bigEndian: Int32(truncatingIfNeeded: rows.count))
        for (topic, row) in rows {
            buffer.append(bigEndian: UInt16(truncatingIfNeeded: topic.utf8.count))
            buffer.append(utf8: topic)
            buffer.append(bigEndian: row.offset)
            buffer.append(bigEndian: row.time)
            buffer.append(bigEndian: (row.isTimeDecisive ? 1 : 0) as Int32)
        }
        let checksum = buffer.withBytes { Checksum.crc32($0) }
        buffer.append(bigEndian: checksum)
        return buffer.copyBytes()
    }

    /// What the last run left: the file, or its last good copy.
    static func read(root: String, _ fileSystem: any FileSystem, _ report: (StoreReportLevel, String) -> Void) -> DeletedTopics {
        let path = root + "/" + fileName
        var isThere = false
        for copy in [path, path + ".bak"] {
            guard let bytes = (try? fileSystem.contents(of: copy, atMost: Recovery.largest[fileName] ?? 1 << 20)) ?? nil else { continue }
            isThere = true
            if let table = DeletedTopics(bytes) {
                if copy != path { report(.warning, "\(path) is missing or damaged, its last good copy \(copy) is read") }
                return table
            }
        }
        if isThere {
            report(
                .error,
                "\(path) is damaged, and so is its copy: should consume queues be rebuilt from the commit log, topics that were deleted and "
                    + "made again begin with their old messages. Delete them again where that must not be")
        }
        return DeletedTopics()
    }
}

/// Writes the table, one writer at a time, and never an older one in the place of a newer one.
final class DeletedTopicsWriter: Sendable {
    private let root: String
    private let fileSystem: any FileSystem
    private let lastVersion = Mutex(0)

    init(root: String, fileSystem: any FileSystem) {
        self.root = root
        self.fileSystem = fileSystem
    }

    /// Durable when this returns, with the removal of the topic's queues from their directory. Blocks.
    func write(_ table: DeletedTopics, version: Int) throws(StoreError) {
        try lastVersion.withLock { (last) throws(StoreError) in
            guard version > last else { return }
            try storing { () throws(FileSystemError) in
                try fileSystem.replaceDurably(root + "/" + DeletedTopics.fileName, with: table.encoded())
                do throws(FileSystemError) { try fileSystem.synchronizeDirectory(root + "/consumequeue") } catch
                    where error.code == .notFound
                {}
            }
            last = version
        }
    }
}

/// Deletions that are to be made durable. Belongs to the store's thread.
struct TopicDeletions {
    var table: DeletedTopics
    let writer: DeletedTopicsWriter
    var version = 0
    var writtenVersion = 0
    var isWriting = false
    /// Told when what is in the table now is durable.
    var waiting: [(StoreError?) -> Void] = []
}
