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

    /// Whether it says how long every queue was when the log ended at `endPhysicalOffset`.
    var hasOffsets: Bool { rows.allSatisfy { $0.maxOffset > 0 } }

    static let fileName = "queues"
    private static let magic: UInt64 = 0x5357_4654_5155_4531

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
}

extension QueueTable {
    /// What of a queue never changes; topics share their names.
    struct Name: Sendable {
        var topic: String
        var entriesPerFile: Int64
        var id: Int32
    }

    /// A table to be written: what the loop must copy of 80,000 queues, and no more. The bytes are made of it on a worker.
    struct Draft: Sendable {
        var minPhysicalOffset: Int64
        var endPhysicalOffset: Int64
        var names: [Name]
        /// Of each name, the offsets of its queue.
        var ranges: [(min: Int64, max: Int64)]
        /// Otherwise it only says which queues have messages.
        var hasOffsets = true

        /// In one piece of memory of just that size: it is megabytes with very many queues.
        func encoded() -> [UInt8] {
            var (count, size) = (0, QueueTable.headSize + QueueTable.checksumSize)
            for (name, range) in zip(names, ranges) where range.max > 0 {
                count += 1
                size += QueueTable.fixedRowSize + name.topic.utf8.count
            }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(size)
            bytes.append(bigEndian: QueueTable.magic)
            bytes.append(bigEndian: minPhysicalOffset)
            bytes.append(bigEndian: endPhysicalOffset)
            bytes.append(bigEndian: Int32(truncatingIfNeeded: count))
            for (name, range) in zip(names, ranges) where range.max > 0 {
                bytes.append(bigEndian: UInt16(truncatingIfNeeded: name.topic.utf8.count))
                bytes.append(contentsOf: name.topic.utf8)
                bytes.append(bigEndian: name.id)
                bytes.append(bigEndian: hasOffsets ? range.min : 0)
                bytes.append(bigEndian: hasOffsets ? range.max : 0)
                bytes.append(bigEndian: name.entriesPerFile)
            }
            bytes.append(bigEndian: bytes.withUnsafeBytes { Checksum.crc32($0.bytes) })
            return bytes
        }
    }

    /// Magic, both ends of the log and the number of rows; of a row, all but the topic.
    private static let headSize = 28
    private static let fixedRowSize = 30
    private static let checksumSize = 4
}

extension [UInt8] {
    fileprivate mutating func append<Number: FixedWidthInteger>(bigEndian value: Number) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
