import RocketMQBase
import Synchronization

/// Files in memory, for tests: counts what is done, does wrong what it is told to, and knows what a killed process or a
/// loss of power would leave of it.
public final class MemoryFileSystem: FileSystem {
    /// What goes wrong with a call.
    public enum Fault: Sendable {
        case fail(FileSystemError.Code)
        /// Only so many bytes are written, to the end of a sector, then it fails.
        case short(Int, FileSystemError.Code)
        /// The bytes are not in the system's memory.
        case cold
        /// A sync fails, and the system forgets that what it should have written is not: of these sectors, chosen from the
        /// seed, some are written, and none is by a later sync.
        case dropsPages(FileSystemError.Code, seed: UInt64)
    }
    public enum Operation: Sendable {
        case open, read, readIfCached, write, synchronize, truncate, remove, rename, synchronizeDirectory, list
    }

    fileprivate struct State: Sendable {
        var disk = MemoryDisk()
        var locked: Set<Int> = []
        /// How often the power has been lost.
        var life: UInt64 = 0
        var fault: (@Sendable (Operation, String) -> Fault?)?
        var counts: [Operation: Int] = [:]
        var openFileCount = 0
        var space: (total: UInt64, available: UInt64) = (1 << 40, 1 << 39)
        var ownDisks: [String: (total: UInt64, available: UInt64)] = [:]
        /// Changes left until the process that uses the files ends, and what it leaves when it has.
        var lifetime: Int?
        var remains: MemoryDisk?

        /// Called before each change. True when the process ends with this one.
        mutating func isLast() -> Bool {
            guard let left = lifetime else { return false }
            lifetime = left > 0 ? left - 1 : nil
            guard left == 0 else { return false }
            remains = disk
            return true
        }
    }
    fileprivate let state = Mutex(State())

    public init() {}

    private init(_ disk: MemoryDisk, life: UInt64) {
        state.withLock { state in
            state.disk = disk
            state.life = life
        }
    }

    /// From now on asked before every call.
    public func setFault(_ fault: (@Sendable (Operation, String) -> Fault?)?) { state.withLock { $0.fault = fault } }
    public func count(_ operation: Operation) -> Int { state.withLock { $0.counts[operation] ?? 0 } }
    /// Files that are open now.
    public var openFileCount: Int { state.withLock { $0.openFileCount } }
    /// - Parameter directory: on a disk of its own with what is below it; without one, of all that is on no disk of its own.
    public func setSpace(total: UInt64, available: UInt64, at directory: String? = nil) {
        state.withLock { if let directory { $0.ownDisks[directory] = (total, available) } else { $0.space = (total, available) } }
    }

    public func bytes(_ path: String) -> [UInt8]? {
        state.withLock { state in state.disk.names.files[path].map { state.disk.inodes[$0].bytes } }
    }
    /// Puts the bytes there, and on the disk.
    public func setBytes(_ path: String, _ bytes: [UInt8]) {
        state.withLock { state in
            var file = state.disk.names.files[path]
            if file == nil {
                state.disk.makeDirectory(MemoryDisk.parent(path))
                file = state.disk.create(path)
            }
            guard let file else { return }
            state.disk.inodes[file] = MemoryDisk.File(bytes: bytes, durable: bytes)
        }
    }
    public var paths: [String] { state.withLock { $0.disk.names.files.keys.sorted() } }
    public func removeTree(_ path: String) { state.withLock { $0.disk.removeTree(path) } }

    // MARK: Ends

    /// Lets the process that uses the files end in the middle of the change after so many others: what it does from then on
    /// has an effect that only it can see.
    public func dieAfter(changes: Int?) { state.withLock { $0.lifetime = changes } }
    /// Whether that has happened.
    public var hasDied: Bool { state.withLock { $0.remains != nil } }

    /// What a process leaves that is killed now, or was by `dieAfter`: the same files, not locked.
    public func copy() -> MemoryFileSystem {
        let (disk, life) = state.withLock { ($0.remains ?? $0.disk, $0.life) }
        return MemoryFileSystem(disk, life: life)
    }

    /// What is found after the power went off and on again: all that was synced, and of the rest what `random` says, by
    /// sectors of 512 bytes and by names.
    public func afterPowerLoss(_ random: inout RandomSource) -> MemoryFileSystem {
        var (disk, life) = state.withLock { ($0.remains ?? $0.disk, $0.life) }
        disk.losePower(&random)
        life += 1
        return MemoryFileSystem(disk, life: life)
    }

    /// Makes everything durable.
    public func synchronizeAll() { state.withLock { $0.disk.synchronizeAll() } }
    /// The system writes some of what is not durable yet, as it may at any time.
    public func writeBack(_ random: inout RandomSource) {
        var moved = random
        state.withLock { $0.disk.writeBack(&moved) }
        random = moved
    }

    // MARK: Faults

    fileprivate func check(_ operation: Operation, _ path: String) throws(FileSystemError) -> Fault? {
        let fault = state.withLock { state in
            state.counts[operation, default: 0] += 1
            return state.fault
        }
        guard let found = fault?(operation, path) else { return nil }
        if case .fail(let code) = found { throw error(operation, path, code) }
        return found
    }

    fileprivate func error(_ operation: Operation, _ path: String, _ code: FileSystemError.Code) -> FileSystemError {
        FileSystemError(operation: "\(operation)", path: path, code: code, reason: "\(code)")
    }

    // MARK: Names

    public func open(_ path: String, _ mode: FileMode) throws(FileSystemError) -> any OpenFile {
        _ = try check(.open, path)
        let file: Int? = state.withLock { state in
            if let file = state.disk.names.files[path] {
                if case .replace = mode, !state.disk.inodes[file].bytes.isEmpty {
                    _ = state.isLast()
                    state.disk.inodes[file].bytes = []
                    state.disk.inodes[file].isDirty = true
                }
                return file
            }
            switch mode {
            case .read, .update: return nil
            case .createOrUpdate, .replace:
                guard !state.disk.names.directories.contains(path) else { return nil }
                _ = state.isLast()
                return state.disk.create(path)
            }
        }
        guard let file else { throw error(.open, path, isDirectory(path) ? .isDirectory : .notFound) }
        return MemoryFile(path: path, file: file, fileSystem: self)
    }

    public func list(_ directory: String) throws(FileSystemError) -> [String] {
        _ = try check(.list, directory)
        let found: Set<String>? = state.withLock { state in
            guard state.disk.names.directories.contains(directory) else { return nil }
            let prefix = directory == "/" ? "/" : directory + "/"
            var names: Set<String> = []
            for path in state.disk.names.files.keys where path.hasPrefix(prefix) {
                names.insert(String(path.dropFirst(prefix.count).prefix { $0 != "/" }))
            }
            for path in state.disk.names.directories where path.hasPrefix(prefix) && path != directory {
                names.insert(String(path.dropFirst(prefix.count).prefix { $0 != "/" }))
            }
            return names
        }
        guard let found else { throw error(.list, directory, .notFound) }
        return found.sorted()
    }

    public func isDirectory(_ path: String) -> Bool { state.withLock { $0.disk.names.directories.contains(path) } }
    public func exists(_ path: String) -> Bool {
        state.withLock { $0.disk.names.files[path] != nil || $0.disk.names.directories.contains(path) }
    }

    public func createDirectory(_ path: String) throws(FileSystemError) {
        state.withLock { state in
            guard !state.disk.names.directories.contains(path) else { return }
            _ = state.isLast()
            state.disk.makeDirectory(path)
        }
    }

    public func remove(_ path: String) throws(FileSystemError) {
        _ = try check(.remove, path)
        let existed = state.withLock { state in
            _ = state.isLast()
            return state.disk.remove(path)
        }
        if !existed { throw error(.remove, path, .notFound) }
    }

    public func removeDirectory(_ path: String) throws(FileSystemError) {
        let isGone = state.withLock { state in
            _ = state.isLast()
            return state.disk.removeDirectory(path)
        }
        if !isGone { throw error(.remove, path, exists(path) ? .notEmpty : .notFound) }
    }

    public func rename(_ source: String, to target: String) throws(FileSystemError) {
        _ = try check(.rename, source)
        let existed = state.withLock { state in
            _ = state.isLast()
            return state.disk.rename(source, to: target)
        }
        if !existed { throw error(.rename, source, .notFound) }
    }

    public func synchronizeDirectory(_ path: String) throws(FileSystemError) {
        _ = try check(.synchronizeDirectory, path)
        state.withLock { state in
            _ = state.isLast()
            state.disk.synchronizeDirectory(path)
        }
    }

    public func synchronizeAll(at path: String) throws(FileSystemError) -> Bool {
        _ = try check(.synchronize, path)
        state.withLock { state in
            _ = state.isLast()
            state.disk.synchronizeAll()
        }
        return true
    }

    public func space(at path: String) throws(FileSystemError) -> (total: UInt64, available: UInt64) {
        state.withLock { state in state.ownDisks.first { path == $0.key || path.hasPrefix($0.key + "/") }?.value ?? state.space }
    }

    public func memoryIdentity() -> [UInt8] { Array("memory \(state.withLock { $0.life })".utf8) }
}

private final class MemoryFile: OpenFile {
    let path: String
    private let file: Int
    private let fileSystem: MemoryFileSystem
    private let holdsLock = Mutex(false)
    private let isOpen = Mutex(true)

    init(path: String, file: Int, fileSystem: MemoryFileSystem) {
        self.path = path
        self.file = file
        self.fileSystem = fileSystem
        fileSystem.state.withLock { $0.openFileCount += 1 }
    }

    deinit { close() }

    private func copy(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        nonisolated(unsafe) let buffer = buffer
        return fileSystem.state.withLock { state in
            let size = state.disk.inodes[file].bytes.count
            guard offset >= 0, offset < size else { return 0 }
            let count = min(buffer.count, size - Int(offset))
            state.disk.inodes[file].bytes.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<(Int(offset) + count)]))
            }
            return count
        }
    }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int {
        _ = try fileSystem.check(.read, path)
        return copy(at: offset, into: buffer)
    }

    func readIfCached(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int? {
        if case .cold = try fileSystem.check(.readIfCached, path) { return nil }
        return copy(at: offset, into: buffer)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) {
        var count = bytes.count
        var failure: FileSystemError?
        if case .short(let written, let code) = try fileSystem.check(.write, path) {
            count = Self.wholeSectors(min(count, written), at: offset)
            failure = fileSystem.error(.write, path, code)
        }
        nonisolated(unsafe) let bytes = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        fileSystem.state.withLock { state in
            // A process may be killed when the system has taken a part of what it writes.
            if state.isLast() {
                let half = Self.wholeSectors(count / 2, at: offset)
                state.remains?.write(file, UnsafeRawBufferPointer(rebasing: bytes[..<half]), at: Int(offset))
            }
            state.disk.write(file, bytes, at: Int(offset))
        }
        if let failure { throw failure }
    }

    /// As many of these bytes as end with a sector: systems copy what is written page by page.
    private static func wholeSectors(_ count: Int, at offset: Int64) -> Int {
        max(0, (Int(offset) + count) / MemoryDisk.sectorSize * MemoryDisk.sectorSize - Int(offset))
    }

    func synchronize() throws(FileSystemError) {
        let fault = try fileSystem.check(.synchronize, path)
        fileSystem.state.withLock { state in
            _ = state.isLast()
            if case .dropsPages(_, let seed) = fault {
                var random = RandomSource(seed: seed)
                state.disk.dropPages(file, &random)
            } else {
                state.disk.synchronize(file)
            }
        }
        if case .dropsPages(let code, _) = fault { throw fileSystem.error(.synchronize, path, code) }
    }

    func size() throws(FileSystemError) -> Int64 { fileSystem.state.withLock { Int64($0.disk.inodes[file].bytes.count) } }

    func truncate(to size: Int64) throws(FileSystemError) {
        _ = try fileSystem.check(.truncate, path)
        fileSystem.state.withLock { state in
            _ = state.isLast()
            state.disk.truncate(file, to: Int(size))
        }
    }

    func clear(from offset: Int64) throws(FileSystemError) {
        _ = try fileSystem.check(.truncate, path)
        fileSystem.state.withLock { state in
            _ = state.isLast()
            let size = state.disk.inodes[file].bytes.count
            guard offset < size else { return }
            state.disk.truncate(file, to: Int(offset))
            state.disk.truncate(file, to: size)
        }
    }

    func allocate(at offset: Int64, count: Int64) throws(FileSystemError) {}

    func isAtItsPath() throws(FileSystemError) -> Bool {
        fileSystem.state.withLock { $0.disk.names.files[path] == file }
    }

    func nextData(from offset: Int64) throws(FileSystemError) -> Int64? {
        fileSystem.state.withLock { state in
            let bytes = state.disk.inodes[file].bytes
            guard offset < bytes.count, let first = bytes[Int(max(offset, 0))...].firstIndex(where: { $0 != 0 }) else { return nil }
            return max(offset, Int64(first / MemoryDisk.sectorSize * MemoryDisk.sectorSize))
        }
    }

    func lockExclusively() throws(FileSystemError) {
        let isMine = holdsLock.withLock { $0 }
        let isTaken = fileSystem.state.withLock { !$0.locked.insert(file).inserted && !isMine }
        if isTaken { throw fileSystem.error(.open, path, .lockedByOther) }
        holdsLock.withLock { $0 = true }
    }

    func close() {
        let wasOpen = isOpen.withLock { open in
            defer { open = false }
            return open
        }
        if wasOpen { fileSystem.state.withLock { $0.openFileCount -= 1 } }
        let wasMine = holdsLock.withLock { held in
            defer { held = false }
            return held
        }
        if wasMine { fileSystem.state.withLock { _ = $0.locked.remove(file) } }
    }
}
