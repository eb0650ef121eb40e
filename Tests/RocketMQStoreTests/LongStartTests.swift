import RocketMQBase
import RocketMQProtocol
import Synchronization
import Testing

@testable import RocketMQStore

/// Starts that take long: what they say, and how they are left off.
@Suite struct LongStartTests {
    private func filled(_ count: Int) throws -> (StoreHarness, [String]) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 64 << 10
            $0.maxRecordSize = 8 << 10
        }
        let bodies = numbered(0..<count, size: 90)
        for (index, body) in bodies.enumerated() { try harness.append("T", Int32(index % 16), body) }
        try harness.store.commit()
        return (harness, bodies)
    }

    /// Every call of the file system takes a while.
    private func slowDown(_ files: MemoryFileSystem, _ clock: ManualClock, _ milliseconds: Int64) {
        files.setFault { _, _ in
            clock.advance(by: .milliseconds(milliseconds))
            return nil
        }
    }

    private func served(_ harness: StoreHarness) throws -> Set<String> {
        var found: Set<String> = []
        for id in 0..<Int32(16) { found.formUnion(try harness.bodies("T", id)) }
        return found
    }

    @Test func aStartThatTakesMoreThanASecondSaysHowFarItIs() throws {
        let (harness, bodies) = try filled(6000)
        let clock = harness.loop.testClock
        var began: MonotonicTime = clock.monotonicNow
        try harness.kill {
            slowDown($0, clock, 150)
            began = clock.monotonicNow
        }
        harness.memory.setFault(nil)
        let took = (clock.monotonicNow - began).inMilliseconds
        let lines = harness.reports.lines.filter { $0.1.hasPrefix("recovering: ") }.map(\.1)
        #expect(lines.count > 2 && Int64(lines.count) <= took / 1000, "\(lines.count) in \(took) ms: \(lines)")
        #expect(lines.contains { $0.contains("MiB of the commit log checked") } && lines.contains { $0.contains("consume queues written") })
        #expect(try served(harness) == Set(bodies))
        // Nothing is said of a start that is quick.
        try harness.kill()
        #expect(!harness.reports.lines.contains { $0.1.hasPrefix("recovering: ") }, "\(harness.reports.lines)")
    }

    /// Left off at each of its places in turn, with damage to be closed over: what is there afterwards is what a kill leaves.
    @Test func aStartMayBeLeftOffWhereverItAsks() throws {
        let (harness, bodies) = try filled(3000)
        let clock = harness.loop.testClock
        let left = harness.memory.copy()
        var bytes = try #require(left.bytes("/store/commitlog/" + FileName.text(64 << 10)))
        for index in 20_000..<21_000 { bytes[index] = UInt8(truncatingIfNeeded: index &* 31) }
        left.setBytes("/store/commitlog/" + FileName.text(64 << 10), bytes)
        var interruptions = 0
        for asked in 0..<10_000 {
            let once = Mutex(asked)
            let interruption = StartInterruption {
                once.withLock {
                    $0 -= 1; return $0 < 0
                }
            }
            harness.files = left.copy()
            do {
                try harness.kill(interruption) { slowDown($0, clock, 60) }
                break
            } catch {
                let failure = try #require(error as? StoreError)
                #expect(failure.code == .interrupted && failure.reason.contains("left off") && interruption.wasHeeded, "\(failure)")
            }
            interruptions += 1
            #expect(harness.memory.exists("/store/abort"))
            // Some of them go on to the end: all would take the test long.
            guard asked % 7 == 0 else { continue }
            try harness.kill { $0.setFault(nil) }
            let found = try served(harness)
            #expect(found.isSubset(of: bodies) && (2985..<3000).contains(found.count), "\(found.count) after \(asked)")
        }
        #expect(interruptions > 10, "\(interruptions)")
        harness.memory.setFault(nil)
        #expect(try served(harness).count > 2985)
    }
}
