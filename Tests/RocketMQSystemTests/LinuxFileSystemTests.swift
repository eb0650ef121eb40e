import Foundation
import RocketMQBase
import RocketMQTesting
import Testing

@testable import RocketMQSystem

/// Files of the machine: what goes wrong is an error that names operation, path and reason.
@Suite(.timeLimit(.minutes(1))) struct LinuxFileSystemTests {
    let folder: TestFolder
    let files = LinuxFileSystem()

    init() throws { folder = try TestFolder() }

    private func path(_ name: String) -> String { folder.path + "/" + name }

    private func failure<Result>(_ work: () throws(FileSystemError) -> Result) -> FileSystemError? {
        do throws(FileSystemError) {
            _ = try work()
            return nil
        } catch { return error }
    }

    private func write(_ file: any OpenFile, _ bytes: [UInt8], at offset: Int64) throws(FileSystemError) {
        var failure: FileSystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileSystemError) { try file.write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func read(_ file: any OpenFile, _ count: Int, at offset: Int64, cached: Bool = false) throws(FileSystemError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        var failure: FileSystemError?
        var got: Int?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(FileSystemError) {
                got = cached ? try file.readIfCached(at: offset, into: buffer) : try file.read(at: offset, into: buffer)
            } catch { failure = error }
        }
        if let failure { throw failure }
        return got.map { Array(bytes[..<$0]) }
    }

    @Test("What was written is read, sparse parts as zeros, nothing beyond the end")
    func readAndWrite() throws {
        let file = try files.open(path("f"), .createOrUpdate)
        try write(file, [1, 2, 3], at: 5_000)
        #expect(try file.size() == 5_003)
        #expect(try read(file, 10, at: 4_998) == [0, 0, 1, 2, 3])
        #expect(try read(file, 10, at: 5_003) == [])
        #expect(try read(file, 10, at: 1 << 40) == [])
        #expect(try read(file, 0, at: 0) == [])
        try file.truncate(to: 5_001)
        try file.truncate(to: 6_000)
        #expect(try read(file, 3, at: 5_000) == [1, 0, 0])
        try file.allocate(at: 0, count: 1 << 20)
        #expect(try file.size() == 6_000, "allocation does not change the size")
        try file.synchronize()
        try files.synchronizeDirectory(folder.path)
        #expect(try read(file, 4, at: 5_000, cached: true) == [1, 0, 0, 0], "just written, so in memory")
        #expect(try read(file, 10, at: 6_000, cached: true) == [])
    }

    @Test("Each way to open a file does what it says")
    func modes() throws {
        #expect(failure { () throws(FileSystemError) in try files.open(path("f"), .read) }?.code == .notFound)
        #expect(failure { () throws(FileSystemError) in try files.open(path("f"), .update) }?.code == .notFound)
        #expect(!files.exists(path("f")))
        try write(try files.open(path("f"), .createOrUpdate), [1, 2, 3], at: 0)
        #expect(try read(try files.open(path("f"), .createOrUpdate), 9, at: 0) == [1, 2, 3])
        let readOnly = try files.open(path("f"), .read)
        #expect(failure { () throws(FileSystemError) in try write(readOnly, [1], at: 0) } != nil)
        #expect(try files.open(path("f"), .replace).size() == 0)
    }

    @Test("Errors say what was tried on which path, and the system's reason")
    func errors() throws {
        try files.createDirectory(path("d/e"))
        try files.createDirectory(path("d/e"))
        try folder.write("x", to: "file")
        let cases: [(FileSystemError?, FileSystemError.Code, String)] = [
            (failure { () throws(FileSystemError) in try files.open(path("no/f"), .createOrUpdate) }, .notFound, "no/f"),
            (failure { () throws(FileSystemError) in try files.open(path("file/f"), .createOrUpdate) }, .notFound, "file/f"),
            (failure { () throws(FileSystemError) in try files.open(path("d"), .update) }, .isDirectory, "/d"),
            (failure { () throws(FileSystemError) in try files.remove(path("gone")) }, .notFound, "gone"),
            (failure { () throws(FileSystemError) in try files.removeDirectory(path("d")) }, .notEmpty, "/d"),
            (failure { () throws(FileSystemError) in try files.list(path("gone")) }, .notFound, "gone"),
            (failure { () throws(FileSystemError) in try files.rename(path("gone"), to: path("x")) }, .notFound, "gone"),
            (failure { () throws(FileSystemError) in try files.createDirectory(path("file")) }, .exists, "file"),
            (failure { () throws(FileSystemError) in try files.space(at: path("gone")) }, .notFound, "gone"),
            (failure { () throws(FileSystemError) in try files.synchronizeDirectory(path("gone")) }, .notFound, "gone"),
        ]
        for (error, code, name) in cases {
            #expect(error?.code == code, "\(name): \(error?.description ?? "no error")")
            #expect(error?.path.hasSuffix(name) == true)
            #expect(error?.description.hasPrefix("cannot ") == true)
            #expect(error?.reason.isEmpty == false)
        }
        #expect(try files.list(path("d")) == ["e"])
        #expect(files.isDirectory(path("d")) && !files.isDirectory(path("file")))
    }

    @Test("A disk is as full as df says: without what is reserved for others")
    func space() throws {
        let space = try files.space(at: folder.path)
        var found = statvfs()
        try #require(statvfs(folder.path, &found) == 0)
        let (block, used) = (Double(found.f_frsize), Double(found.f_blocks - found.f_bfree))
        let part = used / (used + Double(found.f_bavail))
        let ours = Double(space.total - space.available) / Double(space.total)
        #expect(abs(part - ours) < 0.02, "others write there as well")
        #expect(abs(Double(space.available) - Double(found.f_bavail) * block) < 0.02 * Double(space.total))
    }

    @Test("Without permission that is said", .enabled(if: getuid() != 0))
    func noPermission() throws {
        try folder.write("x", to: "secret")
        chmod(path("secret"), 0)
        #expect(failure { () throws(FileSystemError) in try files.open(path("secret"), .read) }?.code == .noPermission)
    }

    @Test("A full disk is told as such", .enabled(if: access("/dev/full", W_OK) == 0))
    func full() throws {
        let file = try files.open("/dev/full", .update)
        let error = failure { () throws(FileSystemError) in try write(file, [1], at: 0) }
        #expect(error?.code == .noSpace)
        #expect(error?.description.contains("/dev/full") == true)
        #expect(error?.reason == "No space left on device")
    }

    @Test("Using a file after it was closed is an error, never another file's bytes")
    func closed() throws {
        let file = try files.open(path("a"), .createOrUpdate)
        file.close()
        file.close()
        // Takes over the descriptor's number.
        let other = try files.open(path("b"), .createOrUpdate)
        #expect(failure { () throws(FileSystemError) in try write(file, [1, 2, 3], at: 0) } != nil)
        #expect(failure { () throws(FileSystemError) in try file.truncate(to: 10) } != nil)
        #expect(failure { () throws(FileSystemError) in try read(file, 1, at: 0) } != nil)
        #expect(try other.size() == 0)
    }

    @Test("Only one may hold the lock: not a second one of this process, nor another process; it goes with the file")
    func lock() throws {
        let first = try files.open(path("lock"), .createOrUpdate)
        try first.lockExclusively()
        let second = try files.open(path("lock"), .createOrUpdate)
        #expect(failure { () throws(FileSystemError) in try second.lockExclusively() }?.code == .lockedByOther)
        first.close()
        try second.lockExclusively()
        second.close()
    }

    @Test("The lock that a killed process held is free", .enabled(if: access("/usr/bin/python3", X_OK) == 0))
    func lockOfOtherProcess() throws {
        try folder.write("", to: "lock")
        let other = Process()
        other.executableURL = URL(filePath: "/usr/bin/python3")
        // The same kind of lock as ours: of the open file, not of the process.
        other.arguments = [
            "-c",
            "import fcntl,struct,sys\nf=open(sys.argv[1],'r+')\nfcntl.fcntl(f,37,struct.pack('hhqqi4x',1,0,0,0,0))\nprint('held',flush=True)\nsys.stdin.read()",
            path("lock"),
        ]
        let (output, input) = (Pipe(), Pipe())
        other.standardOutput = output
        other.standardInput = input
        try other.run()
        try #require(String(decoding: output.fileHandleForReading.availableData, as: UTF8.self).hasPrefix("held"))
        let file = try files.open(path("lock"), .createOrUpdate)
        let error = failure { () throws(FileSystemError) in try file.lockExclusively() }
        #expect(error?.code == .lockedByOther)
        #expect(error?.reason == "another process has it")
        kill(other.processIdentifier, SIGKILL)
        var isFree = false
        for _ in 0..<500 where !isFree {
            isFree = failure { () throws(FileSystemError) in try file.lockExclusively() } == nil
            if !isFree { usleep(10_000) }
        }
        #expect(isFree)
    }

    @Test("A file that was removed, moved or replaced is not at its path any more")
    func namesThatAreGone() throws {
        func made(_ name: String) throws -> any OpenFile { try files.open(path(name), .createOrUpdate) }
        let file = try made("a")
        #expect(try file.isAtItsPath())
        try files.rename(path("a"), to: path("b"))
        #expect(try !file.isAtItsPath())
        let other = try made("a")
        #expect(try other.isAtItsPath() && !file.isAtItsPath())
        try files.remove(path("a"))
        #expect(try !other.isAtItsPath())
        try files.createDirectory(path("d"))
        let directory = try files.open(path("d"), .read)
        let inside = try made("d/x")
        try files.rename(path("d"), to: path("e"))
        #expect(try !directory.isAtItsPath() && !inside.isAtItsPath())
        try files.rename(path("e"), to: path("d"))
        #expect(try directory.isAtItsPath() && inside.isAtItsPath())
    }
}

/// Replacing a file durably, with the process ending after each step.
@Suite struct ReplaceDurablyTests {
    @Test("Whatever step fails, the old or the new text is there whole, as file or as its backup", arguments: [true, false])
    func everyStep(_ keepsBackup: Bool) throws {
        let old = Array("old text".utf8)
        let new = Array("new text that is longer".utf8)
        var steps = 0
        for failing in 0..<20 {
            let files = MemoryFileSystem()
            try files.createDirectory("/d")
            files.setBytes("/d/f", old)
            let count = Counter()
            files.setFault { operation, _ in
                if [.write, .synchronize, .rename, .synchronizeDirectory, .truncate].contains(operation) {
                    return count.next() == failing ? (operation == .write ? .short(4, .noSpace) : .fail(.inputOutput)) : nil
                }
                return nil
            }
            var isReplaced = false
            do throws(FileSystemError) {
                try files.replaceDurably("/d/f", with: new, keepingBackup: keepsBackup)
                isReplaced = true
            } catch { #expect(error.path.hasPrefix("/d")) }
            let left = files.copy()
            let found = try left.contents(of: "/d/f")
            let backup = try left.contents(of: "/d/f.bak")
            #expect(found == old || found == new, "step \(failing)")
            if isReplaced {
                #expect(found == new)
                #expect(backup == (keepsBackup ? new : nil))
                steps = failing
                break
            }
            // The next try succeeds, whatever the last one left.
            files.setFault(nil)
            try files.replaceDurably("/d/f", with: new, keepingBackup: keepsBackup)
            #expect(try files.contents(of: "/d/f") == new)
        }
        #expect(steps >= 4, "written, synced, renamed, directory synced")
    }

    private final class Counter: Sendable {
        private let value = ManualClock(monotonicNanoseconds: 0)
        func next() -> Int {
            defer { value.advance(by: .nanoseconds(1)) }
            return Int(value.monotonicNow.nanoseconds)
        }
    }
}
