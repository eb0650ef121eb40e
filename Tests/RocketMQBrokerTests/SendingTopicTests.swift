import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Topics that sends create.
@Suite struct SendingTopicTests {
    @Test("The answer for a new topic waits until the nameserver knows it; then the topic is known")
    func waitsForRegistration() throws {
        let scene = try BrokerScene(hasNameServer: true)
        scene.nameServer.answer = { _ in nil }
        let opaque = scene.producer.send(scene.sendRequest("Fresh", "first"))
        let second = scene.producer.send(scene.sendRequest("Fresh", "second"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().isEmpty)
        let registered = try #require(scene.nameServer.requests(.registerBroker).last)
        let body = try RegisterBrokerBody(decoding: registered.body)
        #expect(body.topicConfigSerializeWrapper.topicConfigTable["Fresh"]?.writeQueueNums == 4)
        // Silent: the producer is not kept for ever.
        scene.loop.advance(by: .milliseconds(900))
        #expect(scene.producer.takeAnswers().isEmpty)
        scene.loop.advance(by: .milliseconds(200))
        #expect(scene.producer.takeAnswers().map(\.opaque) == [opaque, second])

        scene.nameServer.answer = { _ in .success() }
        scene.loop.advance(by: .seconds(40))
        let quick = try scene.producer.call(scene.sendRequest("Fresh2"))
        #expect(quick.responseCode == .success)
    }

    @Test("A failed commit of the message that created a topic is an error at once")
    func failedCommitOfNewTopic() throws {
        let scene = try BrokerScene(hasNameServer: true)
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        let answer = try scene.producer.call(scene.sendRequest("Fresh"))
        #expect(answer.responseCode == .serviceNotAvailable)
        scene.files.setFault(nil)
        scene.loop.advance(by: .seconds(2))
        #expect(scene.producer.takeAnswers().isEmpty)
        #expect(try scene.store("Fresh").fields["queueOffset"] == "0")
    }

    @Test("A new topic takes queues and permissions from the one it is made from", arguments: [(4, 4), (100, 8), (0, 1), (-3, 1)])
    func queues(_ asked: Int, _ given: Int) throws {
        let scene = try BrokerScene()
        let answer = try scene.producer.call(scene.sendRequest("Fresh", extra: ["d": "\(asked)"]))
        #expect(answer.responseCode == .success)
        let config = try scene.client().call(.getAllTopicConfig)
        let topic = try #require(try TopicConfigSerializeWrapper(decoding: config.body).topicConfigTable["Fresh"])
        #expect(topic.writeQueueNums == Int32(given))
        #expect(topic.readQueueNums == Int32(given))
        #expect(topic.perm == .readWrite)
    }

    @Test("Without autoCreateTopicEnable nothing is created, and the remark says how to")
    func notCreated() throws {
        let scene = try BrokerScene(["autoCreateTopicEnable": "false"])
        let answer = try scene.producer.call(scene.sendRequest("Fresh"))
        #expect(answer.responseCode == .topicNotExist)
        #expect(answer.remark?.contains("mqadmin updateTopic") == true)
    }

    @Test("A topic that a send created is there after the process was killed the moment after the answer")
    func killedAfterAnswer() throws {
        let scene = try BrokerScene()
        try scene.store("Fresh", "kept")
        let again = try BrokerScene(files: scene.files.copy())
        #expect(try again.bodies("Fresh") == ["kept"])
    }

    @Test("The last queue of a topic can be sent to, and a negative queue means any")
    func queueChoice() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T", queues: 3)
        #expect(try scene.store("T", queue: 2).fields["queueId"] == "2")
        var seen: Set<String> = []
        for _ in 0..<60 { seen.insert(try scene.store("T", queue: -1).fields["queueId"] ?? "") }
        #expect(seen == ["0", "1", "2"])
    }
}
