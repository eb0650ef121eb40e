import RocketMQBase
import RocketMQProtocol
import Synchronization

/// How far the log is known to be flushed, in the file `flushed` beside the reference's, and in which life of the system's
/// memory that was written. Tells damage from the torn end that a loss of power leaves (`LogTrust`).
struct FlushNote: Equatable, Sendable {
    /// Everything before it was flushed.
    var offset: Int64
    /// `FileSystem.memoryIdentity`, when this was written.
    var memory: [UInt8]
    /// Where the log begins: what is missing of it was not deleted by us. `nil` when it is not known.
    var logStart: Int64?

    static let fileName = "flushed"
    private static let magic: UInt64 = 0x5357_4654_464C_5331
    /// Within one sector: it is written whole or not at all.
    private static let size = 128
    private static let longestMemory = 64
    private static let startPosition = 96

    init(offset: Int64, memory: [UInt8], logStart: Int64? = nil) {
        self.offset = offset
        self.logStart = logStart
        self.memory = Array(memory.prefix(Self.longestMemory))
    }

    /// `nil` for anything that is not a whole note.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.size else { return nil }
        let span = bytes.span.bytes
        let covered = Self.size - 4
        let length = Int(span.bigEndian(Int32.self, at: 16))
        guard span.bigEndian(UInt64.self, at: 0) == Self.magic, (0...Self.longestMemory).contains(length),
            span.bigEndian(Int64.self, at: 8) >= 0,
            Checksum.crc32(span.extracting(0..<covered)) == span.bigEndian(UInt32.self, at: covered)
        else { return nil }
        offset = span.bigEndian(Int64.self, at: 8)
        memory = Array(bytes[20..<(20 + length)])
        let start = span.bigEndian(Int64.self, at: Self.startPosition)
        logStart = start > 0 ? start - 1 : nil
    }

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: Self.size)
        buffer.append(bigEndian: Self.magic)
        buffer.append(bigEndian: offset)
        buffer.append(bigEndian: Int32(memory.count))
        buffer.append(memory)
        buffer.append([UInt8](repeating: 0, count: Self.startPosition - buffer.count))
        buffer.append(bigEndian: logStart.map { $0 + 1 } ?? 0)
        buffer.append([UInt8](repeating: 0, count: Self.size - 4 - buffer.count))
        let checksum = buffer.withBytes { Checksum.crc32($0) }
        buffer.append(bigEndian: checksum)
        return buffer.copyBytes()
    }
}

/// Keeps the note: written in its place after every flush, which costs a call of the system, and made durable by and by. It
/// may lag behind the truth, never run ahead of it.
final class FlushNotes: Sendable {
    private struct State {
        var file: (any OpenFile)?
        var offset: Int64 = 0
        var logStart: Int64 = 0
        var isUnsynced = false
        var isClosed = false
    }
    private let state = Mutex(State())
    private let path: String
    private let memory: [UInt8]
    private let fileSystem: any FileSystem

    init(root: String, fileSystem: any FileSystem) {
        path = root + "/" + FlushNote.fileName
        memory = fileSystem.memoryIdentity()
        self.fileSystem = fileSystem
    }

    /// What the last run left.
    func read() -> FlushNote? { ((try? fileSystem.contents(of: path, atMost: 1 << 20)) ?? nil).flatMap { FlushNote($0) } }

    /// Whether a note was written since the system was started: what was written since is there, synced or not.
    func isOfThisMemory(_ note: FlushNote) -> Bool { !memory.isEmpty && note.memory == FlushNote(offset: 0, memory: memory).memory }

    /// At a start: puts this in the place of what there was, durably.
    func begin(at offset: Int64, logStart: Int64) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            state.offset = offset
            state.logStart = logStart
            try write(&state)
            try synchronize(&state)
            try storing { () throws(FileSystemError) in try fileSystem.synchronizeDirectory(parentDirectory(of: path)) }
        }
    }

    /// Before files of the log are deleted: from here on it begins there. On a disk that takes nothing the files go all the same,
    /// and the next start complains of them without need.
    func logBegins(at offset: Int64) {
        state.withLock { state in
            guard offset > state.logStart, !state.isClosed else { return }
            state.logStart = offset
            do throws(StoreError) {
                try write(&state)
                try synchronize(&state)
            } catch { return }
        }
    }

    /// The log was flushed up to `offset`. What cannot be written is left: the note then tells less than is true.
    func flushed(_ offset: Int64) {
        state.withLock { state in
            guard offset > state.offset, !state.isClosed else { return }
            state.offset = offset
            try? write(&state)
        }
    }

    /// Makes the note durable. Blocks.
    func synchronize() {
        state.withLock { state in
            guard state.isUnsynced else { return }
            try? synchronize(&state)
        }
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.file?.close()
            state.file = nil
        }
    }

    private func write(_ state: inout State) throws(StoreError) {
        let file: any OpenFile
        if let open = state.file {
            file = open
        } else {
            file = try storing { () throws(FileSystemError) in try fileSystem.open(path, .createOrUpdate) }
            state.file = file
        }
        var failure: FileSystemError?
        FlushNote(offset: state.offset, memory: memory, logStart: state.logStart).encoded().withUnsafeBytes { bytes in
            do throws(FileSystemError) { try file.write(bytes, at: 0) } catch { failure = error }
        }
        if let failure { throw StoreError(failure) }
        state.isUnsynced = true
    }

    private func synchronize(_ state: inout State) throws(StoreError) {
        guard let file = state.file else { return }
        try storing { () throws(FileSystemError) in try file.synchronize() }
        state.isUnsynced = false
    }
}
