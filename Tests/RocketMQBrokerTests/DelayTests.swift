import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Delay levels: messages come when they are due, in order, and once.
@Suite struct DelayTests {
    /// 1 s, 5 s and 10 s.
    private func scene(files: MemoryFileSystem = MemoryFileSystem(), createsTopic: Bool = true) throws -> BrokerScene {
        let scene = try BrokerScene(["messageDelayLevel": "1s 5s 10s"], files: files)
        if createsTopic { try scene.createTopic("T") }
        return scene
    }

    @Test("A delayed message is not there before its time, and there as it was sent when it has come")
    func delivery() throws {
        let scene = try scene()
        let answer = try scene.store("T", "later", queue: 3, properties: "UNIQ_KEY\u{1}K\u{2}TAGS\u{1}t\u{2}DELAY\u{1}2\u{2}WAIT\u{1}true")
        #expect(answer.fields["queueId"] == "3", "the producer is told the queue that it chose")
        #expect(answer.fields["transactionId"] == "K")
        scene.loop.advance(by: .milliseconds(4_950))
        #expect(try scene.bodies("T", queue: 3).isEmpty)
        scene.loop.advance(by: .milliseconds(200))
        let found = try scene.messages("T", queue: 3)
        try #require(found.count == 1)
        #expect(found[0].body == Array("later".utf8))
        #expect(found[0].properties["TAGS"] == "t")
        #expect(found[0].properties["UNIQ_KEY"] == "K")
        #expect(found[0].properties["CLUSTER"] == "DefaultCluster")
        #expect(found[0].properties["DELAY"] == nil, "it must not be delayed again")
        #expect(found[0].properties["WAIT"] == nil)
        let filtered = try scene.client().call(scene.pullRequest("T", 0, queue: 3, expression: "t"))
        #expect(filtered.responseCode == .success, "tags of delivered messages can be filtered by")
    }

    @Test("Levels above the last count as the last, those below 1 as none", arguments: [("99", 10_000), ("0", 0), ("-4", 0)])
    func levels(_ level: String, _ milliseconds: Int) throws {
        let scene = try scene()
        try scene.store("T", properties: "DELAY\u{1}\(level)")
        if milliseconds > 0 {
            scene.loop.advance(by: .milliseconds(milliseconds - 100))
            #expect(try scene.bodies("T").isEmpty)
            scene.loop.advance(by: .milliseconds(200))
        }
        #expect(try scene.bodies("T") == ["body"])
    }

    @Test("Messages of one level arrive in the order in which they were sent, each at its time")
    func order() throws {
        let scene = try scene()
        for index in 0..<30 {
            try scene.store("T", "m\(index)", properties: "DELAY\u{1}1")
            scene.loop.advance(by: .milliseconds(100))
        }
        // 3 s have passed: those of the first 2 s are due.
        let soFar = try scene.bodies("T")
        #expect((19...21).contains(soFar.count))
        scene.loop.advance(by: .seconds(1))
        #expect(try scene.bodies("T") == (0..<30).map { "m\($0)" })
    }

    @Test("A backlog is delivered without pause")
    func backlog() throws {
        let scene = try scene()
        for start in stride(from: 0, to: 3_000, by: 500) {
            for index in start..<(start + 500) { scene.producer.send(scene.sendRequest("T", "\(index)", properties: "DELAY\u{1}1")) }
            scene.loop.settle()
        }
        scene.loop.advance(by: .milliseconds(1_060))
        #expect(try scene.bodies("T") == (0..<3_000).map { "\($0)" })
    }

    @Test("A consumer that waits gets the message when it is due")
    func wakesWaitingPull() throws {
        let scene = try scene()
        try scene.store("T", "due", properties: "DELAY\u{1}1")
        let consumer = try scene.client()
        let opaque = consumer.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.loop.advance(by: .milliseconds(1_100))
        #expect(consumer.takeAnswer(to: opaque)?.responseCode == .success)
    }

    @Test("After a stop and a start nothing is delivered twice, and what fell due meanwhile comes at once")
    func restart() throws {
        let first = try scene()
        try first.store("T", "delivered", properties: "DELAY\u{1}1")
        first.loop.advance(by: .seconds(2))
        try first.store("T", "pending", properties: "DELAY\u{1}2")
        try first.stop()
        let second = try scene(files: first.files.copy(), createsTopic: false)
        // The clock of the second scene starts anew: move it to where the first one was, and on.
        second.loop.advance(by: .seconds(12))
        #expect(try second.bodies("T") == ["delivered", "pending"])
    }

    @Test("After a crash nothing comes twice and nothing is lost")
    func crash() throws {
        let first = try scene()
        for index in 0..<5 { try first.store("T", "m\(index)", properties: "DELAY\u{1}1") }
        first.loop.advance(by: .milliseconds(1_200))
        try first.store("T", "pending", properties: "DELAY\u{1}2")
        let second = try scene(files: first.files.copy(), createsTopic: false)
        second.loop.advance(by: .seconds(12))
        #expect(try second.bodies("T") == ["m0", "m1", "m2", "m3", "m4", "pending"])
        let third = try scene(files: second.files.copy(), createsTopic: false)
        third.loop.advance(by: .seconds(30))
        #expect(try third.bodies("T") == ["m0", "m1", "m2", "m3", "m4", "pending"])
    }

    @Test("A retry of a message that was delivered by level is not taken for a delivery after a crash")
    func retryOfDelivered() throws {
        let first = try scene()
        try first.store("T", "m", properties: "DELAY\u{1}1")
        first.loop.advance(by: .milliseconds(1_200))
        let message = try #require(try first.messages("T").first)
        let fields = [
            "group": "readers", "offset": "\(message.commitLogOffset)", "delayLevel": "1", "originTopic": "T", "maxReconsumeTimes": "16",
        ]
        #expect(try first.client().call(.consumerSendMsgBack, fields).responseCode == .success)
        let second = try scene(files: first.files.copy(), createsTopic: false)
        second.loop.advance(by: .seconds(3))
        #expect(try second.bodies("T") == ["m"])
        #expect(try second.bodies("%RETRY%readers") == ["m"])
    }

    @Test("A clock that is set back holds a message no longer than its delay from then on, and lets it come no earlier")
    func clockSetBack() throws {
        let scene = try scene()
        try scene.store("T", "m", properties: "DELAY\u{1}2")
        scene.loop.advance(by: .seconds(1))
        scene.loop.testClock.jumpWall(byMilliseconds: -3_600_000)
        scene.loop.advance(by: .milliseconds(3_900))
        #expect(try scene.bodies("T").isEmpty)
        scene.loop.advance(by: .milliseconds(1_300))
        #expect(try scene.bodies("T") == ["m"])
    }

    @Test("While the disk is full nothing is delivered and nothing lost; afterwards delivery goes on")
    func diskFull() throws {
        let scene = try scene()
        for index in 0..<3 { try scene.store("T", "m\(index)", properties: "DELAY\u{1}1") }
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T").isEmpty)
        scene.files.setFault(nil)
        scene.loop.advance(by: .seconds(1))
        #expect(try scene.bodies("T") == ["m0", "m1", "m2"])
    }

    @Test("Delayed messages that have left memory are read from the disk, in order")
    func fromDisk() throws {
        let scene = try scene()
        for index in 0..<20 { try scene.store("T", "m\(index)", properties: "DELAY\u{1}1") }
        try scene.stop()
        let second = try self.scene(files: scene.files.copy(), createsTopic: false)
        second.files.setFault { operation, path in operation == .readIfCached ? .cold : nil }
        second.loop.advance(by: .seconds(5))
        second.files.setFault(nil)
        #expect(try second.bodies("T") == (0..<20).map { "m\($0)" })
    }

    @Test("One message that cannot be read does not hold up those behind it")
    func damagedRecord() throws {
        let scene = try scene()
        for index in 0..<3 { try scene.store("T", "message-\(index)", properties: "DELAY\u{1}1") }
        try scene.stop()
        let files = scene.files.copy()
        let log = "/store/commitlog/00000000000000000000"
        var bytes = try #require(files.bytes(log))
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: Array("message-1".utf8)) })
        bytes[place] ^= 0xFF
        files.setBytes(log, bytes)
        let second = try self.scene(files: files, createsTopic: false)
        second.loop.advance(by: .seconds(5))
        #expect(try second.bodies("T") == ["message-0", "message-2"])
    }

    @Test("A delayed message for a topic that was deleted meanwhile does not bring the topic back, nor hold up others")
    func deletedTopic() throws {
        let scene = try scene()
        try scene.createTopic("Gone")
        try scene.store("Gone", "nowhere", properties: "DELAY\u{1}1")
        try scene.store("T", "there", properties: "DELAY\u{1}1")
        #expect(try scene.client().call(.deleteTopicInBroker, ["topic": "Gone"]).responseCode == .success)
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T") == ["there"])
        let config = try scene.client().call(.getAllTopicConfig)
        #expect(try TopicConfigSerializeWrapper(decoding: config.body).topicConfigTable["Gone"] == nil)
    }

    @Test("delayOffset.json says how far each level is, as the reference writes it")
    func progressFile() throws {
        let scene = try scene()
        try scene.store("T", properties: "DELAY\u{1}1")
        try scene.store("T", properties: "DELAY\u{1}1")
        scene.loop.advance(by: .seconds(30))
        let bytes = try #require(scene.files.bytes("/store/config/delayOffset.json"))
        let table = try DelayOffsetSerializeWrapper(decoding: bytes)
        #expect(table.offsetTable[1] == 2)
        #expect(table.offsetTable[2] ?? 0 == 0)
    }
}
