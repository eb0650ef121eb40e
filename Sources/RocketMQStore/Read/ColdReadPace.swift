import RocketMQBase

/// Bounds what is read for consumers that are far behind, all of them together, while messages are stored: they take the
/// processor, the disk and the system's memory from those who send, and would take all of it.
///
/// A reader gets on in any case: the bound is never lower than twice what is stored meanwhile.
struct ColdReadPace {
    /// `coldReadMaxBytesPerSecond`; 0: no bound.
    var bytesPerSecond: Int64
    /// What lies farther behind the end of the log counts as old.
    let distance: Int64

    /// So many bytes a second must be stored for reads to wait at all.
    static let busyRate = 1_048_576.0
    /// What may be read at once after a pause.
    static let burst = 512.0 * 1024
    /// A single read may look at very much; its debt ends.
    private static let largestDebt = 1_073_741_824.0

    private var credit = ColdReadPace.burst
    private var creditedAt: MonotonicTime
    private var storedPerSecond = 0.0
    private var measuredAt: MonotonicTime
    private var measuredEnd: Int64

    /// - Parameter end: of the log.
    init(bytesPerSecond: Int64, distance: Int64, end: Int64, now: MonotonicTime) {
        self.bytesPerSecond = bytesPerSecond
        self.distance = distance
        creditedAt = now
        measuredAt = now
        measuredEnd = end
    }

    @inline(__always)
    func isOld(_ physicalOffset: Int64, end: Int64) -> Bool { end - physicalOffset > distance }

    /// How long a read of old messages has to wait; `nil` when it may go on.
    mutating func wait(at now: MonotonicTime, end: Int64) -> Duration? {
        guard bytesPerSecond > 0 else { return nil }
        measure(at: now, end: end)
        guard storedPerSecond >= Self.busyRate else {
            credit = Self.burst
            creditedAt = now
            return nil
        }
        let rate = max(Double(bytesPerSecond), storedPerSecond * 2)
        credit = min(Self.burst, credit + Double((now - creditedAt).inNanoseconds) / 1e9 * rate)
        creditedAt = now
        return credit > 0 ? nil : .nanoseconds(Int64((1 - credit) / rate * 1e9) + 1)
    }

    /// So many bytes of old messages were read, or are going to be.
    mutating func spend(_ bytes: Int) { credit = max(credit - Double(bytes), -Self.largestDebt) }

    private mutating func measure(at now: MonotonicTime, end: Int64) {
        let elapsed = Double((now - measuredAt).inNanoseconds) / 1e9
        guard elapsed >= 0.25 else { return }
        storedPerSecond = Double(end - measuredEnd) / elapsed
        measuredAt = now
        measuredEnd = end
    }
}
