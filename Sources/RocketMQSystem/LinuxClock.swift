import CLinux
import Glibc
import RocketMQBase

/// The machine's clocks.
public struct LinuxClock: SystemClock {
    public init() {}

    public var monotonicNow: MonotonicTime {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return MonotonicTime(nanoseconds: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))
    }

    public var wallMilliseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }

    public func sleep(for duration: Duration) async throws {
        try await ContinuousClock().sleep(for: duration)
    }
}

/// A seed that differs from process to process, for the sources of randomness that programs hand out.
public func systemSeed() -> UInt64 {
    var generator = SystemRandomNumberGenerator()
    return generator.next()
}
