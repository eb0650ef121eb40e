/// How often values (latencies in nanoseconds, sizes in bytes) occurred, in a fixed 37 KiB, with percentiles that are less
/// than 1 % off.
///
/// Buckets are linear up to 256, then 128 to each doubling: a bucket is at most 1/128 of its values wide, and percentiles
/// answer its middle, so they are at most 0.4 % off. Values from 2^42 (73 minutes in nanoseconds) on share the last bucket;
/// the greatest is kept exactly. Recording allocates nothing. A value: give each loop its own and merge them.
public struct LatencyHistogram: Sendable {
    /// Each doubling has `1 << precisionBits` buckets.
    private static var precisionBits: Int { 7 }
    private static var exponentLimit: Int { 42 }
    static var bucketCount: Int {
        ((exponentLimit - precisionBits - 1) << precisionBits) + (2 << precisionBits)
    }

    private var buckets = [UInt64](repeating: 0, count: bucketCount)
    public private(set) var count: UInt64 = 0
    /// The greatest value recorded, exactly; 0 when there is none.
    public private(set) var maximum: UInt64 = 0
    private var least: UInt64 = .max
    private var total: Double = 0

    public init() {}

    /// The least value recorded, exactly; 0 when there is none.
    public var minimum: UInt64 { count == 0 ? 0 : least }
    public var mean: Double { count == 0 ? 0 : total / Double(count) }
    public var isEmpty: Bool { count == 0 }

    public mutating func record(_ value: UInt64, times: UInt64 = 1) {
        guard times > 0 else { return }
        buckets[Self.bucket(of: value)] &+= times
        count &+= times
        total += Double(value) * Double(times)
        if value > maximum { maximum = value }
        if value < least { least = value }
    }

    /// Records a duration in nanoseconds; a negative one (the clock was read in the wrong order) counts as zero.
    public mutating func record(_ duration: Duration) { record(UInt64(max(0, duration.inNanoseconds))) }

    /// Adds all that another has recorded.
    public mutating func merge(_ other: LatencyHistogram) {
        guard other.count > 0 else { return }
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        count &+= other.count
        total += other.total
        maximum = max(maximum, other.maximum)
        least = min(least, other.least)
    }

    public mutating func removeAll() { self = LatencyHistogram() }

    /// The value that `percent` of all values do not exceed: 50 for the median, 99.9 for what one in a thousand exceeds.
    /// 0 when nothing was recorded.
    public func percentile(_ percent: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let share = min(max(percent, 0), 100) / 100
        let rank = min(count, max(1, UInt64((Double(count) * share).rounded(.up))))
        if rank == count { return maximum }
        var seen: UInt64 = 0
        for (index, number) in buckets.enumerated() where number > 0 {
            seen &+= number
            if seen >= rank { return min(max(Self.middle(of: index), least), maximum) }
        }
        return maximum
    }

    /// Values of up to `limit`, as the buckets tell them apart: for cumulative buckets of metric exporters.
    public func count(upTo limit: UInt64) -> UInt64 {
        limit >= maximum ? count : buckets[...Self.bucket(of: limit)].reduce(0, &+)
    }

    static func bucket(of value: UInt64) -> Int {
        let width = UInt64.bitWidth - value.leadingZeroBitCount
        if width > exponentLimit { return bucketCount - 1 }
        let shift = max(0, width - precisionBits - 1)
        return (shift << precisionBits) + Int(truncatingIfNeeded: value >> UInt64(shift))
    }

    static func middle(of bucket: Int) -> UInt64 {
        let shift = max(0, (bucket >> precisionBits) - 1)
        let lower = UInt64(bucket - (shift << precisionBits)) << UInt64(shift)
        return lower + (1 << UInt64(shift)) / 2
    }
}
