import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Pulls that find nothing wait for the next message: each is answered once.
@Suite struct PullingWaitTests {
    private func scene(_ more: [String: String] = [:]) throws -> BrokerScene {
        let scene = try BrokerScene(more)
        try scene.createTopic("T")
        return scene
    }

    @Test("A waiting pull gets the next message of its queue at once, once, and not those of other queues")
    func wakesUp() throws {
        let scene = try scene()
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.loop.settle()
        #expect(client.takeAnswers().isEmpty)
        try scene.store("T", "elsewhere", queue: 1)
        #expect(client.takeAnswers().isEmpty)
        try scene.store("T", "here")
        let answer = try #require(client.takeAnswer(to: opaque))
        #expect(answer.responseCode == .success)
        #expect(answer.fields["nextBeginOffset"] == "1")
        #expect(try MessageExt.decodeAll(answer.body).map(\.body) == [Array("here".utf8)])
        try scene.store("T", "next")
        scene.loop.advance(by: .seconds(40))
        #expect(client.takeAnswers().isEmpty)
    }

    @Test("A message is never shown before it is written, nor when it could not be")
    func failedCommit() throws {
        let scene = try scene()
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        #expect(try scene.producer.call(scene.sendRequest("T", "lost")).responseCode == .serviceNotAvailable)
        #expect(client.takeAnswers().isEmpty)
        scene.files.setFault(nil)
        try scene.store("T", "kept")
        let answer = try #require(client.takeAnswer(to: opaque))
        #expect(try MessageExt.decodeAll(answer.body).map(\.body) == [Array("kept".utf8)])
    }

    @Test("Messages of one tick come together")
    func together() throws {
        let scene = try scene()
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, waiting: 15_000))
        for index in 0..<5 { scene.producer.send(scene.sendRequest("T", "\(index)")) }
        scene.loop.settle()
        let answer = try #require(client.takeAnswer(to: opaque))
        #expect(try MessageExt.decodeAll(answer.body).count == 5)
    }

    @Test("A pull that comes between a message and its commit gets it at the commit, and does not wait for the next", arguments: [0, 1])
    func pulledInTheSameTick(_ before: Int64) throws {
        let scene = try scene()
        if before > 0 { try scene.store("T", "old") }
        let client = try scene.client()
        scene.producer.send(scene.sendRequest("T", "here"))
        let opaque = client.send(scene.pullRequest("T", before, waiting: 15_000))
        scene.loop.settle()
        let answer = try #require(client.takeAnswer(to: opaque))
        #expect(try MessageExt.decodeAll(answer.body).map(\.body) == [Array("here".utf8)])
    }

    @Test(
        "A pull that waits in vain hears of it when its time is over", arguments: [(1_000, 1_000), (15_000, 15_000), (3_600_000, 300_000)])
    func timesOut(_ asked: Int64, _ waited: Int) throws {
        let scene = try scene(["serverChannelMaxIdleTimeSeconds": "0"])
        try scene.store("T", "old")
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 1, waiting: asked))
        scene.loop.advance(by: .milliseconds(waited - 1))
        #expect(client.takeAnswers().isEmpty)
        scene.loop.advance(by: .milliseconds(1))
        let answer = try #require(client.takeAnswer(to: opaque))
        #expect(answer.responseCode == .pullNotFound)
        #expect(answer.fields["nextBeginOffset"] == "1")
        #expect(answer.fields["maxOffset"] == "1")
        try scene.store("T", "new")
        #expect(client.takeAnswers().isEmpty)
    }

    @Test("Messages that the filter does not want move the pull on, and it waits on")
    func filterMovesOn() throws {
        let scene = try scene()
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, expression: "wanted", waiting: 15_000))
        for index in 0..<3 { try scene.store("T", "\(index)", properties: "TAGS\u{1}other") }
        #expect(client.takeAnswers().isEmpty)
        try scene.store("T", "mine", properties: "TAGS\u{1}wanted")
        let answer = try #require(client.takeAnswer(to: opaque))
        #expect(try MessageExt.decodeAll(answer.body).map(\.queueOffset) == [3])
        #expect(answer.fields["nextBeginOffset"] == "4")

        let second = client.send(scene.pullRequest("T", 4, expression: "wanted", waiting: 15_000))
        try scene.store("T", "x", properties: "TAGS\u{1}other")
        scene.loop.advance(by: .seconds(15))
        let gaveUp = try #require(client.takeAnswer(to: second))
        #expect(gaveUp.responseCode == .pullNotFound)
        #expect(gaveUp.fields["nextBeginOffset"] == "5", "what was passed over is not looked at again")
    }

    @Test("Pulls of connections that ended are forgotten, others of the queue are served")
    func connectionClosed() throws {
        let scene = try scene()
        let gone = try scene.client()
        let here = try scene.client()
        for _ in 0..<10 { gone.send(scene.pullRequest("T", 0, waiting: 15_000)) }
        let opaque = here.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.loop.settle()
        gone.close()
        try scene.store("T", "m")
        #expect(here.takeAnswer(to: opaque)?.responseCode == .success)
        scene.loop.advance(by: .seconds(20))
        #expect(here.takeAnswers().isEmpty)
    }

    @Test("Many consumers waiting on one queue all get the message")
    func many() throws {
        let scene = try scene()
        let clients = try (0..<50).map { _ in try scene.client() }
        let opaques = clients.enumerated().map { $1.send(scene.pullRequest("T", 0, group: "group\($0)", waiting: 15_000)) }
        try scene.store("T", "m")
        for (client, opaque) in zip(clients, opaques) { #expect(client.takeAnswer(to: opaque)?.responseCode == .success) }
    }

    @Test("When the topic is deleted, waiting pulls hear of it; when it comes again, its messages wake who waits then")
    func topicDeleted() throws {
        let scene = try scene()
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.loop.settle()
        #expect(try scene.client().call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        scene.loop.settle()
        let answer = try #require(client.takeAnswer(to: opaque), "it would wait for messages that cannot come any more")
        #expect(answer.responseCode == .topicNotExist)
        #expect(try client.call(scene.pullRequest("T", 0)).responseCode == .topicNotExist)
        try scene.createTopic("T")
        let again = client.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.loop.settle()
        try scene.store("T", "anew")
        #expect(client.takeAnswer(to: again)?.responseCode == .success)
        scene.loop.advance(by: .seconds(20))
        #expect(client.takeAnswers().isEmpty)
    }

    @Test("Short polling waits as long as the settings say")
    func shortPolling() throws {
        let scene = try scene(["longPollingEnable": "false", "shortPollingTimeMills": "1000"])
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, waiting: 15_000))
        scene.loop.advance(by: .milliseconds(999))
        #expect(client.takeAnswers().isEmpty)
        scene.loop.advance(by: .milliseconds(1))
        #expect(client.takeAnswer(to: opaque)?.responseCode == .pullNotFound)
    }

    @Test("Without the suspend flag, or with no time to wait, the answer comes at once", arguments: [(0, 15_000), (2, 0), (2, -5)])
    func doesNotWait(_ flag: Int, _ milliseconds: Int) throws {
        let scene = try scene()
        var request = scene.pullRequest("T", 0)
        request.fields["sysFlag"] = "\(4 | flag)"
        request.fields["suspendTimeoutMillis"] = "\(milliseconds)"
        #expect(try scene.client().call(request).responseCode == .pullNotFound)
    }

    @Test("A waiting pull whose message has to be read from the disk is answered once")
    func servedFromDisk() throws {
        let scene = try scene()
        let client = try scene.client()
        let opaque = client.send(scene.pullRequest("T", 0, expression: "wanted", waiting: 1_000))
        scene.loop.settle()
        scene.files.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        try scene.store("T", "m", properties: "TAGS\u{1}wanted")
        scene.loop.advance(by: .seconds(5))
        #expect(client.takeAnswer(to: opaque)?.responseCode == .success)
        #expect(client.takeAnswers().isEmpty)
    }

    @Test("A stop with pulls waiting ends in good order")
    func stop() throws {
        let scene = try scene()
        let client = try scene.client()
        for _ in 0..<10 { client.send(scene.pullRequest("T", 0, waiting: 15_000)) }
        try scene.stop()
        #expect(client.isClosed)
        scene.loop.advance(by: .seconds(20))
    }

    @Test("A one-way pull is nobody's")
    func oneway() throws {
        let scene = try scene()
        try scene.store("T")
        var request = scene.pullRequest("T", 0)
        request.flag |= FrameFormat.onewayFlag
        let client = try scene.client()
        client.send(request)
        scene.loop.settle()
        #expect(client.takeAnswers().isEmpty)
    }
}
