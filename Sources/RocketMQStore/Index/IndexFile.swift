import RocketMQBase
import RocketMQProtocol

/// One index file: a hash table from keys to places in the log, whose chains run from the newest entry to older ones.
///
/// Slots in use are kept in memory as blocks that are read when first needed and written by `flush`; entries are appended.
/// Belongs to `IndexBuilder`, which is entered by one thread at a time.
final class IndexFile {
    /// Bytes 0 to 40 of the file.
    struct Header: Equatable, Sendable {
        var beginTimestamp: Int64 = 0
        var endTimestamp: Int64 = 0
        var beginOffset: Int64 = 0
        var endOffset: Int64 = 0
        /// Slots in use.
        var slotCount: Int32 = 0
        /// Number of the next entry; entry 0 is never used.
        var count: Int32 = 1
    }
    static let headerSize = 40
    /// No message is from later than this, in milliseconds: sums never overflow.
    private static let latestTime: Int64 = 1 << 53
    static let entrySize = 20
    static let slotsPerBlock = 1024

    let path: String
    /// The digits of its name, which tell when it was begun.
    var name: Int64 { Int64(path.suffix(17)) ?? 0 }
    static func text(ofName name: Int64) -> String { String(repeating: "0", count: max(0, 17 - String(name).count)) + String(name) }
    let geometry: Geometry
    let file: any OpenFile
    var header: Header
    private(set) var times: Times
    /// Empty where not read yet.
    var blocks: [[Int32]]
    var isBlockDirty: [Bool]
    /// Entries from number `pendingStart` on that are not in the file yet, as bytes.
    var pending = ByteBuffer(capacity: 4096)
    var pendingStart: Int32
    var isHeaderDirty = false
    private(set) var isUnsynced = false
    /// The system may have forgotten what it had not written.
    private var syncFailure: StoreError?
    private enum Checksums {
        /// Of a file that the reference wrote.
        case none
        case growing(IndexChecksums)
        case sealed(SealedIndexChecksums)
    }
    private var checksums = Checksums.none
    /// What was read does not have the checksum that it had when it was written.
    var isDamaged = false

    /// Creates an empty file of full size.
    init(creating path: String, geometry: Geometry, fileSystem: any FileSystem) throws(StoreError) {
        self.path = path
        self.geometry = geometry
        file = try storing { () throws(FileSystemError) in
            let file = try fileSystem.open(path, .replace)
            try file.truncate(to: geometry.byteCount)
            return file
        }
        header = Header()
        times = Times(header)
        pendingStart = 1
        blocks = Self.noBlocks(geometry)
        isBlockDirty = blocks.map { _ in false }
        beginChecksums(entryZero: [UInt8](repeating: 0, count: Self.entrySize))
    }

    /// Opens a file that is there; `nil` when it is none of the format.
    init?(opening path: String, expected: Geometry, fileSystem: any FileSystem) throws(StoreError) {
        let file = try storing { () throws(FileSystemError) in try fileSystem.open(path, .update) }
        let size = try storing { () throws(FileSystemError) in try file.size() }
        let bytes = try readExactly(file, at: 0, count: Self.headerSize)
        guard bytes.count == Self.headerSize else { return nil }
        let header = Self.header(bytes.span.bytes)
        guard header.count >= 1, header.slotCount >= 0, header.beginOffset >= 0, header.endOffset >= 0,
            (0...Self.latestTime).contains(header.beginTimestamp), (0...Self.latestTime).contains(header.endTimestamp),
            let geometry = try size == expected.byteCount ? expected : Self.findGeometry(file, size, header),
            Int(header.count) <= geometry.entries
        else { return nil }
        self.path = path
        self.file = file
        self.header = header
        times = Times(header)
        self.geometry = geometry
        pendingStart = header.count
        blocks = Self.noBlocks(geometry)
        isBlockDirty = blocks.map { _ in false }
    }

    private static func header(_ bytes: RawSpan) -> Header {
        Header(
            beginTimestamp: bytes.bigEndian(Int64.self, at: 0), endTimestamp: bytes.bigEndian(Int64.self, at: 8),
            beginOffset: bytes.bigEndian(Int64.self, at: 16), endOffset: bytes.bigEndian(Int64.self, at: 24),
            slotCount: bytes.bigEndian(Int32.self, at: 32), count: bytes.bigEndian(Int32.self, at: 36))
    }

    var isFull: Bool { Int(header.count) >= geometry.entries }
    var isEmpty: Bool { header.count <= 1 }

    /// The file still has its name and its size. What cannot be looked at is.
    var isAsItWas: Bool {
        if let isThere = try? file.isAtItsPath(), !isThere { return false }
        guard let size = try? file.size() else { return true }
        return size >= geometry.byteCount
    }

    // MARK: Slots

    static func noBlocks(_ geometry: Geometry) -> [[Int32]] {
        [[Int32]](repeating: [], count: (geometry.slots + slotsPerBlock - 1) / slotsPerBlock)
    }

    private func slotCount(ofBlock index: Int) -> Int { min(Self.slotsPerBlock, geometry.slots - index * Self.slotsPerBlock) }

    private func loadBlock(_ index: Int) throws(StoreError) {
        let count = slotCount(ofBlock: index)
        let bytes = try readExactly(file, at: Int64(Self.headerSize + index * Self.slotsPerBlock * 4), count: count * 4)
        let span = bytes.span.bytes
        switch checksums {
        case .none: break
        case .growing(let known): if !known.fits(slots: index, span) { isDamaged = true }
        case .sealed(let known): if !known.fits(slots: index, span) { isDamaged = true }
        }
        blocks[index] = (0..<count).map { $0 * 4 + 4 <= bytes.count ? span.bigEndian(Int32.self, at: $0 * 4) : 0 }
    }

    private func rawSlot(_ hash: Int32) throws(StoreError) -> Int32 {
        let slot = Int(hash) % geometry.slots
        let index = slot / Self.slotsPerBlock
        if blocks[index].isEmpty { try loadBlock(index) }
        return blocks[index][slot % Self.slotsPerBlock]
    }

    private func slot(_ hash: Int32) throws(StoreError) -> Int32 {
        let value = try rawSlot(hash)
        return value > 0 && value < header.count ? value : 0
    }

    /// Sets a slot whose block `slot` has loaded.
    private func setSlot(_ hash: Int32, _ value: Int32) {
        let slot = Int(hash) % geometry.slots
        blocks[slot / Self.slotsPerBlock][slot % Self.slotsPerBlock] = value
        isBlockDirty[slot / Self.slotsPerBlock] = true
    }

    // MARK: Entries

    /// Adds an entry for a key with this hash. The file must not be full.
    func put(hash: Int32, physicalOffset: Int64, storeTimestamp: Int64) throws(StoreError) {
        // First: what fails is tried again with the same key.
        if pending.count >= 64 << 10 { try writeEntries() }
        let previous = try slot(hash)
        let storeTimestamp = min(max(storeTimestamp, 0), Self.latestTime)
        if header.count <= 1 {
            header.beginTimestamp = storeTimestamp
            header.beginOffset = physicalOffset
            header.endTimestamp = storeTimestamp
            times = Times(header)
        }
        times.add(storeTimestamp)
        let seconds = max(0, (storeTimestamp - header.beginTimestamp) / 1000)
        pending.append(bigEndian: hash)
        pending.append(bigEndian: physicalOffset)
        pending.append(bigEndian: Int32(clamping: seconds))
        pending.append(bigEndian: previous)
        setSlot(hash, header.count)
        if previous == 0 { header.slotCount += 1 }
        header.count += 1
        header.endOffset = physicalOffset
        header.endTimestamp = storeTimestamp
        isHeaderDirty = true
    }

    private func writeEntries() throws(StoreError) {
        guard pending.count > 0 else { return }
        let position = geometry.entriesPosition + Int64(pendingStart) * Int64(Self.entrySize)
        try pending.withUnsafeReadable { (bytes) throws(StoreError) in
            try storing { () throws(FileSystemError) in try file.write(bytes, at: position) }
        }
        pending.withBytes { addToChecksums($0) }
        pending.removeAll()
        pendingStart = header.count
        isUnsynced = true
    }

    private struct Entry {
        var hash: Int32
        var physicalOffset: Int64
        var seconds: Int32
        var previous: Int32
    }

    /// Entries that were read together: those of a key that many messages have lie close to each other.
    private struct EntryBlock {
        var first: Int32 = 0
        var bytes: [UInt8] = []
        static let count = IndexChecksums.entriesPerBlock
    }

    private func entry(_ number: Int32, _ block: inout EntryBlock) throws(StoreError) -> Entry? {
        func parse(_ bytes: RawSpan, _ start: Int) -> Entry {
            Entry(
                hash: bytes.bigEndian(Int32.self, at: start), physicalOffset: bytes.bigEndian(Int64.self, at: start + 4),
                seconds: bytes.bigEndian(Int32.self, at: start + 12), previous: bytes.bigEndian(Int32.self, at: start + 16))
        }
        if number >= pendingStart { return pending.withBytes { parse($0, Int(number - pendingStart) * Self.entrySize) } }
        var start = Int(number - block.first) * Self.entrySize
        if start < 0 || start + Self.entrySize > block.bytes.count {
            block.first = number / EntryBlock.count * EntryBlock.count
            let count = Int(min(EntryBlock.count, pendingStart - block.first)) * Self.entrySize
            block.bytes = try readExactly(file, at: geometry.entriesPosition + Int64(block.first) * Int64(Self.entrySize), count: count)
            let (place, span) = (Int(block.first / EntryBlock.count), block.bytes.span.bytes)
            switch checksums {
            case .none: break
            case .growing(let known): if !known.fits(entries: place, span) { isDamaged = true }
            case .sealed(let known): if !known.fits(entries: place, span) { isDamaged = true }
            }
            if isDamaged { return nil }
            start = Int(number - block.first) * Self.entrySize
        }
        return start + Self.entrySize <= block.bytes.count ? parse(block.bytes.span.bytes, start) : nil
    }

    // MARK: Looking up

    /// Adds places of messages whose key may be the one with this hash to `found`, newest first, until it holds `limit`.
    /// Of the times, given in milliseconds, only the second is looked at, and they are not where the clock was set back: whoever
    /// asks looks at the messages.
    ///
    /// - Returns: false when what is there cannot be: not what was written, entries of another slot, or not in the order of the
    ///   log. What was added then may be of anything.
    func select(
        hash: Int32, from begin: Int64, through end: Int64, olderThan: Int64, limit: Int, into found: inout [Int64]
    ) throws(StoreError) -> Bool {
        var number = try rawSlot(hash)
        guard !isDamaged, number >= 0, number < header.count else { return false }
        let slot = Int(hash) % geometry.slots
        var newer = header.endOffset
        var block = EntryBlock()
        while number > 0, found.count < limit {
            guard let entry = try entry(number, &block), entry.hash >= 0, Int(entry.hash) % geometry.slots == slot,
                entry.physicalOffset <= newer, entry.physicalOffset >= header.beginOffset, entry.previous >= 0, entry.previous < number
            else { return false }
            let time = header.beginTimestamp + Int64(entry.seconds) * 1000
            if times.isOrdered, time + 999 + Times.tolerance < begin { return true }
            let isInTime = !times.isOrdered || time - Times.tolerance <= end
            // A message that has the key twice stands there twice.
            if entry.hash == hash, isInTime, entry.physicalOffset < olderThan, entry.physicalOffset != found.last {
                found.append(entry.physicalOffset)
            }
            newer = entry.physicalOffset
            number = entry.previous
        }
        return true
    }

    func mayHold(from begin: Int64, through end: Int64) -> Bool {
        !isEmpty && begin <= times.latest + 999 && end >= times.earliest
    }

    /// What the list knows of a file that is taken over.
    func take(_ listed: Times) { times = listed }

    // MARK: Durability

    /// Writes entries, slots and header.
    func flush() throws(StoreError) {
        try writeEntries()
        for index in blocks.indices where isBlockDirty[index] {
            let buffer = Self.encoded(blocks[index])
            try write(buffer, at: Int64(Self.headerSize + index * Self.slotsPerBlock * 4))
            setChecksum(ofBlock: index, buffer.withBytes { Checksum.crc32($0) })
            isBlockDirty[index] = false
        }
        if isHeaderDirty {
            var buffer = ByteBuffer(capacity: Self.headerSize)
            for field in [header.beginTimestamp, header.endTimestamp, header.beginOffset, header.endOffset] {
                buffer.append(bigEndian: field)
            }
            buffer.append(bigEndian: header.slotCount)
            buffer.append(bigEndian: header.count)
            try write(buffer, at: 0)
            isHeaderDirty = false
        }
        // Slots of a file that takes no more entries are read again if ever needed.
        if isFull { blocks = Self.noBlocks(geometry) }
    }

    static func encoded(_ block: [Int32]) -> ByteBuffer {
        var buffer = ByteBuffer(capacity: block.count * 4)
        for value in block { buffer.append(bigEndian: value) }
        return buffer
    }

    private func write(_ buffer: borrowing ByteBuffer, at position: Int64) throws(StoreError) {
        try buffer.withUnsafeReadable { (bytes) throws(StoreError) in
            try storing { () throws(FileSystemError) in try file.write(bytes, at: position) }
        }
        isUnsynced = true
    }

    /// - Throws: `.noSpace` when it may be tried again later; after anything else nothing of the file may be believed.
    func synchronize() throws(StoreError) {
        if let syncFailure { throw syncFailure }
        try flush()
        guard isUnsynced else { return }
        do throws(FileSystemError) { try file.synchronize() } catch {
            let failure = StoreError(.disk, StoreError(error).reason)
            syncFailure = failure
            throw failure
        }
        isUnsynced = false
    }

    // MARK: Checksums

    private var slotBlocks: Int { blocks.count }

    func setChecksum(ofBlock index: Int, _ checksum: UInt32) {
        guard case .growing(var known) = checksums else { return }
        checksums = .none
        known.setSlots(index, checksum)
        checksums = .growing(known)
    }

    /// Of entries that follow those before.
    func addToChecksums(_ entries: RawSpan) {
        guard case .growing(var known) = checksums else { return }
        // The only reference, so that nothing is copied.
        checksums = .none
        known.append(entries)
        checksums = .growing(known)
    }

    func beginChecksums(entryZero: [UInt8]) {
        checksums = .growing(IndexChecksums(slotBlocks: blocks.indices.map { slotCount(ofBlock: $0) }, entryZero: entryZero))
    }

    /// Takes the checksums that an earlier run left of the file as it is.
    func loadChecksums(_ path: String, _ fileSystem: any FileSystem) {
        checksums = .none
        if isFull {
            if let sealed = SealedIndexChecksums(path, name: name, header, slotBlocks: slotBlocks, fileSystem) {
                checksums = .sealed(sealed)
            }
        } else if let bytes = try? fileSystem.contents(of: path),
            let known = IndexChecksums(bytes, name: name, header, slotBlocks: slotBlocks)
        {
            checksums = .growing(known)
        }
    }

    /// Writes the checksums of a file that is flushed; when it is full they do not change any more and leave the memory. They
    /// may be missing, so that what fails here fails alone.
    func saveChecksums(_ path: String, _ fileSystem: any FileSystem) {
        guard case .growing(let known) = checksums, pendingStart == header.count, !isHeaderDirty else { return }
        do throws(FileSystemError) {
            let file = try fileSystem.open(path, .replace)
            defer { file.close() }
            var failure: FileSystemError?
            known.encoded(name: name, header).withUnsafeBytes { bytes in
                do throws(FileSystemError) { try file.write(bytes, at: 0) } catch { failure = error }
            }
            if let failure { throw failure }
            try file.synchronize()
        } catch { return }
        if isFull, let sealed = SealedIndexChecksums(path, name: name, header, slotBlocks: slotBlocks, fileSystem) {
            checksums = .sealed(sealed)
        }
    }
}
