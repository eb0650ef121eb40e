import RocketMQBase
import RocketMQSystem

/// A directory that goes when the test ends.
public final class TestFolder: Sendable {
    public let path: String
    private let files = LinuxFileSystem()

    public init() throws(FileSystemError) {
        let parent = CurrentProcess.environment("TMPDIR").flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        path = "\(parent)/rocketmq-test-" + String(systemSeed(), radix: 36)
        try files.createDirectory(path)
    }

    deinit { try? Self.removeTree(path, files) }

    private static func removeTree(_ path: String, _ files: LinuxFileSystem) throws(FileSystemError) {
        for name in try files.list(path) {
            let inside = path + "/" + name
            if files.isDirectory(inside) { try removeTree(inside, files) } else { try files.remove(inside) }
        }
        try files.removeDirectory(path)
    }

    public func write(_ text: String, to name: String) throws(FileSystemError) {
        let file = try files.open(path + "/" + name, .replace)
        defer { file.close() }
        var failure: FileSystemError?
        Array(text.utf8).withUnsafeBytes { bytes in
            do throws(FileSystemError) { try file.write(bytes, at: 0) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    public func read(_ name: String) -> String? {
        guard let bytes = try? files.contents(of: path + "/" + name) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}
