import RocketMQBase

/// The files of one consume queue: written at the end, read anywhere. Handles come and go (`QueueFileCache`): there may be
/// many more queues than a process may have files open.
final class QueueFiles {
    let place: QueuePlace
    /// Of the files that exist, or of new ones. All files of a queue are of one size.
    var entriesPerFile: Int64
    private unowned let cache: QueueFileCache
    private var writing: (base: Int64, file: any OpenFile)?
    private var reading: (base: Int64, file: any OpenFile)?
    /// Used since the cache last looked for something to close.
    fileprivate var isUsed = false
    fileprivate var isInCache = false
    private var unsyncedBase: Int64 = -1

    init(place: QueuePlace, entriesPerFile: Int64, cache: QueueFileCache) {
        self.place = place
        self.entriesPerFile = entriesPerFile
        self.cache = cache
    }

    /// The queue offset at which the file of an entry starts.
    func base(of offset: Int64) -> Int64 { offset - offset % entriesPerFile }

    /// Writes entries from queue offset `offset` on, as far as the file goes, and returns how many.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(StoreError) -> Int64 {
        let base = base(of: offset)
        let file = try handleForWriting(base, firstOffset: offset)
        let count = min(Int64(bytes.count / QueueEntry.byteCount), base + entriesPerFile - offset)
        let fitting = UnsafeRawBufferPointer(rebasing: bytes[..<(Int(count) * QueueEntry.byteCount)])
        try storing { () throws(FileSystemError) in try file.write(fitting, at: (offset - base) * Int64(QueueEntry.byteCount)) }
        noteWritten(base)
        return count
    }

    private func handleForWriting(_ base: Int64, firstOffset: Int64) throws(StoreError) -> any OpenFile {
        isUsed = true
        if let writing, writing.base == base { return writing.file }
        let path = place.path(base: base * Int64(QueueEntry.byteCount))
        let size = entriesPerFile * Int64(QueueEntry.byteCount)
        let fileSystem = cache.fileSystem
        let file = try storing { () throws(FileSystemError) -> any OpenFile in
            do throws(FileSystemError) {
                let file = try fileSystem.open(path, .update)
                if try file.size() < size { try file.truncate(to: size) }
                return file
            } catch  where error.code == .notFound {
                try fileSystem.createDirectory(place.directory)
                let file = try fileSystem.open(path, .createOrUpdate)
                try file.truncate(to: size)
                if firstOffset > base { try Self.fill(file, count: Int(firstOffset - base)) }
                return file
            }
        }
        writing = (base, file)
        cache.opened(self)
        return file
    }

    /// What stands before the first entry of a queue that starts in the middle of a file.
    private static func fill(_ file: any OpenFile, count: Int) throws(FileSystemError) {
        let chunk = min(count, 4096)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk * QueueEntry.byteCount, alignment: 16)
        defer { memory.deallocate() }
        for index in 0..<chunk { QueueEntry.filler.store(to: memory.baseAddress! + index * QueueEntry.byteCount) }
        var done = 0
        while done < count {
            let now = min(chunk, count - done) * QueueEntry.byteCount
            try file.write(UnsafeRawBufferPointer(rebasing: memory[..<now]), at: Int64(done * QueueEntry.byteCount))
            done += now / QueueEntry.byteCount
        }
    }

    private func noteWritten(_ base: Int64) {
        guard unsyncedBase != base else { return }
        unsyncedBase = base
        cache.unsynced.append((self, base * Int64(QueueEntry.byteCount)))
    }

    fileprivate func forgetUnsynced() { unsyncedBase = -1 }

    /// A handle that reads the file of `offset`; `nil` when there is no such file.
    func handleForReading(_ offset: Int64) throws(StoreError) -> (file: any OpenFile, position: Int64)? {
        isUsed = true
        let base = base(of: offset)
        let position = (offset - base) * Int64(QueueEntry.byteCount)
        if let writing, writing.base == base { return (writing.file, position) }
        if let reading, reading.base == base { return (reading.file, position) }
        let path = place.path(base: base * Int64(QueueEntry.byteCount))
        do {
            let file = try cache.fileSystem.open(path, .read)
            reading = (base, file)
            cache.opened(self)
            return (file, position)
        } catch {
            if error.code == .notFound { return nil }
            throw StoreError(error)
        }
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
        }
    }

    /// The queue was deleted: nothing is written any more.
    func abandon() {
        close()
        cache.unsynced.removeAll { $0.files === self }
    }

    func close() {
        writing = nil
        reading = nil
    }
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

/// Keeps the number of open consume queue files bounded: closes those not used since it last came by (second chance).
final class QueueFileCache {
    let fileSystem: any FileSystem
    private let limit: Int
    private var holders: [QueueFiles] = []
    private var hand = 0
    /// Written since the last time all were made durable: the queue's files and the byte offset of the file.
    var unsynced: [(files: QueueFiles, base: Int64)] = []

    init(fileSystem: any FileSystem, limit: Int) {
        self.fileSystem = fileSystem
        self.limit = max(limit, 2)
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
            candidate.close()
            candidate.isInCache = false
            holders.swapAt(hand, holders.count - 1)
            holders.removeLast()
            return
        }
    }

    /// What must be made durable now; writes from here on count for the next time.
    func takeUnsynced() -> [(place: QueuePlace, base: Int64)] {
        let taken = unsynced.map { ($0.files.place, $0.base) }
        for item in unsynced { item.files.forgetUnsynced() }
        unsynced = []
        return taken
    }
}
