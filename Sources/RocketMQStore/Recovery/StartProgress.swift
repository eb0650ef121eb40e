import RocketMQBase

/// Says how far a start is, at most every second, and nothing when it is over before; and ends it where the program is to end.
///
/// `@unchecked Sendable` holds because a start is one thread: parts that keep a lock of their own, such as the index, are handed
/// this for the time of a call that is made on it, and keep it no longer.
public final class StartProgress: @unchecked Sendable {
    private let clock: any SystemClock
    private let report: (StoreReportLevel, String) -> Void
    private let interruption: StartInterruption
    private var last: MonotonicTime
    private var lastAsked: MonotonicTime

    init(clock: any SystemClock, interruption: StartInterruption, report: @escaping (StoreReportLevel, String) -> Void) {
        self.clock = clock
        self.interruption = interruption
        self.report = report
        last = clock.monotonicNow
        lastAsked = last
    }

    /// What is being done, and how much of it is done; made only when it is said. To be called where the start may be left off:
    /// what is on the disk then is what a kill would leave.
    ///
    /// - Throws: `.interrupted` when the program is to end.
    public func tell(_ text: @autoclosure () -> String) throws(StoreError) {
        let now = clock.monotonicNow
        if now - lastAsked >= .milliseconds(1) {
            lastAsked = now
            if interruption.isHeeded() {
                throw StoreError(.interrupted, "the start was left off (\(text())); the next one begins it anew, nothing is lost")
            }
        }
        guard now - last >= .seconds(1) else { return }
        last = now
        report(.information, "recovering: " + text())
    }
}

extension MessageStore {
    /// For those who read much at a start.
    public func startProgress() -> StartProgress { StartProgress(clock: clock, interruption: interruption, report: report) }
}
