/// A moment on the monotonic clock, in nanoseconds from an arbitrary start. Never compared between processes.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    public var nanoseconds: Int64
    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    @inlinable public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
    public static func + (left: Self, right: Duration) -> Self { Self(nanoseconds: left.nanoseconds + right.inNanoseconds) }
    public static func - (left: Self, right: Self) -> Duration { .nanoseconds(left.nanoseconds - right.nanoseconds) }
}

/// The clocks, as a seam: servers and clients never read the machine's own.
public protocol SystemClock: Sendable {
    /// For time-outs and intervals; does not jump.
    var monotonicNow: MonotonicTime { get }
    /// Milliseconds since 1970-01-01T00:00Z, as the protocol and the store carry times; can jump.
    var wallMilliseconds: Int64 { get }
    /// Suspends the task; throws `CancellationError` when it is cancelled.
    func sleep(for duration: Duration) async throws
}

extension Duration {
    public var inNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? .min : .max }
        return product.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
    }
    public var inMilliseconds: Int64 { inNanoseconds / 1_000_000 }
}
