import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Topics that are deleted stay so, and those that are made again have only what came since.
@Suite struct TopicDeletionTests {
    private let table = "/store/\(DeletedTopics.fileName)"

    private func delete(_ harness: StoreHarness, _ topic: String = "T") {
        var answers: [StoreError?] = []
        harness.store.deleteTopic(topic) { answers.append($0) }
        #expect(answers.isEmpty, "not before it is durable")
        harness.loop.settle()
        #expect(answers == [nil])
    }

    private func keysFound(_ harness: StoreHarness, _ key: String) throws -> [String] {
        var bytes: [UInt8] = []
        harness.store.query(topic: "T", key: key, maxMessages: 100, maxBytes: 1 << 20, from: 0, through: .max) { bytes = $1.copyBytes() }
        harness.loop.settle()
        return try StoreHarness.parse(bytes).map(\.body)
    }

    @Test(
        "Killed after a deletion, before or after a checkpoint, with or without the queues' files", arguments: [true, false], [true, false])
    func killed(isCheckpointed: Bool, hasQueues: Bool) throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        try harness.send(numbered(0..<3), to: "Other")
        if isCheckpointed { harness.loop.advance(by: .seconds(30)) }
        delete(harness)
        for round in 0..<2 {
            try harness.kill { if !hasQueues { $0.removeTree("/store/consumequeue") } }
            #expect(try harness.bodies().isEmpty, "round \(round)")
            #expect(!harness.store.queues(topic: "T").contains { !$0.isEmpty })
            #expect(try harness.bodies("Other") == numbered(0..<3))
            #expect(!harness.reports.lines.contains { $0.0 == .error })
        }
        #expect(try harness.append("T", 0, "new").queueOffset == 0)
        try harness.store.commit()
        try harness.kill { $0.removeTree("/store/consumequeue") }
        #expect(try harness.bodies() == ["new"])
    }

    @Test("The list of queues that a deletion leaves says nothing of where they are, also when the mark of a run is gone")
    func withoutMark() throws {
        for limit in [0, 1000] {
            let harness = try StoreHarness { $0.queuesCheckedAtStart = limit }
            try harness.send(numbered(0..<10))
            try harness.send(numbered(0..<3), to: "Other")
            try harness.closeAndOpen()
            delete(harness)
            try harness.kill { try? $0.remove("/store/abort") }
            #expect(try harness.bodies("Other") == numbered(0..<3), "\(limit)")
            #expect(try harness.append("Other", 0, "next").queueOffset == 3)
        }
    }

    @Test("Made again, the topic has only its new messages after whatever", arguments: [1, 4, 30])
    func madeAgain(count: Int) throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        try harness.send(numbered(0..<5), to: "T", 1)
        harness.loop.advance(by: .seconds(30))
        delete(harness)
        try harness.send(numbered(100..<(100 + count)))
        func expectNew(_ what: Comment) throws {
            #expect(try harness.bodies() == numbered(100..<(100 + count)), what)
            #expect(try harness.bodies("T", 1).isEmpty, what)
            #expect(harness.store.queue(topic: "T", id: 0).minOffset == 0, what)
            #expect(!harness.reports.lines.contains { $0.0 == .error }, what)
        }
        try harness.kill()
        try expectNew("killed")
        try harness.kill { $0.removeTree("/store/consumequeue") }
        try expectNew("killed, without queues")
        try harness.kill { try? $0.remove("/store/queues") }
        try expectNew("killed, without the list of queues")
        try harness.losePower { $0.removeTree("/store/consumequeue") }
        try expectNew("without power and queues")
        harness.loop.advance(by: .seconds(30))
        try harness.store.close()
        try harness.kill { $0.removeTree("/store/consumequeue") }
        try expectNew("stopped, without queues")
        #expect(try harness.append("T", 0, "next").queueOffset == Int64(count))
        #expect(try harness.append("T", 1, "first").queueOffset == 0)
    }

    @Test("A loss of power that gives the old queues' names back")
    func queuesComeBack() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        harness.loop.advance(by: .seconds(30))
        let (path, old) = try #require(
            harness.memory.paths.first { $0.hasPrefix("/store/consumequeue/T/0/") }.flatMap { path in
                harness.memory.bytes(path).map { (path, $0) }
            })
        delete(harness)
        try harness.losePower { $0.setBytes(path, old) }
        #expect(try harness.bodies().isEmpty)
        #expect(try harness.append("T", 0, "new").queueOffset == 0)
    }

    @Test("What comes into the places of the cut end of the log is not deleted")
    func cutLog() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<3))
        let end = try harness.append("T", 0, "cut")
        try harness.store.commit()
        delete(harness)
        try harness.losePower { files in
            let path = "/store/commitlog/" + FileName.text(0)
            guard var bytes = files.bytes(path) else { return }
            for index in Int(end.physicalOffset)..<bytes.count { bytes[index] = 0 }
            files.setBytes(path, bytes)
            try? files.remove("/store/checkpoint")
        }
        #expect(try harness.bodies().isEmpty)
        let new = try harness.append("T", 0, "new")
        #expect(new.physicalOffset == end.physicalOffset)
        try harness.store.commit()
        try harness.kill { $0.removeTree("/store/consumequeue") }
        #expect(try harness.bodies() == ["new"])
    }

    @Test("Keys find no message of the deleted topic")
    func keys() throws {
        let harness = try StoreHarness()
        try harness.append("T", 0, "old", keys: "k")
        try harness.store.commit()
        #expect(try keysFound(harness, "k") == ["old"])
        let old = try #require(harness.records().first?.fields)
        #expect(!harness.store.wasDeleted("T", at: old.physicalOffset, storedAt: old.storeTimestamp))
        delete(harness)
        #expect(try keysFound(harness, "k").isEmpty)
        try harness.append("T", 0, "new", keys: "k")
        try harness.store.commit()
        for _ in 0..<2 {
            #expect(try keysFound(harness, "k") == ["new"])
            #expect(harness.store.wasDeleted("T", at: old.physicalOffset, storedAt: old.storeTimestamp))
            let new = try #require(harness.records().first?.fields)
            #expect(!harness.store.wasDeleted("T", at: new.physicalOffset, storedAt: new.storeTimestamp))
            try harness.kill { $0.removeTree("/store/index") }
        }
    }

    @Test("The list of deleted topics damaged: its copy counts, and without that it is said")
    func damagedTable() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        delete(harness)
        try harness.kill {
            $0.setBytes(table, Array("garbage that is long enough".utf8))
            $0.removeTree("/store/consumequeue")
        }
        #expect(try harness.bodies().isEmpty)
        #expect(harness.reports.lines.contains { $0.1.contains("\(table).bak is read") })
        try harness.kill {
            for path in [table, table + ".bak"] { $0.setBytes(path, []) }
            $0.removeTree("/store/consumequeue")
        }
        #expect(harness.reports.lines.contains { $0.0 == .error && $0.1.contains("Delete them again") })
    }

    @Test("A disk that does not take the list: whoever deletes is told, and a clean stop tries once more")
    func failingTable() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        let name = table
        harness.memory.setFault { operation, path in operation == .write && path.hasPrefix(name) ? .fail(.noSpace) : nil }
        var answer: StoreError?
        harness.store.deleteTopic("T") { answer = $0 }
        harness.loop.settle()
        #expect(answer?.code == .noSpace)
        harness.memory.setFault(nil)
        try harness.closeAndOpen()
        try harness.kill { $0.removeTree("/store/consumequeue") }
        #expect(try harness.bodies().isEmpty)
    }

    @Test("After the reference ran, only what is older than the deletion counts as deleted")
    func afterTheReference() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        harness.loop.advance(by: .seconds(5))
        delete(harness)
        harness.loop.advance(by: .seconds(5))
        let row = try #require(DeletedTopics(harness.memory.bytes(table) ?? [])).rows["T"]
        try harness.send(["new"])
        // As if the reference had cut the log before the deletion's place, and stored "new" in front of it.
        var moved = DeletedTopics()
        moved.rows["T"] = row
        moved.rows["T"]?.offset = harness.store.writtenOffset
        try harness.kill { files in
            files.setBytes(table, moved.encoded())
            for path in ["/store/checkpoint", "/store/queues"] { try? files.remove(path) }
            files.removeTree("/store/consumequeue")
        }
        #expect(try harness.bodies() == ["new"])
        try harness.kill { $0.removeTree("/store/consumequeue") }
        #expect(try harness.bodies() == ["new"])
    }

    @Test("What the log does not reach back to any more is forgotten")
    func forgotten() throws {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 8 << 10
            $0.maxRecordSize = 4 << 10
            $0.windowSegmentSize = 8 << 10
            $0.retention.reservedHours = 2
            $0.retention.deleteAtHours = Array(0..<24)
        }
        try harness.send(["old"])
        delete(harness)
        try harness.send(numbered(0..<200, size: 100), to: "Other")
        harness.loop.advance(by: .seconds(3))
        harness.loop.testClock.advance(by: .seconds(4 * 3600))
        harness.loop.advance(by: .seconds(25))
        try #require(harness.store.minPhysicalOffset > 0)
        try harness.send(["x"], to: "Second")
        delete(harness, "Second")
        let left = try #require(DeletedTopics(harness.memory.bytes(table) ?? []))
        #expect(Array(left.rows.keys) == ["Second"])
    }
}
