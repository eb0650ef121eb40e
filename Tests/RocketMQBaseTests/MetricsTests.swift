import RocketMQBase
import Testing

@Suite struct MetricsTests {
    @Test func `an empty histogram answers zero`() {
        let histogram = LatencyHistogram()
        #expect(histogram.percentile(50) == 0 && histogram.minimum == 0 && histogram.maximum == 0 && histogram.mean == 0)
        #expect(histogram.isEmpty)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `percentiles are less than one percent off`(seed: UInt64) {
        var random = RandomSource(seed: seed)
        var histogram = LatencyHistogram()
        var exact: [UInt64] = []
        for _ in 0..<20_000 {
            // From nanoseconds to minutes, as many of each order of magnitude.
            let value = UInt64.random(in: 0..<(1 << UInt64.random(in: 1...41, using: &random)), using: &random)
            exact.append(value)
            histogram.record(value)
        }
        exact.sort()
        for percent in [0.0, 0.1, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99, 100] {
            let rank = max(1, Int((Double(exact.count) * percent / 100).rounded(.up)))
            let expected = Double(exact[rank - 1])
            #expect(abs(Double(histogram.percentile(percent)) - expected) <= expected * 0.005 + 0.5, "\(percent)")
        }
        #expect(histogram.minimum == exact.first && histogram.maximum == exact.last && histogram.count == 20_000)
        let mean = exact.reduce(0.0) { $0 + Double($1) } / 20_000
        #expect(abs(histogram.mean - mean) <= mean * 1e-9)
    }

    @Test func `the ends of the range`() {
        var histogram = LatencyHistogram()
        for value: UInt64 in [0, 1, 255, 256, (1 << 42) - 1, 1 << 42, .max] { histogram.record(value) }
        #expect(histogram.percentile(0) == 0)
        #expect(histogram.percentile(100) == .max)
        #expect(histogram.percentile(-5) == 0 && histogram.percentile(500) == .max)
        #expect(histogram.count(upTo: 255) == 3 && histogram.count(upTo: .max) == 7)
        histogram.removeAll()
        histogram.record(.milliseconds(2))
        histogram.record(.milliseconds(-2))
        #expect(histogram.minimum == 0 && histogram.maximum == 2_000_000 && histogram.count == 2)
    }

    @Test func `merged histograms are as one`() {
        var all = LatencyHistogram()
        var odd = LatencyHistogram()
        var even = LatencyHistogram()
        for value in 1...10_000 as ClosedRange<UInt64> {
            all.record(value * 977)
            if value % 2 == 0 { even.record(value * 977) } else { odd.record(value * 977) }
        }
        odd.merge(even)
        odd.merge(LatencyHistogram())
        for percent in [0.0, 1, 50, 99, 100] { #expect(odd.percentile(percent) == all.percentile(percent)) }
        #expect(odd.count == all.count && odd.minimum == all.minimum && odd.maximum == all.maximum)
        #expect(abs(odd.mean - all.mean) < 1e-6)
    }

    @Test func `many threads count together`() async {
        let counter = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<1000 { counter.add() } } }
        }
        #expect(counter.value == 8000)
        counter.add(-3)
        #expect(counter.take() == 7997 && counter.value == 0)
    }
}
