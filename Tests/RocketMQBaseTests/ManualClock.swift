import RocketMQBase
import Synchronization

/// A clock that stands still until it is moved.
final class ManualClock: SystemClock {
    private let now = Mutex<Int64>(0)
    let wallStart: Int64

    init(wallMilliseconds: Int64 = 1_763_715_662_345) { wallStart = wallMilliseconds }

    var monotonicNow: MonotonicTime { MonotonicTime(nanoseconds: now.withLock { $0 }) }
    var wallMilliseconds: Int64 { wallStart + monotonicNow.nanoseconds / 1_000_000 }
    func sleep(for duration: Duration) async throws {}

    func advance(by duration: Duration) { now.withLock { $0 += duration.inNanoseconds } }
}
