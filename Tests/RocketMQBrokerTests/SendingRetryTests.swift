import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Messages that consumers failed to process: sent back (36) or sent to the retry topic, until they are dead letters.
@Suite struct SendingRetryTests {
    private func scene(_ more: [String: String] = [:]) throws -> BrokerScene {
        let scene = try BrokerScene(["messageDelayLevel": "1s 5s 10s 30s 1m"].merging(more) { $1 })
        try scene.createTopic("T")
        try scene.store("T", "failed", properties: "UNIQ_KEY\u{1}K\u{2}TAGS\u{1}t")
        return scene
    }

    private func sendBack(_ offset: Int64, level: Int = 0, most: Int? = 16, group: String = "g") -> RemotingCommand {
        var fields = [
            "group": group, "offset": "\(offset)", "delayLevel": "\(level)", "originMsgId": "K", "originTopic": "T", "unitMode": "false",
        ]
        if let most { fields["maxReconsumeTimes"] = "\(most)" }
        return .request(.consumerSendMsgBack, fields)
    }

    @Test("A message that is sent back comes again from the retry topic, later each time, and ends as a dead letter")
    func untilDeadLetter() throws {
        let scene = try scene()
        let consumer = try scene.client()
        var offset = try #require(try scene.messages("T").first).commitLogOffset
        let origin = "7F00000100002A9F0000000000000000"
        for (times, seconds) in [(1, 10), (2, 30)] {
            let before = try scene.messages("%RETRY%g").count
            #expect(try consumer.call(sendBack(offset, most: 2)).responseCode == .success)
            scene.loop.advance(by: .seconds(seconds) - .milliseconds(100))
            #expect(try scene.messages("%RETRY%g").count == before)
            scene.loop.advance(by: .milliseconds(200))
            let message = try #require(try scene.messages("%RETRY%g").last)
            #expect(message.reconsumeTimes == Int32(times))
            #expect(message.body == Array("failed".utf8))
            #expect(message.properties["RETRY_TOPIC"] == "T")
            #expect(message.properties["ORIGIN_MESSAGE_ID"] == origin)
            #expect(message.properties["TAGS"] == "t")
            offset = message.commitLogOffset
        }
        #expect(try consumer.call(sendBack(offset, most: 2)).responseCode == .success)
        let dead = try scene.messages("%DLQ%g")
        #expect(dead.count == 1)
        #expect(dead.first?.reconsumeTimes == 3)
        #expect(dead.first?.properties["RETRY_TOPIC"] == "T")
        #expect(dead.first?.properties["DELAY"] == nil)
        scene.loop.advance(by: .seconds(120))
        #expect(try scene.messages("%RETRY%g").count == 2)
    }

    @Test("Properties as long as can be sent: a retry where it fits, without what is dispensable, else a dead letter that says so")
    func longProperties() throws {
        let scene = try scene()
        let consumer = try scene.client()
        func last(_ topic: String) throws -> MessageExt { try #require(try scene.messages(topic).last) }
        // With CLUSTER, which the broker adds, 32,767 bytes in all, and less and less.
        var outcomes: [(retries: Int, dead: Int)] = []
        for size in [32_743, 32_720, 32_700, 32_600, 32_300] {
            let properties = "UNIQ_KEY\u{1}K\(size)\u{2}long\u{1}"
            try scene.store("T", "long", queue: 1, properties: properties + String(repeating: "x", count: size - properties.utf8.count))
            let stored = try #require(try scene.messages("T", queue: 1).last)
            let (retries, dead) = (try scene.messages("%RETRY%g").count, try scene.messages("%DLQ%g").count)
            #expect(try consumer.call(sendBack(stored.commitLogOffset, level: 1)).responseCode == .success)
            scene.loop.advance(by: .seconds(3))
            let now = (retries: try scene.messages("%RETRY%g").count - retries, dead: try scene.messages("%DLQ%g").count - dead)
            outcomes.append(now)
            let copy = try last(now.dead == 1 ? "%DLQ%g" : "%RETRY%g")
            #expect(copy.properties["long"] == stored.properties["long"] && copy.properties["UNIQ_KEY"] == "K\(size)")
            #expect(copy.body == Array("long".utf8) && copy.properties["RETRY_TOPIC"] == "T")
            if now.dead == 1 { #expect(copy.properties["DLQ_REASON"] == (size < 32_730 ? "no room" : nil), "\(size)") }
            // Retried retries: nothing more has to be added.
            guard now.retries == 1 else { continue }
            #expect(try consumer.call(sendBack(copy.commitLogOffset, level: 1)).responseCode == .success)
            scene.loop.advance(by: .seconds(3))
            #expect(try last("%RETRY%g").reconsumeTimes == 2)
        }
        #expect(outcomes.map(\.dead) == [1, 1, 0, 0, 0] && outcomes.map(\.retries) == [0, 0, 1, 1, 1], "\(outcomes)")
        let told = scene.logSink.messages.filter { $0.contains("bytes of properties, 32767 are the most") }
        #expect(told.first?.contains("of topic T, which group g could not process, is a dead letter at once") == true)
        #expect(scene.logSink.messages.contains { $0.contains("a message for topic T has 32743 bytes of properties of at most 32767") })
        let runtime = try KVTable(decoding: consumer.call(.getBrokerRuntimeInfo).body).table
        #expect(runtime["retriesWithoutRoom"] == "2")
    }

    @Test("A dead letter says where it came from and why it is one, whichever way it came")
    func marks() throws {
        let scene = try scene()
        let consumer = try scene.client()
        let offset = try #require(try scene.messages("T").first).commitLogOffset
        #expect(try consumer.call(sendBack(offset, level: -1)).responseCode == .success)
        #expect(try consumer.call(sendBack(offset, most: 0)).responseCode == .success)
        let retry = scene.sendRequest(
            "%RETRY%g", "last", properties: "RETRY_TOPIC\u{1}T\u{2}ORIGIN_MESSAGE_ID\u{1}O", extra: ["j": "3", "l": "3"])
        #expect(try scene.producer.call(retry).responseCode == .success)
        // Of properties that leave little room all are kept, and less is added. CLUSTER, which follows, has 22 bytes.
        let lengths = [32_200, 32_640, 32_690, 32_720, 32_740]
        for length in lengths {
            let retryTopic = length > 32_730 ? "" : "RETRY_TOPIC\u{1}T\u{2}"
            let full = retryTopic + "x\u{1}" + String(repeating: "y", count: length)
            let sent = scene.sendRequest("%RETRY%g", "full", properties: full, extra: ["j": "3", "l": "3"])
            #expect(try scene.producer.call(sent).responseCode == .success, "\(length)")
        }
        let dead = try scene.messages("%DLQ%g")
        #expect(dead.map { $0.properties["DLQ_ORIGIN_TOPIC"] } == ["T", "T", "T", "T", "T", nil, nil, nil])
        #expect(dead.map { $0.properties["DLQ_ORIGIN_MESSAGE_ID"] } == ["K", "K", "O", nil, nil, nil, nil, nil])
        #expect(dead.map { $0.properties["RETRY_TOPIC"] } == ["T", "T", "T", "T", "T", "T", "T", nil])
        let tooOften = "it was delivered 4 times without success, 3 retries are the most"
        #expect(
            dead.map { $0.properties["DLQ_REASON"] } == [
                "the consumer gave it up (delay level -1)", "it was delivered 1 times without success, 0 retries are the most",
                tooOften, tooOften, "tried 4x", "tried 4x", nil, nil,
            ])
        #expect(dead.suffix(lengths.count).map { $0.properties["x"]?.count } == lengths)
    }

    @Test("A negative delay level means dead letter at once, a positive one that delay")
    func askedLevels() throws {
        let scene = try scene()
        let offset = try #require(try scene.messages("T").first).commitLogOffset
        let consumer = try scene.client()
        #expect(try consumer.call(sendBack(offset, level: -1)).responseCode == .success)
        #expect(try scene.bodies("%DLQ%g") == ["failed"])
        #expect(try consumer.call(sendBack(offset, level: 1)).responseCode == .success)
        scene.loop.advance(by: .milliseconds(1_100))
        #expect(try scene.bodies("%RETRY%g") == ["failed"])
    }

    @Test("Sending back says why when it cannot be done, and never OK before the copy is written")
    func refusals() throws {
        let scene = try scene(["autoCreateSubscriptionGroup": "false"])
        let consumer = try scene.client()
        let unknown = try consumer.call(sendBack(0))
        #expect(unknown.responseCode == .subscriptionGroupNotExist)
        let open = try self.scene()
        let client = try open.client()
        for offset in [1, 5_000_000, -1, Int64.max, Int64.min] {
            let answer = try client.call(sendBack(offset))
            #expect(answer.responseCode != .success, "offset \(offset)")
            #expect(answer.remark?.isEmpty == false)
        }
        open.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        #expect(try client.call(sendBack(0)).responseCode == .serviceNotAvailable)
        open.files.setFault(nil)
        #expect(try open.bodies("T") == ["failed"])
        #expect(try client.call(sendBack(0)).responseCode == .success)
    }

    @Test("A retry that the consumer sends itself becomes a dead letter when it was tried too often")
    func retrySend() throws {
        let scene = try scene()
        func retry(_ body: String, times: Int, most: String?) throws {
            var request = scene.sendRequest(
                "%RETRY%g", body, properties: "RETRY_TOPIC\u{1}T\u{2}DELAY\u{1}1",
                extra: ["a": "CLIENT_INNER_PRODUCER", "j": "\(times)", "l": most ?? ""])
            if most == nil { request.fields["l"] = nil }
            #expect(try scene.producer.call(request).responseCode == .success)
        }
        try retry("again", times: 1, most: "3")
        try retry("dead", times: 3, most: "3")
        try retry("dead by default", times: 16, most: nil)
        #expect(try scene.bodies("%DLQ%g") == ["dead", "dead by default"], "dead letters are not delayed")
        scene.loop.advance(by: .seconds(2))
        #expect(try scene.bodies("%RETRY%g") == ["again"])
    }

    @Test("With SYNC_FLUSH too, a copy that could not be kept is never acknowledged")
    func syncFlush() throws {
        let scene = try scene(["flushDiskType": "SYNC_FLUSH"])
        let client = try scene.client()
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.inputOutput) : nil }
        #expect(try client.call(sendBack(0)).responseCode == .systemError)
    }
}
