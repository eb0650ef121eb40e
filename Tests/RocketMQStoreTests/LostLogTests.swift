import RocketMQBase
import RocketMQSystem
import Testing

@testable import RocketMQStore

/// A commit log that is not the one that the store left.
@Suite struct LostLogTests {
    private func filled() throws -> StoreHarness {
        let harness = try StoreHarness()
        for number in 0..<40 { try harness.send([String(repeating: "\(number % 10)", count: 10_000)]) }
        try harness.closeAndOpen()
        try harness.store.close()
        return harness
    }

    @Test func anEmptyLogBesideACheckpointOfMessagesIsRefused() throws {
        let harness = try filled()
        #expect {
            try harness.kill { $0.removeTree("/store/commitlog") }
        } throws: {
            guard let error = $0 as? StoreError else { return false }
            return error.code == .damaged && "\(error)".contains("/store/commitlog") && "\(error)".contains("mount")
        }
    }

    @Test func aLogThatEndsTooEarlyIsAnErrorWithTheNumberOfBytes() throws {
        let harness = try filled()
        let end = harness.store.writtenOffset
        let last = try #require(harness.memory.list("/store/commitlog").sorted().last)
        try harness.kill { try? $0.remove("/store/commitlog/" + last) }
        let line = try #require(harness.reports.lines.first { $0.0 == .error }?.1)
        #expect(line.contains("/store/commitlog") && line.contains("\(end - harness.store.writtenOffset) bytes are missing"), "\(line)")
    }

    /// Killed before there was a checkpoint of these messages: that they were flushed is known all the same.
    @Test func whatWasFlushedIsMissedWithoutACheckpointToo() throws {
        func flushed() throws -> StoreHarness {
            let harness = try StoreHarness()
            for number in 0..<40 { try harness.send([String(repeating: "\(number % 10)", count: 10_000)]) }
            harness.store.requestFlush()
            harness.loop.settle()
            #expect(harness.store.flushedOffset == harness.store.writtenOffset)
            return harness
        }
        let harness = try flushed()
        let end = harness.store.writtenOffset
        let last = try #require(harness.memory.list("/store/commitlog").sorted().last)
        try harness.kill { try? $0.remove("/store/commitlog/" + last) }
        let line = try #require(harness.reports.lines.first { $0.0 == .error }?.1)
        #expect(line.contains("\(end - harness.store.writtenOffset) bytes are missing"), "\(line)")

        let other = try flushed()
        #expect {
            try other.kill { $0.removeTree("/store/commitlog") }
        } throws: { ($0 as? StoreError)?.code == .damaged && "\($0)".contains("mount") }
    }

    @Test func twoStoresCannotShareALog() throws {
        let folder = try TestFolder()
        func store(_ name: String) throws -> StoreHarness {
            try StoreHarness(files: LinuxFileSystem()) {
                $0.rootDirectory = folder.path + "/" + name
                $0.commitLogDirectory = folder.path + "/log"
            }
        }
        let first = try store("a")
        #expect {
            _ = try store("b")
        } throws: { ($0 as? StoreError)?.code == .lockedByOther && "\($0)".contains(folder.path + "/log") }
        try first.store.close()
        try store("b").store.close()
    }
}
