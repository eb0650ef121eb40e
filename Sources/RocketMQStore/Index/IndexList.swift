import RocketMQBase
import RocketMQProtocol

/// What the index was when it was last made durable, in the file `indexes` beside the reference's: which files there must be,
/// and how far each was filled. A start believes of the index what stands here and nothing else, so that neither a file that
/// is missing between others nor one that came back with entries of a lost end of the log goes unnoticed.
struct IndexList: Equatable, Sendable {
    /// A file with entries.
    struct Row: Equatable, Sendable {
        /// The digits of its name.
        var name: Int64
        var header: IndexFile.Header
        var times: IndexFile.Times

        init(name: Int64, header: IndexFile.Header, times: IndexFile.Times? = nil) {
            self.name = name
            self.header = header
            self.times = times ?? IndexFile.Times(header)
        }
    }
    /// The keys of every message before it are in these files.
    var indexedOffset: Int64
    var rows: [Row]

    static let fileName = "indexes"
    /// The first form knew no times but those of the headers.
    private static let firstMagic: UInt64 = 0x5357_4654_4944_5831
    private static let magic: UInt64 = 0x5357_4654_4944_5832

    init(indexedOffset: Int64, rows: [Row]) {
        self.indexedOffset = indexedOffset
        self.rows = rows
    }

    /// `nil` for anything that is not a whole, undamaged list.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 24 else { return nil }
        let covered = bytes.count - 4
        let span = bytes.span.bytes
        guard Checksum.crc32(span.extracting(0..<covered)) == span.bigEndian(UInt32.self, at: covered) else { return nil }
        var found: IndexList?
        do throws(MalformedBytes) { found = try Self.read(span.extracting(0..<covered)) } catch { return nil }
        guard let found else { return nil }
        self = found
    }

    private static func read(_ bytes: RawSpan) throws(MalformedBytes) -> IndexList? {
        var reader = ByteReader(bytes)
        let found = try reader.integer(UInt64.self, "magic")
        guard found == magic || found == firstMagic else { return nil }
        var list = IndexList(indexedOffset: try reader.integer(Int64.self, "end"), rows: [])
        while reader.remaining > 0 {
            let name = try reader.integer(Int64.self, "name")
            let header = IndexFile.Header(
                beginTimestamp: try reader.integer(Int64.self, "begin"), endTimestamp: try reader.integer(Int64.self, "end"),
                beginOffset: try reader.integer(Int64.self, "begin"), endOffset: try reader.integer(Int64.self, "end"),
                slotCount: try reader.integer(Int32.self, "slots"), count: try reader.integer(Int32.self, "count"))
            guard header.count > 1, name > list.rows.last?.name ?? -1 else { return nil }
            var row = Row(name: name, header: header)
            if found == magic {
                row.times.earliest = try reader.integer(Int64.self, "earliest")
                row.times.latest = try reader.integer(Int64.self, "latest")
                row.times.isOrdered = try reader.integer(Int32.self, "order") == 0
            }
            list.rows.append(row)
        }
        return list.indexedOffset >= 0 ? list : nil
    }

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: 32 + rows.count * 48)
        buffer.append(bigEndian: Self.magic)
        buffer.append(bigEndian: indexedOffset)
        for row in rows {
            let header = row.header
            for field in [row.name, header.beginTimestamp, header.endTimestamp, header.beginOffset, header.endOffset] {
                buffer.append(bigEndian: field)
            }
            buffer.append(bigEndian: header.slotCount)
            buffer.append(bigEndian: header.count)
            buffer.append(bigEndian: row.times.earliest)
            buffer.append(bigEndian: row.times.latest)
            buffer.append(bigEndian: (row.times.isOrdered ? 0 : 1) as Int32)
        }
        let checksum = buffer.withBytes { Checksum.crc32($0) }
        buffer.append(bigEndian: checksum)
        return buffer.copyBytes()
    }
}

/// What a start does with the files of an index: a pure step from what is listed and what is there.
struct IndexPlan: Equatable {
    struct Step: Equatable {
        var row: IndexList.Row
        /// It is as the list says. Otherwise the entries that the list knows tell, and slots and header follow from them.
        var isUntouched: Bool
    }
    /// By name, in their order. Every other file goes.
    var steps: [Step] = []
    /// From where the log has to be gone through for keys.
    var from: Int64
    /// The list on the disk says more than is believed: it must not be found again.
    var isListOutdated: Bool
    /// A file that should have been there.
    var missing: Int64?

    /// - Parameters:
    ///   - found: headers of the files that are there and of the format, and whether such a file is full.
    ///   - logEnd: what is listed of messages behind it is of messages that the log has lost.
    ///   - wasClean: nothing was put into the files after the list was written.
    init(_ list: IndexList, found: [Int64: (header: IndexFile.Header, entries: Int)], logStart: Int64, logEnd: Int64, wasClean: Bool) {
        from = min(list.indexedOffset, logEnd)
        isListOutdated = list.indexedOffset > logEnd
        for row in list.rows where row.header.beginOffset < logEnd {
            guard let file = found[row.name] else {
                // Its messages are gone, and so is it.
                if row.header.endOffset < logStart { continue }
                missing = row.name
                stop(at: steps.last?.row)
                return
            }
            let isFull = Int(row.header.count) >= file.entries
            let isUntouched = file.header == row.header && row.header.endOffset < logEnd && (wasClean || isFull)
            steps.append(Step(row: row, isUntouched: isUntouched))
        }
    }

    /// Files are in the order of the log: behind one that is not there or damaged all is built anew.
    mutating func stop(at row: IndexList.Row?) {
        from = row?.header.endOffset ?? 0
        isListOutdated = true
        steps.removeAll { $0.row.name > row?.name ?? -1 }
    }
}
