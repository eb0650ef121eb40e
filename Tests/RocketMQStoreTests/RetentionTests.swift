import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

@Suite struct RetentionTests {
    /// Eight files or so of messages in two queues, each message a minute after the one before.
    private func filled(_ adjust: (inout StoreConfiguration) -> Void = { _ in }) throws -> (StoreHarness, [String], Int64) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 8 << 10
            $0.maxRecordSize = 4 << 10
            $0.windowSegmentSize = 8 << 10
            $0.consumeQueueFileEntries = 20
            $0.retention.reservedHours = 2
            $0.retention.deleteAtHours = Array(0..<24)
            adjust(&$0)
        }
        let start = harness.now
        let bodies = numbered(0..<240, size: 80)
        for (index, body) in bodies.enumerated() {
            try harness.append("T", Int32(index % 2), body, keys: "k", storeTimestamp: start + Int64(index) * 60_000)
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(3))
        return (harness, bodies, start)
    }

    private func files(_ harness: StoreHarness) -> [String] { harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") } }

    private func passHours(_ harness: StoreHarness, _ hours: Int64) {
        harness.loop.testClock.advance(by: .seconds(hours * 3600))
        harness.loop.advance(by: .seconds(25))
    }

    /// Clocks that are set: 02:00 becomes 03:00 in spring, and 03:00 becomes 02:00 in autumn, once each.
    @Test func theHourOfDeletionComesEveryDayWhateverTheClocksDo() {
        let (spring, autumn): (Int64, Int64) = (1_774_746_000, 1_792_890_000)  // 2026-03-29 and 2026-10-25, 01:00 UTC
        let offset = { (seconds: Int64) -> Int64 in seconds >= spring && seconds < autumn ? 7200 : 3600 }
        for hour in 0..<24 {
            var policy = RetentionPolicy()
            policy.deleteAtHours = [hour]
            for day in [spring, autumn, autumn + 86_400] {
                // From midnight to midnight by the local clock, every minute.
                let first = (day + offset(day - 7200)) / 86_400 * 86_400 - offset(day - 7200)
                let last = (day + offset(day + 7200)) / 86_400 * 86_400 + 86_400 - offset(day + 7200)
                let minutes = stride(from: first, to: last, by: 60).filter { policy.isHourOfDeletion(at: $0, localOffset: offset) }
                let expected = day == autumn && hour == 2 ? 120 : 60
                #expect(minutes.count == expected, "hour \(hour) of day \(day): \(minutes.count) minutes")
                let shown = day == spring && hour == 2 ? 3 : hour
                #expect(minutes.allSatisfy { Int(($0 + offset($0)) / 3600 % 24) == shown })
            }
        }
    }

    /// The local time is looked at each time, not once at the start.
    @Test func filesGoAtTheHourAfterTheClocksWereSet() throws {
        let start: Int64 = 1_800_000_000
        let zone: @Sendable (Int64) -> Int64 = { $0 >= start + 6 * 3600 ? 7200 : 3600 }
        // The hour after the next midday or so, by the clock as it is then.
        let wanted = Int((start + 10 * 3600 + 7200) / 3600 % 24)
        let (harness, _, _) = try filled {
            $0.retention.deleteAtHours = [wanted]
            $0.localOffsetSeconds = zone
        }
        let before = files(harness).count
        passHours(harness, 9)
        #expect(files(harness).count == before, "it is not time yet")
        passHours(harness, 1)
        #expect(files(harness).count < before)
    }

    @Test func expiredFilesGoAndQueuesBeginBehindThem() throws {
        let (harness, bodies, _) = try filled()
        let before = files(harness)
        passHours(harness, 4)
        let after = files(harness)
        #expect(after.count < before.count && after == before.suffix(after.count))
        #expect(harness.store.minPhysicalOffset > 0)
        let left = try harness.bodies("T", 0) + harness.bodies("T", 1)
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 1))
        #expect(queue.minOffset > 20 && queue.maxOffset == 120)
        #expect(left.count < 240 && left.count > 0 && left.contains(bodies[239]) && !left.contains(bodies[0]))
        #expect(left.count == Int(120 - queue.minOffset) + Int(120 - harness.store.queue(topic: "T", id: 0).minOffset))
        let queueFiles = harness.memory.paths.filter { $0.hasPrefix("/store/consumequeue/T/1/") }
        #expect(queueFiles.count < 6 && queueFiles.first != "/store/consumequeue/T/1/" + FileName.text(0))
        var output = ByteBuffer()
        let limits = ReadLimits(messages: 1, bytes: 1 << 20)
        #expect(
            harness.store.read(queue, from: 0, limits: limits, filter: .all, into: &output) == .offsetTooSmall(minOffset: queue.minOffset))
        // The rest survives every kind of start, and goes on densely.
        let minimum = queue.minOffset
        for round in 0..<4 {
            switch round {
            case 0: try harness.closeAndOpen()
            case 1: try harness.kill()
            case 2: try harness.kill { $0.removeTree("/store/consumequeue") }
            default: try harness.kill { try? $0.remove("/store/checkpoint") }
            }
            #expect(try harness.bodies("T", 0) + harness.bodies("T", 1) == left, "round \(round)")
            let again = try #require(harness.store.existingQueue(topic: "T", id: 1))
            #expect(again.minOffset == minimum && again.maxOffset == 120, "round \(round)")
        }
        #expect(try harness.append("T", 1, "next").queueOffset == 120)
    }

    @Test func theLastFileStays() throws {
        let (harness, _, _) = try filled()
        passHours(harness, 1000)
        #expect(files(harness).count == 1)
        try harness.append("T", 0, "still here")
        try harness.store.commit()
        #expect(try harness.bodies("T", 0).last == "still here")
    }

    @Test func nothingGoesBeforeItsHour() throws {
        let (harness, _, start) = try filled {
            $0.retention.deleteAtHours = [4]
            $0.retention.reservedHours = 1
        }
        let count = files(harness).count
        let hour = start / 3_600_000 % 24
        passHours(harness, (26 - hour) % 24 + 24)
        #expect(files(harness).count == count, "it is not four")
        harness.store.deleteExpiredFiles()
        harness.loop.settle()
        #expect(files(harness).count < count, "asked for, it is done at any hour")
    }

    @Test func aFullDiskRefusesMessagesAndServesThemOn() throws {
        let (harness, bodies, _) = try filled { $0.retention.mayCleanUnexpired = false }
        harness.memory.setSpace(total: 1000, available: 50)
        harness.loop.advance(by: .seconds(11))
        #expect {
            try harness.append("T", 0, "no room")
        } throws: { ($0 as? StoreError)?.code == .notWritable && "\($0)".contains("95 %") }
        #expect(try harness.bodies("T", 0).count == bodies.count / 2)
        harness.memory.setSpace(total: 1000, available: 500)
        harness.loop.advance(by: .seconds(11))
        try harness.send(["again"])
    }

    @Test func aboveTheForcedThresholdTheOldestFileGoes() throws {
        let (harness, _, _) = try filled()
        let count = files(harness).count
        harness.memory.setSpace(total: 1000, available: 120)
        harness.loop.advance(by: .seconds(11))
        #expect(files(harness).count == count - 1)
        #expect(harness.reports.lines.contains { $0.0 == .warning && $0.1.contains("88 %") })
    }

    @Test func whatIsStillNeededStays() throws {
        let (harness, bodies, _) = try filled()
        var asked: [Int64] = []
        harness.store.mayDeleteFile = { start, end in
            asked.append(end)
            return end <= 2 * 8192
        }
        passHours(harness, 100)
        #expect(harness.store.minPhysicalOffset == 2 * 8192)
        #expect(asked.contains(3 * 8192))
        #expect(try harness.bodies("T", 1).last == bodies.last)
    }

    @Test func theIndexForgetsWhatIsGone() throws {
        let (harness, _, _) = try filled { $0.indexEntries = 50 }
        harness.loop.advance(by: .seconds(5))
        let before = harness.memory.paths.filter { $0.hasPrefix("/store/index/") }.count
        passHours(harness, 100)
        let after = harness.memory.paths.filter { $0.hasPrefix("/store/index/") }.count
        #expect(after < before && after > 0)
        var count = -1
        harness.store.query(topic: "T", key: "k", maxMessages: 1000, maxBytes: 1 << 24, from: 0, through: .max) { answer, _ in
            count = (try? answer.get().count) ?? -1
        }
        harness.loop.settle()
        #expect(count == (try harness.bodies("T", 0) + harness.bodies("T", 1)).count)
    }

    @Test func theNextFileIsPreparedAndNotMistaken() throws {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 1 << 20
            $0.windowSegmentSize = 64 << 10
        }
        for body in numbered(0..<900, size: 1000) {
            try harness.append("T", 0, body)
            try harness.store.commit()
            harness.loop.settle()
        }
        #expect(files(harness).count == 2, "the next file is there before it is needed")
        try harness.kill()
        #expect(try harness.bodies() == numbered(0..<900, size: 1000))
        #expect(!harness.reports.lines.contains { $0.0 != .information })
        for body in numbered(900..<1500, size: 1000) { try harness.send([body]) }
        try harness.kill()
        #expect(try harness.bodies() == numbered(0..<1500, size: 1000))
    }
}
