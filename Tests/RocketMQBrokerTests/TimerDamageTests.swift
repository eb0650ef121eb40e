import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Bits that turn at rest in the timer's own files: what waits is delivered all the same, each message once.
@Suite struct TimerDamageTests {
    private static let pageBytes = Int(TimerRunLayout.pageEntries) * TimerEntry.byteCount

    private static func start(_ files: MemoryFileSystem, _ clock: ManualClock, entries: Int, runs: Int = 8) throws -> BrokerScene {
        try BrokerScene(["mappedFileSizeCommitLog": "16777216"], files: files, clock: clock) {
            $0.timerLimits = TimerIndex.Limits(entriesInMemory: entries, runs: runs, logTail: 1 << 30)
        }
    }

    /// Messages that wait for 10 s and longer, one a millisecond; returns the handles with which they can be taken back.
    private static func send(_ numbers: Range<Int>, _ scene: BrokerScene, _ due: Int64) throws -> [String] {
        try numbers.map { number in
            let properties = "UNIQ_KEY\u{1}U\(number)\u{2}TIMER_DELIVER_MS\u{1}\(due + Int64(number))"
            return try scene.store("T", "\(number)", properties: properties).fields["recallHandle"] ?? ""
        }
    }

    private static func flip(_ files: MemoryFileSystem, _ path: String, at place: Int, bit: UInt8 = 3) throws {
        var bytes = try #require(files.bytes(path))
        bytes[place] ^= 1 << bit
        files.setBytes(path, bytes)
    }

    private static func check(_ scene: BrokerScene, _ wanted: Set<Int>, _ note: Comment? = nil) throws {
        let bodies = try scene.bodies("T").compactMap { Int($0) }
        #expect(bodies.count == wanted.count && Set(bodies) == wanted, note)
        #expect(scene.broker.parts.delays.timer.index.pending == 0, note)
    }

    @Test("Whatever byte of the timer's files has turned, at the next start each message comes once")
    func everyByte() throws {
        let clock = ManualClock()
        let first = try Self.start(MemoryFileSystem(), clock, entries: 4)
        try first.createTopic("T")
        _ = try Self.send(0..<10, first, clock.wallMilliseconds + 10_000)
        first.loop.advance(by: .seconds(1))
        try first.stop()
        let names = first.files.paths.filter { $0.hasPrefix("/store/timer/") }
        #expect(names.contains { $0.hasSuffix(".run") } && names.contains { $0.hasSuffix("manifest") })
        let now = clock.wallMilliseconds
        for name in names {
            let size = try #require(first.files.bytes(name)).count
            // A step that meets all bytes of a field in the course of an entry or two.
            for place in stride(from: 0, to: size, by: 23) {
                let files = first.files.copy()
                try Self.flip(files, name, at: place, bit: UInt8(place % 8))
                let scene = try Self.start(files, ManualClock(wallMilliseconds: now), entries: 4)
                scene.loop.advance(by: .seconds(12))
                try Self.check(scene, Set(0..<10), "byte \(place) of \(name)")
            }
        }
    }

    @Test("Every byte of a page that turns is found out when the page is read")
    func pageChecksum() throws {
        let (files, loop) = (MemoryFileSystem(), TestLoop())
        try files.createDirectory("/timer")
        let entries = (0..<600).map { TimerEntry.message($0, wake: 5 + $0 / 3, physicalOffset: $0 * 100, size: 100) }
        let written = try TimerRunFile.write(entries, id: 1, directory: "/timer", fileSystem: files)
        let whole = try #require(files.bytes("/timer/1.run"))
        let second = Self.pageBytes
        for place in second..<(600 * TimerEntry.byteCount) {
            try Self.flip(files, "/timer/1.run", at: place)
            let run = try TimerRun(
                written.info, fences: written.fences, done: nil, directory: "/timer", fileSystem: files, loop: loop, worker: loop)
            #expect(throws: TimerLookupInterruption.self, "byte \(place)") {
                _ = try run.position(after: TimerKey(wake: .max, order: 0), mayWait: true)
            }
            run.close()
            files.setBytes("/timer/1.run", whole)
        }
    }

    @Test("A run of the first form, without checksums of its pages, is read")
    func firstForm() throws {
        let (files, loop) = (MemoryFileSystem(), TestLoop())
        try files.createDirectory("/timer")
        let entries = (0..<700).map { TimerEntry.message($0, wake: $0, physicalOffset: 0, size: 1) }
        let info = try TimerRunFile.write(entries, id: 1, directory: "/timer", fileSystem: files).info
        var bytes = Array(try #require(files.bytes("/timer/1.run")).prefix(700 * TimerEntry.byteCount))
        var tail = ByteBuffer()
        for page in [0, 512] as [Int64] {
            for number in [page, page << 1 | 1, 0] { tail.append(bigEndian: number) }
        }
        for number in [0x524D_5154_494D_4552, 700, 0, 0] as [Int64] { tail.append(bigEndian: number) }
        tail.append(bigEndian: tail.withBytes { Checksum.crc32($0) })
        tail.append(bigEndian: 0 as Int32)
        bytes += tail.copyBytes()
        files.setBytes("/timer/1.run", bytes)
        let run = try TimerRun(info, done: nil, directory: "/timer", fileSystem: files, loop: loop, worker: loop)
        #expect(try run.waiting(upTo: 599).count == 600 && run.waiting(upTo: nil).count == 700)
        guard case .entry(let head) = run.head else { throw ReadFailure() }
        #expect(head == entries[0])
    }

    private struct ReadFailure: Error {}

    @Test("A page that turns while the broker runs is had again from the log: nothing is lost, and what was taken back stays away")
    func repairedPage() throws {
        let clock = ManualClock()
        let due = clock.wallMilliseconds + 60_000
        let first = try Self.start(MemoryFileSystem(), clock, entries: 4000)
        try first.createTopic("T")
        var handles = try Self.send(0..<700, first, due)
        // Taken back before the run is written: neither is in it.
        func recall(_ number: Int, _ scene: BrokerScene) throws -> ResponseCode {
            let answer = try scene.client().call(.recallMessage, ["topic": "T", "recallHandle": handles[number]])
            return answer.responseCode
        }
        #expect(try recall(600, first) == .success)
        handles += try Self.send(700..<1100, first, due)
        try first.stop()
        // Taken back in a later run.
        let second = try Self.start(first.files.copy(), clock, entries: 4000)
        #expect(try recall(700, second) == .success && recall(800, second) == .success)
        try second.stop()
        let files = second.files.copy()
        let path = try #require(files.paths.first { $0.hasSuffix(".run") && files.bytes($0)?.count ?? 0 > Self.pageBytes })
        let whole = files.bytes(path)
        try Self.flip(files, path, at: Self.pageBytes + 12_345)
        let third = try Self.start(files, clock, entries: 4000)
        #expect(!third.logSink.messages.contains { $0.contains("damaged") }, "nobody has looked at it yet")
        #expect(try recall(900, third) != .success, "the page cannot be read")
        third.loop.advance(by: .seconds(3))
        #expect(third.logSink.messages.contains { $0.contains("is damaged in its page 1") })
        #expect(third.logSink.messages.contains { $0.contains("is mended") })
        #expect(third.files.bytes(path) == whole)
        #expect(try recall(900, third) == .success, "as soon as the page is mended")
        third.loop.advance(by: .seconds(70))
        try Self.check(third, Set(0..<1100).subtracting([600, 700, 800, 900]))
    }

    @Test("A page that is found damaged when its messages are due, or when runs are merged, is had again", arguments: [8, 1])
    func damagedWhenDue(runs: Int) throws {
        let clock = ManualClock()
        let due = clock.wallMilliseconds + 60_000
        let first = try Self.start(MemoryFileSystem(), clock, entries: 1100)
        try first.createTopic("T")
        _ = try Self.send(0..<1100, first, due)
        first.loop.advance(by: .seconds(1))
        _ = try Self.send(1100..<1400, first, due - 1100)
        try first.stop()
        let files = first.files.copy()
        let path = try #require(files.paths.first { $0.hasSuffix(".run") && files.bytes($0)?.count ?? 0 > 2 * Self.pageBytes })
        try Self.flip(files, path, at: Self.pageBytes)
        let second = try Self.start(files, clock, entries: 5000, runs: runs)
        second.loop.advance(by: .seconds(5))
        #expect(second.logSink.messages.contains { $0.contains("is damaged in its page 1") } == (runs == 1), "who merges reads all of it")
        second.loop.advance(by: .seconds(70))
        #expect(second.logSink.messages.contains { $0.contains("is mended") })
        try Self.check(second, Set(0..<1400))
    }

    @Test("A page that the log cannot replace ends its run until the next start, which finds in the log what is there")
    func beyondRepair() throws {
        let clock = ManualClock()
        let due = clock.wallMilliseconds + 60_000
        let first = try Self.start(MemoryFileSystem(), clock, entries: 4000)
        try first.createTopic("T")
        _ = try Self.send(0..<1100, first, due)
        try first.stop()
        let files = first.files.copy()
        let path = try #require(files.paths.first { $0.hasSuffix(".run") })
        try Self.flip(files, path, at: Self.pageBytes + 40)
        // The record of one of its messages is damaged too.
        let log = "/store/commitlog/00000000000000000000"
        let record = try #require(files.bytes(log)?.firstRange(of: Array("600\u{13}rmq_sys".utf8)))
        try Self.flip(files, log, at: record.lowerBound)
        let second = try Self.start(files, clock, entries: 4000)
        second.loop.advance(by: .seconds(100))
        #expect(second.logSink.messages.contains { $0.contains("until the broker is started again") })
        #expect(try second.bodies("T").count == 512)
        let third = try Self.start(files.copy(), clock, entries: 4000)
        third.loop.advance(by: .seconds(10))
        try Self.check(third, Set(0..<1100).subtracting([600]))
    }
}
