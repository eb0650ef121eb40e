import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Messages for delivery at any time: at their time, once, and not when they were taken back.
@Suite struct TimerTests {
    private func scene(_ settings: [String: String] = [:]) throws -> BrokerScene {
        let scene = try BrokerScene(settings)
        try scene.createTopic("T")
        return scene
    }

    @Test(
        "A message comes within the precision after its time and not before",
        arguments: ["TIMER_DELAY_SEC\u{1}7", "TIMER_DELAY_MS\u{1}7000", "at"])
    func delivery(_ property: String) throws {
        let scene = try scene()
        let due = scene.loop.clock.wallMilliseconds + 7000
        let text = property == "at" ? "TIMER_DELIVER_MS\u{1}\(due)" : property
        let answer = try scene.store("T", "later", queue: 2, properties: "UNIQ_KEY\u{1}K\u{2}TAGS\u{1}t\u{2}\(text)\u{2}WAIT\u{1}true")
        #expect(answer.fields["queueId"] == "2")
        let handle = try #require(RecallHandle(answer.fields["recallHandle"] ?? ""))
        #expect(handle.topic == "T" && handle.brokerName == "broker-a" && handle.due == due && handle.key == "K")
        scene.loop.advance(by: .milliseconds(6990))
        #expect(try scene.bodies("T", queue: 2).isEmpty)
        scene.loop.advance(by: .milliseconds(110))
        let found = try scene.messages("T", queue: 2)
        try #require(found.count == 1)
        #expect(found[0].body == Array("later".utf8))
        #expect(found[0].storeTimestamp >= due && found[0].storeTimestamp <= due + 100)
        #expect(found[0].properties["TAGS"] == "t")
        #expect(found[0].properties["UNIQ_KEY"] == "K")
        #expect(found[0].properties["TIMER_OUT_MS"] == "\(due)")
        #expect(found[0].properties["REAL_TOPIC"] == nil)
        #expect(found[0].properties["CLUSTER"] == "DefaultCluster")
        let filtered = try scene.client().call(scene.pullRequest("T", 0, queue: 2, expression: "t"))
        #expect(filtered.responseCode == .success, "tags of delivered messages can be filtered by")
    }

    @Test("Messages come in the order of their times, those of one time as they were sent")
    func order() throws {
        let scene = try scene()
        for (body, delay) in [("d", 900), ("b", 500), ("c", 500), ("a", 100)] {
            try scene.store("T", body, properties: "TIMER_DELAY_MS\u{1}\(delay)")
        }
        scene.loop.advance(by: .seconds(2))
        #expect(try scene.bodies("T") == ["a", "b", "c", "d"])
    }

    @Test("What was due before it came is delivered at once", arguments: ["TIMER_DELIVER_MS\u{1}1000", "TIMER_DELAY_MS\u{1}-5"])
    func past(_ property: String) throws {
        let scene = try scene()
        let answer = try scene.store("T", "now", properties: property + "\u{2}UNIQ_KEY\u{1}K")
        #expect(answer.fields["recallHandle"] == nil)
        #expect(try scene.bodies("T") == ["now"])
    }

    @Test("A delay beyond the longest, or one that is no number, is refused with the reason")
    func refusals() throws {
        let scene = try scene(["timerMaxDelaySec": "60"])
        func refusal(_ properties: String) throws -> RemotingCommand {
            try scene.producer.call(scene.sendRequest("T", properties: properties))
        }
        for property in ["TIMER_DELAY_SEC\u{1}61", "TIMER_DELAY_SEC\u{1}9223372036854775807", "TIMER_DELIVER_MS\u{1}9223372036854775807"] {
            let answer = try refusal(property)
            #expect(answer.responseCode == .messageIllegal)
            #expect(answer.remark?.contains("60000ms") == true && answer.remark?.contains("timerMaxDelaySec") == true)
        }
        #expect(try refusal("TIMER_DELAY_MS\u{1}soon").remark?.contains("not a number: soon") == true)
        let batch = try scene.producer.call(scene.batchRequest("T", [("a", "TIMER_DELAY_MS\u{1}50")]))
        #expect(batch.responseCode == .messageIllegal)
        #expect(try scene.store("T", properties: "TIMER_DELAY_SEC\u{1}60").responseCode == .success)
        let direct = try scene.producer.call(scene.sendRequest(SystemTopic.timer))
        #expect(direct.responseCode == .noPermission)
    }

    @Test("timerWheelEnable=false refuses new ones, and those that wait come all the same")
    func disabled() throws {
        let scene = try scene()
        try scene.store("T", "waits", properties: "TIMER_DELAY_MS\u{1}500")
        let change = try scene.client().call(.updateBrokerConfig, body: Array("timerWheelEnable=false".utf8))
        #expect(change.responseCode == .success, "\(change.remark ?? "")")
        let answer = try scene.producer.call(scene.sendRequest("T", properties: "TIMER_DELAY_MS\u{1}500"))
        #expect(answer.remark?.contains("timerWheelEnable is false") == true)
        scene.loop.advance(by: .seconds(1))
        #expect(try scene.bodies("T") == ["waits"])
    }

    @Test("A delay level counts more than a time, as in the reference")
    func levelFirst() throws {
        let scene = try scene(["messageDelayLevel": "1s 5s"])
        try scene.store("T", "level", properties: "TIMER_DELAY_SEC\u{1}600\u{2}DELAY\u{1}2")
        try scene.store("T", "time", properties: "TIMER_DELAY_SEC\u{1}1\u{2}DELAY\u{1}0")
        scene.loop.advance(by: .milliseconds(1100))
        #expect(try scene.bodies("T") == ["time"])
        scene.loop.advance(by: .seconds(4))
        #expect(try scene.bodies("T") == ["time", "level"])
    }

    @Test("A delivered message that is sent on with its properties does not wait again, and one that failed is tried again by level")
    func sentOn() throws {
        let scene = try scene(["messageDelayLevel": "1s 5s 10s"])
        try scene.store("T", "m", properties: "TIMER_DELAY_SEC\u{1}2\u{2}UNIQ_KEY\u{1}K")
        scene.loop.advance(by: .seconds(3))
        let message = try #require(try scene.messages("T").first)
        try scene.store("T", "again", properties: message.properties.encodedText)
        #expect(try scene.bodies("T") == ["m", "again"])
        let offset = message.commitLogOffset
        let fields = ["group": "readers", "offset": "\(offset)", "delayLevel": "1", "originTopic": "T", "maxReconsumeTimes": "16"]
        #expect(try scene.client().call(.consumerSendMsgBack, fields).responseCode == .success)
        scene.loop.advance(by: .milliseconds(1200))
        #expect(try scene.bodies("%RETRY%readers") == ["m"])
    }

    @Test("A message of a topic that was deleted meanwhile is dropped, and holds up none")
    func deletedTopic() throws {
        let scene = try scene()
        try scene.createTopic("Gone")
        try scene.store("Gone", properties: "TIMER_DELAY_MS\u{1}500")
        try scene.store("T", "there", properties: "TIMER_DELAY_MS\u{1}600")
        #expect(try scene.client().call(.deleteTopicInBroker, ["topic": "Gone"]).responseCode == .success)
        scene.loop.advance(by: .seconds(1))
        #expect(try scene.bodies("T") == ["there"])
        #expect(scene.broker.parts.delays.timer.index.pending == 0)
    }

    @Test("While the disk is full nothing is delivered and nothing lost; afterwards all come, once")
    func diskFull() throws {
        let scene = try scene()
        for index in 0..<3 { try scene.store("T", "m\(index)", properties: "TIMER_DELAY_MS\u{1}500") }
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        scene.loop.advance(by: .seconds(3))
        #expect(try scene.bodies("T").isEmpty)
        scene.files.setFault(nil)
        scene.loop.advance(by: .seconds(1))
        #expect(try scene.bodies("T") == ["m0", "m1", "m2"])
    }

    @Test("A clock that jumps ahead makes due what is due then; one that is set back makes nothing come early or twice")
    func clockJumps() throws {
        let scene = try scene()
        let start = scene.loop.clock.wallMilliseconds
        for minutes in [10, 20, 120] {
            try scene.store("T", "\(minutes)", properties: "TIMER_DELIVER_MS\u{1}\(start + Int64(minutes) * 60_000)")
        }
        scene.loop.testClock.jumpWall(byMilliseconds: 3_600_000)
        scene.loop.advance(by: .milliseconds(100))
        #expect(try scene.bodies("T") == ["10", "20"])
        scene.loop.testClock.jumpWall(byMilliseconds: -3_600_000)
        try scene.store("T", "5", properties: "TIMER_DELAY_SEC\u{1}300")
        scene.loop.advance(by: .seconds(299))
        #expect(try scene.bodies("T") == ["10", "20"])
        scene.loop.advance(by: .seconds(2))
        #expect(try scene.bodies("T") == ["10", "20", "5"])
        scene.loop.testClock.jumpWall(byMilliseconds: 7_200_000)
        scene.loop.advance(by: .milliseconds(100))
        #expect(try scene.bodies("T") == ["10", "20", "5", "120"])
    }

    @Test("A backlog of one moment is delivered in parts, and fresh sends come in between")
    func sameMoment() throws {
        let scene = try scene()
        let due = scene.loop.clock.wallMilliseconds + 10_000
        for start in stride(from: 0, to: 6000, by: 500) {
            for index in start..<(start + 500) {
                scene.producer.send(scene.sendRequest("T", "\(index)", properties: "TIMER_DELIVER_MS\u{1}\(due)"))
            }
            scene.loop.settle()
        }
        _ = scene.producer.takeAnswers()
        let counters = scene.broker.parts.counters
        var (last, most) = (counters.storedMessages, Int64(0))
        scene.loop.atEndOfTick {
            most = max(most, counters.storedMessages - last)
            last = counters.storedMessages
        }
        scene.loop.advance(by: .milliseconds(10_100))
        #expect(try scene.messages("T", most: 32).map { Int(String(decoding: $0.body, as: UTF8.self)) } == Array(0..<6000))
        #expect(most <= Int64(TimerService.mostAtOnce), "so many messages went into the log between two looks at the connections")
    }

    @Test("What waits and what is late can be seen, by level too")
    func visibility() throws {
        let scene = try scene(["messageDelayLevel": "1s 5s"])
        func entries() throws -> [String: String] {
            try KVTable(decoding: scene.client().call(.getBrokerRuntimeInfo).body).table
        }
        let due = scene.loop.clock.wallMilliseconds + 1000
        try scene.store("T", properties: "TIMER_DELIVER_MS\u{1}\(due)")
        try scene.store("T", properties: "TIMER_DELAY_SEC\u{1}600")
        try scene.store("T", properties: "DELAY\u{1}2")
        var table = try entries()
        #expect(table["timerPendingCount"] == "2" && table["timerDueCount"] == "0" && table["timerOldestOverdueTimestamp"] == "-1")
        #expect(table["delayLevelWaiting_2"] == "1,0,0,-1" && table["delayPendingCount"] == "1")
        scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
        scene.loop.advance(by: .seconds(7))
        table = try entries()
        #expect(table["timerPendingCount"] == "2" && table["delayPendingCount"] == "1")
        #expect(table["delayLevelWaiting_2"] == "1,1,1,\(due + 4000)")
        #expect(table["delayOldestOverdueTimestamp"] == "\(due + 4000)")
        #expect(table["timerDueCount"] == "1" && table["timerOverdueCount"] == "1" && table["timerOldestOverdueTimestamp"] == "\(due)")
        scene.files.setFault(nil)
        scene.loop.advance(by: .seconds(1))
        table = try entries()
        #expect(table["timerPendingCount"] == "1" && table["timerDueCount"] == "0" && table["delayPendingCount"] == "0")
    }
}

/// Taking messages back.
@Suite struct TimerRecallTests {
    private func scene(_ settings: [String: String] = [:], files: MemoryFileSystem = MemoryFileSystem(), clock: ManualClock = ManualClock())
        throws -> BrokerScene
    {
        let scene = try BrokerScene(settings, files: files, clock: clock)
        try scene.createTopic("T")
        return scene
    }

    private func recall(_ scene: BrokerScene, _ handle: String?, topic: String = "T") throws -> RemotingCommand {
        try scene.client().call(.recallMessage, ["producerGroup": "producers", "topic": topic, "recallHandle": handle ?? ""])
    }

    @Test("A message that was taken back is not delivered, its neighbours are", arguments: ["true", "false"])
    func recall(_ hasIndex: String) throws {
        let scene = try scene(["messageIndexEnable": hasIndex, "maxHashSlotNum": "100", "maxIndexNum": "1000"])
        var handles: [String?] = []
        for key in ["A", "B", "C"] {
            handles.append(
                try scene.store("T", key, properties: "UNIQ_KEY\u{1}\(key)\u{2}TIMER_DELAY_SEC\u{1}5").fields["recallHandle"])
        }
        let answer = try recall(scene, handles[1])
        #expect(answer.responseCode == .success, "\(answer.remark ?? "")")
        #expect(answer.fields["msgId"] == "B")
        let second = try recall(scene, handles[1])
        #expect(second.responseCode == .illegalOperation)
        #expect(second.remark?.contains("recalled already") == true)
        scene.loop.advance(by: .seconds(6))
        #expect(try scene.bodies("T") == ["A", "C"])
        let late = try recall(scene, handles[0])
        #expect(late.responseCode == .illegalOperation && late.remark?.contains("was due") == true)
        #expect(scene.broker.parts.delays.timer.index.pending == 0)
    }

    @Test("A message that was sent once more for another time is another one; one sent again because its answer was lost is not")
    func sameKey() throws {
        let scene = try scene(["messageIndexEnable": "true", "maxHashSlotNum": "100", "maxIndexNum": "1000"])
        func send(_ body: String, _ delay: Int) throws -> String? {
            try scene.store("T", body, properties: "UNIQ_KEY\u{1}A\u{2}TIMER_DELAY_MS\u{1}\(delay)").fields["recallHandle"]
        }
        let today = try send("today", 4_000)
        _ = try send("tomorrow", 7_000)
        #expect(try recall(scene, today).responseCode == .success)
        scene.loop.advance(by: .seconds(8))
        #expect(try scene.bodies("T") == ["tomorrow"])

        let first = try send("first", 9_000)
        scene.loop.advance(by: .seconds(3))
        _ = try send("again", 9_000)
        // Copies are found in the index, which is built behind.
        scene.loop.advance(by: .seconds(1))
        #expect(try recall(scene, first).responseCode == .success)
        scene.loop.advance(by: .seconds(15))
        let bodies = try scene.bodies("T")
        #expect(bodies == ["tomorrow"], "\(bodies)")
    }

    @Test("A delayed message for a queue that its topic has no more goes into one that it has")
    func fewerQueues() throws {
        let scene = try scene()
        try scene.store("T", "late", queue: 3, properties: "UNIQ_KEY\u{1}A\u{2}TIMER_DELAY_MS\u{1}1000")
        let fewer = [
            "topic": "T", "defaultTopic": "TBW102", "readQueueNums": "2", "writeQueueNums": "2", "perm": "6",
            "topicFilterType": "SINGLE_TAG",
        ]
        #expect(try scene.client().call(.updateAndCreateTopic, fewer).responseCode == .success)
        scene.loop.advance(by: .seconds(2))
        #expect(try scene.bodies("T", queue: 1) == ["late"])
    }

    @Test("A recall holds over a kill and over a restart", arguments: [true, false])
    func afterRestart(_ isKilled: Bool) throws {
        let first = try scene()
        let handle = try first.store("T", "gone", properties: "UNIQ_KEY\u{1}A\u{2}TIMER_DELAY_SEC\u{1}5").fields["recallHandle"]
        try first.store("T", "stays", properties: "UNIQ_KEY\u{1}B\u{2}TIMER_DELAY_SEC\u{1}5")
        // The message is in a file by now, its recall is not.
        first.broker.parts.delays.timer.index.lookAfter(queueEnd: 2, logEnd: 0, isForced: true)
        first.loop.advance(by: .milliseconds(100))
        #expect(try recall(first, handle).responseCode == .success)
        if !isKilled { try first.stop() }
        let second = try BrokerScene(files: first.files.copy(), clock: first.loop.testClock)
        #expect(try recall(second, handle).responseCode == .illegalOperation)
        second.loop.advance(by: .seconds(6))
        #expect(try second.bodies("T") == ["stays"])
    }

    @Test("A wrong recall is refused with the reason")
    func refusals() throws {
        let scene = try scene()
        try scene.createTopic("U")
        let handle = try scene.store("T", properties: "UNIQ_KEY\u{1}A\u{2}TIMER_DELAY_SEC\u{1}5").fields["recallHandle"]
        #expect(try recall(scene, "nonsense").responseCode == .illegalOperation)
        #expect(try recall(scene, handle, topic: "U").remark?.contains("topic not match") == true)
        #expect(try recall(scene, handle, topic: "V").responseCode == .topicNotExist)
        var other = try #require(RecallHandle(handle ?? ""))
        other.brokerName = "broker-b"
        #expect(try recall(scene, other.text).remark?.contains("the message is at broker broker-b") == true)
        other.brokerName = "broker-a"
        other.key = "other"
        #expect(try recall(scene, other.text).responseCode == .illegalOperation, "a handle must fit its message")
        let change = try scene.client().call(.updateBrokerConfig, body: Array("recallMessageEnable=false".utf8))
        #expect(change.responseCode == .success)
        #expect(try recall(scene, handle).responseCode == .noPermission)
        scene.loop.advance(by: .seconds(6))
        #expect(try scene.bodies("T") == ["body"])
    }

    @Test("A message that was sent twice with one id is taken back twice")
    func copies() throws {
        let scene = try scene(["messageIndexEnable": "true", "maxHashSlotNum": "100", "maxIndexNum": "1000"])
        let properties = "UNIQ_KEY\u{1}A\u{2}TIMER_DELAY_SEC\u{1}5"
        try scene.store("T", "first", properties: properties)
        scene.loop.advance(by: .milliseconds(300))
        let handle = try scene.store("T", "again", properties: properties).fields["recallHandle"]
        #expect(try recall(scene, handle).responseCode == .success)
        scene.loop.advance(by: .seconds(10))
        #expect(try scene.bodies("T").isEmpty)
    }
}
