import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

/// `deduplicationWindow`: a send that comes again is stored once.
@Suite struct SendingDeduplicationTests {
    private func scene(_ more: [String: String] = [:], files: MemoryFileSystem = MemoryFileSystem(), later: Duration = .zero) throws
        -> BrokerScene
    {
        let scene = try BrokerScene(["deduplicationWindow": "60000"].merging(more) { $1 }, files: files, later: later)
        try scene.createTopic("T")
        return scene
    }

    private func key(_ name: String) -> String { "UNIQ_KEY\u{1}\(name)\u{2}TAGS\u{1}x" }

    /// What a producer makes of an answer.
    private func result(_ answer: RemotingCommand) -> [String?] {
        [answer.remark] + ["msgId", "queueId", "queueOffset", "transactionId"].map { answer.fields[$0] }
    }

    @Test("A retry gets the first one's result, whichever queue it goes to, and is not stored")
    func retry() throws {
        let scene = try scene()
        try scene.store("T", "other", queue: 1, properties: key("other"))
        let first = try scene.store("T", "once", queue: 1, properties: key("K1"))
        for queue in [1, 0, 3, -1] {
            let again = try scene.store("T", "once", queue: Int32(queue), properties: key("K1"))
            #expect(result(again) == result(first))
            #expect(again.fields["MSG_REGION"] == first.fields["MSG_REGION"])
        }
        #expect(first.fields["queueOffset"] == "1" && first.fields["queueId"] == "1")
        #expect(try scene.bodies("T", queue: 1) == ["other", "once"])
        for queue in [0, 2, 3] { #expect(try scene.bodies("T", queue: Int32(queue)).isEmpty) }
        let runtime = try KVTable(decoding: scene.client().call(.getBrokerRuntimeInfo).body).table
        #expect(runtime["deduplicationRecognised"] == "4" && runtime["deduplicationKeys"] == "2")
    }

    @Test("Another topic, another key, no key, and a broker without the window store every send")
    func notTheSame() throws {
        let scene = try scene()
        try scene.createTopic("U")
        try scene.store("T", "1", properties: key("K"))
        try scene.store("U", "2", properties: key("K"))
        try scene.store("T", "3", properties: key("L"))
        for _ in 0..<2 { try scene.store("T", "4") }
        #expect(try scene.bodies("T") == ["1", "3", "4", "4"])
        #expect(try scene.bodies("U") == ["2"])
        let plain = try BrokerScene()
        try plain.createTopic("T")
        for _ in 0..<2 { try plain.store("T", "twice", properties: key("K")) }
        #expect(try plain.bodies("T") == ["twice", "twice"])
        #expect(try KVTable(decoding: plain.client().call(.getBrokerRuntimeInfo).body).table["deduplicationKeys"] == nil)
    }

    @Test("Copies that are meant are stored: retries of consumers, and dead letters sent once more")
    func meantCopies() throws {
        let scene = try scene()
        try scene.store("%RETRY%cg", "retry", properties: key("K"))
        try scene.store("%RETRY%cg", "retry", properties: key("K"))
        #expect(try scene.bodies("%RETRY%cg") == ["retry", "retry"])
        try scene.store("T", "letter", properties: key("K"))
        try scene.store("T", "letter", properties: key("K") + "\u{2}DLQ_ORIGIN_MESSAGE_ID\u{1}7F00000100002A9F0000000000000000")
        #expect(try scene.bodies("T") == ["letter", "letter"])
    }

    @Test("A retry in the same tick is answered with the first one, both when they are written")
    func sameTick() throws {
        let scene = try scene()
        let other = try scene.client()
        let opaques = [
            scene.producer.send(scene.sendRequest("T", "once", queue: 2, properties: key("K"))),
            other.send(scene.sendRequest("T", "once", queue: 0, properties: key("K"))),
            scene.producer.send(scene.sendRequest("T", "next", queue: 2, properties: key("L"))),
        ]
        #expect(scene.producer.takeAnswers().isEmpty && other.takeAnswers().isEmpty)
        scene.loop.settle()
        let (first, again) = (try #require(scene.producer.takeAnswer(to: opaques[0])), try #require(other.takeAnswer(to: opaques[1])))
        #expect(first.responseCode == .success && again.responseCode == .success && result(first) == result(again))
        #expect(scene.producer.takeAnswer(to: opaques[2])?.fields["queueOffset"] == "1")
        #expect(try scene.bodies("T", queue: 2) == ["once", "next"])
    }

    @Test("A send that was not stored is not remembered: its retry is stored, also beside one that stays")
    func failedCommit() throws {
        let scene = try scene()
        try scene.store("T", "before", properties: key("A"))
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        let lost = [key("B"), key("B"), key("C")].map { scene.producer.send(scene.sendRequest("T", "lost", properties: $0)) }
        let known = scene.producer.send(scene.sendRequest("T", "before", properties: key("A")))
        scene.loop.settle()
        for opaque in lost { #expect(scene.producer.takeAnswer(to: opaque)?.responseCode == .serviceNotAvailable) }
        #expect(scene.producer.takeAnswer(to: known)?.fields["queueOffset"] == "0", "the disk does not matter to what is stored")
        scene.files.setFault(nil)
        let stored = try scene.store("T", "second try", properties: key("B"))
        #expect(stored.fields["queueOffset"] == "1")
        #expect(result(try scene.store("T", "third try", properties: key("B"))) == result(stored))
        #expect(try scene.bodies("T") == ["before", "second try"])
    }

    @Test("With SYNC_FLUSH a retry is told OK when the first is on the disk, not before, and nothing when the flush fails")
    func flush() throws {
        let scene = try scene(["flushDiskType": "SYNC_FLUSH", "syncFlushTimeout": "2000"])
        scene.flusher.hold()
        let first = scene.producer.send(scene.sendRequest("T", "once", properties: key("K")))
        scene.loop.settle()
        let again = scene.producer.send(scene.sendRequest("T", "once", queue: 1, properties: key("K")))
        let hurried = scene.producer.send(scene.sendRequest("T", "once", properties: key("K") + "\u{2}WAIT\u{1}false"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswer(to: again) == nil)
        #expect(scene.producer.takeAnswer(to: hurried)?.responseCode == .success, "it is written, and did not want to wait")
        scene.loop.advance(by: .milliseconds(2500))
        for opaque in [first, again] {
            let answer = try #require(scene.producer.takeAnswer(to: opaque))
            #expect(answer.responseCode == .flushDiskTimeout && answer.fields["queueOffset"] == "0" && answer.fields["queueId"] == "0")
        }
        let third = scene.producer.send(scene.sendRequest("T", "once", properties: key("K")))
        scene.loop.settle()
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswer(to: third)?.responseCode == .success)
        #expect(try scene.store("T", "once", properties: key("K")).fields["queueOffset"] == "0", "at once, now that it is durable")

        scene.files.setFault { operation, path in
            operation == .synchronize && path.contains("/commitlog/") ? .fail(.inputOutput) : nil
        }
        #expect(try scene.producer.call(scene.sendRequest("T", "unsure", properties: key("L"))).responseCode == .systemError)
        let unsure = try scene.producer.call(scene.sendRequest("T", "unsure", properties: key("L")))
        #expect(unsure.responseCode == .systemError && unsure.remark?.contains("flush") == true)
        #expect(try scene.store("T", "once", properties: key("K")).fields["queueOffset"] == "0", "that is durable for good")
    }

    @Test("A batch that comes again is answered whole; of one that is known in part the rest is stored")
    func batch() throws {
        let scene = try scene()
        let messages = (0..<5).map { (body: "b\($0)", properties: key("B\($0)")) }
        try scene.store("T", "before", queue: 1)
        let first = try scene.producer.call(scene.batchRequest("T", messages, queue: 1))
        #expect(first.responseCode == .success)
        let again = try scene.producer.call(scene.batchRequest("T", messages, queue: 3))
        #expect(result(again) == result(first))
        #expect(again.fields["msgId"]?.split(separator: ",").count == 5 && again.fields["queueOffset"] == "1")
        #expect(try scene.bodies("T", queue: 1) == ["before", "b0", "b1", "b2", "b3", "b4"])
        #expect(try scene.bodies("T", queue: 3).isEmpty)
        let partly = try scene.producer.call(scene.batchRequest("T", messages + [(body: "b5", properties: key("B5"))], queue: 3))
        let ids = try #require(partly.fields["msgId"]).split(separator: ",")
        #expect(ids.count == 6 && ids.prefix(5).joined(separator: ",") == first.fields["msgId"])
        #expect(partly.fields["queueId"] == "1" && partly.fields["queueOffset"] == "1", "the place of the first message")
        #expect(try scene.bodies("T", queue: 3) == ["b5"])
        // Batches that were put together anew, or hold a message twice; each message alone.
        for parts in [[5, 0, 6], [6, 7, 7], [7, 3]] {
            let mixed = parts.map { (body: "b\($0)", properties: key("B\($0)")) }
            #expect(
                try scene.producer.call(scene.batchRequest("T", mixed, queue: 3)).fields["msgId"]?.split(separator: ",").count
                    == parts.count)
        }
        for number in 0..<8 { try scene.store("T", "b\(number)", properties: key("B\(number)")) }
        #expect(try scene.bodies("T", queue: 3) == ["b5", "b6", "b7"])
        #expect(try scene.bodies("T", queue: 0).isEmpty)
        let keyless = (0..<2).map { (body: "k\($0)", properties: "") }
        for _ in 0..<2 { #expect(try scene.producer.call(scene.batchRequest("T", keyless, queue: 2)).responseCode == .success) }
        #expect(try scene.bodies("T", queue: 2).count == 4)
    }

    @Test("Delayed and half messages are known by the topic that they were sent to")
    func detours() throws {
        let scene = try scene()
        for (properties, topic) in [
            ("DELAY\u{1}2\u{2}", "SCHEDULE_TOPIC_XXXX"), ("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}", "RMQ_SYS_TRANS_HALF_TOPIC"),
        ] {
            let sent = properties + key(topic)
            let first = try scene.store("T", "once", queue: 2, properties: sent)
            #expect(result(try scene.store("T", "once", queue: 0, properties: sent)) == result(first))
            #expect(first.fields["queueId"] == "2")
            #expect(try scene.messages(topic, queue: topic.hasPrefix("SCHEDULE") ? 1 : 0).count == 1)
        }
        try scene.stop()
        let second = try self.scene(files: scene.files.copy())
        try second.store("T", "once", properties: "DELAY\u{1}2\u{2}" + key("SCHEDULE_TOPIC_XXXX"))
        #expect(try second.messages("SCHEDULE_TOPIC_XXXX", queue: 1).count == 1)
        let half = try second.store("T", "once", properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}" + key("RMQ_SYS_TRANS_HALF_TOPIC"))
        #expect(half.fields["queueId"] == "2" && half.fields["queueOffset"] == "0")
    }

    @Test("A restart, clean or not, does not forget, and what is older than the window is not read", arguments: [true, false])
    func restart(isClean: Bool) throws {
        let settings = ["mappedFileSizeCommitLog": "131072"]
        let scene = try scene(settings)
        try scene.store("T", "old", properties: key("old"))
        let filler = String(repeating: "x", count: 1000)
        for index in 0..<600 { try scene.store("T", filler, queue: Int32(index % 4), properties: key("old \(index)")) }
        scene.loop.advance(by: .seconds(50))
        let first = try scene.store("T", "young", queue: 1, properties: key("young"))
        let batch = (0..<3).map { (body: "b\($0)", properties: key("B\($0)")) }
        let stored = try scene.producer.call(scene.batchRequest("T", batch, queue: 2))
        for index in 0..<200 { try scene.store("T", filler, queue: Int32(index % 4), properties: key("young \(index)")) }
        if isClean { try scene.stop() }
        let second = try self.scene(settings, files: scene.files.copy(), later: .seconds(70))
        #expect(second.logSink.contains("204 sends of the last 60 s are remembered", atLeast: .info))
        #expect(result(try second.store("T", "young", queue: 3, properties: key("young"))) == result(first))
        #expect(result(try second.producer.call(second.batchRequest("T", batch, queue: 0))) == result(stored))
        #expect(try second.store("T", "old again", queue: 0, properties: key("old")).fields["queueId"] == "0")
        #expect(try second.bodies("T", queue: 0, from: 190).last == "old again")
    }

    @Test("After the window a key is new; when there are too many the oldest go")
    func bounds() throws {
        let scene = try scene(["deduplicationMaxKeys": "1000"])
        try scene.store("T", "a", properties: key("K"))
        scene.loop.advance(by: .seconds(59))
        try scene.store("T", "b", properties: key("K"))
        #expect(try scene.bodies("T") == ["a"])
        scene.loop.advance(by: .seconds(2))
        try scene.store("T", "c", properties: key("K"))
        try scene.store("T", "d", properties: key("K"))
        #expect(try scene.bodies("T") == ["a", "c"])
        for index in 0..<1000 { try scene.store("T", "more", queue: 1, properties: key("M\(index)")) }
        try scene.store("T", "e", properties: key("K"))
        #expect(try scene.bodies("T") == ["a", "c", "e"])
        try scene.store("T", "not again", queue: 1, properties: key("M999"))
        #expect(try scene.messages("T", queue: 1).count == 1000)
    }

    @Test("The window does what a plain table would, through random histories", arguments: 0..<8)
    func model(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        let most = 16
        let window = DeduplicationWindow(.init(milliseconds: 100, mostKeys: most, secret: seed))
        // What is remembered, oldest first.
        var known: [(key: Int, offset: Int64, time: Int64)] = []
        var now: Int64 = 1000
        var offset: Int64 = 0
        func identity(_ key: Int) -> SendIdentity {
            let bytes = Array("key \(key)".utf8)
            return window.identity(topic: Array("T".utf8).span.bytes, key: bytes.span.bytes)
        }
        for _ in 0..<4000 {
            now += Int64(random.next() % 12)
            var staged = 0
            for _ in 0..<(random.next() % 6) {
                let key = Int(random.next() % 40)
                let expected = known.last { $0.key == key && now - $0.time <= 100 }
                let found = window.find(identity(key), at: now)
                #expect(found?.physicalOffset == expected?.offset)
                guard found == nil else { continue }
                offset += 1
                window.insert(
                    .init(identity: identity(key), physicalOffset: offset, queueOffset: 0, timestamp: now, queueID: 0, size: 1))
                known.removeAll { now - $0.time > 100 }
                if known.count == most { known.removeFirst() }
                known.append((key, offset, now))
                staged += 1
            }
            let isCommitted = random.next() % 5 != 0
            window.settle(isCommitted: isCommitted)
            if !isCommitted { known.removeLast(staged) }
            #expect(window.count <= most)
        }
        #expect(window.crowdedOut > 0)
    }
}
