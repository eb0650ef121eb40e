/// What a file system refused or failed to do, with the operation, the path and the system's reason.
public struct FileSystemError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        case notFound, exists, noPermission, readOnly, noSpace, inputOutput, isDirectory, notEmpty, lockedByOther, tooManyOpenFiles
        case tooLarge
        /// Something that is no file stands in its place, or a file that cannot be what is expected there.
        case wrongKind
        case other(errno: Int32)
    }
    public var operation: String
    public var path: String
    public var code: Code
    /// The system's own text, such as `No space left on device`.
    public var reason: String

    public init(operation: String, path: String, code: Code, reason: String) {
        self.operation = operation
        self.path = path
        self.code = code
        self.reason = reason
    }
    public var description: String { "cannot \(operation) \(path): \(reason)" }

    /// What the one who runs the program may do about it; empty where there is nothing to say.
    public var remedy: String {
        switch code {
        case .noPermission: "give the user that runs this program the right to it (ls -ld shows who has it), or set another directory"
        case .readOnly: "the file system is mounted read-only: mount it for writing (after a fault of the disk see dmesg first)"
        case .noSpace: "free some space on its disk (df shows which), or raise the user's quota"
        case .inputOutput: "the disk or the way to it has a fault: see dmesg"
        case .exists, .isDirectory, .wrongKind: "something else has that name: move it away, or set another directory"
        case .lockedByOther: "stop the other one, or set another directory"
        case .tooLarge: "raise the limit that this process has for the size of a file (ulimit -f), or choose another file system"
        case .tooManyOpenFiles: "raise the limit of open files (ulimit -n)"
        case .notFound, .notEmpty, .other: ""
        }
    }
}

/// What a path names.
public enum FileKind: Sendable, Equatable {
    case file, directory
    /// Neither of them; what it is, such as `a FIFO`.
    case other(String)

    public var text: String {
        switch self {
        case .file: "a file"
        case .directory: "a directory"
        case .other(let what): what
        }
    }
}

/// How a file is opened.
public enum FileMode: Sendable {
    /// Must exist.
    case read
    /// Must exist; read and write.
    case update
    /// Created empty when missing; read and write.
    case createOrUpdate
    /// Created, or emptied when it exists; read and write.
    case replace
}

/// An open file. Calls may block; they may come from several threads, positions are explicit.
/// The file is closed by `close()` or when the last reference goes.
public protocol OpenFile: AnyObject, Sendable {
    var path: String { get }
    /// Reads up to the buffer's size at `offset`; 0 at the end of the file. Fewer bytes than asked only at the end.
    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int
    /// As `read`, but only what the system has in memory: `nil` when it would have to wait for the disk.
    func readIfCached(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int?
    /// Writes all bytes at `offset`, or throws; after an error any part of them may be in the file.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError)
    /// Makes written data durable (`fdatasync`). After an error nothing may be assumed of what was written before.
    func synchronize() throws(FileSystemError)
    func size() throws(FileSystemError) -> Int64
    /// Sets the size; a longer file is sparse there and reads as zeros.
    func truncate(to size: Int64) throws(FileSystemError)
    /// Makes everything from `offset` on read as zeros, and leaves the size as it is.
    func clear(from offset: Int64) throws(FileSystemError)
    /// Asks for room on the disk ahead of writing, without changing the size. Advice: may do nothing.
    func allocate(at offset: Int64, count: Int64) throws(FileSystemError)
    /// Where, from `offset` on, the first bytes are that anybody wrote; `nil` when the rest was never written and reads as zeros.
    /// May name an earlier place than it could.
    func nextData(from offset: Int64) throws(FileSystemError) -> Int64?
    /// Takes the exclusive lock of the file; `.lockedByOther` when another process has it. Held until `close`.
    func lockExclusively() throws(FileSystemError)
    /// Whether `path` still names this very file; false when it was removed, or another put in its place.
    func isAtItsPath() throws(FileSystemError) -> Bool
    func close()
}

extension OpenFile {
    public func isAtItsPath() throws(FileSystemError) -> Bool { true }
    public func nextData(from offset: Int64) throws(FileSystemError) -> Int64? { offset < (try size()) ? offset : nil }

    public func clear(from offset: Int64) throws(FileSystemError) {
        let size = try size()
        guard offset < size else { return }
        try truncate(to: offset)
        try truncate(to: size)
    }
}

/// The file system, as a seam: the store never opens a file itself.
public protocol FileSystem: Sendable {
    func open(_ path: String, _ mode: FileMode) throws(FileSystemError) -> any OpenFile
    /// Names in the directory, sorted, without `.` and `..`; `.notFound` when there is none.
    func list(_ directory: String) throws(FileSystemError) -> [String]
    func isDirectory(_ path: String) -> Bool
    func exists(_ path: String) -> Bool
    /// What has this name; `nil` when there is nothing.
    func kind(of path: String) -> FileKind?
    /// Creates the directory and those above it; fine when it exists.
    func createDirectory(_ path: String) throws(FileSystemError)
    func remove(_ path: String) throws(FileSystemError)
    /// Removes an empty directory.
    func removeDirectory(_ path: String) throws(FileSystemError)
    /// Puts `source` in the place of `target` atomically.
    func rename(_ source: String, to target: String) throws(FileSystemError)
    /// Makes creations, renames and removals in the directory durable.
    func synchronizeDirectory(_ path: String) throws(FileSystemError)
    /// Makes everything written to the file system that holds `path` durable (`syncfs`): cheaper than one by one for many
    /// files. False when it cannot, and nothing was done.
    func synchronizeAll(at path: String) throws(FileSystemError) -> Bool
    /// Bytes of the disk that holds `path`: in use or free for this process (what is reserved for others is neither, as in the
    /// percentage that df shows), and free for this process.
    func space(at path: String) throws(FileSystemError) -> (total: UInt64, available: UInt64)
    /// Names the life of the system's memory: as long as it is the same, everything that was written is there, synced or not.
    /// Empty when that is not known.
    func memoryIdentity() -> [UInt8]
}

extension FileSystem {
    public func synchronizeAll(at path: String) throws(FileSystemError) -> Bool { false }
    public func memoryIdentity() -> [UInt8] { [] }

    public func kind(of path: String) -> FileKind? { isDirectory(path) ? .directory : exists(path) ? .file : nil }

    /// The whole file; `nil` when there is none.
    ///
    /// - Parameter limit: a file that is larger, in bytes, is an error: it is not what it should be. By default 512 MiB, more than any
    ///   table of a broker needs, and so much that it is no trouble to have it in memory.
    public func contents(of path: String, atMost limit: Int64 = 512 << 20) throws(FileSystemError) -> [UInt8]? {
        let file: any OpenFile
        do { file = try open(path, .read) } catch  where error.code == .notFound { return nil }
        defer { file.close() }
        let fileSize = try file.size()
        guard fileSize <= limit else {
            throw FileSystemError(
                operation: "read", path: path, code: .wrongKind,
                reason:
                    "it has \(fileSize) bytes, and \(limit) are the most that it can have: put a good copy in its place, or move it away")
        }
        let size = Int(fileSize)
        var bytes = [UInt8](repeating: 0, count: size)
        var failure: FileSystemError?
        var count = 0
        bytes.withUnsafeMutableBytes { buffer in
            do throws(FileSystemError) { count = try file.read(at: 0, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        bytes.removeLast(size - count)
        return bytes
    }

    /// Creates the directory and those above it, and makes their names durable: what is synced inside is not lost with the
    /// name of what it is in.
    public func createDirectoryDurably(_ path: String) throws(FileSystemError) {
        let parent = parentDirectory(of: path)
        if !isDirectory(path) {
            if parent != path, !isDirectory(parent) { try createDirectoryDurably(parent) }
            try createDirectory(path)
        }
        // Even when it was there: whoever made it may have been killed before this. Others' directories are their concern.
        do { try synchronizeDirectory(parent) } catch  where error.code == .noPermission {}
    }

    /// Makes the names of the directories above durable, as far as this process may: they may have been made a moment ago.
    public func synchronizeNames(above path: String) {
        var directory = parentDirectory(of: path)
        while directory != "/", directory != "." {
            directory = parentDirectory(of: directory)
            do throws(FileSystemError) { try synchronizeDirectory(directory) } catch { return }
        }
    }

    /// Replaces a small file so that after a crash at any instant either the old or the new text is there whole: written beside
    /// it, synced, renamed, directory synced. Then, when asked for, the same once more as `.bak`: should the file be damaged
    /// later, that is the last good copy, from the first write on.
    public func replaceDurably(_ path: String, with bytes: [UInt8], keepingBackup: Bool = true) throws(FileSystemError) {
        try replaceAlone(path, with: bytes)
        if keepingBackup { try replaceAlone(path + ".bak", with: bytes) }
    }

    private func replaceAlone(_ path: String, with bytes: [UInt8]) throws(FileSystemError) {
        let beside = path + ".tmp"
        let file = try open(beside, .replace)
        var failure: FileSystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileSystemError) {
                try file.write(buffer, at: 0)
                try file.synchronize()
            } catch { failure = error }
        }
        file.close()
        if let failure { throw failure }
        try rename(beside, to: path)
        try synchronizeDirectory(parentDirectory(of: path))
    }
}

/// The directory that a path's last name is in.
public func parentDirectory(of path: String) -> String {
    path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
}
