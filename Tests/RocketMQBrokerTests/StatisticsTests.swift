import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct StatisticsTests {
    private func queue(_ id: Int32, _ topic: String = "VecTopic") -> MessageQueue {
        MessageQueue(topic: topic, brokerName: "broker-a", queueID: id)
    }

    @Test("The ends of a topic's queues and when they were last written")
    func topic() throws {
        let scene = try AdminScene()
        scene.createTopic("VecTopic", queues: 2)
        try scene.append("VecTopic", 1)
        scene.loop.testClock.advance(by: .seconds(2))
        let last = scene.loop.clock.wallMilliseconds
        try scene.append("VecTopic", 1)
        let tool = try scene.client()
        let body = try tool.call(.getTopicStatsInfo, ["topic": "VecTopic"]).body
        #expect(
            String(decoding: body, as: UTF8.self) == """
                {"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"VecTopic"}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0},\
                {"brokerName":"broker-a","queueId":1,"topic":"VecTopic"}:{"lastUpdateTimestamp":\(last),"maxOffset":2,"minOffset":0}}}
                """)
        #expect(try tool.call(.getTopicStatsInfo, ["topic": "none"]).responseCode == .topicNotExist)
    }

    @Test("How far a group has come, its retries included, in all topics or one")
    func group() throws {
        let scene = try AdminScene()
        for topic in ["VecTopic", "%RETRY%g", "Left"] { scene.createTopic(topic, queues: 1) }
        let first = scene.loop.clock.wallMilliseconds
        for _ in 0..<3 {
            try scene.append("VecTopic")
            scene.loop.testClock.advance(by: .seconds(1))
        }
        try scene.append("%RETRY%g")
        scene.offsets.commit(group: "g", topic: "VecTopic", queueID: 0, offset: 2)
        scene.offsets.commit(group: "g", topic: "%RETRY%g", queueID: 0, offset: 0)
        scene.offsets.commit(group: "g", topic: "Left", queueID: 0, offset: 0)
        _ = try scene.consumer("c", group: "g", [subscription("VecTopic"), subscription("%RETRY%g")])
        let tool = try scene.client()
        let statistics = try ConsumeStats(decoding: tool.call(.getConsumeStats, ["consumerGroup": "g"]).body)
        #expect(
            statistics.offsetTable == [
                queue(0): OffsetWrapper(brokerOffset: 3, consumerOffset: 2, lastTimestamp: first + 1000),
                queue(0, "%RETRY%g"): OffsetWrapper(brokerOffset: 1, consumerOffset: 0, lastTimestamp: 0),
            ], "the topic that the group's consumers have left does not count")
        #expect(statistics.totalDiff == 2)
        let one = try ConsumeStats(decoding: tool.call(.getConsumeStats, ["consumerGroup": "g", "topic": "%RETRY%g"]).body)
        #expect(one.offsetTable.count == 1)
        let groups = try GroupList(decoding: tool.call(.queryTopicConsumeByWho, ["topic": "VecTopic"]).body)
        #expect(groups.groupList == ["g"])
        let all = try ConsumeStatsList(decoding: tool.call(.getBrokerConsumeStats, ["isOrder": "false"]).body)
        #expect(all.totalDiff == 2)
        #expect(all.consumeStatsList.first { $0["g"] != nil }?["g"]?.count == 2)
    }

    @Test("The rate of a group follows its commits and ends with them")
    func rate() throws {
        let scene = try AdminScene()
        scene.createTopic("VecTopic", queues: 1)
        scene.keeper.start(every: .seconds(5))
        let tool = try scene.client()
        func rate() throws -> Double { try ConsumeStats(decoding: tool.call(.getConsumeStats, ["consumerGroup": "g"]).body).consumeTps }
        for second in 0..<100 {
            scene.offsets.commit(group: "g", topic: "VecTopic", queueID: 0, offset: Int64(second * 50))
            scene.loop.advance(by: .seconds(1))
        }
        #expect(abs(try rate() - 50) < 8)
        scene.loop.advance(by: .seconds(120))
        #expect(try rate() == 0)
    }

    @Test("Where a group stands in time")
    func timeSpan() throws {
        let scene = try AdminScene()
        scene.createTopic("VecTopic", queues: 2)
        let first = scene.loop.clock.wallMilliseconds
        for _ in 0..<3 {
            try scene.append("VecTopic")
            scene.loop.testClock.advance(by: .seconds(10))
        }
        scene.offsets.commit(group: "g", topic: "VecTopic", queueID: 0, offset: 2)
        let body = try scene.client().call(.queryConsumeTimeSpan, ["topic": "VecTopic", "group": "g"]).body
        #expect(
            try QueryConsumeTimeSpanBody(decoding: body).consumeTimeSpanSet == [
                QueueTimeSpan(
                    messageQueue: queue(0), minTimestamp: first, maxTimestamp: first + 20_000, consumeTimestamp: first + 10_000,
                    delayTime: 10_000),
                QueueTimeSpan(messageQueue: queue(1), minTimestamp: -1, maxTimestamp: -1, consumeTimestamp: -1, delayTime: 0),
            ])
    }

    @Test("A message is shown by its place in the log, and only where one begins")
    func view() throws {
        let scene = try AdminScene()
        try scene.append("T", 0, "first")
        let second = try scene.append("T", 0, "second")
        let tool = try scene.client()
        let body = try tool.call(.viewMessageById, ["offset": "\(second.physicalOffset)"]).body
        guard case .record(let record) = MessageRecord.find(in: body.span.bytes, at: 0, verifyingChecksum: true) else {
            Issue.record("the body is no record")
            return
        }
        #expect(body.span.bytes.string(record.body) == "second" && record.size == body.count)
        for offset in ["1", "-1", "999999", "9223372036854775807"] {
            let answer = try tool.call(.viewMessageById, ["offset": offset])
            #expect(answer.responseCode == .systemError)
            #expect(answer.remark == "can not find message by the offset, \(offset)")
        }
    }

    @Test("Entries of a consume queue, and whether a group's filter lets them through")
    func entries() throws {
        let scene = try AdminScene()
        for tag in ["A", "B", "A"] { try scene.append("T", 0, tags: tag) }
        let tool = try scene.client()
        let fields = ["topic": "T", "queueId": "0", "index": "1", "count": "5", "consumerGroup": "g"]
        let offline = try QueryConsumeQueueResponseBody(decoding: tool.call(.queryConsumeQueue, fields).body)
        #expect(offline.queueData.count == 2 && offline.maxQueueIndex == 3)
        #expect(offline.filterData == "g@T is not online!")
        _ = try scene.consumer("c", group: "g", [subscription("T", "A")])
        let online = try QueryConsumeQueueResponseBody(decoding: tool.call(.queryConsumeQueue, fields).body)
        #expect(online.queueData.map(\.passesFilter) == [false, true])
        #expect(online.queueData.map(\.tagsCode) == [Int64(JavaHash.hash("B")), Int64(JavaHash.hash("A"))])
        #expect(try tool.call(.queryConsumeQueue, ["topic": "N", "queueId": "0", "index": "0", "count": "1"]).responseCode == .systemError)
    }

    @Test("Messages are found by their keys, the newest first")
    func keys() throws {
        let scene = try AdminScene()
        for number in 0..<3 { try scene.append("T", 0, "message \(number)", keys: number == 1 ? "other" : "k1 shared") }
        let tool = try scene.client()
        let fields = [
            "topic": "T", "key": "k1", "maxNum": "32", "beginTimestamp": "0", "endTimestamp": "\(Int64.max)", "_UNIQUE_KEY_QUERY": "false",
        ]
        let answer = try tool.call(.queryMessage, fields)
        #expect(answer.responseCode == .success)
        #expect(Int64(answer.fields["indexLastUpdatePhyoffset"] ?? "") ?? 0 > 0)
        var bodies: [String] = []
        var position = 0
        let bytes = answer.body.span.bytes
        while position < answer.body.count, case .record(let record) = MessageRecord.find(in: bytes, at: position, verifyingChecksum: true)
        {
            bodies.append(bytes.string(record.body))
            position = record.range.upperBound
        }
        #expect(bodies == ["message 2", "message 0"])
        let none = try tool.call(.queryMessage, fields.merging(["key": "nokey"]) { $1 })
        #expect(none.responseCode == .queryNotFound)
        #expect(none.remark == "can not find message, maybe time range not correct")
        for hostile in ["x", "0", "-1", "99999999999999999999", ""] {
            let answer = try tool.call(.queryMessage, fields.merging(["maxNum": hostile]) { $1 })
            #expect(answer.responseCode == .systemError && answer.remark?.contains("maxNum") == true, "\(hostile)")
        }
        for huge in [Int64(Int32.max), Int64.max] {
            let answer = try tool.call(.queryMessage, fields.merging(["maxNum": "\(huge)"]) { $1 })
            #expect(try MessageExt.decodeAll(answer.body).count == 2)
        }
        let backwards = try tool.call(.queryMessage, fields.merging(["beginTimestamp": "\(Int64.max)", "endTimestamp": "0"]) { $1 })
        #expect(backwards.responseCode == .systemError && backwards.remark?.contains("beginTimestamp") == true)
        let extremes = fields.merging(["beginTimestamp": "\(Int64.min)", "endTimestamp": "\(Int64.max)"]) { $1 }
        #expect(try MessageExt.decodeAll(tool.call(.queryMessage, extremes).body).count == 2)
        // Of several with one id the first is the one that clients take.
        let unique = try tool.call(.queryMessage, fields.merging(["_UNIQUE_KEY_QUERY": "true"]) { $1 })
        #expect(try MessageExt.decodeAll(unique.body).map { String(decoding: $0.body, as: UTF8.self) } == ["message 0", "message 2"])
    }

    @Test("A query by key has no cap of 64, finds the newest first, and can be gone on with where it ended")
    func manyKeys() throws {
        let scene = try AdminScene()
        // Two hundred in each of three milliseconds: time alone could not tell where to go on.
        for number in 0..<600 {
            if number % 200 == 0 { scene.loop.advance(by: .milliseconds(1)) }
            try scene.append("T", 0, "message \(number)", keys: "k1")
        }
        let tool = try scene.client()
        var fields = [
            "topic": "T", "key": "k1", "maxNum": "1000", "beginTimestamp": "0", "endTimestamp": "\(Int64.max)",
            "_UNIQUE_KEY_QUERY": "false",
        ]
        func found() throws -> [MessageExt] {
            let answer = try tool.call(.queryMessage, fields)
            if answer.responseCode == .queryNotFound { return [] }
            try #require(answer.responseCode == .success && answer.fields["pagesByPhyOffset"] == "true")
            return try MessageExt.decodeAll(answer.body)
        }
        let all = (0..<600).reversed().map { "message \($0)" }
        #expect(try found().map { String(decoding: $0.body, as: UTF8.self) } == all)
        // Programs in Java get what the reference gives them.
        var java = RemotingCommand.request(.queryMessage, fields)
        java.language = .java
        #expect(try MessageExt.decodeAll(tool.call(java).body).map { String(decoding: $0.body, as: UTF8.self) } == Array(all.prefix(64)))
        fields["maxNum"] = "70"
        var pages: [[String]] = []
        for _ in 0..<20 {
            let page = try found()
            guard let oldest = page.last else { break }
            pages.append(page.map { String(decoding: $0.body, as: UTF8.self) })
            fields["olderThanPhyOffset"] = "\(oldest.commitLogOffset)"
        }
        #expect(pages.map(\.count) == [70, 70, 70, 70, 70, 70, 70, 70, 40])
        #expect(Array(pages.joined()) == all)
        let times = try { () throws in
            fields["olderThanPhyOffset"] = nil
            fields["maxNum"] = "1000"
            return try found().map(\.storeTimestamp)
        }()
        let middle = try #require(times.dropFirst(300).first)
        (fields["beginTimestamp"], fields["endTimestamp"]) = ("\(middle)", "\(middle)")
        #expect(try found().map { String(decoding: $0.body, as: UTF8.self) } == Array(all[200..<400]))
    }
}
