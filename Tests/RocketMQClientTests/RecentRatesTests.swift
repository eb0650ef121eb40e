import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// What tools are told of a consumer's speed.
@Suite struct RecentRatesTests {
    private func at(_ seconds: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }

    @Test func ratesAreThoseOfTheLastMinute() {
        let rates = RecentRates(start: at(1000))
        #expect(rates.status(at: at(1000)) == ConsumeStatus())
        for second in Int64(1000)..<1010 {
            rates.pulled(30, after: .milliseconds(4), at: at(second))
            rates.called(succeeded: 20, failed: 0, after: .milliseconds(10), at: at(second))
            rates.called(succeeded: 0, failed: 10, after: .milliseconds(30), at: at(second))
        }
        // Young, it is judged by the time that it had.
        var status = rates.status(at: at(1010))
        #expect(status.pullRT == 4 && status.pullTPS == 30 && status.consumeRT == 20)
        #expect(status.consumeOKTPS == 20 && status.consumeFailedTPS == 10 && status.consumeFailedMsgs == 100)
        // After a minute of nothing the rates are zero; how long calls take and failures are those of the hour.
        status = rates.status(at: at(1075))
        #expect(status.pullTPS == 0 && status.pullRT == 0 && status.consumeOKTPS == 0 && status.consumeFailedTPS == 0)
        #expect(status.consumeRT == 20 && status.consumeFailedMsgs == 100)
        #expect(rates.status(at: at(1000 + 3700)) == ConsumeStatus())
        // Another round of the same slots.
        rates.called(succeeded: 7, failed: 0, after: .milliseconds(1), at: at(8000))
        status = rates.status(at: at(8000))
        #expect(status.consumeRT == 1 && status.consumeFailedMsgs == 0 && abs(status.consumeOKTPS - 7.0 / 55) < 0.001)
    }
}
