import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

@Suite struct AppendTests {
    @Test func whatIsCommittedIsRead() throws {
        let harness = try StoreHarness()
        let first = try harness.append("Topic", 3, "one", tags: "A", flag: 7, extra: "CLUSTER\u{1}C")
        try harness.append("Topic", 3, "two")
        #expect(try harness.records("Topic", 3).isEmpty, "nothing is visible before the commit")
        try harness.store.commit()
        let records = try harness.records("Topic", 3)
        #expect(records.map(\.body) == ["one", "two"])
        #expect(records[0].topic == "Topic")
        #expect(records[0].properties == "UNIQ_KEY\u{1}Topic-3-one\u{2}TAGS\u{1}A\u{2}CLUSTER\u{1}C")
        #expect(records[0].fields.queueID == 3)
        #expect(records[0].fields.flag == 7)
        #expect(records[0].fields.physicalOffset == first.physicalOffset)
        #expect(records[0].fields.bornHost == .loopback(port: 5000))
        #expect(records.map(\.fields.queueOffset) == [0, 1])
    }

    @Test func hostsOfBothKindsAndLongTopicsFit() throws {
        let harness = try StoreHarness()
        let topic = String(repeating: "t", count: 200)
        let queue = harness.store.queue(topic: topic, id: 0)
        let host = SocketAddress(host: .ipv6(0x20, 0x7), port: 99)
        let fields = MessageFields(bornTimestamp: 1, bornHost: host, storeTimestamp: 2, storeHost: .loopback(port: 1))
        let body: [UInt8] = [1, 2, 3]
        _ = try harness.store.append(fields, body: body.span.bytes, properties: RawSpan(), to: queue)
        try harness.store.commit()
        let record = try #require(try harness.records(topic).first)
        #expect(record.fields.bornHost == host)
        #expect(record.fields.storeHost == .loopback(port: 1))
        #expect(record.topic == topic)
    }

    @Test(arguments: [700, 4096, 10_000, 65536])
    func filesRollAndNothingIsLost(fileSize: Int64) throws {
        let harness = try StoreHarness {
            $0.commitLogFileSize = fileSize
            $0.maxRecordSize = 32 << 10
        }
        let bodies = (0..<300).map { "message \($0) " + String(repeating: "x", count: $0 * 13 % 400) }
        for (index, body) in bodies.enumerated() {
            try harness.append("T", Int32(index % 3), body)
            if index % 5 == 4 { try harness.store.commit() }
        }
        try harness.store.commit()
        for id in 0..<3 { #expect(try harness.bodies("T", Int32(id)) == stride(from: id, to: 300, by: 3).map { bodies[$0] }) }
        try harness.closeAndOpen()
        for id in 0..<3 { #expect(try harness.bodies("T", Int32(id)) == stride(from: id, to: 300, by: 3).map { bodies[$0] }) }
        let sizes = harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") }.map { harness.memory.bytes($0)?.count }
        #expect(sizes.count > 1 && sizes.allSatisfy { $0 == Int(fileSize) }, "every file has its full size")
    }

    @Test func oneCommitIsOneWrite() throws {
        let harness = try StoreHarness { $0.windowSegmentSize = 64 << 10 }
        try harness.send(["first"])
        let before = harness.memory.count(.write)
        for body in numbered(0..<32) { try harness.append("T", 0, body) }
        try harness.store.commit()
        #expect(harness.memory.count(.write) == before + 1)
    }

    @Test func oneTickMayStageMoreThanTheWindow() throws {
        let harness = try StoreHarness()
        let bodies = numbered(0..<400, size: 500)
        for body in bodies { try harness.append("T", 0, body) }
        try harness.store.commit()
        #expect(try harness.bodies() == bodies)
    }

    @Test func preparedAndRolledBackMessagesEnterNoQueue() throws {
        let harness = try StoreHarness()
        for (index, flag) in [Int32(0), 4, 8, 12, 0].enumerated() { try harness.append("T", 0, "\(index)", systemFlag: flag) }
        try harness.store.commit()
        #expect(try harness.bodies() == ["0", "2", "4"])
        try harness.kill()
        #expect(try harness.bodies() == ["0", "2", "4"])
    }

    @Test func tooLargeIsRefusedAndHarmless() throws {
        let harness = try StoreHarness()
        try harness.append("T", 0, "before")
        #expect(throws: StoreError.self) { try harness.append("T", 0, String(repeating: "x", count: 40 << 10)) }
        #expect(throws: StoreError.self) { try harness.append("T", 0, "x", extra: String(repeating: "x", count: 32767)) }
        #expect(throws: StoreError.self) { try harness.append("a/b", 0, "x") }
        #expect(throws: StoreError.self) { try harness.append("..", 0, "x") }
        try harness.append("T", 0, "after")
        try harness.store.commit()
        #expect(try harness.bodies() == ["before", "after"])
    }

    @Test func rollBackForgetsWhatWasStaged() throws {
        let harness = try StoreHarness()
        try harness.send(["kept"])
        for body in numbered(0..<100, size: 900) { try harness.append("T", 0, body) }
        harness.store.rollBack()
        try harness.send(["next"])
        #expect(try harness.records().map { [$0.body, "\($0.fields.queueOffset)"] } == [["kept", "0"], ["next", "1"]])
        try harness.kill()
        #expect(try harness.bodies() == ["kept", "next"])
    }
}
