import Foundation
import RocketMQBase
import RocketMQSystem
import Testing

@testable import RocketMQStore

/// Real files: of full size from the start, with little of it on the disk.
@Suite struct AllocationTests {
    private func harness(_ folder: TestFolder) throws -> StoreHarness {
        try StoreHarness(files: LinuxFileSystem()) {
            $0 = StoreConfiguration(rootDirectory: folder.path + "/store")
            $0.isIndexEnabled = false
        }
    }

    private func file(_ path: String) throws -> (size: Int64, onDisk: Int64) {
        var found = stat()
        try #require(stat(path, &found) == 0, "\(path)")
        return (Int64(found.st_size), Int64(found.st_blocks) * 512)
    }

    @Test func aBrokerThatDoesLittleTakesLittleAndABusyOneRoomAhead() throws {
        let folder = try TestFolder()
        let harness = try harness(folder)
        let log = folder.path + "/store/commitlog/" + FileName.text(0)
        // A message of 100 kB every two minutes.
        for _ in 0..<30 {
            try harness.send([String(repeating: "x", count: 100_000)])
            harness.loop.advance(by: .seconds(120))
        }
        let quiet = try file(log)
        #expect(quiet.size == 1 << 30)
        #expect(quiet.onDisk >= harness.store.writtenOffset && quiet.onDisk <= harness.store.writtenOffset + 3 << 20, "\(quiet)")
        let queue = try file(folder.path + "/store/consumequeue/T/0/" + FileName.text(0))
        #expect(queue.size == 6_000_000 && queue.onDisk <= 16 << 10, "\(queue)")
        // As much within a second, again and again.
        for _ in 0..<120 {
            try harness.send([String(repeating: "x", count: 100_000)])
            harness.loop.settle()
        }
        let busy = try file(log)
        let ahead = busy.onDisk - harness.store.writtenOffset
        #expect(busy.size == 1 << 30 && ahead > 4 << 20 && ahead <= harness.configuration.allocateAheadLimit + 1 << 20, "\(ahead)")
        try harness.store.close()
    }
}
