import RocketMQBase

/// Where a start puts what stands in its way or what it takes out of the log: nothing is deleted that may hold messages, and
/// whoever wants to look for them finds it here. Outside of the directories that the reference reads.
struct PutAside {
    let directory: String
    private let fileSystem: any FileSystem
    private let progress: StartProgress?

    static let name = "put-aside"

    init(root: String, fileSystem: any FileSystem, progress: StartProgress? = nil) {
        directory = root + "/" + Self.name
        self.fileSystem = fileSystem
        self.progress = progress
    }

    /// Moves a file or a directory with what is in it; returns where it is now. Durable when this returns.
    func move(_ path: String, as name: String? = nil) throws(StoreError) -> String {
        let target = try freePath(name ?? Self.lastName(path))
        do throws(FileSystemError) { try fileSystem.rename(path, to: target) } catch {
            // The log may be on another disk than the rest.
            guard fileSystem.kind(of: path) == .file, error.code != .notFound else { throw StoreError(error) }
            let size = try storing { () throws(FileSystemError) in
                let file = try fileSystem.open(path, .read)
                defer { file.close() }
                return try file.size()
            }
            try copy(path, 0..<size, to: target)
            try storing { () throws(FileSystemError) in try fileSystem.remove(path) }
        }
        try storing { () throws(FileSystemError) in
            try fileSystem.synchronizeDirectory(directory)
            try fileSystem.synchronizeDirectory(parentDirectory(of: path))
        }
        return target
    }

    /// Keeps a copy of a part of a file; returns where it is. Durable when this returns.
    func keep(_ range: Range<Int64>, of path: String, as name: String) throws(StoreError) -> String {
        let target = try freePath(name)
        try copy(path, range, to: target)
        try storing { () throws(FileSystemError) in try fileSystem.synchronizeDirectory(directory) }
        return target
    }

    private func freePath(_ name: String) throws(StoreError) -> String {
        let directory = directory
        let fileSystem = fileSystem
        try storing { () throws(FileSystemError) in try fileSystem.createDirectoryDurably(directory) }
        var path = directory + "/" + name
        var number = 1
        while fileSystem.exists(path) {
            number += 1
            path = directory + "/" + name + "-\(number)"
        }
        return path
    }

    /// Zeros are not written: what was sparse stays so.
    private func copy(_ source: String, _ range: Range<Int64>, to target: String) throws(StoreError) {
        let fileSystem = fileSystem
        let (from, to) = try storing { () throws(FileSystemError) in
            (try fileSystem.open(source, .read), try fileSystem.open(target, .replace))
        }
        defer {
            from.close()
            to.close()
        }
        try storing { () throws(FileSystemError) in try to.truncate(to: range.upperBound - range.lowerBound) }
        var position = range.lowerBound
        while position < range.upperBound {
            do throws(StoreError) {
                try progress?.tell("\((position - range.lowerBound) >> 20) of \(range.count >> 20) MiB of \(source) copied to \(target)")
            } catch {
                // The next start copies all of it.
                try? fileSystem.remove(target)
                throw error
            }
            let bytes = try readExactly(from, at: position, count: Int(min(1 << 20, range.upperBound - position)))
            guard !bytes.isEmpty else { break }
            if !bytes.span.bytes.isZero(0..<bytes.count) {
                var failure: FileSystemError?
                bytes.withUnsafeBytes { buffer in
                    do throws(FileSystemError) { try to.write(buffer, at: position - range.lowerBound) } catch { failure = error }
                }
                if let failure { throw StoreError(failure) }
            }
            position += Int64(bytes.count)
        }
        try storing { () throws(FileSystemError) in try to.synchronize() }
    }

    private static func lastName(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }
}

extension RawSpan {
    func isZero(_ range: Range<Int>) -> Bool {
        for index in range where byte(at: index) != 0 { return false }
        return true
    }
}
