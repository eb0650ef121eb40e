import RocketMQBase

/// Says how far a start is, at most every second, and nothing when it is over before.
final class StartProgress {
    private let clock: any SystemClock
    private let report: (StoreReportLevel, String) -> Void
    private var last: MonotonicTime

    init(clock: any SystemClock, report: @escaping (StoreReportLevel, String) -> Void) {
        self.clock = clock
        self.report = report
        last = clock.monotonicNow
    }

    /// What is being done, and how much of it is done; made only when it is said.
    func tell(_ text: @autoclosure () -> String) {
        let now = clock.monotonicNow
        guard now - last >= .seconds(1) else { return }
        last = now
        report(.information, "recovering: " + text())
    }
}
