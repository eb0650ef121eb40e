import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What a crash at a bad moment found wanting, each by itself; `TortureTests` looks for more.
@Suite struct CrashTests {
    /// What is found when the power goes off now: many possibilities.
    private func afterPowerLoss(_ files: MemoryFileSystem, _ body: (BrokerScene) throws -> Void) throws {
        for seed in 0..<20 {
            var random = RandomSource(seed: UInt64(seed))
            try body(try BrokerScene(["flushDiskType": "SYNC_FLUSH"], files: files.afterPowerLoss(&random)))
        }
    }

    private func sendBack(_ offset: Int64, level: Int) -> RemotingCommand {
        .request(
            .consumerSendMsgBack,
            [
                "group": "g", "offset": "\(offset)", "delayLevel": "\(level)", "originMsgId": "K", "originTopic": "T",
                "unitMode": "false", "maxReconsumeTimes": "16",
            ])
    }

    @Test("A topic and a group that were made in a new store are there after the power was lost")
    func newDirectories() throws {
        let scene = try BrokerScene()
        try scene.createTopic("Made")
        let config = SubscriptionGroupConfig(groupName: "readers")
        #expect(try scene.producer.call(.updateAndCreateSubscriptiongroup, body: config.encoded()).responseCode == .success)
        try afterPowerLoss(scene.files) { again in
            let topic = try again.producer.call(.getTopicConfig, ["topic": "Made"])
            #expect(topic.responseCode == .success)
            let groups = try SubscriptionGroupWrapper(decoding: again.producer.call(.getAllSubscriptiongroupConfig).body)
            #expect(groups.subscriptionGroupTable["readers"] != nil)
        }
    }

    @Test("With SYNC_FLUSH a message is sent back when its copy is on the disk, not before", arguments: [1, -1])
    func sentBack(_ level: Int) throws {
        let scene = try BrokerScene(["flushDiskType": "SYNC_FLUSH"])
        try scene.createTopic("T")
        try scene.store("T", "failed")
        let offset = try #require(try scene.messages("T").first).commitLogOffset
        scene.flusher.hold()
        let opaque = scene.producer.send(sendBack(offset, level: level))
        scene.loop.settle()
        #expect(scene.producer.takeAnswer(to: opaque) == nil)
        scene.flusher.release()
        scene.loop.settle()
        #expect(scene.producer.takeAnswer(to: opaque)?.responseCode == .success)
        try afterPowerLoss(scene.files) { again in
            again.loop.advance(by: .seconds(3))
            let bodies = try again.bodies(level < 0 ? "%DLQ%g" : "%RETRY%g")
            #expect(bodies == ["failed"])
        }
    }

    @Test("The topic of a group's first dead letter is there after the process was killed the moment after the answer")
    func deadLetterTopic() throws {
        let scene = try BrokerScene()
        try scene.store("T", "failed")
        let offset = try #require(try scene.messages("T").first).commitLogOffset
        #expect(try scene.producer.call(sendBack(offset, level: -1)).responseCode == .success)
        #expect(try BrokerScene(files: scene.files.copy()).bodies("%DLQ%g") == ["failed"])
    }

    @Test("A send to a new topic is not acknowledged when the topic cannot be stored; it is when that goes again")
    func topicFileFails() throws {
        let scene = try BrokerScene()
        scene.files.setFault { operation, path in operation == .write && path.contains("topics.json") ? .fail(.noSpace) : nil }
        let answer = try scene.producer.call(scene.sendRequest("Fresh"))
        #expect(answer.responseCode == .systemError)
        #expect(answer.remark?.contains("Fresh") == true && answer.remark?.contains("topics.json") == true)
        let made = try scene.producer.call(
            .updateAndCreateTopic,
            [
                "topic": "Made", "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
            ])
        #expect(made.responseCode == .systemError)
        for topic in ["Fresh", "Made"] {
            let opaque = scene.producer.send(scene.sendRequest(topic))
            scene.loop.advance(by: .seconds(3))
            #expect(scene.producer.takeAnswer(to: opaque)?.responseCode == .systemError)
        }
        scene.files.setFault(nil)
        scene.loop.advance(by: .seconds(11))
        try scene.store("Fresh", "kept")
        #expect(try BrokerScene(files: scene.files.copy()).bodies("Fresh") == ["body", "body", "kept"])
    }

    @Test("A group that had read what the power took away reads what comes in its place")
    func offsetsBeyondTheEnd() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", "durable")
        scene.loop.advance(by: .seconds(20))
        // The flush does not come any more, the offsets do.
        scene.flusher.hold()
        for body in ["lost", "lost too"] { try scene.store("T", body) }
        let committed = try scene.producer.call(
            .updateConsumerOffset, ["consumerGroup": "g", "topic": "T", "queueId": "0", "commitOffset": "3"])
        #expect(committed.responseCode == .success)
        scene.loop.advance(by: .seconds(6))
        var ends: Set<Int> = []
        for seed in 0..<40 {
            var random = RandomSource(seed: UInt64(seed))
            let again = try BrokerScene(files: scene.files.afterPowerLoss(&random))
            let end = try again.bodies("T").count
            ends.insert(end)
            let answer = try again.producer.call(.queryConsumerOffset, ["consumerGroup": "g", "topic": "T", "queueId": "0"])
            #expect(answer.fields["offset"] == "\(end)")
            #expect(again.logSink.contains("group g in T-0, from 3 to \(end)") == (end < 3))
        }
        #expect(ends.contains(1), "a loss of power takes what was not flushed")
    }

    @Test("A retry to a topic that flushes on its own waits for that too")
    func deduplicatedInFlushedTopic() throws {
        let scene = try BrokerScene(["deduplicationWindow": "60000"])
        let made = try scene.producer.call(
            .updateAndCreateTopic,
            [
                "topic": "T", "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": "+flush.disk.type=SYNC_FLUSH",
            ])
        try #require(made.responseCode == .success)
        scene.flusher.hold()
        let first = scene.producer.send(scene.sendRequest("T", properties: "UNIQ_KEY\u{1}K"))
        scene.loop.settle()
        let again = scene.producer.send(scene.sendRequest("T", properties: "UNIQ_KEY\u{1}K"))
        scene.loop.settle()
        #expect(scene.producer.takeAnswer(to: again) == nil)
        scene.flusher.release()
        scene.loop.settle()
        for opaque in [first, again] { #expect(scene.producer.takeAnswer(to: opaque)?.responseCode == .success) }
    }

    @Test("A deleted topic's messages and its groups' offsets do not come back, neither after a kill nor without power")
    func deletedTopic() throws {
        let scene = try BrokerScene(["flushDiskType": "SYNC_FLUSH"])
        try scene.createTopic("T")
        for body in ["a", "b", "c"] { try scene.store("T", body) }
        let committed = try scene.producer.call(
            .updateConsumerOffset, ["consumerGroup": "g", "topic": "T", "queueId": "0", "commitOffset": "2"])
        #expect(committed.responseCode == .success)
        scene.loop.advance(by: .seconds(6))
        #expect(try scene.producer.call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        func expectNothingOld(_ again: BrokerScene) throws {
            try again.createTopic("T")
            for body in ["d", "e", "f"] { try again.store("T", body) }
            #expect(try again.bodies("T") == ["d", "e", "f"])
            let offset = try again.producer.call(.queryConsumerOffset, ["consumerGroup": "g", "topic": "T", "queueId": "0"])
            #expect(offset.fields["offset"] != "2")
        }
        try expectNothingOld(BrokerScene(files: scene.files.copy()))
        try afterPowerLoss(scene.files, expectNothingOld)
        let withoutQueues = scene.files.copy()
        withoutQueues.removeTree("/store/consumequeue")
        try expectNothingOld(BrokerScene(files: withoutQueues))
    }

    @Test("A deletion that the disk does not take is not answered with success, and may be asked for again")
    func deletionFails() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", "old")
        scene.files.setFault { operation, path in operation == .write && path.contains("deleted-topics") ? .fail(.noSpace) : nil }
        let refused = try scene.producer.call(.deleteTopicInBroker, ["topic": "T"])
        #expect(refused.responseCode == .systemError && refused.remark?.contains("may come back") == true)
        scene.files.setFault(nil)
        #expect(try scene.producer.call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        let files = scene.files.copy()
        files.removeTree("/store/consumequeue")
        let again = try BrokerScene(files: files)
        try again.createTopic("T")
        #expect(try again.bodies("T").isEmpty)
    }

    @Test("A transaction whose topic is gone is committed when the topic is there for good, and stays undecided when it cannot be made")
    func commitWithoutTopic() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        let properties = "UNIQ_KEY\u{1}K\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers"
        let half = try scene.producer.call(scene.sendRequest("T", "kept", properties: properties, extra: ["f": "4"]))
        try #require(half.responseCode == .success)
        let place = try OffsetMessageID(#require(half.fields["msgId"])).commitLogOffset
        #expect(try scene.producer.call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        let commit = RemotingCommand.request(
            .endTransaction,
            [
                "producerGroup": "producers", "tranStateTableOffset": half.fields["queueOffset"] ?? "", "commitLogOffset": "\(place)",
                "commitOrRollback": "8", "fromTransactionCheck": "false", "msgId": "K",
            ])
        scene.files.setFault { operation, path in operation == .write && path.contains("topics.json") ? .fail(.noSpace) : nil }
        let refused = try scene.producer.call(commit)
        #expect(refused.responseCode == .systemError && refused.remark?.contains("stays undecided") == true)
        scene.files.setFault(nil)
        #expect(try scene.producer.call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        #expect(try scene.producer.call(commit).responseCode == .success)
        #expect(try BrokerScene(files: scene.files.copy()).bodies("T") == ["kept"])
    }

    @Test("A manifest that promises more than the timer's files hold is not believed, and what waits is found in the log")
    func hostileManifest() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", "later", properties: "UNIQ_KEY\u{1}K\u{2}TIMER_DELAY_MS\u{1}5000")
        try scene.stop()
        let files = scene.files.copy()
        let path = "/store/timer/" + DelayManifest.fileName
        let bytes = try #require(files.bytes(path))
        var manifest = try #require(DelayManifest(bytes))
        try #require(manifest.runs.count == 1)
        for count in [1 << 30, 1 << 39, Int64.max] {
            manifest.runs[0].info.count = count
            files.setBytes(path, manifest.encoded())
            let again = try BrokerScene(files: files.copy())
            again.loop.advance(by: .seconds(10))
            let bodies = try again.bodies("T")
            #expect(bodies == ["later"])
        }
    }
}
