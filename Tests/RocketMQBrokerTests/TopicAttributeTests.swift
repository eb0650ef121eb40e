import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What a topic may have of its own: how long its messages are served, and whether sends wait for the disk.
@Suite struct TopicAttributeTests {
    private func change(_ scene: BrokerScene, _ attributes: String, topic: String = "T") throws -> RemotingCommand {
        try scene.client().call(
            .updateAndCreateTopic,
            [
                "topic": topic, "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4", "perm": "6",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": attributes,
            ])
    }

    @Test("A topic with SYNC_FLUSH at a broker with ASYNC_FLUSH waits for the disk, others do not")
    func synchronousTopic() throws {
        let scene = try BrokerScene(["flushDiskType": "ASYNC_FLUSH"])
        try scene.createTopic("Other")
        #expect(try change(scene, "+flush.disk.type=SYNC_FLUSH").responseCode == .success)
        scene.flusher.hold()
        let waiting = scene.producer.send(scene.sendRequest("T"))
        let other = scene.producer.send(scene.sendRequest("Other"))
        let unwilling = scene.producer.send(scene.sendRequest("T", properties: "WAIT\u{1}false"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [other, unwilling])
        #expect(scene.flusher.waitingCount == 1)
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [waiting])
        // Taken away while the broker runs, and there again after a restart.
        #expect(try change(scene, "-flush.disk.type").responseCode == .success)
        scene.flusher.hold()
        let late = scene.producer.send(scene.sendRequest("T"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [late])
        scene.flusher.release()
        #expect(try change(scene, "+flush.disk.type=SYNC_FLUSH").responseCode == .success)
        try scene.stop()
        let again = try BrokerScene(["flushDiskType": "ASYNC_FLUSH"], files: scene.files)
        again.flusher.hold()
        again.producer.send(again.sendRequest("T"))
        again.loop.settle()
        #expect(again.producer.takeAnswers().isEmpty)
        again.flusher.release()
    }

    @Test("A topic with ASYNC_FLUSH at a broker with SYNC_FLUSH does not wait")
    func asynchronousTopic() throws {
        let scene = try BrokerScene(["flushDiskType": "SYNC_FLUSH"])
        try scene.createTopic("Other")
        #expect(try change(scene, "+flush.disk.type=ASYNC_FLUSH").responseCode == .success)
        scene.flusher.hold()
        let free = scene.producer.send(scene.sendRequest("T"))
        let waiting = scene.producer.send(scene.sendRequest("Other"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [free])
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == [waiting])
    }

    @Test("Messages of a topic are served for its retention.time; an unread one is named when it goes")
    func retention() throws {
        let scene = try BrokerScene()
        try scene.createTopic("Other")
        #expect(try change(scene, "+retention.time=90s").responseCode == .success)
        for topic in ["T", "Other"] { for index in 0..<5 { try scene.store(topic, "m\(index)") } }
        _ = try scene.client().call(scene.pullRequest("T", 1, group: "slow", commit: 1))
        scene.loop.advance(by: .seconds(60))
        try scene.store("T", "later")
        #expect(try scene.bodies("T").count == 6)
        scene.loop.advance(by: .seconds(50))
        let pull = try scene.client().call(scene.pullRequest("T", 1))
        #expect(pull.responseCode == .pullOffsetMoved && pull.fields["nextBeginOffset"] == "5" && pull.fields["minOffset"] == "5")
        #expect(try scene.bodies("T", from: 5) == ["later"])
        #expect(try scene.bodies("Other").count == 5)
        let said = scene.logSink.records.map(\.message).filter { $0.contains("unread") }
        #expect(said.count == 1 && said[0].contains("group slow of topic T 4"), "\(said)")
        // It lasts: the file holds it, a deleted topic takes it along.
        try scene.stop()
        let again = try BrokerScene(files: scene.files)
        again.loop.advance(by: .seconds(15))
        #expect(try again.bodies("T", from: 5).isEmpty == false)
        again.loop.advance(by: .seconds(250))
        #expect(try again.bodies("T", from: 5).isEmpty)
        #expect(again.broker.parts.store.retention(ofTopic: "T") == 90_000)
        #expect(try again.client().call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        #expect(again.broker.parts.store.retention(ofTopic: "T") == nil)
    }

    @Test(
        "Values that mean nothing are refused with what is allowed, and change nothing",
        arguments: [
            ("+retention.time=12", "such as 90s, 30m, 12h or 7d"), ("+retention.time=1h 2h", "one time"), ("+retention.time=-3d", "90s"),
            ("+retention.time=99999999d", "90s"), ("+flush.disk.type=SOMETIMES", "SYNC_FLUSH or ASYNC_FLUSH"),
        ])
    func refusals(_ attributes: String, _ reason: String) throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let before = scene.broker.parts.topics.wrapper
        let answer = try change(scene, attributes)
        #expect(answer.responseCode == .systemError && answer.remark?.contains(reason) == true, "\(answer.remark ?? "")")
        #expect(scene.broker.parts.topics.wrapper == before)
    }
}

/// Messages that say when they are not wanted any more (`EXPIRE_AFTER_MS`, `EXPIRE_AT_MS`).
@Suite struct MessageExpiryTests {
    private func scene() throws -> BrokerScene {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        return scene
    }

    @Test("An expired message is not delivered, those around it are")
    func expiry() throws {
        let scene = try scene()
        let now = scene.loop.clock.wallMilliseconds
        try scene.store("T", "before")
        try scene.store("T", "short", properties: "EXPIRE_AFTER_MS\u{1}5000")
        try scene.store("T", "until", properties: "KEYS\u{1}k\u{2}EXPIRE_AT_MS\u{1}\(now + 20_000)\u{2}")
        let batch = try scene.client().call(scene.batchRequest("T", [("b1", "EXPIRE_AFTER_MS\u{1}5000"), ("b2", "")]))
        #expect(batch.responseCode == .success)
        try scene.store("T", "after")
        #expect(try scene.bodies("T") == ["before", "short", "until", "b1", "b2", "after"])
        scene.loop.advance(by: .seconds(6))
        #expect(try scene.bodies("T") == ["before", "until", "b2", "after"])
        scene.loop.advance(by: .seconds(20))
        #expect(try scene.bodies("T") == ["before", "b2", "after"])
        // A consumer at an expired message is sent on at once.
        let pull = try scene.client().call(scene.pullRequest("T", 1, most: 1))
        #expect(pull.responseCode == .success && pull.fields["nextBeginOffset"] == "5")
    }

    @Test("The time counts from when the message can be read: a delay comes first")
    func delayed() throws {
        let scene = try scene()
        // Level 3 is 10 s.
        try scene.store("T", "delayed", properties: "DELAY\u{1}3\u{2}EXPIRE_AFTER_MS\u{1}5000")
        scene.loop.advance(by: .seconds(12))
        #expect(try scene.bodies("T") == ["delayed"])
        scene.loop.advance(by: .seconds(5))
        #expect(try scene.bodies("T").isEmpty)
    }

    @Test("A retry does not begin anew")
    func retried() throws {
        let scene = try scene()
        let sent = try scene.store("T", "x", properties: "EXPIRE_AFTER_MS\u{1}30000")
        let place = try #require(sent.fields["msgId"].flatMap { Int64($0.suffix(16), radix: 16) })
        _ = try scene.client().call(scene.pullRequest("T", 0, group: "readers"))
        let back = try scene.client().call(
            .consumerSendMsgBack, ["group": "readers", "offset": "\(place)", "delayLevel": "3", "maxReconsumeTimes": "16"])
        #expect(back.responseCode == .success, "\(back.remark ?? "")")
        scene.loop.advance(by: .seconds(12))
        #expect(try scene.bodies("%RETRY%readers") == ["x"])
        scene.loop.advance(by: .seconds(20))
        #expect(try scene.bodies("%RETRY%readers").isEmpty)
    }

    @Test(
        "A time that is none is refused",
        arguments: ["EXPIRE_AFTER_MS\u{1}soon", "EXPIRE_AFTER_MS\u{1}-5", "EXPIRE_AFTER_MS\u{1}0", "EXPIRE_AT_MS\u{1}x"])
    func refusals(_ properties: String) throws {
        let scene = try scene()
        let answer = try scene.producer.call(scene.sendRequest("T", properties: properties))
        #expect(answer.responseCode == .messageIllegal && answer.remark?.contains("EXPIRE_A") == true)
        let batch = try scene.producer.call(scene.batchRequest("T", [("fine", ""), ("not", properties)]))
        #expect(batch.responseCode == .messageIllegal)
        #expect(try scene.bodies("T").isEmpty, "nothing of the batch is stored")
    }

    @Test("A checksum property that a client sends is not taken for the store's")
    func forgedChecksum() throws {
        let scene = try scene()
        try scene.store("T", "m", properties: "A\u{1}b\u{2}__CRC32#\u{1}0000000001\u{2}")
        #expect(try scene.messages("T").first?.properties["__CRC32#"] == nil)
        #expect(try scene.messages("T").first?.properties["A"] == "b")
    }
}
