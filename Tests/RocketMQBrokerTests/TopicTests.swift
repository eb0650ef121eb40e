import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct TopicTests {
    private static let request = [
        "readQueueNums": "4", "perm": "6", "writeQueueNums": "3", "topicFilterType": "SINGLE_TAG", "topic": "VecTopic",
        "defaultTopic": "TBW102", "topicSysFlag": "0", "order": "false",
    ]

    @Test("A topic's answer leaves when it is on the disk and the nameserver knows it")
    func creation() throws {
        let scene = try AdminScene(nameServers: ["10.0.0.1:9876"])
        let nameServer = TestServer()
        scene.loop.servers["10.0.0.1:9876"] = nameServer
        scene.registration.start()
        scene.loop.settle()
        nameServer.answer = { _ in nil }
        let tool = try scene.client()
        let opaque = tool.send(.request(.updateAndCreateTopic, Self.request))
        scene.loop.settle()
        #expect(scene.folder.read("config/topics.json")?.contains("\"VecTopic\"") == true)
        #expect(tool.takeAnswer(to: opaque) == nil)
        let registered = try #require(nameServer.requests(.registerBroker).last)
        #expect(try RegisterBrokerBody(decoding: registered.body).topicConfigSerializeWrapper.topicConfigTable["VecTopic"] != nil)
        scene.loop.advance(by: .milliseconds(3100))
        #expect(tool.takeAnswer(to: opaque)?.responseCode == .success, "a nameserver that does not answer holds it for 3 s")

        scene.tableWorker.hold()
        nameServer.answer = { _ in .success() }
        scene.loop.advance(by: .seconds(31))
        var request = Self.request
        request["topic"] = "Second"
        let second = tool.send(.request(.updateAndCreateTopic, request))
        scene.loop.settle()
        #expect(tool.takeAnswer(to: second) == nil, "not on the disk yet")
        scene.tableWorker.release()
        scene.loop.settle()
        #expect(tool.takeAnswer(to: second)?.responseCode == .success)

        let config = try TopicConfig(decoding: tool.call(.getTopicConfig, ["topic": "VecTopic"]).body)
        #expect(config == TopicConfig(topicName: "VecTopic", readQueueNums: 4, writeQueueNums: 3))
        let all = try TopicConfigSerializeWrapper(decoding: tool.call(.getAllTopicConfig).body)
        #expect(all == scene.topics.wrapper)
        #expect(try tool.call(.getTopicConfig, ["topic": "none"]).responseCode == .topicNotExist)
    }

    @Test("Groups begin with the first message of queues that a topic gets, and are on the disk before the queues are there")
    func growth() throws {
        // Queues are never young here, as with a group that was away for long.
        let scene = try AdminScene(recentLogBytes: 0)
        scene.createTopic("VecTopic", queues: 2)
        for id: Int32 in 0..<2 { try scene.append("VecTopic", id) }
        let tool = try scene.client()
        func place(_ group: String, _ queue: Int32) throws -> String? {
            try tool.call(.queryConsumerOffset, ["consumerGroup": group, "topic": "VecTopic", "queueId": "\(queue)"]).fields["offset"]
        }
        scene.offsets.commit(group: "away", topic: "VecTopic", queueID: 0, offset: 1)
        _ = try scene.consumer("c1", group: "here", [subscription("VecTopic")])
        _ = try scene.consumer("c2", group: "casting", [subscription("VecTopic")], model: .broadcasting)
        scene.offsets.commit(group: "elsewhere", topic: "Other", queueID: 0, offset: 1)
        func grow(_ read: Int, _ write: Int) throws {
            scene.tableWorker.hold()
            var request = Self.request
            (request["readQueueNums"], request["writeQueueNums"]) = ("\(read)", "\(write)")
            let opaque = tool.send(.request(.updateAndCreateTopic, request))
            scene.loop.settle()
            #expect(scene.topics.find("VecTopic")?.config.writeQueueNums ?? 0 < write, "places first")
            scene.tableWorker.release()
            scene.loop.settle()
            #expect(tool.takeAnswer(to: opaque)?.responseCode == .success)
        }
        try grow(2, 4)
        let stored = try #require(scene.folder.read("config/consumerOffset.json"))
        let offsets = try ConsumerOffsetSerializeWrapper(decoding: Array(stored.utf8)).offsetTable
        #expect(offsets["VecTopic@away"] == [0: 1, 2: 0, 3: 0])
        #expect(offsets["VecTopic@here"] == [2: 0, 3: 0])
        #expect(offsets["VecTopic@casting"] == nil && offsets["VecTopic@elsewhere"] == nil)
        // Written to before they can be read.
        for _ in 0..<3 { try scene.append("VecTopic", 2) }
        #expect(try place("away", 2) == "0" && place("here", 3) == "0")
        #expect(try place("casting", 2) == nil && place("elsewhere", 2) == nil, "others begin where they want")
        scene.offsets.commit(group: "away", topic: "VecTopic", queueID: 2, offset: 2)
        try grow(5, 5)
        #expect(try place("away", 2) == "2" && place("away", 4) == "0")
    }

    @Test(
        "Requests that make no sense change nothing and say what is wrong",
        arguments: [
            ("topic", "a b"), ("topic", ""), ("topic", "TBW102"), ("topic", "DefaultCluster"),
            ("topic", String(repeating: "x", count: 128)),
            ("readQueueNums", "0"), ("writeQueueNums", "-1"), ("readQueueNums", "70000"), ("readQueueNums", "x"), ("perm", "8"),
            ("topicFilterType", "NONE"), ("attributes", "message.type=FIFO"),
        ])
    func refusals(field: String, value: String) throws {
        let scene = try AdminScene()
        let before = scene.topics.wrapper
        var request = Self.request
        request[field] = value
        let answer = try scene.client().call(.updateAndCreateTopic, request)
        #expect(answer.responseCode == .systemError)
        #expect(answer.remark?.isEmpty == false)
        #expect(scene.topics.wrapper == before)
    }

    @Test("Several topics at once: all or none; attributes of 5.x are kept")
    func lists() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        let bad = "{\"topicConfigList\":[{\"topicName\":\"A\"},{\"topicName\":\"b b\"}]}"
        #expect(try tool.call(.updateAndCreateTopicList, body: Array(bad.utf8)).responseCode == .systemError)
        #expect(scene.topics.find("A") == nil)
        let good = "{\"topicConfigList\":[{\"topicName\":\"A\",\"writeQueueNums\":2},{\"topicName\":\"B\",\"perm\":4}]}"
        #expect(try tool.call(.updateAndCreateTopicList, body: Array(good.utf8)).responseCode == .success)
        #expect(scene.topics.find("A")?.config.writeQueueNums == 2)
        #expect(scene.topics.find("B")?.config.perm == .read)
        var request = Self.request
        request["attributes"] = "+message.type=FIFO,+x=y"
        _ = try tool.call(.updateAndCreateTopic, request)
        request["attributes"] = "-x"
        _ = try tool.call(.updateAndCreateTopic, request)
        #expect(scene.topics.find("VecTopic")?.config.attributes == ["message.type": "FIFO"])
    }

    @Test("A deleted topic is gone with its queues and offsets, retry topics too")
    func deletion() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        for name in ["T", "%RETRY%g"] {
            scene.createTopic(name)
            try scene.append(name)
            scene.offsets.commit(group: "g", topic: name, queueID: 0, offset: 1)
            #expect(try tool.call(.deleteTopicInBroker, ["topic": name]).responseCode == .success)
            #expect(scene.topics.find(name) == nil)
            #expect(scene.store.existingQueue(topic: name, id: 0) == nil)
            #expect(scene.offsets.offset(group: "g", topic: name, queueID: 0) == nil)
        }
        #expect(scene.folder.read("config/topics.json")?.contains("\"T\"") == false)
        #expect(try tool.call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success, "deleted already")
        #expect(try tool.call(.deleteTopicInBroker, ["topic": "TBW102"]).responseCode == .systemError)
        scene.createTopic("T")
        #expect(try tool.call(.getMaxOffset, ["topic": "T", "queueId": "0"]).fields["offset"] == "0")
    }

    @Test("A topic that a send makes again before its queues are deleted keeps them")
    func deletedAndMadeAgain() throws {
        let scene = try AdminScene()
        let tool = try scene.client()
        scene.createTopic("T")
        try scene.append("T")
        let opaque = tool.send(.request(.deleteTopicInBroker, ["topic": "T"]))
        #expect(scene.topics.find("T") == nil)
        scene.topics.update(TopicConfig(topicName: "T"))
        scene.loop.settle()
        #expect(tool.takeAnswer(to: opaque)?.responseCode == .success)
        #expect(scene.store.existingQueue(topic: "T", id: 0)?.maxOffset == 1)
    }

    @Test("Queues of topics that are no more are deleted on request, others stay")
    func cleaning() throws {
        let scene = try AdminScene()
        scene.createTopic("Kept")
        try scene.append("Kept")
        try scene.append("Forgotten")
        #expect(try scene.client().call(.cleanUnusedTopic).responseCode == .success)
        #expect(scene.store.existingQueue(topic: "Forgotten", id: 0) == nil)
        #expect(scene.store.existingQueue(topic: "Kept", id: 0) != nil)
    }

    @Test("The broker's own topics are listed")
    func systemTopics() throws {
        let list = try TopicList(decoding: AdminScene().client().call(.getSystemTopicListFromBroker).body).topicList
        for name in ["TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "broker-a", "RMQ_SYS_TRANS_HALF_TOPIC"] {
            #expect(list.contains(name))
        }
    }
}
