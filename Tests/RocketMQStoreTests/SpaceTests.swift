import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Limits on the disk, in parts of it and in bytes: what is said before, what goes, what is refused.
@Suite struct SpaceTests {
    /// Files of 8 KiB, each filled by `fill`; nothing expires by itself.
    private func harness(_ adjust: (inout StoreConfiguration) -> Void = { _ in }) throws -> StoreHarness {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 8 << 10
            $0.maxRecordSize = 4 << 10
            $0.windowSegmentSize = 8 << 10
            $0.retention.warningSeconds = 0
            adjust(&$0)
        }
        harness.memory.setSpace(total: 1_000_000, available: 900_000)
        return harness
    }

    private func fill(_ harness: StoreHarness, files: Int) throws {
        let end = harness.store.writtenOffset + Int64(files) * 8192
        while harness.store.writtenOffset < end { try harness.send([String(repeating: "x", count: 1000)]) }
    }

    private func files(_ harness: StoreHarness) -> [String] { harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") } }
    private func warnings(_ harness: StoreHarness) -> [String] { harness.reports.lines.filter { $0.0 == .warning }.map(\.1) }
    private func look(_ harness: StoreHarness) { harness.loop.advance(by: .seconds(11)) }

    @Test("The limit of the log is kept to with each new file, long before the next look")
    func limitWithEachFile() throws {
        let harness = try harness {
            $0.retention.maxLogBytes = 40_000
            $0.flushDirtyBytes = 4096
            $0.checkpointInterval = .milliseconds(50)
            $0.queueWriteInterval = .milliseconds(50)
        }
        var most = 0
        for _ in 0..<40 {
            try fill(harness, files: 1)
            harness.loop.advance(by: .milliseconds(200))
            most = max(most, files(harness).count)
        }
        // As many as the limit has room for, and those that are begun and prepared.
        #expect(most <= 8, "\(most)")
    }

    @Test("Room that a deletion has made is found at once by who sends")
    func roomAtOnce() throws {
        let harness = try harness()
        try fill(harness, files: 3)
        harness.loop.advance(by: .seconds(5))
        harness.memory.setSpace(total: 1_000_000, available: 90_000)
        let files = harness.memory
        files.setFault { operation, path in
            if operation == .remove, path.contains("/commitlog/") { files.setSpace(total: 1_000_000, available: 500_000) }
            return nil
        }
        harness.loop.advance(by: .seconds(6))
        files.setFault(nil)
        let said = harness.reports.lines.map(\.1)
        #expect(said.contains { $0.hasPrefix("messages are refused") } && said.contains { $0.contains("is deleted") }, "\(said)")
        #expect(said.contains { $0.hasPrefix("messages are taken again") }, "\(said)")
        try harness.send(["fits"])
    }

    @Test func tooFewFreeBytesRefuseMessagesUntilThereAreMore() throws {
        let harness = try harness {
            $0.retention.minFreeBytes = 100_000
            $0.retention.mayCleanUnexpired = false
            ($0.retention.cleanRatio, $0.retention.forcedCleanRatio, $0.retention.refuseRatio) = (0.98, 0.99, 1)
        }
        try fill(harness, files: 1)
        harness.memory.setSpace(total: 1_000_000, available: 350_000)
        look(harness)
        #expect(harness.store.space.level == .low)
        #expect(warnings(harness).count == 1 && warnings(harness)[0].contains("four times the 97.7 KiB of diskMinFreeBytes"))
        look(harness)
        #expect(warnings(harness).count == 1, "once")
        try harness.send(["fits"])
        harness.memory.setSpace(total: 1_000_000, available: 99_000)
        look(harness)
        #expect {
            try harness.append("T", 0, "no room")
        } throws: { error in
            ["96.7 KiB are free", "/store", "less than the 97.7 KiB of diskMinFreeBytes", "fileReservedTime"].allSatisfy {
                "\(error)".contains($0)
            }
        }
        #expect(harness.store.space.level == .exhausted && harness.store.space.bytesUntilRefusal < 0)
        #expect(try harness.bodies().last == "fits")
        harness.memory.setSpace(total: 1_000_000, available: 500_000)
        look(harness)
        try harness.send(["again"])
    }

    @Test(arguments: ["/log", "/store"])
    func aLogOnADiskOfItsOwnAndTheRestAreBothLookedAfter(_ full: String) throws {
        let harness = try harness {
            $0.commitLogDirectory = "/log"
            $0.retention.mayCleanUnexpired = false
        }
        for place in ["/log", "/store"] { harness.memory.setSpace(total: 1_000_000, available: 800_000 + UInt64(place.count), at: place) }
        try harness.send(["before"])
        look(harness)
        #expect(harness.store.space.level == .plenty)
        harness.memory.setSpace(total: 1_000_000, available: 50_000, at: full)
        look(harness)
        #expect(harness.store.refusal?.reason.contains("the disk of \(full) is 95 % full, above the 90 %") == true)
        #expect(try harness.bodies() == ["before"])
        harness.memory.setSpace(total: 1_000_000, available: 800_000, at: full)
        look(harness)
        try harness.send(["again"])
        #expect(try harness.bodies() == ["before", "again"])
    }

    @Test func theLogStaysWithinItsBytes() throws {
        let harness = try harness { $0.retention.maxLogBytes = 40_000 }
        try fill(harness, files: 20)
        // Ten files go at a time.
        look(harness)
        look(harness)
        #expect(harness.store.writtenOffset - harness.store.minPhysicalOffset <= 40_000)
        #expect(files(harness).count == 5, "\(files(harness))")
        #expect(warnings(harness).contains { $0.contains("is deleted, the commit log holds") && $0.contains("commitLogMaxBytes") })
        try fill(harness, files: 3)
        look(harness)
        #expect(files(harness).count == 5)
        try harness.send(["still taken"])
    }

    @Test func whereOldFilesMayNotGoALogAboveItsBytesTakesNoMore() throws {
        let harness = try harness {
            $0.retention.maxLogBytes = 40_000
            $0.retention.mayCleanUnexpired = false
        }
        try fill(harness, files: 6)
        look(harness)
        #expect(throws: StoreError.self) { try harness.append("T", 0, "no room") }
        #expect(harness.store.refusal?.reason.contains("commitLogMaxBytes") == true)
        // An administrator allows more.
        var changed = harness.configuration
        changed.retention.maxLogBytes = 80_000
        harness.store.take(changed)
        look(harness)
        try harness.send(["again"])
    }

    @Test func aWarningComesLongBeforeAndSaysHowLongTheRoomLasts() throws {
        let harness = try harness { $0.retention.warningSeconds = 3600 }
        harness.memory.setSpace(total: 100_000_000, available: 90_000_000)
        for _ in 0..<12 {
            try fill(harness, files: 1)
            harness.loop.advance(by: .seconds(10))
        }
        // 80 MB at some 800 bytes a second are more than a day.
        #expect(warnings(harness).isEmpty)
        #expect(harness.store.space.forecast.contains("enough for about 1 d"), "\(harness.store.space.forecast)")
        harness.memory.setSpace(total: 100_000_000, available: 12_000_000)
        for _ in 0..<12 {
            try fill(harness, files: 1)
            harness.loop.advance(by: .seconds(10))
        }
        let said = warnings(harness).filter { !$0.contains("is deleted") }
        #expect(said.count == 1, "\(said)")
        #expect(said.first?.contains("88 % full, above the 85 %") == true && said.first?.contains("min at the present") == true, "\(said)")
    }

    @Test func theRateIsOfTheLastTenMinutes() {
        var watch = SpaceWatch()
        var policy = RetentionPolicy()
        policy.warningSeconds = 600
        var said: [String] = []
        var (time, end) = (MonotonicTime(nanoseconds: 0), Int64(0))
        func go(seconds: Int, rate: Int64, available: UInt64) {
            for _ in 0..<(seconds / 10) {
                time = time + .seconds(10)
                end += rate * 10
                let line = watch.take(
                    [DiskSpace(place: "/s", total: 1 << 40, available: available)], logStart: 0, logEnd: end, now: time, policy)
                if let line { said.append(line) }
            }
        }
        go(seconds: 1200, rate: 1 << 20, available: 900 << 30)
        #expect(abs(watch.state.bytesPerSecond - Double(1 << 20)) < 1 && said.isEmpty)
        go(seconds: 1200, rate: 0, available: 900 << 30)
        #expect(watch.state.bytesPerSecond == 0 && watch.state.secondsUntilRefusal == nil)
        // 1 GiB a second leaves some minutes of 200 GiB; that is said once, however it swings.
        go(seconds: 1200, rate: 1 << 30, available: 300 << 30)
        go(seconds: 1200, rate: 700 << 20, available: 300 << 30)
        go(seconds: 1200, rate: 1 << 30, available: 300 << 30)
        #expect(said.count == 1 && said[0].contains("3 min at the present 1.0 GiB/s") == false, "\(said)")
        go(seconds: 1200, rate: 1 << 20, available: 900 << 30)
        go(seconds: 1200, rate: 1 << 30, available: 300 << 30)
        #expect(said.count == 2, "\(said)")
        #expect(watch.nextLook(.seconds(100)) < .seconds(100), "looked at more often when it is near")
    }

    @Test func aFileWhoseNextCannotBeReadStillGoesWhenItMust() throws {
        let harness = try harness { $0.retention.maxLogBytes = 20_000 }
        try fill(harness, files: 4)
        let second = "/store/commitlog/" + FileName.text(8192)
        var bytes = try #require(harness.memory.bytes(second))
        bytes[4] ^= 1
        harness.memory.setBytes(second, bytes)
        look(harness)
        #expect(!files(harness).contains("/store/commitlog/" + FileName.text(0)))
    }
}
