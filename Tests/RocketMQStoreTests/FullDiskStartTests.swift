import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Starts and stops on a disk on which no byte is left: what is stored is served, and all goes on by itself when there is room.
@Suite struct FullDiskStartTests {
    /// What was written stays, and may be overwritten; nothing else can be written.
    private func fill(_ files: MemoryFileSystem) {
        files.setFault { operation, path in
            guard operation == .write else { return nil }
            return path.hasSuffix(".tmp") || path.contains("/consumequeue/") || path.contains("/index/") ? .fail(.noSpace) : nil
        }
    }

    private static let damages = [
        "none", "no consume queues", "a queue without files", "a queue's file of zeros", "no list of queues", "no index", "reference ran",
    ]

    private func damage(_ what: String, _ files: MemoryFileSystem) throws {
        switch what {
        case "no consume queues": files.removeTree("/store/consumequeue")
        case "a queue without files": files.removeTree("/store/consumequeue/T/1")
        case "a queue's file of zeros":
            let path = "/store/consumequeue/T/2/" + FileName.text(0)
            files.setBytes(path, [UInt8](repeating: 0, count: try #require(files.bytes(path)).count))
        case "no list of queues": try? files.remove("/store/queues")
        case "no index": files.removeTree("/store/index")
        case "reference ran":
            // What only we write is gone, as after it has written the page.
            var page = try #require(files.bytes("/store/checkpoint"))
            for place in 24..<page.count { page[place] = 0 }
            files.setBytes("/store/checkpoint", page)
        default: break
        }
    }

    @Test(arguments: damages, [false, true])
    func aStartOnAFullDiskServesAllThatIsThere(what: String, hasCheckpoint: Bool) throws {
        let harness = try StoreHarness { $0.checkpointInterval = .seconds(2) }
        var bodies: [[String]] = [[], [], []]
        func send(_ range: Range<Int>) throws {
            for body in numbered(range, size: 60) {
                for id in 0..<3 {
                    try harness.append("T", Int32(id), body)
                    bodies[id].append(body)
                }
                try harness.store.commit()
            }
        }
        func check(_ comment: Comment) throws {
            for id in 0..<3 { #expect(try harness.bodies("T", Int32(id)) == bodies[id], comment) }
        }
        try send(0..<200)
        harness.loop.advance(by: .seconds(hasCheckpoint ? 30 : 1))
        #expect((harness.store.upkeep.checkpointedOffset > 0) == hasCheckpoint)
        try send(200..<260)
        try harness.kill {
            try? damage(what, $0)
            fill($0)
        }
        try check("on a full disk")
        harness.loop.advance(by: .seconds(30))
        try check("on a full disk, a while later")
        try harness.kill { fill($0) }
        try check("started once more on a full disk")
        harness.memory.setFault(nil)
        harness.loop.advance(by: .seconds(30))
        try send(260..<300)
        try check("with room again")
        try harness.closeAndOpen()
        try check("after a clean stop")
        #expect(harness.reports.lines.contains { $0.1.contains("after a clean stop") })
    }

    @Test func aCheckpointThatHadNoRoomIsWrittenWhenThereIsSome() throws {
        let harness = try StoreHarness { $0.checkpointInterval = .seconds(2) }
        try harness.send(numbered(0..<50))
        harness.loop.advance(by: .seconds(30))
        let first = harness.store.upkeep.checkpointedOffset
        #expect(first == harness.store.writtenOffset)
        harness.memory.setFault { operation, path in operation == .write && path.hasSuffix(".tmp") ? .fail(.noSpace) : nil }
        try harness.send(numbered(50..<100))
        harness.loop.advance(by: .seconds(60))
        #expect(harness.store.upkeep.checkpointedOffset == first)
        let told = harness.reports.lines.filter { $0.1.contains("tried again") }
        #expect(told.count == 1 && told[0].1.contains(".tmp"), "\(told)")
        harness.memory.setFault(nil)
        harness.loop.advance(by: .seconds(30))
        #expect(harness.store.upkeep.checkpointedOffset == harness.store.writtenOffset, "without anything sent")
        #expect(harness.reports.lines.contains { $0.1.contains("could be written again") })
        try harness.closeAndOpen()
        #expect(try harness.bodies() == numbered(0..<100))
        #expect(harness.reports.lines.contains { $0.1.contains("after a clean stop") })
    }
}
