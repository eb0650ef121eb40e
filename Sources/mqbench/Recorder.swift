import RocketMQBase
import Synchronization

/// What one client did while it was measured.
final class Recorder: Sendable {
    struct Totals: Sendable {
        var messages: UInt64 = 0
        var failed: UInt64 = 0
        /// In nanoseconds, one a request.
        var latencies = LatencyHistogram()
        var firstError: String?
    }

    private let totals = Mutex(Totals())
    let isMeasuring: Atomic<Bool>

    init(isMeasuring: Bool) { self.isMeasuring = Atomic(isMeasuring) }

    func succeeded(messages: Int, took nanoseconds: Int64) {
        guard isMeasuring.load(ordering: .relaxed) else { return }
        totals.withLock { totals in
            totals.messages += UInt64(messages)
            totals.latencies.record(UInt64(max(0, nanoseconds)))
        }
    }

    func failed(_ error: any Error) {
        guard isMeasuring.load(ordering: .relaxed) else { return }
        totals.withLock { totals in
            totals.failed += 1
            if totals.firstError == nil { totals.firstError = "\(error)" }
        }
    }

    /// What was counted since the last call.
    func take() -> Totals {
        totals.withLock { totals in
            defer { totals = Totals() }
            return totals
        }
    }

    func read() -> Totals { totals.withLock { $0 } }
}
