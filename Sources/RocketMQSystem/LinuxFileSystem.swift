import CLinux
import Glibc
import RocketMQBase
import Synchronization

/// The machine's file system.
public struct LinuxFileSystem: FileSystem {
    public init() {}

    public func open(_ path: String, _ mode: FileMode) throws(FileSystemError) -> any OpenFile {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .update: O_RDWR
            case .createOrUpdate: O_RDWR | O_CREAT
            case .replace: O_RDWR | O_CREAT | O_TRUNC
            }
        // Whatever stands in the place of a file: nobody waits for the other end of a FIFO. Of a file's reads and writes the flag
        // changes nothing.
        let descriptor = retrying { Glibc.open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0o644) }
        guard descriptor >= 0 else { throw .last("open", path) }
        let file = LinuxFile(path: path, descriptor: descriptor)
        var found = stat()
        guard fstat(descriptor, &found) == 0 else { throw .last("measure", path) }
        switch Self.kind(found.st_mode) {
        case .file, .directory: return file
        // `/dev/null` is a good empty file.
        case .other where found.st_mode & S_IFMT == S_IFCHR: return file
        case .other(let what): throw FileSystemError(operation: "open", path: path, code: .wrongKind, reason: "it is \(what) and no file")
        }
    }

    public func list(_ directory: String) throws(FileSystemError) -> [String] {
        guard let stream = opendir(directory) else { throw .last("list", directory) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    public func isDirectory(_ path: String) -> Bool {
        var found = stat()
        return stat(path, &found) == 0 && found.st_mode & S_IFMT == S_IFDIR
    }

    public func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    public func kind(of path: String) -> FileKind? {
        var found = stat()
        if stat(path, &found) == 0 { return Self.kind(found.st_mode) }
        if clinux_errno() == ELOOP { return .other("a symbolic link that leads round in a circle") }
        return lstat(path, &found) == 0 && found.st_mode & S_IFMT == S_IFLNK ? .other("a symbolic link that leads nowhere") : nil
    }

    private static func kind(_ mode: mode_t) -> FileKind {
        switch mode & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        case S_IFIFO: .other("a FIFO")
        case S_IFSOCK: .other("a socket")
        case S_IFCHR, S_IFBLK: .other("a device")
        default: .other("something unknown")
        }
    }

    public func createDirectory(_ path: String) throws(FileSystemError) {
        if isDirectory(path) { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex { try createDirectory(String(path[..<slash])) }
        guard mkdir(path, 0o755) == 0 || (clinux_errno() == EEXIST && isDirectory(path)) else { throw .last("create directory", path) }
    }

    public func remove(_ path: String) throws(FileSystemError) {
        guard unlink(path) == 0 else { throw .last("remove", path) }
    }

    public func removeDirectory(_ path: String) throws(FileSystemError) {
        guard rmdir(path) == 0 else { throw .last("remove directory", path) }
    }

    public func rename(_ source: String, to target: String) throws(FileSystemError) {
        guard Glibc.rename(source, target) == 0 else { throw .last("rename to \(target)", source) }
    }

    public func synchronizeDirectory(_ path: String) throws(FileSystemError) {
        let descriptor = retrying { Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw .last("open", path) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .last("sync", path) }
    }

    public func synchronizeAll(at path: String) throws(FileSystemError) -> Bool {
        let descriptor = retrying { Glibc.open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw .last("open", path) }
        defer { Glibc.close(descriptor) }
        let code = clinux_sync_file_system(descriptor)
        guard code == 0 else { throw FileSystemError(operation: "sync the file system of", path: path, errno: code) }
        return true
    }

    /// The system's boot: its page cache lives as long.
    public func memoryIdentity() -> [UInt8] {
        guard let file = try? open("/proc/sys/kernel/random/boot_id", .read) else { return [] }
        defer { file.close() }
        return [UInt8](unsafeUninitializedCapacity: 64) { memory, count in
            count = (try? file.read(at: 0, into: UnsafeMutableRawBufferPointer(memory))) ?? 0
        }
    }

    public func space(at path: String) throws(FileSystemError) -> (total: UInt64, available: UInt64) {
        var total: UInt64 = 0
        var available: UInt64 = 0
        let code = clinux_space(path, &total, &available)
        guard code == 0 else { throw FileSystemError(operation: "measure the disk of", path: path, errno: code) }
        return (total, available)
    }
}

/// An open file of the machine's. The descriptor is closed once: by `close()`, or when the last reference goes.
private final class LinuxFile: OpenFile {
    let path: String
    private let openDescriptor: Int32
    private let isOpen = Atomic(true)

    init(path: String, descriptor: Int32) {
        self.path = path
        openDescriptor = descriptor
    }

    /// The descriptor, or after `close` none: the system may have given its number to another file since.
    private var descriptor: Int32 { isOpen.load(ordering: .acquiring) ? openDescriptor : -1 }

    deinit { close() }

    func close() {
        if isOpen.exchange(false, ordering: .acquiringAndReleasing) { Glibc.close(openDescriptor) }
    }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = retrying { pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset) + off_t(done)) }
            if count < 0 { throw .last("read \(buffer.count) bytes at \(offset) of", path) }
            if count == 0 { break }
            done += Int(count)
        }
        return done
    }

    func readIfCached(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int? {
        var done = 0
        while done < buffer.count {
            let count = retrying {
                clinux_read_cached(descriptor, buffer.baseAddress! + done, buffer.count - done, offset + Int64(done))
            }
            if count < 0 {
                switch clinux_errno() {
                case EAGAIN: return nil
                // A file system without the flag: reading may wait, which is all that can be done there.
                case EOPNOTSUPP, EINVAL, ENOSYS: return try read(at: offset, into: buffer)
                default: throw .last("read \(buffer.count) bytes at \(offset) of", path)
                }
            }
            if count == 0 { break }
            done += Int(count)
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) {
        var done = 0
        while done < bytes.count {
            let count = retrying { pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done)) }
            if count < 0 { throw .last("write \(bytes.count) bytes at \(offset) of", path) }
            if count == 0 {
                throw FileSystemError(operation: "write \(bytes.count) bytes at \(offset) of", path: path, errno: ENOSPC)
            }
            done += Int(count)
        }
    }

    func synchronize() throws(FileSystemError) {
        guard retrying({ fdatasync(descriptor) }) == 0 else { throw .last("sync", path) }
    }

    func size() throws(FileSystemError) -> Int64 {
        var found = stat()
        guard fstat(descriptor, &found) == 0 else { throw .last("measure", path) }
        return Int64(found.st_size)
    }

    func truncate(to size: Int64) throws(FileSystemError) {
        guard retrying({ ftruncate(descriptor, off_t(size)) }) == 0 else { throw .last("set the size to \(size) of", path) }
    }

    func clear(from offset: Int64) throws(FileSystemError) {
        let size = try size()
        guard offset < size else { return }
        let code = clinux_punch_hole(descriptor, offset, size - offset)
        if code == 0 { return }
        guard code == EOPNOTSUPP || code == ENOSYS else {
            throw FileSystemError(operation: "clear \(size - offset) bytes at \(offset) of", path: path, errno: code)
        }
        // A file system without holes: between the two calls the file is shorter.
        try truncate(to: offset)
        try truncate(to: size)
    }

    func allocate(at offset: Int64, count: Int64) throws(FileSystemError) {
        let code = clinux_allocate(descriptor, offset, count)
        guard code == 0 || code == EOPNOTSUPP else {
            throw FileSystemError(operation: "allocate \(count) bytes at \(offset) of", path: path, errno: code)
        }
    }

    func isAtItsPath() throws(FileSystemError) -> Bool {
        var own = stat()
        var named = stat()
        guard fstat(descriptor, &own) == 0 else { throw .last("measure", path) }
        if stat(path, &named) == 0 { return own.st_dev == named.st_dev && own.st_ino == named.st_ino }
        guard clinux_errno() == ENOENT || clinux_errno() == ENOTDIR else { throw .last("find", path) }
        return false
    }

    func nextData(from offset: Int64) throws(FileSystemError) -> Int64? {
        let found = lseek(descriptor, off_t(offset), Int32(clinux_seek_data))
        if found >= 0 { return Int64(found) }
        switch clinux_errno() {
        case ENXIO: return nil
        // A file system that does not tell.
        case EINVAL, EOPNOTSUPP: return offset < (try size()) ? offset : nil
        default: throw .last("seek data in", path)
        }
    }

    func lockExclusively() throws(FileSystemError) {
        let code = clinux_lock_exclusively(descriptor)
        guard code == 0 else { throw FileSystemError(operation: "lock", path: path, errno: code) }
    }
}

/// Repeats a system call that a signal interrupted.
func retrying<Number: FixedWidthInteger>(_ call: () -> Number) -> Number {
    while true {
        let result = call()
        if result != -1 || clinux_errno() != EINTR { return result }
    }
}

extension FileSystemError {
    /// The error that the last system call left.
    static func last(_ operation: String, _ path: String) -> FileSystemError {
        FileSystemError(operation: operation, path: path, errno: clinux_errno())
    }

    init(operation: String, path: String, errno code: Int32) {
        let kind: Code =
            switch code {
            case ENOENT, ENOTDIR: .notFound
            case EEXIST: .exists
            case EACCES, EPERM: .noPermission
            case EROFS: .readOnly
            case ENOSPC, EDQUOT: .noSpace
            case EIO: .inputOutput
            case EISDIR: .isDirectory
            case ENOTEMPTY: .notEmpty
            case EWOULDBLOCK: .lockedByOther
            case EFBIG: .tooLarge
            case ELOOP, ENXIO: .wrongKind
            case EMFILE, ENFILE: .tooManyOpenFiles
            default: .other(errno: code)
            }
        self.init(operation: operation, path: path, code: kind, reason: systemText(code))
    }
}

/// The system's text for an error number.
func systemText(_ code: Int32) -> String {
    code == EWOULDBLOCK ? "another process has it" : String(cString: strerror(code))
}
