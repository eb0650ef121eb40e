import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

@Suite struct FailureTests {
    private static let faults: [MemoryFileSystem.Fault] = [
        .fail(.noSpace), .fail(.inputOutput), .short(100, .noSpace), .short(0, .inputOutput), .short(1000, .inputOutput),
    ]

    @Test(arguments: faults.indices, [1, 40])
    func aFailedCommitStoresNothingAndTheNextOneWorks(fault: Int, staged: Int) throws {
        let harness = try StoreHarness { $0.commitLogFileSize = 16 << 10 }
        try harness.send(numbered(0..<5))
        try harness.send(numbered(0..<2), to: "U")
        let fault = Self.faults[fault]
        harness.memory.setFault { operation, path in operation == .write && path.contains("commitlog") ? fault : nil }
        for body in numbered(5..<(5 + staged), size: 700) { try harness.append("T", 0, body) }
        try harness.append("U", 0, "never")
        #expect(throws: StoreError.self) { try harness.store.commit() }
        #expect(try harness.bodies() == numbered(0..<5))
        harness.memory.setFault(nil)
        let next = try harness.append("T", 0, "after")
        #expect(next.queueOffset == 5, "offsets stay dense")
        try harness.store.commit()
        #expect(try harness.bodies() == numbered(0..<5) + ["after"])
        #expect(try harness.bodies("U") == numbered(0..<2))
        try harness.kill()
        #expect(try harness.bodies() == numbered(0..<5) + ["after"], "nothing of the failed commit comes back")
        #expect(try harness.bodies("U") == numbered(0..<2))
    }

    @Test func anErrorNamesPathAndCause() throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        harness.memory.setFault { operation, _ in operation == .write ? .fail(.noSpace) : nil }
        try harness.append("T", 0, "two")
        #expect {
            try harness.store.commit()
        } throws: { error in
            (error as? StoreError)?.code == .noSpace && "\(error)".contains("/store/commitlog/00000000000000000000")
        }
    }

    @Test func whenNoFileCanBeMadeTheMessageIsRefused() throws {
        let harness = try StoreHarness { $0.commitLogFileSize = 4 << 10 }
        try harness.send(["one"])
        harness.memory.setFault { operation, path in operation == .open && path.contains("commitlog") ? .fail(.tooManyOpenFiles) : nil }
        #expect(throws: StoreError.self) {
            for body in numbered(0..<40, size: 100) {
                try harness.append("T", 0, body)
                try harness.store.commit()
            }
        }
        harness.memory.setFault(nil)
        let stored = try harness.bodies().count
        try harness.send(["last"])
        #expect(try harness.bodies().count == stored + 1)
        #expect(try harness.bodies().last == "last")
    }

    @Test func afterAFailedFlushNothingMoreIsAcknowledged() throws {
        let harness = try StoreHarness()
        var heard: [StoreError?] = []
        harness.store.onFlushed = { heard.append($0) }
        try harness.send(["one"])
        harness.store.requestFlush()
        harness.loop.settle()
        #expect(heard == [nil])
        #expect(harness.store.flushedOffset == harness.store.writtenOffset)
        harness.memory.setFault { operation, _ in operation == .synchronize ? .fail(.inputOutput) : nil }
        try harness.send(["two"])
        let flushed = harness.store.flushedOffset
        harness.store.requestFlush()
        harness.loop.settle()
        #expect(heard.count == 2 && heard[1]?.code == .notWritable)
        #expect(harness.store.flushedOffset == flushed)
        harness.memory.setFault(nil)
        #expect {
            try harness.append("T", 0, "three")
        } throws: { ($0 as? StoreError)?.code == .notWritable }
        #expect(try harness.bodies() == ["one", "two"], "reads go on")
        harness.loop.advance(by: .seconds(30))
        try harness.kill()
        #expect(try harness.bodies() == ["one", "two"])
        try harness.send(["three"])
    }

    @Test func oneFlushServesAllWhoWait() throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        harness.store.requestFlush()
        let before = harness.memory.count(.synchronize)
        // While it runs others come.
        for body in numbered(0..<10) {
            try harness.send([body])
            harness.store.requestFlush()
        }
        var offsets: [Int64] = []
        harness.store.onFlushed = { _ in offsets.append(harness.store.flushedOffset) }
        harness.loop.settle()
        #expect(harness.memory.count(.synchronize) - before == 2)
        #expect(offsets.count == 2 && offsets[1] == harness.store.writtenOffset)
    }

    @Test func asynchronousFlushComesByItself() throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        #expect(harness.store.flushedOffset < harness.store.writtenOffset)
        harness.loop.advance(by: .milliseconds(700))
        #expect(harness.store.flushedOffset == harness.store.writtenOffset)
    }

    @Test func anIdleStoreSetsNoTimers() throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        harness.loop.advance(by: .seconds(40))
        #expect(!harness.store.upkeep.isScheduled)
        #expect(harness.store.upkeep.checkpointedOffset == harness.store.writtenOffset)
    }

    @Test func queuesThatCannotBeWrittenStayReadable() throws {
        let harness = try StoreHarness()
        harness.memory.setFault { operation, path in path.contains("consumequeue") && operation != .list ? .fail(.noSpace) : nil }
        let bodies = numbered(0..<200)
        try harness.send(bodies)
        harness.loop.advance(by: .seconds(5))
        #expect(try harness.bodies() == bodies)
        #expect(harness.reports.lines.contains { $0.0 == .warning && $0.1.contains("consume queue") })
        harness.memory.setFault(nil)
        harness.loop.advance(by: .seconds(5))
        try harness.closeAndOpen()
        #expect(try harness.bodies() == bodies)
    }

    @Test(arguments: ["commitlog/00000000000000000000", "lock"], [true, false])
    func filesThatAreTakenAwayAreNoticed(_ name: String, isReplaced: Bool) throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        harness.loop.advance(by: .seconds(2))
        try harness.memory.remove("/store/" + name)
        if isReplaced { harness.memory.setBytes("/store/" + name, [1, 2, 3]) }
        harness.loop.advance(by: .seconds(12))
        #expect(harness.store.refusal?.code == .notWritable && harness.store.refusal?.reason.contains("/store/\(name) was removed") == true)
        #expect(harness.reports.lines.contains { $0.0 == .error && $0.1.contains("/store/\(name) was removed") })
        #expect(throws: StoreError.self) { try harness.append("T", 0, "two") }
        #expect(try harness.bodies() == ["one"])
        #expect {
            try harness.store.close()
        } throws: {
            ($0 as? StoreError)?.code == .removed
        }
    }

    @Test func nothingIsDurableInAFileWithoutAName() throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        harness.store.requestFlush()
        harness.loop.settle()
        let durable = harness.store.flushedOffset
        #expect(durable == harness.store.writtenOffset)
        try harness.memory.remove("/store/commitlog/00000000000000000000")
        try harness.send(["two"])
        var told: [StoreError?] = []
        harness.store.onFlushed = { told.append($0) }
        harness.store.requestFlush()
        harness.loop.settle()
        #expect(harness.store.flushedOffset == durable)
        #expect(told.count == 1 && told.first??.reason.contains("was removed or replaced") == true)
    }

    @Test func aStopThatLeavesDoubtSaysSo() throws {
        let harness = try StoreHarness()
        try harness.send(["one"])
        harness.memory.setFault { operation, path in operation == .synchronize && path.contains("commitlog") ? .fail(.inputOutput) : nil }
        harness.store.requestFlush()
        harness.loop.settle()
        harness.memory.setFault(nil)
        #expect {
            try harness.store.close()
        } throws: {
            "\($0)".contains("/store/commitlog")
        }
        #expect(harness.memory.exists("/store/abort"))
    }
}
