import CPrefetch
import RocketMQBase
import RocketMQProtocol

/// The log of all messages: staged in memory, written by `commit`, never mapped, so that every trouble of the disk is an
/// error of a call and never a signal.
///
/// Invariants: segments are in the order of the log and none reaches over the end of a file; only the segments at the end
/// hold staged bytes; `files` are contiguous and all of one size.
final class CommitLog {
    let directory: String
    let fileSize: Int64
    private let fileSystem: any FileSystem
    private let segmentSize: Int
    private let segmentLimit: Int
    private let maxRecordSize: Int

    private(set) var files: [LogFile]
    private(set) var segments: [LogSegment] = []
    private var tail: LogSegment?
    /// Bytes that still fit the tail segment and leave room for a blank in its file.
    private var room = 0
    /// Everything before it is in the kernel.
    private(set) var writtenOffset: Int64
    /// A failed commit may have left bytes beyond `writtenOffset` that must not be taken for records later.
    private var needsCleaning = false
    /// The bytes that a failed commit left could not be removed for certain: what the system says of written data proves
    /// nothing any more.
    private(set) var hasSyncFailed = false
    /// How often files were created or deleted, and how many of these changes are durable.
    private(set) var nameChanges = 0
    private var durableNameChanges = 0

    /// - Parameter end: where the next record goes; within the last file, or its end.
    /// - Parameter areNamesDurable: of the files.
    init(
        configuration: StoreConfiguration, directory: String, files: [LogFile], fileSize: Int64, end: Int64, areNamesDurable: Bool,
        fileSystem: any FileSystem
    ) {
        self.directory = directory
        self.fileSize = fileSize
        self.fileSystem = fileSystem
        self.files = files
        maxRecordSize = min(configuration.maxRecordSize, Int(clamping: fileSize) - MessageRecord.endOfFileSize)
        segmentSize = max(configuration.windowSegmentSize, min(maxRecordSize, Int(clamping: fileSize)))
        segmentLimit = max(configuration.windowSegments, 2)
        writtenOffset = end
        nameChanges = areNamesDurable ? 0 : 1
    }

    var minOffset: Int64 { files.first?.base ?? writtenOffset }
    var stagedBytes: Int { segments.reduce(0) { $0 + $1.count - $1.written } }

    func file(holding offset: Int64) -> LogFile? {
        guard let first = files.first, offset >= first.base else { return nil }
        let index = (offset - first.base) / fileSize
        return index < files.count ? files[Int(index)] : nil
    }

    // MARK: Staging

    /// Memory for a record of `size` bytes, and the physical offset it gets. Follow with `advance`.
    @inline(__always)
    func reserve(_ size: Int) throws(StoreError) -> (memory: UnsafeMutableRawPointer, physicalOffset: Int64) {
        if size > room { try makeRoom(size) }
        guard let tail else { throw StoreError(.damaged, "the commit log has no place to write to") }
        return (tail.memory + tail.count, tail.base + Int64(tail.count))
    }

    @inline(__always)
    func advance(_ size: Int) {
        tail?.count += size
        room -= size
    }

    /// Has the memory that the next record of this size goes to fetched meanwhile. The processor does by itself what it can, but
    /// with very many queues it also waits for what it has written whenever a reference is counted.
    @inline(__always)
    func prepareNext(_ size: Int) {
        guard let tail else { return }
        let next = UInt(bitPattern: tail.memory) + UInt(tail.count)
        for line in 0..<min(UInt(size) / 64 + 1, 8) { cprefetch_line(next &+ line &* 64) }
    }

    @inline(never)
    private func makeRoom(_ size: Int) throws(StoreError) {
        guard size <= maxRecordSize else {
            throw StoreError(.messageTooLarge, "the record of \(size) bytes is larger than the \(maxRecordSize) allowed")
        }
        var base = tail?.end ?? writtenOffset
        var file: LogFile
        if let holding = self.file(holding: base) { file = holding } else { file = try addFile(at: base) }
        if base + Int64(size + MessageRecord.endOfFileSize) > file.end {
            let next: LogFile
            if let existing = self.file(holding: file.end) { next = existing } else { next = try addFile(at: file.end) }
            try closeFile(file, at: base)
            (base, file) = (next.base, next)
        }
        let segment = takeSegment(file: file, base: base)
        tail = segment
        room = min(segment.capacity, Int(clamping: file.end - base) - MessageRecord.endOfFileSize)
    }

    /// Writes the blank that says that the rest of the file is empty.
    private func closeFile(_ file: LogFile, at end: Int64) throws(StoreError) {
        let rest = file.end - end
        guard rest >= MessageRecord.endOfFileSize else { return }
        let segment: LogSegment
        if let tail, tail.end == end { segment = tail } else { segment = takeSegment(file: file, base: end) }
        var writer = RecordWriter(segment.memory + segment.count)
        writer.put(Int32(truncatingIfNeeded: rest))
        writer.put(MessageRecord.endOfFileMagic)
        segment.count += MessageRecord.endOfFileSize
    }

    /// The oldest segment when the window is full and its bytes are written; a new one otherwise, so that one tick may
    /// stage more than the window holds.
    private func takeSegment(file: LogFile, base: Int64) -> LogSegment {
        if segments.count >= segmentLimit, let oldest = segments.first, oldest.written == oldest.count {
            segments.removeFirst()
            oldest.reuse(file: file, base: base)
            segments.append(oldest)
            return oldest
        }
        let fresh = LogSegment(capacity: segmentSize, file: file, base: base)
        segments.append(fresh)
        return fresh
    }

    // MARK: Committing

    /// Writes everything staged, one call of the system per segment. After an error the log is as it was after the last
    /// successful commit, and the next one may succeed.
    func commit() throws(StoreError) {
        if needsCleaning { try cleanBeyondEnd() }
        do {
            for segment in segments where segment.written < segment.count {
                let bytes = UnsafeRawBufferPointer(start: segment.memory + segment.written, count: segment.count - segment.written)
                let file = try segment.file.handle()
                let position = segment.base - segment.file.base + Int64(segment.written)
                try storing { () throws(FileSystemError) in try file.write(bytes, at: position) }
            }
        } catch {
            rollBack()
            needsCleaning = true
            try? cleanBeyondEnd()
            throw error
        }
        for segment in segments { segment.written = segment.count }
        if let tail { writtenOffset = tail.end }
        while segments.count > segmentLimit { segments.removeFirst() }
    }

    /// Forgets everything staged.
    func rollBack() {
        if let first = segments.firstIndex(where: { $0.written < $0.count }) {
            segments[first].count = segments[first].written
            segments.removeSubrange((first + 1)...)
        }
        tail = nil
        room = 0
        // The last segment may go on being filled when it ends where the log does.
        if let last = segments.last, last.end == writtenOffset, let file = file(holding: writtenOffset), file === last.file {
            tail = last
            room = min(last.capacity - last.count, Int(clamping: file.end - writtenOffset) - MessageRecord.endOfFileSize)
        }
    }

    /// Makes the files beyond the end read as zeros again, after a loss of power too: records that nobody stands by would
    /// follow those of the next commit. Seldom there is anything to do: only where a write failed in its middle.
    private func cleanBeyondEnd() throws(StoreError) {
        for file in files where file.end > writtenOffset {
            let handle = try file.handle()
            let kept = max(0, writtenOffset - file.base)
            // Writes go from the front to the back.
            if try readExactly(handle, at: kept, count: MessageRecord.endOfFileSize).allSatisfy({ $0 == 0 }) { break }
            try storing { () throws(FileSystemError) in try handle.clear(from: kept) }
            do throws(StoreError) { try storing { () throws(FileSystemError) in try handle.synchronize() } } catch {
                hasSyncFailed = true
                throw error
            }
        }
        needsCleaning = false
    }

    // MARK: Files

    /// Where the file that holds `offset` starts, or will.
    func base(ofFileAt offset: Int64) -> Int64 { minOffset + (offset - minOffset) / fileSize * fileSize }

    func path(_ base: Int64) -> String { directory + "/" + FileName.text(base) }

    /// Creates the file that starts at `base`, at its full size.
    @discardableResult
    func addFile(at base: Int64) throws(StoreError) -> LogFile {
        let path = path(base)
        // A file may be lost with the power whose name is not durable, but none before another.
        if nameChanges > durableNameChanges { try synchronizeNames() }
        let handle = try storing { () throws(FileSystemError) in
            // It may have been prepared, empty.
            let handle = try fileSystem.open(path, .createOrUpdate)
            if try handle.size() < fileSize { try handle.truncate(to: fileSize) }
            return handle
        }
        let file = LogFile(base: base, size: fileSize, path: path, fileSystem: fileSystem, opened: handle)
        files.append(file)
        nameChanges += 1
        return file
    }

    private func synchronizeNames() throws(StoreError) {
        try storing { () throws(FileSystemError) in try fileSystem.synchronizeDirectory(directory) }
        durableNameChanges = nameChanges
    }

    /// The directory was synced when there had been so many changes.
    func namesAreDurable(_ changes: Int) { durableNameChanges = max(durableNameChanges, changes) }
    var areNamesDurable: Bool { durableNameChanges == nameChanges }

    /// Takes the oldest file out of the log; the caller deletes it, and makes that durable.
    func removeFirstFile() -> LogFile { files.removeFirst() }

    /// Frees the window when nothing was appended for long.
    func trimWindow() {
        guard segments.allSatisfy({ $0.written == $0.count }) else { return }
        segments.removeAll()
        tail = nil
        room = 0
    }

    // MARK: Reading from the window

    /// The written bytes at `offset`, when the window holds all `size` of them. Valid until the next call on the log.
    @inline(__always)
    func windowBytes(at offset: Int64, size: Int) -> UnsafeRawBufferPointer? {
        var index = segments.count - 1
        while index >= 0 {
            let segment = segments[index]
            let start = offset - segment.base
            if start >= 0 {
                guard start <= Int64(segment.written - size) else { return nil }
                return UnsafeRawBufferPointer(start: segment.memory + Int(start), count: size)
            }
            index -= 1
        }
        return nil
    }
}
