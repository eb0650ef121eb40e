import RocketMQBase
import Synchronization

/// Entries of one queue on their way into its files.
struct QueuePiece: Sendable {
    /// The queue's files, as `QueueFiles.number` has it.
    var number: Int
    var place: QueuePlace
    var entriesPerFile: Int64
    /// The queue's first offset when nobody has looked at its files since the start.
    var uncheckedFrom: Int64?
    /// Queue offset of the first entry.
    var offset: Int64
    /// Where the entries are among the bytes they came with.
    var range: Range<Int>
}

/// What the first write to a queue's files found wrong with them.
struct QueueFinding: Sendable {
    var number: Int
    /// An entry that should be there and is not.
    var offset: Int64?
    /// What was in the way, and where it is now.
    var text: String?
}

/// Entries of many queues, copied so that the queues may go on, written together.
struct QueueBatch: Sendable {
    var bytes: [UInt8] = []
    var pieces: [QueuePiece] = []
    /// So many queues go together: a fraction of a millisecond on the loop.
    static let mostQueues = 256
}

/// Writes consume queue files: as a rule on a worker; when a store starts, and when it closes, on its own thread. Calls exclude
/// each other for one queue's write at a time, so whoever waits does not wait long.
///
/// Keeps the number of open files bounded, and what must be made durable. Writing the same entries twice does no harm: what
/// stands at an offset never changes.
final class QueueWriter: Sendable {
    private struct Slot {
        var number: Int
        var base: Int64
        var file: any OpenFile
        /// Used since something to close was last looked for.
        var isUsed = true
    }

    /// A file with entries that may not be durable: its queue's number, and where in the queue's bytes it begins.
    struct Unsynced {
        var number: Int
        var place: QueuePlace
        var base: Int64
    }

    /// Second chance: the hand closes files that were not used since it last came by.
    private struct State {
        var slots: [Slot] = []
        var slotOfQueue: [Int: Int] = [:]
        var hand = 0
        /// Written since the last time all were made durable.
        var unsynced: [Unsynced] = []
        /// The newest file of each queue in `unsynced`.
        var unsyncedBase: [Int: Int64] = [:]
        /// Of deleted topics: nothing is written any more.
        var abandoned: Set<Int> = []
        /// By number, whether the files of a queue that the start did not look at were looked at since.
        var checked: [Bool] = []
        var findings: [QueueFinding] = []
        var isClosed = false
    }

    private let fileSystem: any FileSystem
    private let limit: Int
    private let state = Mutex(State())

    init(fileSystem: any FileSystem, limit: Int) {
        self.fileSystem = fileSystem
        self.limit = max(limit, 2)
    }

    // MARK: Writing

    /// Writes one piece after the other; returns how many were written, and why not all.
    func write(_ batch: QueueBatch) -> (written: Int, failure: StoreError?) {
        var written = 0
        var failure: StoreError?
        batch.bytes.withUnsafeBytes { bytes in
            do throws(StoreError) {
                for piece in batch.pieces {
                    try write(piece, UnsafeRawBufferPointer(rebasing: bytes[piece.range]))
                    written += 1
                }
            } catch { failure = error }
        }
        return (written, failure)
    }

    /// Writes the entries of a piece, into several files where one ends.
    func write(_ piece: QueuePiece, _ bytes: UnsafeRawBufferPointer) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            guard !state.isClosed, !state.abandoned.contains(piece.number) else { return }
            var offset = piece.offset
            var rest = bytes
            while !rest.isEmpty {
                let base = offset - offset % piece.entriesPerFile
                let file = try handle(&state, piece, base: base, firstOffset: offset)
                let count = min(rest.count / QueueEntry.byteCount, Int(base + piece.entriesPerFile - offset))
                let fitting = UnsafeRawBufferPointer(rebasing: rest[..<(count * QueueEntry.byteCount)])
                if let first = piece.uncheckedFrom { try check(&state, piece, file, first, from: offset, count: count) }
                let position = (offset - base) * Int64(QueueEntry.byteCount)
                Self.takeRoom(file, at: position, count: fitting.count, of: piece.entriesPerFile)
                try storing { () throws(FileSystemError) in try file.write(fitting, at: position) }
                if state.unsyncedBase.updateValue(base, forKey: piece.number) != base {
                    state.unsynced.append(
                        Unsynced(number: piece.number, place: piece.place, base: base * Int64(QueueEntry.byteCount)))
                }
                offset += Int64(count)
                rest = UnsafeRawBufferPointer(rebasing: rest[fitting.count...])
            }
        }
    }

    /// Takes the blocks of the disk that these entries are the first in, and no more of them. Left to the system they are taken
    /// when it writes its memory out, and it looks for megabytes for each file then, since files have their full size: 20,000
    /// files took 7 s of a processor, and take 0.2 s.
    private static func takeRoom(_ file: any OpenFile, at position: Int64, count: Int, of entriesPerFile: Int64) {
        let first = (position + blockSize - 1) / blockSize * blockSize
        let end = min((position + Int64(count) + blockSize - 1) / blockSize * blockSize, entriesPerFile * Int64(QueueEntry.byteCount))
        guard first < end else { return }
        // Where the disk is full or the file system cannot, the write tells, or succeeds.
        try? file.allocate(at: first, count: end - first)
    }

    /// Of most file systems.
    private static let blockSize: Int64 = 4096

    private func handle(_ state: inout State, _ piece: QueuePiece, base: Int64, firstOffset: Int64) throws(StoreError) -> any OpenFile {
        if let slot = state.slotOfQueue[piece.number] {
            state.slots[slot].isUsed = true
            if state.slots[slot].base == base { return state.slots[slot].file }
            let file = try open(&state, piece, base: base, firstOffset: firstOffset)
            state.slots[slot].file.close()
            state.slots[slot].base = base
            state.slots[slot].file = file
            return file
        }
        let file = try open(&state, piece, base: base, firstOffset: firstOffset)
        let slot = Slot(number: piece.number, base: base, file: file)
        if state.slots.count < limit {
            state.slotOfQueue[piece.number] = state.slots.count
            state.slots.append(slot)
        } else {
            let index = evict(&state)
            state.slotOfQueue[piece.number] = index
            state.slots[index] = slot
        }
        return file
    }

    private func open(
        _ state: inout State, _ piece: QueuePiece, base: Int64, firstOffset: Int64
    ) throws(StoreError) -> any OpenFile {
        do throws(FileSystemError) { return try open(piece, base: base, firstOffset: firstOffset) } catch {
            // Whatever the system says to it: something that is no file may be in the way.
            let moved = try QueueWay.clear(to: piece.place, fileSystem)
            guard !moved.isEmpty else { throw StoreError(error) }
            state.findings += moved.map { QueueFinding(number: piece.number, offset: nil, text: $0) }
        }
        return try storing { () throws(FileSystemError) in try open(piece, base: base, firstOffset: firstOffset) }
    }

    private func open(_ piece: QueuePiece, base: Int64, firstOffset: Int64) throws(FileSystemError) -> any OpenFile {
        let path = piece.place.path(base: base * Int64(QueueEntry.byteCount))
        let size = piece.entriesPerFile * Int64(QueueEntry.byteCount)
        do throws(FileSystemError) {
            let file = try fileSystem.open(path, .update)
            if try file.size() < size { try file.truncate(to: size) }
            return file
        } catch  where error.code == .notFound {
            try fileSystem.createDirectory(piece.place.directory)
            let file = try fileSystem.open(path, .createOrUpdate)
            try file.truncate(to: size)
            if firstOffset > base { try Self.fill(file, count: Int(firstOffset - base)) }
            return file
        }
    }

    /// Before the first write to files that the start did not look at: whether those before it and the entry before it are there,
    /// and nothing behind it, which would be taken for messages when the log has got as far.
    private func check(
        _ state: inout State, _ piece: QueuePiece, _ file: any OpenFile, _ first: Int64, from offset: Int64, count: Int
    ) throws(StoreError) {
        if state.checked.count <= piece.number {
            state.checked += [Bool](repeating: false, count: max(piece.number + 1 - state.checked.count, state.checked.count))
        }
        guard !state.checked[piece.number] else { return }
        let size = piece.entriesPerFile
        let position = offset % size * Int64(QueueEntry.byteCount)
        for base in stride(from: first - first % size, to: offset - offset % size, by: Int(size))
        where fileSystem.kind(of: piece.place.path(base: base * Int64(QueueEntry.byteCount))) != .file {
            state.findings.append(QueueFinding(number: piece.number, offset: max(base, first), text: nil))
        }
        if position > 0, offset > first {
            let before = try Self.entry(file, at: position - Int64(QueueEntry.byteCount))
            if before.map({ $0.isVoid || $0.isFiller }) ?? true {
                state.findings.append(QueueFinding(number: piece.number, offset: offset - 1, text: nil))
            }
        }
        let end = position + Int64(count * QueueEntry.byteCount)
        if let behind = try Self.entry(file, at: end), behind.size != 0 || behind.physicalOffset != 0 {
            try storing { () throws(FileSystemError) in try file.clear(from: end) }
        }
        state.checked[piece.number] = true
    }

    private static func entry(_ file: any OpenFile, at position: Int64) throws(StoreError) -> QueueEntry? {
        let bytes = try readExactly(file, at: position, count: QueueEntry.byteCount)
        return bytes.count == QueueEntry.byteCount ? bytes.withUnsafeBytes { QueueEntry(from: $0.baseAddress!) } : nil
    }

    /// What was found wrong since it was asked last.
    func takeFindings() -> [QueueFinding] {
        state.withLock { state in
            guard !state.findings.isEmpty else { return [] }
            defer { state.findings = [] }
            return state.findings
        }
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

    // MARK: Handles

    /// Closes a file, and returns its free slot.
    private func evict(_ state: inout State) -> Int {
        while true {
            if state.hand >= state.slots.count { state.hand = 0 }
            let index = state.hand
            state.hand += 1
            if state.slots[index].isUsed {
                state.slots[index].isUsed = false
                continue
            }
            state.slots[index].file.close()
            state.slotOfQueue[state.slots[index].number] = nil
            return index
        }
    }

    private static func release(_ number: Int, _ state: inout State) {
        guard let index = state.slotOfQueue.removeValue(forKey: number) else { return }
        state.slots[index].file.close()
        let last = state.slots.removeLast()
        guard index < state.slots.count else { return }
        state.slots[index] = last
        state.slotOfQueue[last.number] = index
    }

    /// Closes the queue's file: others have changed it.
    func release(_ number: Int) { state.withLock { Self.release(number, &$0) } }

    /// These queues are deleted: nothing is written to their files any more, whatever is under way.
    func abandon(_ numbers: Set<Int>) {
        state.withLock { state in
            for number in numbers {
                Self.release(number, &state)
                state.unsyncedBase[number] = nil
            }
            state.unsynced.removeAll { numbers.contains($0.number) }
            state.abandoned.formUnion(numbers)
        }
    }

    /// No piece is under way any more.
    func forgetAbandoned() { state.withLock { $0.abandoned = [] } }

    /// Others changed or removed a file of the queue: the next checkpoint must not be written before that is durable.
    func noteChanged(_ number: Int, _ place: QueuePlace, base: Int64) {
        state.withLock { state in
            state.unsyncedBase[number] = base
            state.unsynced.append(Unsynced(number: number, place: place, base: base * Int64(QueueEntry.byteCount)))
        }
    }

    /// What must be made durable now; writes from here on count for the next time.
    func takeUnsynced() -> [Unsynced] {
        state.withLock { state in
            let taken = state.unsynced
            state.unsynced = []
            // They will be about as many again: growing would take megabytes more with very many queues.
            state.unsynced.reserveCapacity(taken.count)
            state.unsyncedBase = [:]
            return taken
        }
    }

    /// Nothing is written from now on.
    func close() {
        state.withLock { state in
            state.isClosed = true
            state.slots = []
            state.slotOfQueue = [:]
        }
    }
}
