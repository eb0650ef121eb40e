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

/// The first key of a page of a run, how many recalls lie before the page, and a checksum of its entries.
struct TimerFence: Sendable {
    var key: TimerKey
    var recallsBefore: Int64
    /// `nil` in files of the first form, which have none.
    var checksum: UInt32?
}

/// The layout of a run: entries in ascending order, in pages; a fence a page; a footer with a checksum of fences and footer.
enum TimerRunLayout {
    static let pageEntries: Int64 = 512
    static let footerSize = 40
    static let fenceSize = 28
    static let magic: Int64 = 0x524D_5154_494D_4632
    /// Of the first form, whose fences have no checksum of their page.
    static let firstMagic: Int64 = 0x524D_5154_494D_4552
    static let firstFenceSize = 24

    static func pages(_ count: Int64) -> Int64 { (count + pageEntries - 1) / pageEntries }

    /// Entries in a page of a run that has so many.
    static func entries(inPage page: Int64, of count: Int64) -> Int { Int(max(0, min(pageEntries, count - page * pageEntries))) }
}

/// Why a run cannot be read, and which of its pages that was where it was one: what that held may be found again elsewhere.
struct TimerRunFailure: Error {
    var file: FileSystemError
    var page: (run: Int64, number: Int64)?
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
        if info.count % TimerRunLayout.pageEntries == 0 { endPage() }
        // Whole pages.
        if chunk.count >= 1 << 20 { try writeChunk() }
    }

    private mutating func endPage() {
        guard let last = fences.indices.last, fences[last].checksum == nil else { return }
        let count = TimerRunLayout.entries(inPage: Int64(last), of: info.count) * TimerEntry.byteCount
        fences[last].checksum = Checksum.crc32(chunk.span.bytes.extracting((chunk.count - count)..<chunk.count))
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
        endPage()
        try writeChunk()
        var tail = ByteBuffer(capacity: fences.count * TimerRunLayout.fenceSize + TimerRunLayout.footerSize)
        for fence in fences {
            tail.append(bigEndian: fence.key.wake)
            tail.append(bigEndian: fence.key.order)
            tail.append(bigEndian: fence.recallsBefore)
            tail.append(bigEndian: fence.checksum ?? 0)
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

/// What is read of a run, away from the loop too.
struct TimerRunInput: Sendable {
    var run: Int64
    var file: any OpenFile
    var fences: [TimerFence]
    /// The entry to begin at, and the number of all.
    var position: Int64
    var count: Int64
}

/// Reads a run from some entry to its end. Blocks: for workers and for the start.
struct TimerRunScanner: ~Copyable {
    private let input: TimerRunInput
    private(set) var position: Int64
    private var page: [TimerEntry] = []
    private var next = 0

    init(_ input: TimerRunInput) {
        self.input = input
        position = input.position
    }

    mutating func nextEntry() throws(TimerRunFailure) -> TimerEntry? {
        guard position < input.count else { return nil }
        if next >= page.count {
            let number = position / TimerRunLayout.pageEntries
            do throws(FileSystemError) { page = try TimerRunFile.page(number, of: input) } catch {
                throw TimerRunFailure(file: error, page: (input.run, number))
            }
            next = Int(position % TimerRunLayout.pageEntries)
        }
        defer {
            next += 1
            position += 1
        }
        return page[next]
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

    // MARK: Pages

    /// The entries of a page, checked. Blocks.
    static func page(_ number: Int64, of input: TimerRunInput) throws(FileSystemError) -> [TimerEntry] {
        let count = TimerRunLayout.entries(inPage: number, of: input.count)
        let bytes = try read(input.file, at: offset(ofPage: number), count: count * TimerEntry.byteCount)
        guard let entries = entries(bytes, page: number, input.fences) else { throw damagedPage(number, input.file) }
        return entries
    }

    static func offset(ofPage number: Int64) -> Int64 { number * TimerRunLayout.pageEntries * Int64(TimerEntry.byteCount) }

    static func damagedPage(_ number: Int64, _ file: any OpenFile) -> FileSystemError {
        damaged(file, "is damaged in its page \(number)")
    }

    /// The entries that the bytes of a page hold; `nil` when they are not those that were written.
    static func entries(_ bytes: [UInt8], page: Int64, _ fences: [TimerFence]) -> [TimerEntry]? {
        guard fences.indices.contains(Int(page)) else { return nil }
        let fence = fences[Int(page)]
        if let checksum = fence.checksum, checksum != Checksum.crc32(bytes) { return nil }
        var entries: [TimerEntry] = []
        entries.reserveCapacity(bytes.count / TimerEntry.byteCount)
        for at in stride(from: 0, to: bytes.count, by: TimerEntry.byteCount) {
            let entry = TimerEntry(bytes.span.bytes, at: at)
            guard entries.last.map({ $0.key < entry.key }) ?? (entry.key == fence.key) else { return nil }
            entries.append(entry)
        }
        let next = Int(page) + 1
        if next < fences.count, let last = entries.last, last.key >= fences[next].key { return nil }
        return entries
    }

    static func bytes(of entries: [TimerEntry]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: entries.count * TimerEntry.byteCount)
        bytes.withUnsafeMutableBytes { memory in
            guard let start = memory.baseAddress else { return }
            for (index, entry) in entries.enumerated() { entry.write(to: start + index * TimerEntry.byteCount) }
        }
        return bytes
    }

    // MARK: Fences

    /// The fences of a run, checked.
    static func fences(_ file: any OpenFile, _ info: TimerRunInfo) throws(FileSystemError) -> [TimerFence] {
        let fileSize = try file.size()
        guard info.count > 0, info.count <= fileSize / Int64(TimerEntry.byteCount) else { throw damaged(file, "has no entries") }
        let entries = info.count * Int64(TimerEntry.byteCount)
        let pages = Int(TimerRunLayout.pages(info.count))
        for (magic, fenceSize) in [
            (TimerRunLayout.magic, TimerRunLayout.fenceSize), (TimerRunLayout.firstMagic, TimerRunLayout.firstFenceSize),
        ] {
            let size = pages * fenceSize + TimerRunLayout.footerSize
            guard fileSize >= entries + Int64(size) else { continue }
            let bytes = try read(file, at: entries, count: size)
            let span = bytes.span.bytes
            let footer = pages * fenceSize
            guard span.bigEndian(Int64.self, at: footer) == magic, span.bigEndian(Int64.self, at: footer + 8) == info.count,
                span.bigEndian(UInt32.self, at: footer + 32) == Checksum.crc32(span.extracting(0..<(footer + 32)))
            else { continue }
            return (0..<pages).map { fence(span, at: $0 * fenceSize, hasChecksum: fenceSize == TimerRunLayout.fenceSize) }
        }
        throw damaged(
            file,
            fileSize < entries + Int64(pages * TimerRunLayout.firstFenceSize + TimerRunLayout.footerSize)
                ? "is too short" : "is damaged: its checksum is wrong")
    }

    private static func fence(_ span: RawSpan, at place: Int, hasChecksum: Bool) -> TimerFence {
        TimerFence(
            key: TimerKey(wake: span.bigEndian(Int64.self, at: place), order: span.bigEndian(Int64.self, at: place + 8)),
            recallsBefore: span.bigEndian(Int64.self, at: place + 16),
            checksum: hasChecksum ? span.bigEndian(UInt32.self, at: place + 24) : nil)
    }

    // MARK: Writing

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
        _ inputs: [TimerRunInput], id: Int64, directory: String, fileSystem: any FileSystem
    ) throws(TimerRunFailure) -> (info: TimerRunInfo, fences: [TimerFence]) {
        let scanners = inputs.map { MergeInput($0) }
        for input in scanners { try input.advance() }
        do throws(FileSystemError) {
            var writer = try TimerRunWriter(id: id, directory: directory, fileSystem: fileSystem)
            while let least = scanners.filter({ $0.head != nil }).min(by: { $0.head!.key < $1.head!.key }), let entry = least.head {
                try writer.append(entry)
                do throws(TimerRunFailure) { try least.advance() } catch { throw error.file }
            }
            let written = try writer.finish()
            try fileSystem.synchronizeDirectory(directory)
            return written
        } catch {
            throw TimerRunFailure(file: error, page: scanners.lazy.compactMap(\.damagedPage).first)
        }
    }

    private final class MergeInput {
        private var scanner: TimerRunScanner
        private(set) var head: TimerEntry?
        private(set) var damagedPage: (run: Int64, number: Int64)?

        init(_ input: TimerRunInput) { scanner = TimerRunScanner(input) }

        func advance() throws(TimerRunFailure) {
            do throws(TimerRunFailure) { head = try scanner.nextEntry() } catch {
                damagedPage = error.page
                throw error
            }
        }
    }
}
