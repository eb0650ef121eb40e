import RocketMQBase
import RocketMQProtocol

/// Checksums of an index file, one for each 4 KiB of slots and of entries, so that a value that turned into another one that
/// could be is noticed by whoever reads it. Kept while entries come, and in a file beside the index from when it is full, or from a
/// clean stop on; files that the reference wrote have none.
struct IndexChecksums {
    /// Entries of one block; those of a file are counted from 0, which is never used.
    static let entriesPerBlock: Int32 = 204
    private static let magic: UInt64 = 0x5357_4654_4943_5331
    /// Magic, name, last offset, number of entries, and how many blocks of slots there are.
    private static let headerSize = 32

    private var slots: [UInt32]
    /// Of the blocks of entries; the last may have room.
    private var entries: [UInt32] = []
    private var entryCount: Int32 = 0

    /// Of a file without entries.
    init(slotBlocks sizes: [Int], entryZero: [UInt8]) {
        var empty: [Int: UInt32] = [:]
        for size in Set(sizes) { empty[size] = Checksum.crc32([UInt8](repeating: 0, count: size * 4)) }
        slots = sizes.map { empty[$0] ?? 0 }
        append(entryZero.span.bytes)
    }

    mutating func setSlots(_ block: Int, _ checksum: UInt32) { slots[block] = checksum }

    /// Whole entries that follow those before.
    mutating func append(_ bytes: RawSpan) {
        var position = 0
        while bytes.byteCount - position >= IndexFile.entrySize {
            let room = Int(Self.entriesPerBlock - entryCount % Self.entriesPerBlock)
            let count = min(room, (bytes.byteCount - position) / IndexFile.entrySize)
            let part = bytes.extracting(position..<(position + count * IndexFile.entrySize))
            if entryCount % Self.entriesPerBlock == 0 {
                entries.append(Checksum.crc32(part))
            } else {
                entries[entries.count - 1] = Checksum.crc32(part, continuing: entries[entries.count - 1])
            }
            entryCount += Int32(count)
            position += part.byteCount
        }
    }

    func fits(slots block: Int, _ bytes: RawSpan) -> Bool { slots[block] == Checksum.crc32(bytes) }

    /// - Parameter bytes: all entries of the block that were appended.
    func fits(entries block: Int, _ bytes: RawSpan) -> Bool { block < entries.count && entries[block] == Checksum.crc32(bytes) }

    // MARK: The file

    func encoded(name: Int64, _ header: IndexFile.Header) -> [UInt8] {
        var buffer = ByteBuffer(capacity: Self.headerSize + (slots.count + entries.count + 1) * 4)
        buffer.append(bigEndian: Self.magic)
        buffer.append(bigEndian: name)
        buffer.append(bigEndian: header.endOffset)
        buffer.append(bigEndian: entryCount)
        buffer.append(bigEndian: Int32(slots.count))
        for checksum in slots { buffer.append(bigEndian: checksum) }
        for checksum in entries { buffer.append(bigEndian: checksum) }
        let own = buffer.withBytes { Checksum.crc32($0) }
        buffer.append(bigEndian: own)
        return buffer.copyBytes()
    }

    /// `nil` for anything but the whole and undamaged checksums of the index file as this header has it.
    init?(_ bytes: [UInt8], name: Int64, _ header: IndexFile.Header, slotBlocks: Int) {
        let span = bytes.span.bytes
        let entryBlocks = Int((max(header.count, 1) - 1) / Self.entriesPerBlock + 1)
        guard bytes.count == Self.size(slotBlocks: slotBlocks, header), Self.isHead(span, name: name, header, slotBlocks: slotBlocks),
            Checksum.crc32(span.extracting(0..<(bytes.count - 4))) == span.bigEndian(UInt32.self, at: bytes.count - 4)
        else { return nil }
        slots = (0..<slotBlocks).map { span.bigEndian(UInt32.self, at: Self.place(slots: $0)) }
        entries = (0..<entryBlocks).map { span.bigEndian(UInt32.self, at: Self.place(entries: $0, slotBlocks: slotBlocks)) }
        entryCount = header.count
    }

    static func isHead(_ bytes: RawSpan, name: Int64, _ header: IndexFile.Header, slotBlocks: Int) -> Bool {
        bytes.byteCount >= headerSize && bytes.bigEndian(UInt64.self, at: 0) == magic && bytes.bigEndian(Int64.self, at: 8) == name
            && bytes.bigEndian(Int64.self, at: 16) == header.endOffset && bytes.bigEndian(Int32.self, at: 24) == header.count
            && bytes.bigEndian(Int32.self, at: 28) == Int32(truncatingIfNeeded: slotBlocks)
    }

    static func size(slotBlocks: Int, _ header: IndexFile.Header) -> Int {
        place(entries: Int((max(header.count, 1) - 1) / entriesPerBlock + 1), slotBlocks: slotBlocks) + 4
    }
    static func place(slots block: Int) -> Int { headerSize + block * 4 }
    static func place(entries block: Int, slotBlocks: Int) -> Int { headerSize + (slotBlocks + block) * 4 }
}

/// The checksums of an index file that takes no more entries: each is read when it is needed.
struct SealedIndexChecksums {
    private let file: any OpenFile
    private let name: Int64
    private let header: IndexFile.Header
    private let slotBlocks: Int

    /// `nil` when there are none that are of this file.
    init?(_ path: String, name: Int64, _ header: IndexFile.Header, slotBlocks: Int, _ fileSystem: any FileSystem) {
        guard let file = try? fileSystem.open(path, .read), let head = try? readExactly(file, at: 0, count: 64),
            IndexChecksums.isHead(head.span.bytes, name: name, header, slotBlocks: slotBlocks)
        else { return nil }
        self.file = file
        self.name = name
        self.header = header
        self.slotBlocks = slotBlocks
    }

    func fits(slots block: Int, _ bytes: RawSpan) -> Bool { fits(IndexChecksums.place(slots: block), bytes) }
    func fits(entries block: Int, _ bytes: RawSpan) -> Bool {
        fits(IndexChecksums.place(entries: block, slotBlocks: slotBlocks), bytes)
    }

    private func fits(_ place: Int, _ bytes: RawSpan) -> Bool {
        guard let stored = try? readExactly(file, at: Int64(place), count: 4), stored.count == 4 else { return true }
        if stored.span.bytes.bigEndian(UInt32.self, at: 0) == Checksum.crc32(bytes) { return true }
        // Which of the two is damaged? Checksums that are not whole say nothing.
        let size = IndexChecksums.size(slotBlocks: slotBlocks, header)
        guard let all = try? readExactly(file, at: 0, count: size + 1),
            IndexChecksums(all, name: name, header, slotBlocks: slotBlocks) != nil
        else { return true }
        return false
    }
}
