import RocketMQBase
import RocketMQProtocol

/// What a push consumer has done in one topic within the last minute and the last hour, for tools (`statusTable` of 307). Confined to
/// the loop.
final class RecentRates {
    private struct Work {
        var pulls = 0
        var pullTime = Duration.zero
        var pulled = 0
        var calls = 0
        var callTime = Duration.zero
        var succeeded = 0
        var failed = 0

        static func += (left: inout Work, right: Work) {
            left.pulls += right.pulls
            left.pullTime += right.pullTime
            left.pulled += right.pulled
            left.calls += right.calls
            left.callTime += right.callTime
            left.succeeded += right.succeeded
            left.failed += right.failed
        }
    }

    /// The work of the last `count` spans of time, the present one among them.
    private struct Window {
        let span: Int64
        private var slots: [(number: Int64, work: Work)]

        init(span: Duration, count: Int) {
            self.span = span.inNanoseconds
            slots = Array(repeating: (-1, Work()), count: count)
        }

        mutating func add(_ work: Work, at now: MonotonicTime) {
            let number = now.nanoseconds / span
            let index = Int(number % Int64(slots.count))
            if slots[index].number != number { slots[index] = (number, Work()) }
            slots[index].work += work
        }

        func sum(at now: MonotonicTime) -> Work {
            let number = now.nanoseconds / span
            var sum = Work()
            for slot in slots where slot.number > number - Int64(slots.count) && slot.number >= 0 { sum += slot.work }
            return sum
        }
    }

    private let start: MonotonicTime
    private var minute = Window(span: .seconds(5), count: 12)
    private var hour = Window(span: .seconds(60), count: 60)

    init(start: MonotonicTime) { self.start = start }

    private func add(_ work: Work, at now: MonotonicTime) {
        minute.add(work, at: now)
        hour.add(work, at: now)
    }

    /// A pull brought so many messages, this time after it was asked.
    func pulled(_ messages: Int, after time: Duration, at now: MonotonicTime) {
        add(Work(pulls: 1, pullTime: time, pulled: messages), at: now)
    }

    /// A call of the listener ended.
    func called(succeeded: Int, failed: Int, after time: Duration, at now: MonotonicTime) {
        add(Work(calls: 1, callTime: time, succeeded: succeeded, failed: failed), at: now)
    }

    func status(at now: MonotonicTime) -> ConsumeStatus {
        let (recent, longer) = (minute.sum(at: now), hour.sum(at: now))
        // Between eleven and twelve spans of five seconds, less for a consumer that is younger.
        let partial = Double(now.nanoseconds % 5_000_000_000) / 1e9
        let seconds = max(1, min(55 + partial, Double((now - start).inNanoseconds) / 1e9))
        func milliseconds(_ time: Duration, _ count: Int) -> Double {
            count > 0 ? Double(time.inNanoseconds) / 1e6 / Double(count) : 0
        }
        var status = ConsumeStatus()
        status.pullRT = milliseconds(recent.pullTime, recent.pulls)
        status.pullTPS = Double(recent.pulled) / seconds
        // As in the reference: of the hour when there was no call within the minute.
        status.consumeRT =
            recent.calls > 0 ? milliseconds(recent.callTime, recent.calls) : milliseconds(longer.callTime, longer.calls)
        status.consumeOKTPS = Double(recent.succeeded) / seconds
        status.consumeFailedTPS = Double(recent.failed) / seconds
        status.consumeFailedMsgs = Int64(longer.failed)
        return status
    }
}
