import RocketMQBase

/// Says how far a start is, at most every second, and nothing when it is over before.
///
/// `@unchecked Sendable` holds because a start is one thread: parts that keep a lock of their own, such as the index, are handed
/// this for the time of a call that is made on it, and keep it no longer.
public final class StartProgress: @unchecked Sendable {
    private let clock: any SystemClock
    private let report: (StoreReportLevel, String) -> Void
    private var last: MonotonicTime

    init(clock: any SystemClock, report: @escaping (StoreReportLevel, String) -> Void) {
        self.clock = clock
        self.report = report
        last = clock.monotonicNow
    }

    /// What is being done, and how much of it is done; made only when it is said.
    public func tell(_ text: @autoclosure () -> String) {
        let now = clock.monotonicNow
        guard now - last >= .seconds(1) else { return }
        last = now
        report(.information, "recovering: " + text())
    }
}

extension MessageStore {
    /// For those who read much at a start.
    public func startProgress() -> StartProgress { StartProgress(clock: clock, report: report) }
}
