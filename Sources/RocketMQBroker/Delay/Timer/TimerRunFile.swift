import RocketMQBase
import RocketMQProtocol

/// What is known of a file of sorted entries, a run, without reading it.
struct TimerRunInfo: Equatable, Sendable {
    /// The file's name; never used again.
    var id: Int64
    var count: Int64
    /// Queue offsets of its messages, and of those that its recalls take back, lie in this range.
    var firstQueueOffset = Int64.max
    var lastQueueOffset = Int64.min
    /// No record of an entry lies before it in the commit log.
    var minPhysicalOffset = Int64.max

    static func path(_ directory: String, _ id: Int64) -> String { "\(directory)/\(id).run" }
}

/// The first key of a page of a run, and how many recalls lie before the page.
struct TimerFence: Sendable {
    var key: TimerKey
    var recallsBefore: Int64
    static let byteCount = 24
}

/// The layout of a run: entries in ascending order, in pages; a fence a page; a footer with a checksum of fences and footer.
enum TimerRunLayout {
    static let pageEntries: Int64 = 512
    static let footerSize = 40
    static let magic: Int64 = 0x524D_5154_494D_4552

    static func pages(_ count: Int64) -> Int64 { (count + pageEntries - 1) / pageEntries }
}

/// Writes a run, entry by entry in ascending order. Blocks: for workers and for the start. A message and its recall that
/// follow each other are both left out.
struct TimerRunWriter: ~Copyable {
    private let file: any OpenFile
    private var info: TimerRunInfo
    private var fences: [TimerFence] = []
    private var recalls: Int64 = 0
    private var chunk: [UInt8] = []
    private var written: Int64 = 0
    /// A recall whose message has not come yet.
    private var heldRecall: TimerEntry?

    init(id: Int64, directory: String, fileSystem: any FileSystem) throws(FileSystemError) {
        info = TimerRunInfo(id: id, count: 0)
        file = try fileSystem.open(TimerRunInfo.path(directory, id), .replace)
        chunk.reserveCapacity(1 << 20)
    }

    mutating func append(_ entry: TimerEntry) throws(FileSystemError) {
        if let recall = heldRecall {
            heldRecall = nil
            if !entry.isRecall, entry.queueOffset == recall.queueOffset { return }
            try put(recall)
        }
        if entry.isRecall { heldRecall = entry } else { try put(entry) }
    }

    private mutating func put(_ entry: TimerEntry) throws(FileSystemError) {
        if info.count % TimerRunLayout.pageEntries == 0 { fences.append(TimerFence(key: entry.key, recallsBefore: recalls)) }
        info.count += 1
        if entry.isRecall { recalls += 1 }
        info.firstQueueOffset = min(info.firstQueueOffset, entry.queueOffset)
        info.lastQueueOffset = max(info.lastQueueOffset, entry.queueOffset)
        info.minPhysicalOffset = min(info.minPhysicalOffset, entry.physicalOffset)
        let start = chunk.count
        chunk.append(contentsOf: repeatElement(0, count: TimerEntry.byteCount))
        chunk.withUnsafeMutableBytes { entry.write(to: $0.baseAddress! + start) }
        if chunk.count >= 1 << 20 { try writeChunk() }
    }

    private mutating func writeChunk() throws(FileSystemError) {
        let failure = chunk.withUnsafeBytes { bytes -> FileSystemError? in
            do throws(FileSystemError) { try file.write(bytes, at: written) } catch { return error }
            return nil
        }
        if let failure { throw failure }
        written += Int64(chunk.count)
        chunk.removeAll(keepingCapacity: true)
    }

    /// Writes what is missing, makes the file durable and closes it.
    consuming func finish() throws(FileSystemError) -> (info: TimerRunInfo, fences: [TimerFence]) {
        if let recall = heldRecall { try put(recall) }
        try writeChunk()
        var tail = ByteBuffer(capacity: fences.count * TimerFence.byteCount + TimerRunLayout.footerSize)
        for fence in fences {
            tail.append(bigEndian: fence.key.wake)
            tail.append(bigEndian: fence.key.order)
            tail.append(bigEndian: fence.recallsBefore)
        }
        tail.append(bigEndian: TimerRunLayout.magic)
        tail.append(bigEndian: info.count)
        tail.append(bigEndian: recalls)
        tail.append(bigEndian: info.minPhysicalOffset)
        tail.append(bigEndian: tail.withBytes { Checksum.crc32($0) })
        tail.append(bigEndian: 0 as Int32)
        chunk = tail.copyBytes()
        try writeChunk()
        try file.synchronize()
        file.close()
        return (info, fences)
    }
}

/// Reads a run from some entry to its end. Blocks: for workers and for the start.
struct TimerRunScanner: ~Copyable {
    private let file: any OpenFile
    private let count: Int64
    private(set) var position: Int64
    private var chunk: [UInt8] = []
    private var next = 0

    init(_ file: any OpenFile, from position: Int64, count: Int64) {
        self.file = file
        self.position = position
        self.count = count
    }

    mutating func nextEntry() throws(FileSystemError) -> TimerEntry? {
        guard position < count else { return nil }
        if next >= chunk.count {
            let wanted = Int(min(count - position, 16 * TimerRunLayout.pageEntries)) * TimerEntry.byteCount
            chunk = try TimerRunFile.read(file, at: position * Int64(TimerEntry.byteCount), count: wanted)
            next = 0
        }
        defer {
            next += TimerEntry.byteCount
            position += 1
        }
        return TimerEntry(chunk.span.bytes, at: next)
    }
}

enum TimerRunFile {
    static func read(_ file: any OpenFile, at offset: Int64, count: Int) throws(FileSystemError) -> [UInt8] {
        var failure: FileSystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { memory, written in
            do throws(FileSystemError) {
                written = try file.read(at: offset, into: UnsafeMutableRawBufferPointer(memory))
            } catch { failure = error }
        }
        if let failure { throw failure }
        guard bytes.count == count else { throw damaged(file, "ends before its entries do") }
        return bytes
    }

    static func damaged(_ file: any OpenFile, _ reason: String) -> FileSystemError {
        FileSystemError(operation: "read", path: file.path, code: .inputOutput, reason: "the file \(reason)")
    }

    /// The fences of a run, checked.
    static func fences(_ file: any OpenFile, _ info: TimerRunInfo) throws(FileSystemError) -> [TimerFence] {
        let fileSize = try file.size()
        guard info.count > 0, info.count <= fileSize / Int64(TimerEntry.byteCount) else { throw damaged(file, "has no entries") }
        let pages = Int(TimerRunLayout.pages(info.count))
        let size = pages * TimerFence.byteCount + TimerRunLayout.footerSize
        guard fileSize >= info.count * Int64(TimerEntry.byteCount) + Int64(size) else { throw damaged(file, "is too short") }
        let bytes = try read(file, at: info.count * Int64(TimerEntry.byteCount), count: size)
        let span = bytes.span.bytes
        let footer = pages * TimerFence.byteCount
        guard span.bigEndian(Int64.self, at: footer) == TimerRunLayout.magic, span.bigEndian(Int64.self, at: footer + 8) == info.count,
            span.bigEndian(UInt32.self, at: footer + 32) == Checksum.crc32(span.extracting(0..<(footer + 32)))
        else { throw damaged(file, "is damaged: its checksum is wrong") }
        return (0..<pages).map { page in
            let at = page * TimerFence.byteCount
            return TimerFence(
                key: TimerKey(wake: span.bigEndian(Int64.self, at: at), order: span.bigEndian(Int64.self, at: at + 8)),
                recallsBefore: span.bigEndian(Int64.self, at: at + 16))
        }
    }

    /// Writes entries that are in memory, in any order, as a run.
    static func write(
        _ entries: [TimerEntry], id: Int64, directory: String, fileSystem: any FileSystem
    ) throws(FileSystemError) -> (info: TimerRunInfo, fences: [TimerFence]) {
        var writer = try TimerRunWriter(id: id, directory: directory, fileSystem: fileSystem)
        for entry in entries.sorted(by: { $0.key < $1.key }) { try writer.append(entry) }
        let written = try writer.finish()
        try fileSystem.synchronizeDirectory(directory)
        return written
    }

    /// Merges runs, each from a position on, into one.
    static func merge(
        _ inputs: [(file: any OpenFile, position: Int64, count: Int64)], id: Int64, directory: String, fileSystem: any FileSystem
    ) throws(FileSystemError) -> (info: TimerRunInfo, fences: [TimerFence]) {
        var writer = try TimerRunWriter(id: id, directory: directory, fileSystem: fileSystem)
        let scanners = inputs.map { MergeInput($0.file, from: $0.position, count: $0.count) }
        for input in scanners { try input.advance() }
        while let least = scanners.filter({ $0.head != nil }).min(by: { $0.head!.key < $1.head!.key }), let entry = least.head {
            try writer.append(entry)
            try least.advance()
        }
        let written = try writer.finish()
        try fileSystem.synchronizeDirectory(directory)
        return written
    }

    private final class MergeInput {
        private var scanner: TimerRunScanner
        private(set) var head: TimerEntry?

        init(_ file: any OpenFile, from position: Int64, count: Int64) {
            scanner = TimerRunScanner(file, from: position, count: count)
        }

        func advance() throws(FileSystemError) { head = try scanner.nextEntry() }
    }
}
