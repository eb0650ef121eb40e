import RocketMQBase

/// One file of the commit log. Opened when it is first needed.
final class LogFile {
    /// Physical offset of the first byte; the file's name.
    let base: Int64
    let size: Int64
    let path: String
    private let fileSystem: any FileSystem
    /// The handle, when there is one.
    private(set) var opened: (any OpenFile)?

    init(base: Int64, size: Int64, path: String, fileSystem: any FileSystem, opened: (any OpenFile)? = nil) {
        self.base = base
        self.size = size
        self.path = path
        self.fileSystem = fileSystem
        self.opened = opened
    }

    var end: Int64 { base + size }

    /// - Throws: `.removed` when there is no such file any more.
    func handle() throws(StoreError) -> any OpenFile {
        if let opened { return opened }
        let file: any OpenFile
        do throws(FileSystemError) { file = try fileSystem.open(path, .update) } catch {
            let isGone = [.notFound, .isDirectory, .wrongKind].contains(error.code)
            throw isGone ? StoreError(.removed, StoreError(error).reason) : StoreError(error)
        }
        opened = file
        return file
    }

    /// Forgets the handle; whoever still reads through it keeps it open until done.
    func release() { opened = nil }

    /// Hands the handle over, for it to go elsewhere.
    func takeHandle() -> (any OpenFile)? {
        defer { opened = nil }
        return opened
    }
}

/// Names of log and consume queue files: the offset of the first byte in 20 digits.
enum FileName {
    static func text(_ offset: Int64) -> String {
        let digits = String(offset)
        return String(repeating: "0", count: 20 - digits.count) + digits
    }

    /// `nil` for names of something else, such as a temporary file.
    static func offset(_ name: String) -> Int64? {
        guard name.utf8.count == 20, name.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        // Far below the largest number, so that sums of sizes never overflow.
        return Int64(name).flatMap { $0 < 1 << 60 ? $0 : nil }
    }
}
