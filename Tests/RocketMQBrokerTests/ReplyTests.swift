import RocketMQBase
import RocketMQProtocol
import RocketMQTesting
import Testing

@testable import RocketMQBroker

/// Replies carried to those who made the requests.
struct ReplyTests {
    static let topic = "DefaultCluster_REPLY_TOPIC"
    let scene: BrokerScene
    let requester: TestClient
    let replier: TestClient

    init() throws {
        scene = try BrokerScene()
        requester = try scene.client()
        replier = try scene.client()
        let heartbeat = HeartbeatData(clientID: "10.0.0.9@requester", producerDataSet: [ProducerData(groupName: "rg")])
        #expect(try requester.call(.heartBeat, body: heartbeat.encoded()).responseCode == .success)
    }

    /// A reply as the reference's client sends it (325).
    func reply(to client: String? = "10.0.0.9@requester", topic: String = Self.topic, queue: Int = 0, body: String = "an answer")
        -> RemotingCommand
    {
        var properties = "MSG_TYPE\u{1}reply\u{2}UNIQ_KEY\u{1}K9\u{2}TTL\u{1}5000\u{2}CORRELATION_ID\u{1}c-1"
        if let client { properties += "\u{2}REPLY_TO_CLIENT\u{1}\(client)" }
        return .request(
            .sendReplyMessageV2,
            [
                "a": "repliers", "b": topic, "c": "TBW102", "d": "4", "e": "\(queue)", "f": "0", "g": "1795218698644", "h": "7",
                "i": properties, "j": "0", "k": "false", "m": "false", "n": "broker-a",
            ], body: Array(body.utf8))
    }

    /// The names of the fields in the captured frame of 326.
    static let pushFields: Set<String> = [
        "queueId", "flag", "sysFlag", "reconsumeTimes", "storeTimestamp", "unitMode", "defaultTopic", "bornHost", "defaultTopicQueueNums",
        "producerGroup", "topic", "bornTimestamp", "storeHost", "properties",
    ]

    @Test func aReplyReachesItsRequesterAndIsKept() throws {
        let opaque = replier.send(reply())
        scene.loop.settle()
        let push = try #require(requester.takeRequests().first)
        #expect(push.requestCode == .pushReplyMessageToClient && !push.isOneway)
        #expect(Set(push.fields.keys) == Self.pushFields)
        #expect(push.body == Array("an answer".utf8))
        #expect(push.fields["topic"] == Self.topic && push.fields["producerGroup"] == "repliers" && push.fields["flag"] == "7")
        let properties = MessageProperties(decoding: push.fields["properties"] ?? "")
        #expect(properties["CORRELATION_ID"] == "c-1" && properties["TTL"] == "5000" && properties["MSG_TYPE"] == "reply")
        #expect(properties["PUSH_REPLY_TIME"] == push.fields["storeTimestamp"])
        // Nothing is said to the replier before the requester has it.
        #expect(replier.takeAnswer(to: opaque) == nil)
        requester.answer(push, .success())
        scene.loop.settle()
        let answer = try #require(replier.takeAnswer(to: opaque))
        #expect(answer.responseCode == .success && answer.fields["queueId"] == "0" && answer.fields["queueOffset"] == "0")
        #expect(answer.fields["MSG_REGION"] == "DefaultRegion" && answer.fields["TRACE_ON"] == "true")
        let kept = try #require(try scene.messages(Self.topic).first)
        #expect(answer.fields["msgId"] == kept.offsetMessageID)
        #expect(kept.body == Array("an answer".utf8) && kept.properties["CORRELATION_ID"] == "c-1" && kept.flag == 7)
    }

    @Test func theLongFormIsUnderstoodAndNothingIsKeptWhenThatIsOff() throws {
        let scene = try BrokerScene(["storeReplyMessageEnable": "false"])
        let (requester, replier) = (try scene.client(), try scene.client())
        let heartbeat = HeartbeatData(clientID: "r", producerDataSet: [ProducerData(groupName: "rg")])
        _ = try requester.call(.heartBeat, body: heartbeat.encoded())
        let opaque = replier.send(
            .request(
                .sendReplyMessage,
                [
                    "producerGroup": "repliers", "topic": Self.topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
                    "queueId": "-1", "sysFlag": "0", "bornTimestamp": "1", "flag": "0",
                    "properties": "REPLY_TO_CLIENT\u{1}r\u{2}CORRELATION_ID\u{1}c", "reconsumeTimes": "0", "unitMode": "false",
                ], body: [1]))
        scene.loop.settle()
        let push = try #require(requester.takeRequests().first)
        requester.answer(push, .success())
        scene.loop.settle()
        let answer = try #require(replier.takeAnswer(to: opaque))
        // As the reference: zeros, so that its client can read the answer.
        #expect(answer.responseCode == .success && answer.fields["msgId"] == "0" && answer.fields["queueOffset"] == "0")
        #expect(try scene.messages(Self.topic).isEmpty)
    }

    @Test func aRequesterThatIsGoneIsNamed() throws {
        let unknown = try replier.call(reply(to: "10.0.0.9@other"))
        #expect(unknown.responseCode == .systemError)
        #expect(unknown.remark?.hasPrefix("push reply message fail, channel of <10.0.0.9@other> not found") == true)
        let nobody = try replier.call(reply(to: nil))
        #expect(nobody.responseCode == .systemError && nobody.remark?.contains("REPLY_TO_CLIENT") == true)
        requester.close()
        scene.loop.settle()
        #expect(try replier.call(reply()).remark?.contains("not found") == true)
        #expect(scene.logSink.messages.contains { $0.contains("10.0.0.9@other") })
    }

    @Test func aRequesterThatLeavesOrKeepsSilentEndsTheWait() throws {
        let first = replier.send(reply())
        scene.loop.settle()
        scene.loop.advance(by: .seconds(11))
        let late = try #require(replier.takeAnswer(to: first))
        #expect(late.responseCode == .systemError && late.remark?.contains("10.0.0.9@requester") == true)
        let second = replier.send(reply())
        scene.loop.settle()
        requester.close()
        scene.loop.settle()
        #expect(replier.takeAnswer(to: second)?.responseCode == .systemError)
        // One that has left its group, on a connection that goes on.
        let other = try scene.client()
        let heartbeat = HeartbeatData(clientID: "leaver", producerDataSet: [ProducerData(groupName: "rg")])
        _ = try other.call(.heartBeat, body: heartbeat.encoded())
        _ = try other.call(.unregisterClient, ["clientID": "leaver", "producerGroup": "rg"])
        #expect(try replier.call(reply(to: "leaver")).remark?.contains("not found") == true)
    }

    @Test func wrongRepliesAreRefused() throws {
        #expect(try replier.call(reply(topic: "Other_REPLY_TOPIC")).responseCode == .topicNotExist)
        #expect(try replier.call(reply(queue: 1)).responseCode == .systemError)
        #expect(try replier.call(reply(topic: SystemTopic.schedule)).responseCode == .noPermission)
        #expect(try replier.call(reply(body: String(repeating: "x", count: 70_000))).responseCode == .messageIllegal)
        #expect(try replier.call(.sendReplyMessageV2, ["b": Self.topic, "e": "none"]).responseCode == .systemError)
    }

    @Test("A reply finds a requester whose heartbeat has not come, by the connection that its request came on")
    func beforeTheHeartbeat() throws {
        let fresh = try scene.client()
        func replyFails() throws -> Bool {
            let opaque = replier.send(reply(to: "10.0.0.8@fresh"))
            scene.loop.settle()
            for push in fresh.takeRequests() { fresh.answer(push, .success()) }
            scene.loop.settle()
            return try #require(replier.takeAnswer(to: opaque)).responseCode != .success
        }
        #expect(try replyFails())
        try scene.createTopic("Requests")
        let request = scene.sendRequest(
            "Requests", properties: "UNIQ_KEY\u{1}Q1\u{2}CORRELATION_ID\u{1}c-1\u{2}REPLY_TO_CLIENT\u{1}10.0.0.8@fresh\u{2}TTL\u{1}3000")
        #expect(try fresh.call(request).responseCode == .success)
        #expect(try !replyFails())
        // Who says by heartbeats that it is that client is believed before who only says so in a message.
        #expect(
            try replier.call(scene.sendRequest("Requests", properties: "REPLY_TO_CLIENT\u{1}10.0.0.9@requester")).responseCode == .success)
        _ = replier.send(reply())
        scene.loop.settle()
        #expect(replier.takeRequests().isEmpty && requester.takeRequests().count == 1)
        // Nor is one who sends its request on.
        let forwarded = "CORRELATION_ID\u{1}c-1\u{2}REPLY_TO_CLIENT\u{1}10.0.0.8@fresh"
        for topic in ["Requests", "%RETRY%rg"] {
            #expect(try replier.call(scene.sendRequest(topic, properties: forwarded)).responseCode == .success)
        }
        #expect(try !replyFails())
        fresh.close()
        scene.loop.settle()
        #expect(try replyFails(), "it is gone")
    }
}
