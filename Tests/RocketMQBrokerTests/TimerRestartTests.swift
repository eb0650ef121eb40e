import Foundation
import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Delayed messages over kills, restarts, full disks and clocks that jump: each is delivered once, and none early.
///
/// `TIMER_SEEDS=0-500 swift test --filter TimerRestartTests` runs more histories, `TIMER_SEEDS=17` one again.
@Suite struct TimerRestartTests {
    private static let settings = [
        "messageDelayLevel": "1s 5s 20s", "fileReservedTime": "1", "mappedFileSizeCommitLog": "262144", "flushDelayOffsetInterval": "700",
    ]

    private static func start(_ files: MemoryFileSystem, _ clock: ManualClock, settings: [String: String] = [:]) throws -> BrokerScene {
        try BrokerScene(Self.settings.merging(settings) { $1 }, files: files, clock: clock) {
            $0.timerLimits = TimerIndex.Limits(entriesInMemory: 40, runs: 3, logTail: 20_000)
        }
    }

    private struct Sent {
        var due: Int64
        var isRecalled = false
        var handle: String?
    }

    static var seeds: [UInt64] {
        let text = ProcessInfo.processInfo.environment["TIMER_SEEDS"] ?? "0-4"
        let ends = text.split(separator: "-").compactMap { UInt64($0) }
        return ends.isEmpty ? [0] : Array(ends[0]...(ends.last ?? ends[0]))
    }

    @Test("Random histories with kills: each message is delivered once, none early, none that was taken back", arguments: seeds)
    func histories(_ seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        let clock = ManualClock()
        var scene = try Self.start(MemoryFileSystem(), clock)
        try scene.createTopic("T")
        var sent: [String: Sent] = [:]
        var (count, mayJumpBack) = (0, seed % 4 == 3)
        for _ in 0..<120 {
            switch random.next() % 20 {
            case 0..<9:
                for _ in 0...(random.next() % 20) {
                    try send(scene, &sent, count, &random)
                    count += 1
                }
            case 9:
                let pending = sent.filter { $0.value.handle != nil && !$0.value.isRecalled && $0.value.due > clock.wallMilliseconds }
                guard let (body, chosen) = pending.min(by: { $0.key < $1.key }) else { break }
                let answer = try scene.client().call(.recallMessage, ["topic": "T", "recallHandle": chosen.handle ?? ""])
                if answer.responseCode == .success { sent[body]?.isRecalled = true }
            case 10..<16: scene.loop.advance(by: .milliseconds(Int64(random.next() % 3000)))
            case 16:
                let back = mayJumpBack && random.next() % 2 == 0
                clock.jumpWall(byMilliseconds: back ? -Int64(random.next() % 4000) : Int64(random.next() % 8000))
                mayJumpBack = mayJumpBack && !back
            case 17:
                scene.files.setFault { operation, path in operation == .write && path.contains("/commitlog/") ? .fail(.noSpace) : nil }
                scene.loop.advance(by: .milliseconds(Int64(random.next() % 1500)))
                scene.files.setFault(nil)
            case 18:
                // Killed within a tick now and then: what is staged is gone.
                if random.next() % 2 == 0 { for _ in 0..<(random.next() % 5) { scene.loop.runBackgroundStep() } }
                scene = try Self.start(scene.files.copy(), clock)
            default:
                try scene.stop()
                scene = try Self.start(scene.files.copy(), clock)
            }
        }
        scene.loop.advance(by: .seconds(100))
        try check(scene, sent)
    }

    private func send(_ scene: BrokerScene, _ sent: inout [String: Sent], _ number: Int, _ random: inout RandomSource) throws {
        let (body, now) = ("m\(number)", scene.loop.clock.wallMilliseconds)
        if random.next() % 4 == 0 {
            let level = Int(random.next() % 3)
            try scene.store("T", body, queue: Int32(number % 4), properties: "DELAY\u{1}\(level + 1)")
            sent[body] = Sent(due: now + [1000, 5000, 20_000][level])
        } else {
            let delay = Int64(random.next() % (random.next() % 3 == 0 ? 60_000 : 3000))
            let answer = try scene.store(
                "T", body, queue: Int32(number % 4), properties: "UNIQ_KEY\u{1}\(body)\u{2}TIMER_DELIVER_MS\u{1}\(now + delay)")
            sent[body] = Sent(due: now + delay, handle: answer.fields["recallHandle"])
        }
    }

    private func check(_ scene: BrokerScene, _ sent: [String: Sent]) throws {
        var seen: [String: Int] = [:]
        for queue in 0..<4 as Range<Int32> {
            for message in try scene.messages("T", queue: queue) {
                let body = String(decoding: message.body, as: UTF8.self)
                seen[body, default: 0] += 1
                let due = try #require(sent[body]).due
                if message.properties["DELAY"] == nil, message.properties["TIMER_OUT_MS"] != nil {
                    #expect(message.storeTimestamp >= due, "\(body) came early")
                }
            }
        }
        for (body, state) in sent { #expect(seen[body] ?? 0 == (state.isRecalled ? 0 : 1), "\(body), due at \(state.due)") }
        #expect(scene.broker.parts.delays.timer.index.pending == 0)
    }

    @Test("After a kill nothing comes twice and nothing is lost, at whatever moment it happens")
    func killedAtEveryMoment() throws {
        let clock = ManualClock()
        let first = try Self.start(MemoryFileSystem(), clock)
        try first.createTopic("T")
        var sent: [String: Sent] = [:]
        var random = RandomSource(seed: 5)
        for number in 0..<150 { try send(first, &sent, number, &random) }
        var kills: [(MemoryFileSystem, Int64)] = []
        for _ in 0..<10 {
            first.loop.advance(by: .milliseconds(270))
            kills.append((first.files.copy(), clock.wallMilliseconds))
        }
        for (files, time) in kills {
            let second = try Self.start(files, ManualClock(wallMilliseconds: time - 1000))
            second.loop.advance(by: .seconds(100))
            try check(second, sent)
        }
    }

    @Test(
        "Without its files the index is built anew from the log, and nothing comes twice", arguments: ["", "/manifest", "/1.run", "/2.run"])
    func lostFiles(_ name: String) throws {
        let clock = ManualClock()
        let first = try Self.start(MemoryFileSystem(), clock)
        try first.createTopic("T")
        var sent: [String: Sent] = [:]
        var random = RandomSource(seed: 9)
        for number in 0..<300 {
            try send(first, &sent, number, &random)
            if number % 30 == 0 { first.loop.advance(by: .milliseconds(300)) }
        }
        first.loop.advance(by: .seconds(3))
        try first.stop()
        let files = first.files.copy()
        if name.isEmpty { files.removeTree("/store/timer") } else { files.setBytes("/store/timer" + name, [1, 2, 3]) }
        try files.createDirectory("/store/timer")
        let second = try Self.start(files, clock)
        second.loop.advance(by: .seconds(100))
        try check(second, sent)
    }

    @Test("A message that is due long after its log file has gone is delivered at its time, and can be taken back until then")
    func beyondRetention() throws {
        let clock = ManualClock()
        var scene = try Self.start(
            MemoryFileSystem(), clock,
            settings: [
                "deleteWhen": (0..<24).map { "\($0)" }.joined(separator: ";"), "messageIndexEnable": "true", "maxHashSlotNum": "100",
                "maxIndexNum": "10000", "serverChannelMaxIdleTimeSeconds": "0",
            ])
        try scene.createTopic("T")
        try scene.createTopic("Other")
        let due = clock.wallMilliseconds + 10 * 3_600_000
        try scene.store("T", "late", properties: "UNIQ_KEY\u{1}A\u{2}TIMER_DELIVER_MS\u{1}\(due)")
        let handle = try scene.store("T", "recalled", properties: "UNIQ_KEY\u{1}B\u{2}TIMER_DELIVER_MS\u{1}\(due)").fields["recallHandle"]
        let filler = String(repeating: "x", count: 30_000)
        for hour in 0..<59 {
            for _ in 0..<3 { try scene.store("Other", filler) }
            clock.advance(by: .seconds(600))
            scene.loop.advance(by: .seconds(31))
            if hour == 20 { scene = try Self.start(scene.files.copy(), clock, settings: scene.texts) }
            if hour == 40 {
                #expect(!scene.files.paths.contains("/store/commitlog/00000000000000000000"), "its first log file is gone")
                let answer = try scene.client().call(.recallMessage, ["topic": "T", "recallHandle": handle ?? ""])
                #expect(answer.responseCode == .success, "\(answer.remark ?? "")")
            }
            if clock.wallMilliseconds < due { #expect(try scene.bodies("T").isEmpty) }
        }
        #expect(clock.wallMilliseconds > due)
        #expect(try scene.bodies("T") == ["late"])
    }

    @Test("A committed message of a transaction waits from its commit on, over a kill too")
    func transaction() throws {
        let clock = ManualClock()
        let first = try Self.start(MemoryFileSystem(), clock)
        try first.createTopic("T")
        func send(_ body: String) throws -> RemotingCommand {
            let properties = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers\u{2}UNIQ_KEY\u{1}\(body)\u{2}TIMER_DELAY_SEC\u{1}10"
            let answer = try first.producer.call(first.sendRequest("T", body, properties: properties, extra: ["f": "4"]))
            #expect(answer.fields["recallHandle"] == nil)
            return answer
        }
        func end(_ half: RemotingCommand, _ state: Int) throws {
            let offset = try OffsetMessageID(#require(half.fields["msgId"])).commitLogOffset
            let fields = [
                "producerGroup": "producers", "tranStateTableOffset": try #require(half.fields["queueOffset"]),
                "commitLogOffset": "\(offset)",
                "commitOrRollback": "\(state)", "fromTransactionCheck": "false",
            ]
            #expect(try first.client().call(.endTransaction, fields).responseCode == .success)
        }
        let (committed, rolledBack) = (try send("committed"), try send("rolled back"))
        first.loop.advance(by: .seconds(4))
        try end(committed, 8)
        try end(rolledBack, 12)
        first.loop.advance(by: .seconds(3))
        let second = try Self.start(first.files.copy(), clock)
        second.loop.advance(by: .milliseconds(6900))
        #expect(try second.bodies("T").isEmpty, "the delay begins with the commit")
        second.loop.advance(by: .milliseconds(200))
        #expect(try second.bodies("T") == ["committed"])
        let third = try Self.start(second.files.copy(), clock)
        third.loop.advance(by: .seconds(30))
        #expect(try third.bodies("T") == ["committed"])
        let tooLate = first.sendRequest(
            "T", properties: "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers\u{2}TIMER_DELAY_SEC\u{1}99999999999", extra: ["f": "4"])
        #expect(try first.producer.call(tooLate).responseCode == .messageIllegal, "said when it is sent, not when it is committed")
    }
}
