import RocketMQBase
import Testing

@testable import RocketMQStore

/// Reads of old messages where they may be delayed.
@Suite struct ColdReadTests {
    /// The pace of a reader, asked at milliseconds for milliseconds.
    private final class Paced {
        var pace: ColdReadPace
        init(bytesPerSecond: Int64) {
            pace = ColdReadPace(bytesPerSecond: bytesPerSecond, distance: 100, end: 0, now: MonotonicTime(nanoseconds: 0))
        }
        func wait(at time: Int64, end: Int64) -> Int64? {
            pace.wait(at: MonotonicTime(nanoseconds: time * 1_000_000), end: end).map { $0.inMilliseconds + 1 }
        }
    }

    @Test("The pace: no wait while little is stored, then the bound, and never less than twice what is stored")
    func pace() throws {
        let paced = Paced(bytesPerSecond: 10_000_000)
        #expect(!paced.pace.isOld(900, end: 1000))
        #expect(paced.pace.isOld(899, end: 1000))
        paced.pace.spend(50_000_000)
        #expect(paced.wait(at: 1000, end: 1_000_000) == nil)
        // 2 MB in a second: the bound counts.
        #expect(paced.wait(at: 2000, end: 3_000_000) == nil)
        paced.pace.spend(Int(ColdReadPace.burst) + 1_000_000)
        let wait = try #require(paced.wait(at: 2000, end: 3_000_000))
        #expect((100...102).contains(wait))
        #expect(paced.wait(at: 2099, end: 3_000_000) != nil)
        #expect(paced.wait(at: 2101, end: 3_000_000) == nil)
        // 100 MB in a second: twice that.
        #expect(paced.wait(at: 3101, end: 103_000_000) == nil)
        paced.pace.spend(Int(ColdReadPace.burst) + 20_000_000)
        let shorter = try #require(paced.wait(at: 3101, end: 103_000_000))
        #expect((90...120).contains(shorter))
        paced.pace.bytesPerSecond = 0
        #expect(paced.wait(at: 3101, end: 103_000_000) == nil)
    }

    @Test("A long read's debt ends")
    func debt() throws {
        let paced = Paced(bytesPerSecond: 100 << 20)
        #expect(paced.wait(at: 1000, end: 2 << 20) == nil)
        for _ in 0..<100 { paced.pace.spend(.max) }
        let wait = try #require(paced.wait(at: 1000, end: 2 << 20))
        #expect(wait < 11_000)
    }

    @Test("Old messages come from the worker in large pieces, which serve the reads that follow")
    func pieces() throws {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 1 << 20
            $0.coldReadDistance = 0
            $0.coldReadBytesPerSecond = 1 << 20
        }
        let sent = (0..<400).map { "\($0) " + String(repeating: "b", count: 300) }
        for body in sent { try harness.append("T", 0, body) }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(3))
        try harness.closeAndOpen()
        let queue = harness.store.queue(topic: "T", id: 0)
        var limits = ReadLimits(messages: 50, bytes: 1 << 20)
        var output = ByteBuffer()
        limits.mayBeDelayed = true
        #expect(harness.store.read(queue, from: 0, limits: limits, filter: .all, into: &output) == .needsDisk)
        var found = 0
        harness.store.readFromDisk(queue, from: 0, limits: limits, filter: .all) { result, _ in
            if case .found(_, let count) = result { found = count }
        }
        harness.loop.settle()
        #expect(found == 50)
        for offset in stride(from: 50, to: 350, by: 50) {
            let result = harness.store.read(queue, from: Int64(offset), limits: limits, filter: .all, into: &output)
            #expect(result == .found(nextOffset: Int64(offset + 50), count: 50))
        }
        // Who may not be delayed reads what the system has in memory.
        limits.mayBeDelayed = false
        #expect(harness.store.read(queue, from: 380, limits: limits, filter: .all, into: &output) == .found(nextOffset: 400, count: 20))
        #expect(try harness.bodies("T", 0) == sent)
    }
}
