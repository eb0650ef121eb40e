import RocketMQBase
import Synchronization

/// A clock that stands still until it is moved.
public final class ManualClock: SystemClock {
    private let now: Mutex<Int64>
    /// What the wall clock showed when the monotonic one was at 0.
    public let wallStartMilliseconds: Int64

    public init(wallMilliseconds: Int64 = 1_763_715_662_345, monotonicNanoseconds: Int64 = 1_000_000_000) {
        wallStartMilliseconds = wallMilliseconds
        now = Mutex(monotonicNanoseconds)
    }

    public var monotonicNow: MonotonicTime { MonotonicTime(nanoseconds: now.withLock { $0 }) }
    public var wallMilliseconds: Int64 {
        wallStartMilliseconds + jumped.withLock { $0 } + monotonicNow.nanoseconds / 1_000_000
    }
    private let jumped = Mutex<Int64>(0)
    /// Sets the wall clock ahead, or back with a number below 0: the monotonic one knows nothing of it.
    public func jumpWall(byMilliseconds difference: Int64) { jumped.withLock { $0 += difference } }
    /// Does not wait: the clock moves instead.
    public func sleep(for duration: Duration) async throws { advance(by: duration) }

    public func advance(by duration: Duration) { now.withLock { $0 += duration.inNanoseconds } }
}
