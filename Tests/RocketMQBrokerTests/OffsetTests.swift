import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct OffsetTests {
    @Test("What a consumer commits it gets back")
    func commit() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 2)
        for _ in 0..<42 { try scene.append("T", 1) }
        scene.loop.settle()
        let client = try scene.client()
        let fields = ["consumerGroup": "g", "topic": "T", "queueId": "1", "commitOffset": "42"]
        #expect(try client.call(.updateConsumerOffset, fields).responseCode == .success)
        #expect(try client.call(.queryConsumerOffset, fields).fields == ["offset": "42"])
        for (field, value) in [
            ("queueId", "2"), ("queueId", "-1"), ("commitOffset", "x"), ("commitOffset", "43"), ("topic", "none"), ("consumerGroup", "a b"),
        ] {
            var wrong = fields
            wrong[field] = value
            #expect(try client.call(.updateConsumerOffset, wrong).responseCode != .success, "\(field)=\(value)")
        }
        let all = try ConsumerOffsetSerializeWrapper(decoding: client.call(.getAllConsumerOffset).body)
        #expect(all.offsetTable == ["T@g": [1: 42]])
    }

    @Test("A group without an offset starts at 0 as long as the queue's start is recent, else where it wants")
    func firstOffset() throws {
        let scene = try AdminScene(recentLogBytes: 1000)
        scene.createTopic("T")
        let client = try scene.client()
        let fields = ["consumerGroup": "g", "topic": "T", "queueId": "0"]
        #expect(try client.call(.queryConsumerOffset, fields).fields["offset"] == "0", "an empty queue")
        try scene.append("T")
        #expect(try client.call(.queryConsumerOffset, fields).fields["offset"] == "0")
        var wanting = fields
        wanting["setZeroIfNotFound"] = "false"
        #expect(try client.call(.queryConsumerOffset, wanting).responseCode == .queryNotFound)
        for _ in 0..<20 { try scene.append("Other", 0, String(repeating: "x", count: 100)) }
        let answer = try client.call(.queryConsumerOffset, fields)
        #expect(answer.responseCode == .queryNotFound)
        #expect(answer.remark == "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")
    }

    @Test("The ends of a queue, and its places by time")
    func ends() throws {
        let scene = try AdminScene()
        let client = try scene.client()
        func ask(_ code: RequestCode, _ more: [String: String] = [:], queue: String = "0") throws -> [String: String] {
            try client.call(code, ["topic": "T", "queueId": queue].merging(more) { $1 }).fields
        }
        #expect(try ask(.getMaxOffset) == ["offset": "0"])
        #expect(try ask(.getMinOffset) == ["offset": "0"])
        #expect(try ask(.getEarliestMsgStoretime) == ["timestamp": "-1"])
        let start = scene.loop.clock.wallMilliseconds
        for _ in 0..<4 {
            try scene.append("T")
            scene.loop.testClock.advance(by: .seconds(10))
        }
        #expect(try ask(.getMaxOffset) == ["offset": "4"])
        #expect(try ask(.getMinOffset) == ["offset": "0"])
        #expect(try ask(.getEarliestMsgStoretime) == ["timestamp": "\(start)"])
        #expect(try ask(.getMaxOffset, queue: "9") == ["offset": "0"])
        func offset(_ seconds: Int64, _ boundary: String? = nil) throws -> String? {
            try ask(
                .searchOffsetByTimestamp,
                ["timestamp": "\(start + seconds * 1000)"].merging(boundary.map { ["boundaryType": $0] } ?? [:]) { $1 })["offset"]
        }
        #expect(try offset(-5) == "0")
        #expect(try offset(10) == "1")
        #expect(try offset(11) == "2")
        #expect(try offset(1000) == "3", "as 4.9 answers")
        #expect(try offset(1000, "lower") == "4")
        #expect(try offset(11, "upper") == "1")
    }

    @Test("A group is moved in time: members hear it in the form of their language")
    func reset() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 2)
        let tool = try scene.client()
        let start = scene.loop.clock.wallMilliseconds
        for _ in 0..<6 {
            try scene.append("T", 0)
            scene.loop.testClock.advance(by: .seconds(1))
        }
        func reset(_ timestamp: Int64, force: Bool = true) throws -> RemotingCommand {
            try tool.call(.invokeBrokerToResetOffset, ["topic": "T", "group": "g", "timestamp": "\(timestamp)", "isForce": "\(force)"])
        }
        #expect(try reset(start).responseCode == .consumerNotOnline, "tools set the offsets at the broker then")
        scene.offsets.commit(group: "g", topic: "T", queueID: 0, offset: 3)
        scene.offsets.commit(group: "g", topic: "T", queueID: 1, offset: 0)
        #expect(try reset(start).responseCode == .consumerNotOnline)
        let java = try scene.consumer("j", group: "g", [subscription("T")])
        let plusPlus = try scene.consumer("c", group: "g", [subscription("T")], language: .cpp)
        for client in [java, plusPlus] { _ = client.takeRequests() }

        let answer = try reset(start + 2000)
        let queue = MessageQueue(topic: "T", brokerName: "broker-a", queueID: 0)
        #expect(try ResetOffsetBody(decoding: answer.body).offsetTable[queue] == 2)
        #expect(scene.offsets.offset(group: "g", topic: "T", queueID: 0) == 2, "for a queue that nobody holds just now")
        let told = try #require(java.takeRequests().first)
        #expect(told.requestCode == .resetConsumerClientOffset && told.isOneway)
        #expect(told.fields == ["group": "g", "topic": "T", "timestamp": "\(start + 2000)", "isForce": "false"])
        #expect(String(decoding: told.body, as: UTF8.self).hasPrefix("{\"offsetTable\":{{\"brokerName\""))
        let list = try #require(plusPlus.takeRequests().first)
        #expect(String(decoding: list.body, as: UTF8.self).hasPrefix("{\"offsetTable\":[{\"brokerName\""))

        // Without force nobody skips messages; -1 is the end.
        scene.offsets.commit(group: "g", topic: "T", queueID: 0, offset: 3)
        #expect(try ResetOffsetBody(decoding: reset(start + 5000, force: false).body).offsetTable[queue] == 3)
        #expect(try ResetOffsetBody(decoding: reset(-1).body).offsetTable[queue] == 6)
    }

    @Test("A reset of one queue, as tools of 5.x ask for it, leaves the others where they are, and must be a place in the queue")
    func resetQueue() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 2)
        let tool = try scene.client()
        for queue in 0..<2 { for _ in 0..<6 { try scene.append("T", Int32(queue)) } }
        let consumer = try scene.consumer("j", group: "g", [subscription("T")])
        for id in 0..<2 { scene.offsets.commit(group: "g", topic: "T", queueID: Int32(id), offset: 4) }
        _ = consumer.takeRequests()
        func reset(_ more: [String: String]) throws -> RemotingCommand {
            let fields = ["topic": "T", "group": "g", "timestamp": "0", "isForce": "false"]
            return try tool.call(.invokeBrokerToResetOffset, fields.merging(more) { $1 })
        }
        let queue = MessageQueue(topic: "T", brokerName: "broker-a", queueID: 1)
        #expect(try ResetOffsetBody(decoding: reset(["queueId": "1", "offset": "5"]).body).offsetTable == [queue: 5])
        #expect(try consumer.takeRequests().map { try ResetOffsetBody(decoding: $0.body).offsetTable } == [[queue: 5]])
        #expect(scene.offsets.offset(group: "g", topic: "T", queueID: 0) == 4)
        #expect(try ResetOffsetBody(decoding: reset(["queueId": "1"]).body).offsetTable == [queue: 0])
        for (more, said) in [
            (["queueId": "1", "offset": "7"], "queue 1 of topic T has 0...6"), (["queueId": "2"], "queue 2 of topic T does not exist"),
            (["queueId": "-2"], "queue -2"), (["offset": "3"], "needs a queueId"), (["queueId": "1", "offset": "-5"], "0...6"),
            (["queueId": "99999999999"], "queueId"), (["timestamp": "-2"], "the time -2"), (["timestamp": "soon"], "timestamp"),
        ] {
            let answer = try reset(more)
            #expect(answer.responseCode == .systemError && answer.remark?.contains(said) == true, "\(more): \(answer.remark ?? "")")
        }
        #expect(try ResetOffsetBody(decoding: reset(["timestamp": "\(Int64.max)", "isForce": "true"]).body).offsetTable[queue] == 6)
        // Without consumers a place is set at the broker, as by brokers of 5.x, of groups that there are.
        _ = scene.groups.find("idle")
        let idle = try reset(["group": "idle", "queueId": "1", "offset": "2"])
        #expect(idle.responseCode == .success && idle.remark?.contains("set at the broker") == true)
        #expect(scene.offsets.offset(group: "idle", topic: "T", queueID: 1) == 2)
        #expect(try reset(["group": "nobody", "queueId": "1", "offset": "2"]).responseCode == .subscriptionGroupNotExist)
        #expect(try reset(["group": "idle", "queueId": "1"]).responseCode == .consumerNotOnline)
        // A group whose consumers have nothing to do with the topic is not moved by telling them.
        _ = try scene.consumer("o", group: "other", [subscription("U")])
        let elsewhere = try reset(["group": "other"])
        #expect(elsewhere.responseCode == .consumerNotOnline && elsewhere.remark?.contains("subscribes to the topic") == true)
    }

    @Test("Consumers that broadcast are told to move with force only, and the answer says that others stay where they are")
    func resetBroadcasting() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 1)
        let tool = try scene.client()
        for _ in 0..<3 { try scene.append("T", 0) }
        let consumer = try scene.consumer("b1", group: "g", [subscription("T")], model: .broadcasting)
        _ = consumer.takeRequests()
        func reset(force: Bool) throws -> RemotingCommand {
            try tool.call(.invokeBrokerToResetOffset, ["topic": "T", "group": "g", "timestamp": "-1", "isForce": "\(force)"])
        }
        let refused = try reset(force: false)
        #expect(refused.responseCode == .systemError && refused.remark?.contains("b1 (\(consumer.stream.peer)) is BROADCASTING") == true)
        #expect(consumer.takeRequests().isEmpty)
        let done = try reset(force: true)
        #expect(done.responseCode == .success && done.remark?.contains("the 1 that are connected were told") == true)
        #expect(consumer.takeRequests().map(\.requestCode) == [.resetConsumerClientOffset])
        #expect(scene.offsets.existingEntry(group: "g", topic: "T") == nil, "the broker's offsets are not theirs")
    }

    @Test("Java consumers that pull stay where they are when their group is moved: the answer names them")
    func resetPulling() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 1)
        let tool = try scene.client()
        try scene.append("T", 0)
        func reset() throws -> String? {
            let answer = try tool.call(
                .invokeBrokerToResetOffset, ["topic": "T", "group": "g", "timestamp": "-1", "isForce": "true"])
            try #require(answer.responseCode == .success)
            return answer.remark
        }
        _ = try scene.consumer("swift", group: "g", [subscription("T")], language: .other, type: .actively)
        _ = try scene.consumer("push", group: "g", [subscription("T")])
        #expect(try reset() == nil, "these move")
        let pulling = try scene.consumer("lite", group: "g", [subscription("T")], type: .actively)
        let told = try #require(try reset())
        #expect(told.hasPrefix("lite (\(pulling.stream.peer)) will stay where they are") && !told.contains("push"))
        for number in 0..<4 { _ = try scene.consumer("more\(number)", group: "g", [], type: .actively) }
        #expect(try reset()?.contains(" and 2 more will stay") == true)
    }

    @Test("Who moves a group is answered when the offsets are on the disk; consumers are not kept waiting")
    func stored() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 1)
        _ = scene.groups.find("g")
        try scene.append("T", 0)
        scene.loop.settle()
        let tool = try scene.client()
        let commit = ["consumerGroup": "g", "topic": "T", "queueId": "0", "commitOffset": "1"]
        scene.tableWorker.hold()
        #expect(try tool.call(.updateConsumerOffset, commit).responseCode == .success)
        let waiting = [
            tool.send(.request(.updateConsumerOffset, commit.merging(["waitStored": "true"]) { $1 })),
            tool.send(
                .request(
                    .invokeBrokerToResetOffset,
                    ["topic": "T", "group": "g", "timestamp": "0", "isForce": "true", "queueId": "0", "offset": "0"])),
            tool.send(.request(.cloneGroupOffset, ["srcGroup": "g", "destGroup": "h", "topic": "T", "offline": "true"])),
        ]
        scene.loop.settle()
        #expect(waiting.allSatisfy { tool.takeAnswer(to: $0) == nil })
        scene.tableWorker.release()
        scene.loop.settle()
        #expect(waiting.compactMap { tool.takeAnswer(to: $0)?.responseCode } == [.success, .success, .success])
        let file = try #require(scene.folder.read("config/consumerOffset.json"))
        let offsets = try ConsumerOffsetSerializeWrapper(decoding: Array(file.utf8)).offsetTable
        #expect(offsets["T@g"] == [0: 0] && offsets["T@h"] == [0: 0])
    }

    @Test("A group takes over another's offsets")
    func clone() throws {
        let scene = try AdminScene()
        for topic in ["A", "B"] {
            scene.createTopic(topic)
            scene.offsets.commit(group: "from", topic: topic, queueID: 1, offset: 9)
        }
        let tool = try scene.client()
        #expect(
            try tool.call(.cloneGroupOffset, ["srcGroup": "from", "destGroup": "to", "topic": "A", "offline": "true"]).responseCode
                == .success)
        #expect(scene.offsets.topics(ofGroup: "to") == ["A"])
        #expect(try tool.call(.cloneGroupOffset, ["srcGroup": "from", "destGroup": "all", "offline": "true"]).responseCode == .success)
        #expect(scene.offsets.offset(group: "all", topic: "B", queueID: 1) == 9)
    }
}
