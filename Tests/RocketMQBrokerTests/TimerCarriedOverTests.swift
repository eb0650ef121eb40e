import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

/// Timed messages of a store that a 5.x broker of the reference left: its wheel is not read, its check point and its records are.
@Suite struct TimerCarriedOverTests {
    /// Stores a record in the timer's queue as the reference does, behind this broker's back.
    private func put(
        _ scene: BrokerScene, _ body: String, out: Int64, _ more: String = "", topic: String = "T", key: String? = nil
    ) throws {
        let parts = scene.broker.parts
        let queue = parts.delays.timer.queue
        let now = scene.loop.clock.wallMilliseconds
        let properties =
            "REAL_TOPIC\u{1}\(topic)\u{2}TIMER_OUT_MS\u{1}\(out)\u{2}UNIQ_KEY\u{1}\(key ?? body)\u{2}REAL_QID\u{1}0" + more
        let fields = MessageFields(
            bornTimestamp: now, bornHost: .loopback(port: 1), storeTimestamp: now, storeHost: .loopback(port: 10911))
        let appended = try parts.store.append(
            fields, body: Array(body.utf8).span.bytes, properties: Array(properties.utf8).span.bytes, to: queue.queue)
        parts.round.noteStaged(appended, queue)
        scene.loop.settle()
    }

    private func checkpoint(readTime: Int64, queueOffset: Int64) -> [UInt8] {
        var bytes = ByteBuffer()
        for number in [readTime, 4711, queueOffset, queueOffset] { bytes.append(bigEndian: number) }
        return bytes.copyBytes() + [UInt8](repeating: 0, count: 4096 - 32)
    }

    @Test("What waited there comes at its time, once; what was delivered, taken back or stored anew there does not come again")
    func carriedOver() throws {
        let clock = ManualClock()
        let index = ["messageIndexEnable": "true", "maxHashSlotNum": "100", "maxIndexNum": "1000"]
        let first = try BrokerScene(index, clock: clock)
        try first.createTopic("T")
        let now = clock.wallMilliseconds
        try put(first, "delivered", out: now - 5000, "\u{2}TIMER_DELIVER_MS\u{1}\(now - 4500)")
        try put(first, "taken back", out: now + 10_000)
        try put(first, "0", out: now + 10_000, "\u{2}TIMER_DEL_UNIQKEY\u{1}T+taken back", key: "taken back")
        try put(first, "stored anew", out: now + 20_000)
        try put(first, "stored anew", out: now + 20_000, "\u{2}TIMER_ROLL_TIMES\u{1}1")
        try put(first, "stored anew", out: now + 20_000, "\u{2}TIMER_ROLL_TIMES\u{1}2")
        // The reference notes the second in which it is due.
        try put(first, "exact", out: now + 9000, "\u{2}TIMER_DELIVER_MS\u{1}\(now + 9700)")
        try put(first, "in seconds", out: now + 29_000, "\u{2}TIMER_DELAY_SEC\u{1}30")
        // Its wheel had not come to these yet: one was due all the same.
        try put(first, "late", out: now - 1000)
        try put(first, "far", out: now + 86_400_000)
        first.loop.advance(by: .milliseconds(200))
        #expect(try first.bodies("T").isEmpty)
        try first.stop()

        let files = first.files.copy()
        files.removeTree("/store/timer")
        files.setBytes("/store/config/timercheck", checkpoint(readTime: now, queueOffset: 8))
        clock.jumpWall(byMilliseconds: now + 1000 - clock.wallMilliseconds)
        var scene = try BrokerScene(index, files: files, clock: clock)
        scene.loop.advance(by: .milliseconds(100))
        #expect(try scene.bodies("T") == ["late"])
        scene.loop.advance(by: .milliseconds(8500))
        #expect(try scene.bodies("T") == ["late"], "none comes early")
        scene.loop.advance(by: .milliseconds(200))
        #expect(try scene.bodies("T") == ["late", "exact"])
        scene = try BrokerScene(index, files: scene.files.copy(), clock: clock)
        scene.loop.advance(by: .seconds(30))
        #expect(try scene.bodies("T") == ["late", "exact", "stored anew", "in seconds"])
        #expect(scene.broker.parts.delays.timer.index.pending == 1)
        let handle = RecallHandle(topic: "T", brokerName: "broker-a", due: now + 86_400_000, key: "far", queueOffset: nil)
        #expect(try scene.client().call(.recallMessage, ["topic": "T", "recallHandle": handle.text]).responseCode == .success)
        #expect(scene.broker.parts.delays.timer.index.pending == 0, "its producer may take it back")
    }

    @Test("A check point that is damaged counts as none: nothing is lost")
    func damaged() throws {
        let first = try BrokerScene()
        try first.createTopic("T")
        try put(first, "one", out: first.loop.clock.wallMilliseconds + 1000)
        try first.stop()
        let files = first.files.copy()
        files.removeTree("/store/timer")
        let now = first.loop.clock.wallMilliseconds
        let bad = [[1, 2, 3], checkpoint(readTime: now + 1 << 40, queueOffset: 1), checkpoint(readTime: now + 5000, queueOffset: 1 << 30)]
        for bytes in bad {
            let files = files.copy()
            files.setBytes("/store/config/timercheck", bytes)
            let scene = try BrokerScene(files: files, clock: ManualClock(wallMilliseconds: now))
            scene.loop.advance(by: .seconds(2))
            #expect(try scene.bodies("T") == ["one"])
            #expect(scene.logSink.contains("/store/config/timercheck", atLeast: .warning))
        }
    }
}
