import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Batches (320) are stored whole or not at all.
@Suite struct SendingBatchTests {
    @Test("The messages of a batch follow each other; the answer has all ids and the first offset")
    func stored() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", "before")
        let answer = try scene.producer.call(scene.batchRequest("T", (0..<3).map { ("b\($0)", "TAGS\u{1}t\($0)\u{2}WAIT\u{1}\($0 < 2)") }))
        #expect(answer.responseCode == .success)
        #expect(answer.fields["queueOffset"] == "1")
        let messages = try scene.messages("T")
        #expect(messages.map { String(decoding: $0.body, as: UTF8.self) } == ["before", "b0", "b1", "b2"])
        #expect(messages.dropFirst().map { $0.properties["TAGS"] } == ["t0", "t1", "t2"])
        #expect(messages.dropFirst().map { $0.properties["WAIT"] } == [nil, nil, "false"])
        #expect(messages.allSatisfy { $0.properties["CLUSTER"] == "DefaultCluster" })
        let ids = answer.fields["msgId"]?.split(separator: ",").map(String.init)
        let expected = messages.dropFirst().map { message in
            let digits = String(message.commitLogOffset, radix: 16, uppercase: true)
            return "7F00000100002A9F" + String(repeating: "0", count: 16 - digits.count) + digits
        }
        #expect(ids == Array(expected))
    }

    @Test("Consumers can filter the messages of a batch by their own tags")
    func tags() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        _ = try scene.producer.call(scene.batchRequest("T", [("a", "TAGS\u{1}x"), ("b", "TAGS\u{1}y"), ("c", "TAGS\u{1}x")]))
        let answer = try scene.client().call(scene.pullRequest("T", 0, expression: "x"))
        #expect(try MessageExt.decodeAll(answer.body).map { String(decoding: $0.body, as: UTF8.self) } == ["a", "c"])
    }

    @Test("A batch of which anything is wrong stores nothing of it, and takes nothing from others of the tick", arguments: 0..<7)
    func refused(_ kind: Int) throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        var request = scene.batchRequest(
            "T", [("a", ""), ("b", ""), ("c", kind == 0 ? "DELAY\u{1}1" : kind == 1 ? "TRAN_MSG\u{1}true" : "")])
        switch kind {
        case 2: request.body.removeLast()
        case 3: request.body += [0, 0, 0]
        case 4: request.body = []
        // A negative body length, and a size that disagrees.
        case 5: request.body.replaceSubrange(16..<20, with: [0xFF, 0xFF, 0xFF, 0xFF])
        case 6: request.body[3] += 1
        default: break
        }
        let other = try scene.client()
        let before = other.send(scene.sendRequest("T", "other"))
        let opaque = scene.producer.send(request)
        let after = other.send(scene.sendRequest("T", "another"))
        scene.loop.settle()
        let answer = try #require(scene.producer.takeAnswer(to: opaque))
        #expect(answer.responseCode == .messageIllegal)
        #expect(other.takeAnswer(to: before)?.responseCode == .success)
        #expect(other.takeAnswer(to: after)?.responseCode == .success)
        #expect(try scene.bodies("T") == ["other", "another"])
    }

    @Test("A disk that gives out in the middle of a batch takes the whole batch")
    func diskFullInBatch() throws {
        // Log files of 64 KiB: the batch needs a second one, which cannot be made.
        let scene = try BrokerScene(["mappedFileSizeCommitLog": "65536", "maxMessageSize": "60000"])
        try scene.createTopic("T")
        try scene.store("T", "before")
        scene.files.setFault { operation, path in operation == .open && path.hasSuffix("00000000000000065536") ? .fail(.noSpace) : nil }
        let other = try scene.client()
        let innocent = other.send(scene.sendRequest("T", "innocent"))
        let body = String(repeating: "x", count: 10_000)
        let oneway = scene.producer.send(scene.batchRequest("T", (0..<5).map { ("\($0)" + body, "") }))
        _ = oneway
        let batch = scene.producer.send(scene.batchRequest("T", (5..<10).map { ("\($0)" + body.prefix(8_000), "") }))
        scene.loop.settle()
        #expect(scene.producer.takeAnswer(to: batch)?.responseCode == .serviceNotAvailable)
        let stored = try scene.bodies("T").map { $0.prefix(8) }
        // Whoever was told OK is there, whoever was told otherwise is not.
        let isInnocentStored = other.takeAnswer(to: innocent)?.responseCode == .success
        #expect(stored.contains("innocent") == isInnocentStored)
        #expect(!stored.contains { $0.hasPrefix("5x") || $0.hasPrefix("6x") })
        scene.files.setFault(nil)
        let again = try scene.producer.call(scene.batchRequest("T", (5..<10).map { ("\($0)" + body.prefix(8_000), "") }))
        #expect(again.responseCode == .success)
        #expect(try scene.bodies("T").suffix(5).map { $0.prefix(2) } == ["5x", "6x", "7x", "8x", "9x"])
    }

    @Test(
        "The batch's answer waits for the flush unless the batch itself says WAIT=false: one message does not speak for the others",
        arguments: [
            ("", ["WAIT\u{1}true", "WAIT\u{1}true"], true), ("", ["WAIT\u{1}false", ""], true), ("", ["", "WAIT\u{1}false"], true),
            ("WAIT\u{1}true", ["WAIT\u{1}false", "WAIT\u{1}false"], true), ("WAIT\u{1}false", ["", ""], false),
        ])
    func flush(ofBatch: String, ofMessages: [String], waits: Bool) throws {
        let scene = try BrokerScene(["flushDiskType": "SYNC_FLUSH"])
        try scene.createTopic("T")
        scene.flusher.hold()
        var request = scene.batchRequest("T", ofMessages.map { ("body", $0) })
        request.fields["i"] = ofBatch
        let opaque = scene.producer.send(request)
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == (waits ? [] : [opaque]))
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().map(\.opaque) == (waits ? [opaque] : []))
    }
}
