import RocketMQBase

/// Recently read pieces of the log, for readers behind the window.
struct ReadCache {
    /// Consecutive bytes of the log.
    struct Chunk {
        var start: Int64
        var bytes: [UInt8]
        var count: Int
        var lastUse: UInt64

        func holds(_ offset: Int64, _ size: Int) -> Bool { offset >= start && offset + Int64(size) <= start + Int64(count) }
    }
    static let chunkSize = 256 << 10
    private static let limit = 16
    private var chunks: [Chunk] = []
    private var uses: UInt64 = 0

    /// The chunk that holds all of these bytes, and where in it they start.
    mutating func chunk(holding offset: Int64, size: Int) -> (bytes: [UInt8], start: Int)? {
        for index in chunks.indices where chunks[index].holds(offset, size) {
            uses += 1
            chunks[index].lastUse = uses
            return (chunks[index].bytes, Int(offset - chunks[index].start))
        }
        return nil
    }

    /// Lets `fill` put bytes of the log from `start` on into a chunk, in the place of the one not used for longest.
    mutating func load(
        from start: Int64, size: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int?
    ) throws(FileSystemError) -> Bool {
        var index = chunks.count
        if chunks.count < Self.limit {
            let empty = [UInt8](repeating: 0, count: Self.chunkSize)
            chunks.append(Chunk(start: 0, bytes: empty, count: 0, lastUse: 0))
        } else {
            index = chunks.indices.min { chunks[$0].lastUse < chunks[$1].lastUse } ?? 0
        }
        // A piece that was read elsewhere may be smaller.
        if chunks[index].bytes.count < Self.chunkSize { chunks[index].bytes = [UInt8](repeating: 0, count: Self.chunkSize) }
        uses += 1
        chunks[index].start = start
        chunks[index].count = 0
        chunks[index].lastUse = uses
        var failure: FileSystemError?
        var count: Int?
        chunks[index].bytes.withUnsafeMutableBytes { memory in
            do throws(FileSystemError) {
                count = try fill(UnsafeMutableRawBufferPointer(rebasing: memory[..<min(size, memory.count)]))
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        guard let count else { return false }
        chunks[index].count = count
        return true
    }

    /// Takes a piece of the log that was read elsewhere, in the place of the one not used for longest.
    mutating func insert(_ bytes: [UInt8], from start: Int64) {
        guard bytes.count <= Self.chunkSize else { return }
        uses += 1
        let chunk = Chunk(start: start, bytes: bytes, count: bytes.count, lastUse: uses)
        if let index = chunks.firstIndex(where: { $0.start == start }) {
            chunks[index] = chunk
        } else if chunks.count < Self.limit {
            chunks.append(chunk)
        } else if let index = chunks.indices.min(by: { chunks[$0].lastUse < chunks[$1].lastUse }) {
            chunks[index] = chunk
        }
    }

    /// Gives the memory back.
    mutating func clear() { chunks = [] }
}

/// Consume queue entries last read from a file: consecutive ones of one queue.
struct EntryScratch {
    unowned(unsafe) var queue: ConsumeQueue?
    var start: Int64 = 0
    var count = 0
    var bytes = [UInt8](repeating: 0, count: capacity * QueueEntry.byteCount)
    static let capacity = 400

    func entry(_ queue: ConsumeQueue, _ offset: Int64) -> QueueEntry? {
        guard self.queue === queue, offset >= start, offset < start + Int64(count) else { return nil }
        return bytes.withUnsafeBytes { QueueEntry(from: $0.baseAddress! + Int(offset - start) * QueueEntry.byteCount) }
    }

    mutating func clear() {
        queue = nil
        count = 0
    }
}

/// What a read found missing in memory, to be fetched away from the loop.
enum DiskNeed {
    case entries(file: any OpenFile, position: Int64, start: Int64, count: Int)
    case log([LogRange])
    /// Entries that cannot be have to be found out again first.
    case repair(QueueRepair)
    /// Entries that are to be passed over have to be held against the log first.
    case proof(QueueProof)
}

struct LogRange: Sendable {
    var file: any OpenFile
    /// Physical offset of the file's first byte.
    var base: Int64
    var start: Int64
    var size: Int
}

/// What was fetched for one read.
struct FetchedBytes: Sendable {
    /// Consume queue entries from a queue offset on.
    var entriesStart: Int64 = 0
    var entries: [UInt8] = []
    var pieces: [(start: Int64, bytes: [UInt8])] = []

    func entry(_ offset: Int64) -> QueueEntry? {
        let index = offset - entriesStart
        guard index >= 0, index < Int64(entries.count / QueueEntry.byteCount) else { return nil }
        return entries.withUnsafeBytes { QueueEntry(from: $0.baseAddress! + Int(index) * QueueEntry.byteCount) }
    }
}
