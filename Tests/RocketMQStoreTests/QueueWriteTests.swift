import RocketMQBase
import Testing

@testable import RocketMQStore

/// Consume queues are written behind by a worker that may be slow, fail, or come too late.
@Suite struct QueueWriteTests {
    private func harness() throws -> StoreHarness {
        let harness = try StoreHarness {
            $0.checkpointInterval = .seconds(2)
            $0.isIndexEnabled = false
        }
        harness.housekeeper.hold()
        return harness
    }

    private func queueFile(_ harness: StoreHarness, _ topic: String = "T") -> [UInt8]? {
        harness.memory.bytes("/store/consumequeue/\(topic)/0/" + FileName.text(0))
    }

    @Test func entriesAreReadFromMemoryUntilTheWorkerHasWrittenThem() throws {
        let harness = try harness()
        let bodies = numbered(0..<120)
        try harness.send(bodies)
        harness.loop.advance(by: .seconds(5))
        #expect(queueFile(harness) == nil, "nothing is written on the loop")
        #expect(try harness.bodies() == bodies)
        #expect(harness.store.upkeep.queuesWrittenOffset == 0)
        #expect(harness.store.upkeep.checkpointedOffset == 0, "no checkpoint claims what is not there")
        harness.housekeeper.letGo()
        harness.loop.advance(by: .seconds(5))
        #expect(queueFile(harness)?.contains { $0 != 0 } == true)
        #expect(harness.store.upkeep.checkpointedOffset == harness.store.writtenOffset)
        #expect(try harness.bodies() == bodies)
    }

    @Test func aBatchThatFailsIsWrittenAgainWithTheOnesBehindIt() throws {
        let harness = try harness()
        let queue = harness.store.queue(topic: "T", id: 0)
        // Two batches are under way.
        let count = Int(ConsumeQueue.largestUnwritten) + 1
        for round in 0..<2 {
            for body in numbered((round * count)..<((round + 1) * count)) { try harness.append("T", 0, body) }
            try harness.store.commit()
        }
        #expect(harness.housekeeper.count >= 2 && queue.handedOffset == Int64(2 * count))
        harness.memory.setFault { operation, path in
            operation == .open && path.contains("consumequeue") ? .fail(.tooManyOpenFiles) : nil
        }
        harness.housekeeper.release(1)
        harness.memory.setFault(nil)
        // The second lies behind a hole.
        harness.housekeeper.release(1)
        harness.loop.settle()
        #expect(queue.writtenOffset == 0 && queue.handedOffset == 0)
        harness.housekeeper.letGo()
        harness.loop.advance(by: .seconds(8))
        #expect(queue.writtenOffset == Int64(2 * count))
        #expect(harness.store.upkeep.checkpointedOffset == harness.store.writtenOffset)
        try harness.kill()
        #expect(try harness.bodies(batch: 500) == numbered(0..<(2 * count)))
    }

    @Test func aFailedBatchOfAPassLeavesTheCheckpointWhereItWas() throws {
        let harness = try harness()
        for topic in 0..<600 { try harness.append("T\(topic)", 0, "first") }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(1))
        #expect(harness.housekeeper.count >= 3)
        harness.memory.setFault { operation, path in operation == .write && path.contains("consumequeue/T300/") ? .fail(.noSpace) : nil }
        harness.housekeeper.release()
        harness.loop.settle()
        #expect(harness.store.upkeep.queuesWrittenOffset == 0)
        #expect(harness.reports.lines.contains { $0.0 == .warning && $0.1.contains("consumequeue/T300/0") })
        harness.memory.setFault(nil)
        harness.housekeeper.letGo()
        harness.loop.advance(by: .seconds(8))
        #expect(harness.store.upkeep.checkpointedOffset == harness.store.writtenOffset)
        try harness.kill()
        for topic in 0..<600 { #expect(try harness.bodies("T\(topic)") == ["first"]) }
    }

    @Test func whatIsUnderWayForADeletedTopicIsNotWritten() throws {
        let harness = try harness()
        try harness.send(numbered(0..<10))
        harness.loop.advance(by: .seconds(1))
        #expect(harness.housekeeper.count >= 1)
        harness.store.deleteTopic("T")
        try harness.send(["of the new topic"])
        harness.housekeeper.letGo()
        harness.loop.advance(by: .seconds(5))
        #expect(try harness.bodies() == ["of the new topic"])
        let file = try #require(queueFile(harness))
        #expect(file[QueueEntry.byteCount...].allSatisfy { $0 == 0 }, "only the new topic's entry is in the file")
        try harness.kill()
        #expect(try harness.bodies() == ["of the new topic"])
    }

    @Test func aStopWritesWhatIsUnderWayAndTheWorkerComesTooLate() throws {
        let harness = try harness()
        try harness.send(numbered(0..<10))
        harness.loop.advance(by: .seconds(1))
        #expect(harness.housekeeper.count >= 1)
        try harness.append("T", 0, "last")
        try harness.closeAndOpen()
        #expect(try harness.bodies() == numbered(0..<10) + ["last"])
        harness.memory.setBytes("/store/consumequeue/T/0/" + FileName.text(0), [])
        let writes = harness.memory.count(.write)
        harness.housekeeper.release()
        #expect(harness.memory.count(.write) == writes, "a closed store's worker writes nothing")
    }

    @Test func openFilesAreBoundedHoweverManyQueuesThereAre() throws {
        let harness = try StoreHarness { $0.openQueueFiles = 10 }
        for round in 0..<3 {
            for topic in 0..<100 { try harness.append("T\(topic)", 0, "message \(round)") }
            try harness.store.commit()
            harness.loop.advance(by: .seconds(2))
        }
        for topic in 0..<100 { #expect(try harness.bodies("T\(topic)") == (0..<3).map { "message \($0)" }) }
        #expect(harness.memory.openFileCount <= 10 + 8, "the log, the lock and the index have some open too")
        try harness.kill()
        for topic in 0..<100 { #expect(try harness.bodies("T\(topic)") == (0..<3).map { "message \($0)" }) }
    }
}
