import RocketMQBase
import RocketMQProtocol

/// The list of all queues, in a file of our own beside the reference's. After a clean stop it spares looking at every
/// queue's directory; after a crash it tells which queues there must be.
struct QueueTable {
    /// A queue that has or had messages; without offsets when only that much is known of it.
    struct Row: Sendable {
        var topic: String
        var id: Int32
        var minOffset: Int64
        var maxOffset: Int64
        var entriesPerFile: Int64
    }
    var minPhysicalOffset: Int64
    var endPhysicalOffset: Int64
    var rows: [Row]

    /// A table that is not put together yet: what takes time is left to a worker.
    struct Draft: Sendable {
        var minPhysicalOffset: Int64
        var endPhysicalOffset: Int64
        var names: [Row]
        var ranges: [(min: Int64, max: Int64)]

        func table() -> QueueTable {
            var rows: [Row] = []
            rows.reserveCapacity(names.count)
            for (name, range) in zip(names, ranges) where range.max > 0 {
                var row = name
                (row.minOffset, row.maxOffset) = range
                rows.append(row)
            }
            return QueueTable(minPhysicalOffset: minPhysicalOffset, endPhysicalOffset: endPhysicalOffset, rows: rows)
        }
    }

    /// Whether it says how long every queue was when the log ended at `endPhysicalOffset`.
    var hasOffsets: Bool { rows.allSatisfy { $0.maxOffset > 0 } }

    static let fileName = "queues"
    private static let magic: UInt64 = 0x5357_4654_5155_4531

    init(minPhysicalOffset: Int64, endPhysicalOffset: Int64, rows: [Row]) {
        self.minPhysicalOffset = minPhysicalOffset
        self.endPhysicalOffset = endPhysicalOffset
        self.rows = rows
    }

    /// `nil` for anything that is not a whole, undamaged table.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 32 else { return nil }
        let covered = bytes.count - 4
        let isIntact = bytes.withUnsafeBytes { raw in
            Checksum.crc32(raw.bytes.extracting(0..<covered)) == raw.bytes.bigEndian(UInt32.self, at: covered)
        }
        guard isIntact else { return nil }
        minPhysicalOffset = 0
        endPhysicalOffset = 0
        rows = []
        let isRead = bytes.withUnsafeBytes { raw in
            do throws(MalformedBytes) {
                try read(raw.bytes.extracting(0..<covered))
                return true
            } catch { return false }
        }
        guard isRead else { return nil }
    }

    private mutating func read(_ bytes: RawSpan) throws(MalformedBytes) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt64.self, "magic") == Self.magic else { throw MalformedBytes("not a queue table") }
        minPhysicalOffset = try reader.integer(Int64.self, "start")
        endPhysicalOffset = try reader.integer(Int64.self, "end")
        let count = Int(try reader.integer(Int32.self, "count"))
        rows.reserveCapacity(max(0, min(count, bytes.byteCount / 30)))
        while reader.remaining > 0 {
            let size = Int(try reader.integer(UInt16.self, "topic length"))
            let topic = bytes.string(try reader.skip(size, "topic"))
            rows.append(
                Row(
                    topic: topic, id: try reader.integer(Int32.self, "id"), minOffset: try reader.integer(Int64.self, "min"),
                    maxOffset: try reader.integer(Int64.self, "max"), entriesPerFile: try reader.integer(Int64.self, "entries")))
        }
        guard rows.count == count, rows.allSatisfy({ $0.minOffset >= 0 && $0.maxOffset >= $0.minOffset && $0.entriesPerFile > 0 }) else {
            throw MalformedBytes("the queue table contradicts itself")
        }
    }

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: 64 + rows.count * 64)
        buffer.append(bigEndian: Self.magic)
        buffer.append(bigEndian: minPhysicalOffset)
        buffer.append(bigEndian: endPhysicalOffset)
        buffer.append(bigEndian: Int32(truncatingIfNeeded: rows.count))
        for row in rows {
            buffer.append(bigEndian: UInt16(truncatingIfNeeded: row.topic.utf8.count))
            buffer.append(utf8: row.topic)
            buffer.append(bigEndian: row.id)
            buffer.append(bigEndian: row.minOffset)
            buffer.append(bigEndian: row.maxOffset)
            buffer.append(bigEndian: row.entriesPerFile)
        }
        let checksum = buffer.withBytes { Checksum.crc32($0) }
        buffer.append(bigEndian: checksum)
        return buffer.copyBytes()
    }
}
