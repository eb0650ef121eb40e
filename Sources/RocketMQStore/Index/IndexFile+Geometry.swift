import RocketMQBase
import RocketMQProtocol

/// How large the parts of an index file are.
extension IndexFile {
    struct Geometry: Equatable {
        var slots: Int
        var entries: Int
        var byteCount: Int64 { Int64(IndexFile.headerSize) + Int64(slots) * 4 + Int64(entries) * 20 }
        var entriesPosition: Int64 { Int64(IndexFile.headerSize) + Int64(slots) * 4 }
    }

    /// Written with other settings than ours: where entries begin follows from the first of them, whose offset the header
    /// names; it and those after it must look like entries, and be reached from slots.
    static func findGeometry(_ file: any OpenFile, _ size: Int64, _ header: Header) throws(StoreError) -> Geometry? {
        guard header.count > 1 else { return nil }
        let bytes = try readExactly(file, at: 0, count: Int(min(size, 64 << 20)))
        let span = bytes.span.bytes
        for position in stride(from: headerSize + 4, to: max(bytes.count - 2 * entrySize, headerSize + 4), by: 4) {
            let first = position + entrySize
            guard span.bigEndian(Int64.self, at: first + 4) == header.beginOffset, span.bigEndian(Int64.self, at: first + 12) == 0,
                (size - Int64(position)) % Int64(entrySize) == 0, areEntries(span, at: position, header)
            else { continue }
            return Geometry(slots: (position - headerSize) / 4, entries: Int((size - Int64(position)) / Int64(entrySize)))
        }
        return nil
    }

    private static func areEntries(_ bytes: RawSpan, at position: Int, _ header: Header) -> Bool {
        let slots = (position - headerSize) / 4
        var last = header.beginOffset
        for number in 1..<min(Int(header.count), 50) {
            let entry = position + number * entrySize
            guard entry + entrySize <= bytes.byteCount else { return false }
            let hash = bytes.bigEndian(Int32.self, at: entry)
            let offset = bytes.bigEndian(Int64.self, at: entry + 4)
            guard hash >= 0, offset >= last, offset <= header.endOffset, Int(bytes.bigEndian(Int32.self, at: entry + 16)) < number else {
                return false
            }
            let newest = bytes.bigEndian(Int32.self, at: headerSize + Int(hash) % slots * 4)
            guard Int(newest) >= number, newest < header.count else { return false }
            last = offset
        }
        return true
    }
}
