import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// `deduplicationWindow`, when the first copy of a message is not there any more: what comes again has to be stored.
@Suite struct SendingDeduplicationGoneTests {
    private func scene(
        _ more: [String: String] = [:], files: MemoryFileSystem = MemoryFileSystem(), later: Duration = .zero
    ) throws -> BrokerScene {
        try BrokerScene(["deduplicationWindow": "60000"].merging(more) { $1 }, files: files, later: later)
    }

    private func key(_ name: String) -> String { "UNIQ_KEY\u{1}\(name)" }

    private func delete(_ topic: String, _ scene: BrokerScene) throws {
        let answer = try scene.client().call(.deleteTopicInBroker, ["topic": topic])
        try #require(answer.responseCode == .success)
    }

    @Test("A topic that is deleted and made again has no old keys, for single messages, batches and what waited for its time")
    func remadeTopic() throws {
        let scene = try scene()
        for topic in ["T", "U"] { try scene.createTopic(topic) }
        let batch = ["b", "c"].map { (body: $0, properties: key($0)) }
        let delayed = "DELAY\u{1}1\u{2}" + key("d")
        try scene.store("T", "a", properties: key("a"))
        try scene.store("U", "kept", properties: key("a"))
        _ = try scene.producer.call(scene.batchRequest("T", batch))
        try scene.store("T", "d", properties: delayed)
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T") == ["a", "b", "c", "d"])
        try delete("T", scene)
        try scene.createTopic("T")
        let again = try scene.store("T", "a", properties: key("a"))
        #expect(again.fields["queueOffset"] == "0")
        try scene.store("T", "a", properties: key("a"))
        let more = try scene.producer.call(scene.batchRequest("T", [(body: "a", properties: key("a"))] + batch))
        #expect(more.fields["msgId"]?.hasPrefix(try #require(again.fields["msgId"])) == true, "the new first copy is known")
        try scene.store("T", "d", properties: delayed)
        try scene.store("U", "kept", properties: key("a"))
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T") == ["a", "b", "c", "d"])
        #expect(try scene.bodies("U") == ["kept"])
    }

    @Test("Nor after a restart, when the keys come from the log", arguments: [true, false])
    func restart(isClean: Bool) throws {
        let scene = try scene()
        for topic in ["T", "U", "V"] { try scene.createTopic(topic) }
        let batch = ["b", "c"].map { (body: $0, properties: key($0)) }
        let (delayed, waiting) = ("DELAY\u{1}1\u{2}" + key("d"), "DELAY\u{1}4\u{2}" + key("w"))
        for topic in ["T", "U", "V"] {
            try scene.store(topic, "a", properties: key("a"))
            _ = try scene.producer.call(scene.batchRequest(topic, batch))
            try scene.store(topic, "d", properties: delayed)
            try scene.store(topic, "w", properties: waiting)
        }
        scene.loop.advance(by: .seconds(3))
        try delete("T", scene)
        try scene.createTopic("T")
        try scene.store("T", "b", properties: key("b"))
        try delete("V", scene)
        if isClean { try scene.stop() }

        let second = try self.scene(files: scene.files.copy(), later: .seconds(5))
        try second.createTopic("V")
        for topic in ["T", "U", "V"] {
            try second.store(topic, "a", properties: key("a"))
            _ = try second.producer.call(second.batchRequest(topic, batch))
            try second.store(topic, "d", properties: delayed)
        }
        second.loop.advance(by: .seconds(3))
        #expect(try second.bodies("T") == ["b", "a", "c", "d"])
        #expect(try second.bodies("U") == ["a", "b", "c", "d"])
        // Once, whether its queues are new, or rebuilt from the log after a crash with what was in them.
        #expect(try second.bodies("V") == ["a", "b", "c", "d"])
        // What still waits was not lost with the topic, and comes once.
        try second.store("T", "w", properties: waiting)
        second.loop.advance(by: .seconds(40))
        #expect(try second.bodies("T").filter { $0 == "w" }.count == 1)
    }

    /// How a message waits, and what is sent again.
    static let waits = ["DELAY\u{1}4\u{2}", "TIMER_DELAY_MS\u{1}30000\u{2}", "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}"]

    @Test("What still waits when its topic is deleted and made again comes there, and a retry of it is one", arguments: waits, [1, 4])
    func waitingForRemadeTopic(_ properties: String, queues: Int32) throws {
        let scene = try scene()
        try scene.createTopic("T", queues: 4)
        let sent = properties + key("w")
        let first = try scene.store("T", "w", queue: 3, properties: sent)
        try delete("T", scene)
        try scene.createTopic("T", queues: Int(queues))
        func retry() throws { try scene.store("T", "w", properties: sent) }
        try retry()
        if properties.hasPrefix("TRAN") { try end(first, isCommit: true, scene) } else { scene.loop.advance(by: .seconds(35)) }
        // It came to the new topic: a retry is known there as well, until that is deleted in its turn.
        try retry()
        func delivered() throws -> [String] { try (0..<queues).flatMap { try scene.bodies("T", queue: $0) } }
        #expect(try delivered() == ["w"])
        try delete("T", scene)
        try scene.createTopic("T", queues: Int(queues))
        let again = try scene.store("T", "w", properties: sent)
        try retry()
        if properties.hasPrefix("TRAN") { try end(again, isCommit: true, scene) } else { scene.loop.advance(by: .seconds(35)) }
        #expect(try delivered() == ["w"])
    }

    @Test("What was dropped because its topic was gone is sent anew, and no retry")
    func droppedWithTopic() throws {
        let scene = try scene()
        try scene.createTopic("T")
        let sent = "DELAY\u{1}1\u{2}" + key("w")
        try scene.store("T", "w", properties: sent)
        try delete("T", scene)
        scene.loop.advance(by: .seconds(3))
        try scene.createTopic("T")
        for _ in 0..<2 { try scene.store("T", "w", properties: sent) }
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T") == ["w"])
    }

    @Test("What lies in a queue that the topic has no more is stored in one that it has")
    func shrunkTopic() throws {
        let scene = try scene()
        try scene.createTopic("T", queues: 4)
        try scene.store("T", "far", queue: 3, properties: key("far"))
        try scene.store("T", "near", queue: 1, properties: key("near"))
        try scene.createTopic("T", queues: 2)
        for queue in [0, 1, 0] {
            try scene.store("T", "far", queue: Int32(queue), properties: key("far"))
            try scene.store("T", "near", queue: Int32(queue), properties: key("near"))
        }
        #expect(try scene.bodies("T", queue: 0) == ["far"])
        #expect(try scene.bodies("T", queue: 1) == ["near"])
    }

    @Test("What retention took is stored anew: a topic's own, and that of the log")
    func retention() throws {
        let scene = try scene(["deduplicationWindow": "86400000", "fileReservedTime": "1", "mappedFileSizeCommitLog": "65536"])
        try scene.createTopic("T")
        let answer = try scene.client().call(
            .updateAndCreateTopic,
            [
                "topic": "Short", "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": "+retention.time=90s",
            ])
        try #require(answer.responseCode == .success)
        for topic in ["T", "Short"] { try scene.store(topic, "first", properties: key("K")) }
        scene.loop.advance(by: .seconds(200))
        // Idle connections are closed.
        func store(_ topic: String, _ body: String) throws {
            let answer = try scene.client().call(scene.sendRequest(topic, body, properties: key("K")))
            try #require(answer.responseCode == .success, "\(answer.remark ?? "")")
        }
        for topic in ["T", "Short"] { for _ in 0..<2 { try store(topic, "again") } }
        #expect(try scene.bodies("T") == ["first"])
        #expect(try scene.bodies("Short", from: 1) == ["again"])

        let filler = String(repeating: "x", count: 1000)
        let producer = try scene.client()
        for index in 0..<200 {
            _ = try producer.call(scene.sendRequest("T", filler, queue: 1, properties: key("filler \(index)")))
        }
        scene.loop.advance(by: .seconds(3 * 3600))
        _ = try scene.client().call(.deleteExpiredCommitlog)
        scene.loop.advance(by: .seconds(30))
        try #require(scene.broker.parts.store.minPhysicalOffset > 0)
        for _ in 0..<2 { try store("T", "anew") }
        #expect(try scene.bodies("T", from: 1) == ["anew"])
    }

    /// How a producer ends the transaction of a half message, and what it is told.
    private func end(_ half: RemotingCommand, isCommit: Bool, _ scene: BrokerScene) throws {
        let place = try OffsetMessageID(#require(half.fields["msgId"])).commitLogOffset
        let answer = try scene.producer.call(
            .endTransaction,
            [
                "producerGroup": "pg", "tranStateTableOffset": half.fields["queueOffset"] ?? "", "commitLogOffset": "\(place)",
                "commitOrRollback": isCommit ? "8" : "12", "fromTransactionCheck": "false", "msgId": "h", "transactionId": "h",
            ])
        #expect(answer.responseCode == .success, "\(answer.remark ?? "")")
    }

    @Test("A message whose transaction was rolled back is stored when its program begins anew with it", arguments: [false, true])
    func rolledBack(isStartedAnew: Bool) throws {
        var scene = try scene()
        try scene.createTopic("T")
        let properties = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}" + key("h")
        let first = try scene.store("T", "payment", properties: properties)
        let retry = try scene.store("T", "payment", properties: properties)
        #expect(retry.fields["msgId"] == first.fields["msgId"], "undecided, it is a retry")
        try end(first, isCommit: false, scene)
        if isStartedAnew {
            try scene.stop()
            scene = try self.scene(files: scene.files.copy(), later: .seconds(5))
        }
        let second = try scene.store("T", "payment", properties: properties)
        #expect(second.fields["msgId"] != first.fields["msgId"])
        try end(second, isCommit: true, scene)
        #expect(try scene.bodies("T") == ["payment"])
        // Committed, it is there: a retry that comes late is none.
        if isStartedAnew {
            try scene.stop()
            scene = try self.scene(files: scene.files.copy(), later: .seconds(10))
        }
        try scene.store("T", "payment", properties: properties)
        #expect(try scene.messages("RMQ_SYS_TRANS_HALF_TOPIC").count == 2)
    }

    @Test("A timed message that was taken back can be sent anew", arguments: [false, true])
    func recalled(isStartedAnew: Bool) throws {
        var scene = try scene()
        try scene.createTopic("T")
        func timed(_ milliseconds: Int) -> String { "TIMER_DELAY_MS\u{1}\(milliseconds)\u{2}" + key("t") }
        let first = try scene.store("T", "later", properties: timed(20_000))
        let handle = try #require(first.fields["recallHandle"])
        let taken = try scene.producer.call(.recallMessage, ["producerGroup": "pg", "topic": "T", "recallHandle": handle])
        try #require(taken.responseCode == .success, "\(taken.remark ?? "")")
        if isStartedAnew {
            try scene.stop()
            scene = try self.scene(files: scene.files.copy(), later: .seconds(1))
        }
        for _ in 0..<2 { try scene.store("T", "sooner", properties: timed(5_000)) }
        scene.loop.advance(by: .seconds(30))
        #expect(try scene.bodies("T") == ["sooner"])
    }
}
