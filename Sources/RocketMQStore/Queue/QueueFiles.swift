import RocketMQBase

/// The files of one consume queue. Handles for reading come and go (`QueueFileCache`): there may be many more queues than a
/// process may have files open. Written by the `QueueWriter` that all share.
final class QueueFiles {
    let place: QueuePlace
    /// Of the files that exist, or of new ones. All files of a queue are of one size.
    let entriesPerFile: Int64
    /// Unique among those of the cache.
    let number: Int
    /// For entries that are not in the files yet.
    let memory: EntryMemory
    private unowned let cache: QueueFileCache
    /// The start has not looked at them: the first write does.
    var isUnchecked = false
    /// The file, by the queue offset at which it starts, whose entries were found to be this queue's.
    var provenBase: Int64 = -1
    private var reading: (base: Int64, file: any OpenFile)?
    /// Used since the cache last looked for something to close.
    fileprivate var isUsed = false
    fileprivate var isInCache = false

    init(place: QueuePlace, entriesPerFile: Int64, cache: QueueFileCache) {
        self.place = place
        self.entriesPerFile = entriesPerFile
        self.cache = cache
        memory = cache.memory
        number = cache.nextNumber()
    }

    /// The queue offset at which the file of an entry starts.
    func base(of offset: Int64) -> Int64 { offset - offset % entriesPerFile }

    /// What the writer needs to write entries from queue offset `offset` on, which are at `range`.
    ///
    /// - Parameter first: the queue's first offset.
    func piece(at offset: Int64, _ range: Range<Int>, first: Int64) -> QueuePiece {
        QueuePiece(
            number: number, place: place, entriesPerFile: entriesPerFile, uncheckedFrom: isUnchecked ? first : nil, offset: offset,
            range: range)
    }

    /// Writes entries from queue offset `offset` on.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64, first: Int64) throws(StoreError) {
        try cache.writer.write(piece(at: offset, 0..<bytes.count, first: first), bytes)
    }

    /// A handle that reads the file of `offset`; `nil` when there is no such file.
    func handleForReading(_ offset: Int64) throws(StoreError) -> (file: any OpenFile, position: Int64)? {
        isUsed = true
        let base = base(of: offset)
        let position = (offset - base) * Int64(QueueEntry.byteCount)
        if let reading, reading.base == base { return (reading.file, position) }
        let path = place.path(base: base * Int64(QueueEntry.byteCount))
        do {
            let file = try cache.fileSystem.open(path, .read)
            // What is in its place and no file is put aside by the first write; a handle of it would outlast that.
            if cache.fileSystem.kind(of: path) != .file { return nil }
            reading = (base, file)
            cache.opened(self)
            return (file, position)
        } catch {
            if [.notFound, .isDirectory, .wrongKind].contains(error.code) { return nil }
            throw StoreError(error)
        }
    }

    func path(base: Int64) -> String { place.path(base: base * Int64(QueueEntry.byteCount)) }

    /// The handle that reads the file which starts at queue offset `base`, when it is open.
    func openHandle(base: Int64) -> (any OpenFile)? {
        guard let reading, reading.base == base else { return nil }
        isUsed = true
        return reading.file
    }

    /// Makes what lies from `offset` on read as zeros, and removes the files beyond.
    func cut(to offset: Int64, bases: [Int64]) throws(StoreError) {
        close()
        let entry = Int64(QueueEntry.byteCount)
        let fileSystem = cache.fileSystem
        for base in bases where base + entriesPerFile > offset {
            let path = place.path(base: base * entry)
            try storing { () throws(FileSystemError) in
                if base >= offset {
                    try fileSystem.remove(path)
                } else {
                    let file = try fileSystem.open(path, .update)
                    if try file.size() < entriesPerFile * entry { try file.truncate(to: entriesPerFile * entry) }
                    try file.clear(from: (offset - base) * entry)
                    file.close()
                }
            }
            // Entries that come back with a loss of power would be taken for messages once retention has deleted the log there.
            cache.writer.noteChanged(number, place, base: base)
        }
    }

    /// Forgets the handles: the files are changed or removed by others than the writer.
    func close() {
        closeReading()
        cache.writer.release(number)
    }

    func closeReading() { reading = nil }
}

/// Where a queue's files are. Paths are put together when needed: most queues of many are idle.
struct QueuePlace: Sendable, Hashable {
    /// `…/consumequeue`.
    var root: String
    var topic: String
    var id: Int32

    var directory: String { root + "/" + topic + "/" + String(id) }
    func path(base: Int64) -> String { directory + "/" + FileName.text(base) }
}

/// Keeps the number of consume queue files open for reading bounded: closes those not used since it last came by (second
/// chance). Belongs to the store's thread.
final class QueueFileCache {
    let fileSystem: any FileSystem
    /// Has as many files open at most.
    let writer: QueueWriter
    let memory: EntryMemory
    private let limit: Int
    private var holders: [QueueFiles] = []
    private var hand = 0
    private var lastNumber = 0

    /// - Parameter limit: files open at a time, half of them for writing.
    init(fileSystem: any FileSystem, limit: Int, memory: EntryMemory) {
        self.fileSystem = fileSystem
        self.memory = memory
        self.limit = max(limit / 2, 2)
        writer = QueueWriter(fileSystem: fileSystem, limit: limit / 2)
    }

    fileprivate func nextNumber() -> Int {
        lastNumber += 1
        return lastNumber
    }

    fileprivate func opened(_ files: QueueFiles) {
        guard !files.isInCache else { return }
        if holders.count >= limit { evict() }
        files.isInCache = true
        holders.append(files)
    }

    private func evict() {
        while true {
            if hand >= holders.count { hand = 0 }
            let candidate = holders[hand]
            if candidate.isUsed {
                candidate.isUsed = false
                hand += 1
                continue
            }
            candidate.closeReading()
            candidate.isInCache = false
            holders.swapAt(hand, holders.count - 1)
            holders.removeLast()
            return
        }
    }
}
