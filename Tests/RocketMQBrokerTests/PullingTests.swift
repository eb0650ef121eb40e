import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Pulls (11) that are answered at once.
@Suite struct PullingTests {
    private func scene(_ count: Int = 10, _ more: [String: String] = [:]) throws -> BrokerScene {
        let scene = try BrokerScene(more)
        try scene.createTopic("T")
        for index in 0..<count { try scene.store("T", "m\(index)", properties: "TAGS\u{1}\(index % 2 == 0 ? "even" : "odd")") }
        return scene
    }

    @Test("Messages come whole and in order, with where to go on and the queue's bounds")
    func found() throws {
        let scene = try scene()
        let answer = try scene.client().call(scene.pullRequest("T", 3, most: 4))
        #expect(answer.responseCode == .success)
        #expect(answer.fields["nextBeginOffset"] == "7")
        #expect(answer.fields["minOffset"] == "0")
        #expect(answer.fields["maxOffset"] == "10")
        #expect(answer.fields["suggestWhichBrokerId"] == "0")
        #expect(answer.remark == nil)
        let messages = try MessageExt.decodeAll(answer.body)
        #expect(messages.map(\.queueOffset) == [3, 4, 5, 6])
        #expect(messages.map { String(decoding: $0.body, as: UTF8.self) } == ["m3", "m4", "m5", "m6"])
    }

    @Test(
        "Offsets where nothing is are told apart, with where to go on",
        arguments: [
            (Int64(10), ResponseCode.pullNotFound, "10"), (11, .pullOffsetMoved, "10"), (5_000, .pullOffsetMoved, "10"),
            (-1, .pullOffsetMoved, "0"), (Int64.max, .pullOffsetMoved, "10"), (Int64.min, .pullOffsetMoved, "0"),
        ])
    func offsets(_ offset: Int64, _ code: ResponseCode, _ next: String) throws {
        let scene = try scene()
        let answer = try scene.client().call(scene.pullRequest("T", offset))
        #expect(answer.responseCode == code)
        #expect(answer.fields["nextBeginOffset"] == next)
    }

    @Test("A queue that never had a message")
    func emptyQueue() throws {
        let scene = try scene(0)
        let client = try scene.client()
        let first = try client.call(scene.pullRequest("T", 0))
        #expect(first.responseCode == .pullNotFound)
        #expect(first.fields["nextBeginOffset"] == "0")
        let beyond = try client.call(scene.pullRequest("T", 7))
        #expect(beyond.responseCode == .pullOffsetMoved)
        #expect(beyond.fields["nextBeginOffset"] == "0")
    }

    @Test("Filtering by tags: what fits, or where to go on when nothing does")
    func tags() throws {
        let scene = try scene()
        let client = try scene.client()
        let even = try client.call(scene.pullRequest("T", 0, expression: "even"))
        #expect(try MessageExt.decodeAll(even.body).map(\.queueOffset) == [0, 2, 4, 6, 8])
        let both = try client.call(scene.pullRequest("T", 0, expression: "even || odd"))
        #expect(try MessageExt.decodeAll(both.body).count == 10)
        let none = try client.call(scene.pullRequest("T", 2, expression: "neither"))
        #expect(none.responseCode == .pullRetryImmediately)
        #expect(none.fields["nextBeginOffset"] == "10")
    }

    @Test(
        "Refusals say what is wrong",
        arguments: [
            (["topic": "Nowhere"], ResponseCode.topicNotExist, "Nowhere"), (["queueId": "4"], .systemError, "queue 4"),
            (["queueId": "-1"], .systemError, "queue -1"), (["queueOffset": "abc"], .systemError, "queueOffset"),
            (["maxMsgNums": "-1"], .systemError, "maxMsgNums"), (["queueId": "99999999999"], .systemError, "queueId"),
            (["sysFlag": "0"], .subscriptionNotExist, "consumers"),
        ])
    func refusals(_ fields: [String: String], _ code: ResponseCode, _ word: String) throws {
        let scene = try scene(1)
        var request = scene.pullRequest("T", 0)
        request.fields.merge(fields) { $1 }
        let answer = try scene.client().call(request)
        #expect(answer.responseCode == code, "\(answer.remark ?? "")")
        #expect(word.isEmpty || answer.remark?.contains(word) == true, "\(answer.remark ?? "")")
    }

    @Test("A group that may not consume, a topic that may not be read, a broker that may not be read")
    func permissions() throws {
        let scene = try scene(1)
        try scene.createTopic("WriteOnly", perm: 2)
        let client = try scene.client()
        #expect(try client.call(scene.pullRequest("WriteOnly", 0)).responseCode == .noPermission)
        var group = SubscriptionGroupConfig(groupName: "consumers")
        group.consumeEnable = false
        #expect(try client.call(.updateAndCreateSubscriptiongroup, body: group.encoded()).responseCode == .success)
        let refused = try client.call(scene.pullRequest("T", 0))
        #expect(refused.responseCode == .noPermission)
        #expect(refused.remark?.contains("consumeEnable") == true)
        let other = try BrokerScene(["brokerPermission": "2"])
        #expect(try other.client().call(other.pullRequest("TBW102", 0)).responseCode == .noPermission)
    }

    @Test("A pull carries the group's progress, which is there to be asked for; not when the flag is off")
    func commits() throws {
        let scene = try scene()
        let client = try scene.client()
        _ = try client.call(scene.pullRequest("T", 5, commit: 4))
        _ = try client.call(scene.pullRequest("T", 6))
        let answer = try client.call(.queryConsumerOffset, ["consumerGroup": "consumers", "topic": "T", "queueId": "0"])
        #expect(answer.fields["offset"] == "4")
    }

    @Test("An answer is no larger than the settings say, but always has one message")
    func limits() throws {
        let scene = try scene(0, ["maxTransferBytesOnMessageInMemory": "4096", "maxTransferCountOnMessageInMemory": "5"])
        for index in 0..<8 { try scene.store("T", String(repeating: "x", count: index < 4 ? 3_000 : 10)) }
        let client = try scene.client()
        #expect(try MessageExt.decodeAll(client.call(scene.pullRequest("T", 0)).body).count == 1)
        #expect(try MessageExt.decodeAll(client.call(scene.pullRequest("T", 4)).body).count == 4)
        try scene.store("T", String(repeating: "y", count: 60_000))
        #expect(try MessageExt.decodeAll(client.call(scene.pullRequest("T", 8)).body).first?.body.count == 60_000)
    }

    @Test("What is on the disk and not in memory is read there, with the same answers")
    func fromDisk() throws {
        let scene = try scene(200)
        try scene.stop()
        let second = try BrokerScene(files: scene.files.copy())
        second.files.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        #expect(try second.bodies("T") == (0..<200).map { "m\($0)" })
        let odd = try second.client().call(second.pullRequest("T", 0, expression: "odd", most: 3))
        #expect(try MessageExt.decodeAll(odd.body).map(\.queueOffset) == [1, 3, 5])
        // Many at a time, the answers not mixed up.
        let client = try second.client()
        let opaques = (0..<20).map { (Int64($0), client.send(second.pullRequest("T", Int64($0) * 10, most: 1))) }
        second.loop.settle()
        for (index, opaque) in opaques {
            let answer = try #require(client.takeAnswer(to: opaque))
            #expect(try MessageExt.decodeAll(answer.body).map(\.queueOffset) == [index * 10])
        }
    }

    @Test("A disk that cannot be read is an error in words, and other queues go on")
    func readFailure() throws {
        let scene = try scene(50)
        try scene.stop()
        let second = try BrokerScene(files: scene.files.copy())
        second.files.setFault { operation, path in
            (operation == .readIfCached || operation == .read) && path.contains("/commitlog/") ? .fail(.inputOutput) : nil
        }
        let client = try second.client()
        let answer = try client.call(second.pullRequest("T", 0))
        #expect(answer.responseCode == .systemError)
        #expect(answer.remark?.contains("commitlog") == true)
        try second.store("T", "fresh", queue: 1)
        #expect(try client.call(second.pullRequest("T", 0, queue: 1)).responseCode == .success)
    }

    @Test("A connection that goes while its pull is read from the disk harms nobody")
    func closedDuringRead() throws {
        let scene = try scene(50)
        try scene.stop()
        let second = try BrokerScene(files: scene.files.copy())
        second.files.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        let client = try second.client()
        client.send(second.pullRequest("T", 0))
        client.close()
        second.loop.settle()
        #expect(try second.bodies("T").count == 50)
    }
}
