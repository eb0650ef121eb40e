import RocketMQBase
import Synchronization

/// Files in memory, for tests: counts what is done, and does wrong what it is told to.
public final class MemoryFileSystem: FileSystem {
    /// What goes wrong with a call.
    public enum Fault: Sendable {
        case fail(FileSystemError.Code)
        /// Only so many bytes are written, then it fails.
        case short(Int, FileSystemError.Code)
        /// The bytes are not in the system's memory.
        case cold
    }
    public enum Operation: Sendable {
        case open, read, readIfCached, write, synchronize, truncate, remove, rename, synchronizeDirectory, list
    }

    fileprivate final class Node {
        var bytes: [UInt8] = []
        var isLocked = false
    }
    fileprivate struct State {
        var files: [String: Node] = [:]
        var directories: Set<String> = ["/"]
        var fault: (@Sendable (Operation, String) -> Fault?)?
        var counts: [Operation: Int] = [:]
        var space: (total: UInt64, available: UInt64) = (1 << 40, 1 << 39)
    }
    fileprivate let state = Mutex(State())

    public init() {}

    /// From now on asked before every call.
    public func setFault(_ fault: (@Sendable (Operation, String) -> Fault?)?) { state.withLock { $0.fault = fault } }
    public func count(_ operation: Operation) -> Int { state.withLock { $0.counts[operation] ?? 0 } }
    public func setSpace(total: UInt64, available: UInt64) { state.withLock { $0.space = (total, available) } }

    public func bytes(_ path: String) -> [UInt8]? { state.withLock { $0.files[path]?.bytes } }
    public func setBytes(_ path: String, _ bytes: [UInt8]) {
        state.withLock { state in
            if let node = state.files[path] {
                node.bytes = bytes
            } else {
                let node = Node()
                node.bytes = bytes
                state.files[path] = node
            }
        }
    }
    public var paths: [String] { state.withLock { $0.files.keys.sorted() } }
    public func removeTree(_ path: String) {
        state.withLock { state in
            for name in state.files.keys where name.hasPrefix(path + "/") { state.files[name] = nil }
            for name in state.directories where name.hasPrefix(path + "/") || name == path { state.directories.remove(name) }
        }
    }

    /// What a process leaves that is killed now: the same files, not locked.
    public func copy() -> MemoryFileSystem {
        let other = MemoryFileSystem()
        let (files, directories) = state.withLock { ($0.files.mapValues(\.bytes), $0.directories) }
        other.state.withLock { state in
            state.directories = directories
            for (path, bytes) in files {
                let node = Node()
                node.bytes = bytes
                state.files[path] = node
            }
        }
        return other
    }

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

    public func open(_ path: String, _ mode: FileMode) throws(FileSystemError) -> any OpenFile {
        _ = try check(.open, path)
        let parent = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        let node: Node? = state.withLock { state in
            if let node = state.files[path] {
                if case .replace = mode { node.bytes = [] }
                return node
            }
            switch mode {
            case .read, .update: return nil
            case .createOrUpdate, .replace:
                guard parent.isEmpty || state.directories.contains(parent) else { return nil }
                let node = Node()
                state.files[path] = node
                return node
            }
        }
        guard let node else { throw error(.open, path, .notFound) }
        return MemoryFile(path: path, node: node, fileSystem: self)
    }

    public func list(_ directory: String) throws(FileSystemError) -> [String] {
        _ = try check(.list, directory)
        let found: Set<String>? = state.withLock { state in
            guard state.directories.contains(directory) else { return nil }
            var names: Set<String> = []
            for path in [String](state.files.keys) + [String](state.directories) where path.hasPrefix(directory + "/") {
                names.insert(String(path.dropFirst(directory.count + 1).prefix { $0 != "/" }))
            }
            return names
        }
        guard let found else { throw error(.list, directory, .notFound) }
        return found.sorted()
    }

    public func isDirectory(_ path: String) -> Bool { state.withLock { $0.directories.contains(path) } }
    public func exists(_ path: String) -> Bool { state.withLock { $0.files[path] != nil || $0.directories.contains(path) } }

    public func createDirectory(_ path: String) throws(FileSystemError) {
        state.withLock { state in
            var path = path[...]
            while !path.isEmpty {
                state.directories.insert(String(path))
                path = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
            }
        }
    }

    public func remove(_ path: String) throws(FileSystemError) {
        _ = try check(.remove, path)
        let existed = state.withLock { $0.files.removeValue(forKey: path) != nil }
        if !existed { throw error(.remove, path, .notFound) }
    }

    public func removeDirectory(_ path: String) throws(FileSystemError) {
        _ = state.withLock { $0.directories.remove(path) }
    }

    public func rename(_ source: String, to target: String) throws(FileSystemError) {
        _ = try check(.rename, source)
        let existed = state.withLock { state in
            if state.directories.contains(source) {
                for name in state.files.keys where name.hasPrefix(source + "/") {
                    state.files[target + name.dropFirst(source.count)] = state.files.removeValue(forKey: name)
                }
                for name in state.directories where name == source || name.hasPrefix(source + "/") {
                    state.directories.remove(name)
                    state.directories.insert(target + name.dropFirst(source.count))
                }
                return true
            }
            guard let node = state.files.removeValue(forKey: source) else { return false }
            state.files[target] = node
            return true
        }
        if !existed { throw error(.rename, source, .notFound) }
    }

    public func synchronizeDirectory(_ path: String) throws(FileSystemError) { _ = try check(.synchronizeDirectory, path) }
    public func space(at path: String) throws(FileSystemError) -> (total: UInt64, available: UInt64) { state.withLock { $0.space } }
}

/// `@unchecked Sendable` holds because the node is only touched under the file system's lock.
private final class MemoryFile: OpenFile, @unchecked Sendable {
    let path: String
    private let node: MemoryFileSystem.Node
    private let fileSystem: MemoryFileSystem
    private var holdsLock = false

    init(path: String, node: MemoryFileSystem.Node, fileSystem: MemoryFileSystem) {
        self.path = path
        self.node = node
        self.fileSystem = fileSystem
    }

    deinit { close() }

    private func copy(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        nonisolated(unsafe) let buffer = buffer
        return fileSystem.state.withLock { _ in
            guard offset >= 0, offset < node.bytes.count else { return 0 }
            let count = min(buffer.count, node.bytes.count - Int(offset))
            node.bytes.withUnsafeBytes {
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
            count = min(count, written)
            failure = fileSystem.error(.write, path, code)
        }
        nonisolated(unsafe) let bytes = bytes
        fileSystem.state.withLock { _ in
            let end = Int(offset) + count
            if node.bytes.count < end { node.bytes += [UInt8](repeating: 0, count: end - node.bytes.count) }
            node.bytes.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[Int(offset)..<end]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
            }
        }
        if let failure { throw failure }
    }

    func synchronize() throws(FileSystemError) { _ = try fileSystem.check(.synchronize, path) }
    func size() throws(FileSystemError) -> Int64 { fileSystem.state.withLock { _ in Int64(node.bytes.count) } }

    func truncate(to size: Int64) throws(FileSystemError) {
        _ = try fileSystem.check(.truncate, path)
        fileSystem.state.withLock { _ in
            let size = Int(size)
            if node.bytes.count > size {
                node.bytes.removeLast(node.bytes.count - size)
            } else {
                node.bytes += [UInt8](repeating: 0, count: size - node.bytes.count)
            }
        }
    }

    func allocate(at offset: Int64, count: Int64) throws(FileSystemError) {}

    func lockExclusively() throws(FileSystemError) {
        let isTaken = fileSystem.state.withLock { _ in
            defer { node.isLocked = true }
            return node.isLocked && !holdsLock
        }
        if isTaken { throw fileSystem.error(.open, path, .lockedByOther) }
        holdsLock = true
    }

    func close() {
        fileSystem.state.withLock { _ in
            if holdsLock { node.isLocked = false }
            holdsLock = false
        }
    }
}
