import RocketMQBase
import Testing

@testable import RocketMQClient

@Suite struct ProcessQueueTests {
    @Test(arguments: 0..<40 as Range<UInt64>)
    func neverCommitsPastWhatIsNotFinished(_ seed: UInt64) {
        var random = RandomSource(seed: seed)
        var queue = ProcessQueue(startingAt: 100)
        var held: Set<Int64> = []
        var next: Int64 = 100
        var bytes: [Int64: Int] = [:]
        for _ in 0..<2000 {
            if Bool.random(using: &random), held.count < 50 {
                // Gaps are messages that other tags have.
                let offset = next + Int64.random(in: 0...3, using: &random)
                let size = Int.random(in: 0...100, using: &random)
                let isNew = queue.hold(offset, byteCount: size)
                #expect(isNew)
                held.insert(offset)
                bytes[offset] = size
                next = offset + 1 + Int64.random(in: 0...2, using: &random)
                queue.skip(to: next)
            } else if let offset = held.randomElement(using: &random) {
                queue.finish(offset)
                held.remove(offset)
                bytes[offset] = nil
            }
            #expect(queue.count == held.count)
            #expect(queue.byteCount == bytes.values.reduce(0, +))
            // The position is the first message held, or where the next pull begins.
            #expect(queue.committable == held.min() ?? next)
        }
    }

    @Test func aRepetitionIsNotHeldTwice() {
        var queue = ProcessQueue(startingAt: 0)
        let news = [queue.hold(5, byteCount: 1), queue.hold(5, byteCount: 1), queue.hold(4, byteCount: 1)]
        #expect(news == [true, false, false])
        queue.finish(5)
        queue.finish(5)
        #expect(queue.count == 0 && queue.committable == 6)
    }

    @Test func limitsCountMessagesBytesAndSpan() {
        var queue = ProcessQueue(startingAt: 0)
        for offset in 0..<10 as Range<Int64> { _ = queue.hold(offset * 10, byteCount: 100) }
        #expect(queue.isWithin(.init(count: 10, byteCount: 1000, span: 90)))
        #expect(!queue.isWithin(.init(count: 9, byteCount: 1000, span: 90)))
        #expect(!queue.isWithin(.init(count: 10, byteCount: 999, span: 90)))
        #expect(!queue.isWithin(.init(count: 10, byteCount: 1000, span: 89)))
        queue.finish(0)
        #expect(queue.isWithin(.init(count: 9, byteCount: 900, span: 80)))
    }

    @Test func whatNobodyWantsIsPassed() {
        var queue = ProcessQueue(startingAt: 7)
        queue.skip(to: 30)
        #expect(queue.committable == 30)
        _ = queue.hold(31, byteCount: 1)
        queue.skip(to: 40)
        #expect(queue.committable == 31)
        queue.finish(31)
        #expect(queue.committable == 40)
    }
}
