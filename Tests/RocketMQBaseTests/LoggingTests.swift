import RocketMQBase
import RocketMQTesting
import Testing

@Suite struct LoggingTests {
    private let clock = ManualClock(monotonicNanoseconds: 0)
    private let sink = MemoryLogSink()
    private var logger: Logger { Logger(component: "broker", sink: sink, clock: clock) }

    @Test func `a line has time, level, component and message`() {
        logger.component("store.flush").warning("disk is slow")
        #expect(sink.records.map(\.line) == ["2025-11-21T09:01:02.345Z WARN  store.flush: disk is slow"])
    }

    @Test func `text from a peer cannot look like a line of ours`() {
        logger.info("topic \"a\r\n2025-11-21T09:01:02.345Z INFO  broker: forged\u{1B}[2J\"")
        let line = sink.records[0].line
        #expect(!line.contains("\n") && !line.contains("\r") && !line.contains("\u{1B}"))
        #expect(line.hasSuffix(#"topic "a? | 2025-11-21T09:01:02.345Z INFO  broker: forged?[2J""#))
    }

    @Test func `a level that is off makes no message`() {
        let logger = logger
        var made = 0
        func message() -> String {
            made += 1
            return "x"
        }
        logger.debug(message())
        logger.log(.debug, limitedBy: "kind", message())
        #expect(made == 0 && sink.records.isEmpty)
        // The level holds for all that were made from one, also later.
        let other = logger.component("other")
        other.threshold.set(.debug)
        logger.debug(message())
        #expect(made == 1 && sink.messages == ["x"])
        logger.threshold.set(.error)
        other.warning(message())
        #expect(made == 1)
        #expect(other.isOn(.error) && !other.isOn(.warning))
    }

    @Test func `lines in masses are limited, and what was left out is told`() {
        let logger = logger
        for number in 1...38 {
            logger.log(.warning, limitedBy: "accept", "cannot accept: \(number)")
            logger.component("other").log(.warning, limitedBy: "accept", "other \(number)")
        }
        #expect(sink.messages == ["cannot accept: 1", "other 1"])
        clock.advance(by: .seconds(10))
        logger.log(.warning, limitedBy: "accept", "cannot accept: again")
        #expect(sink.messages.last == "cannot accept: again (37 more in the last 10 s)")
        clock.advance(by: .seconds(2))
        logger.reportLeftOut()
        // Whoever asks for it: programs that hold several servers have components of both.
        #expect(sink.records.last?.component == "other" && sink.messages.last == "accept: 37 more in the last 12 s")
        logger.reportLeftOut(all: true)
        #expect(sink.records.count == 4)
    }

    @Test func `a burst that ended is told of at the end`() {
        let logger = logger
        logger.log(.error, limitedBy: "k", "a")
        logger.log(.error, limitedBy: "k", "b")
        logger.reportLeftOut()
        #expect(sink.records.count == 1)
        logger.reportLeftOut(all: true)
        #expect(sink.messages == ["a", "k: 1 more in the last 1 s"])
        #expect(sink.records.last?.component == "broker" && sink.records.last?.level == .error)
    }

    @Test func `the limiter remembers a bounded number of kinds`() {
        var limiter = RepetitionLimiter(interval: .seconds(10), mostKinds: 2)
        func time(_ seconds: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }
        #expect(limiter.decide("a", of: "x", .warning, now: time(0)) == .write(leftOut: nil))
        #expect(limiter.decide("b", of: "x", .warning, now: time(1)) == .write(leftOut: nil))
        #expect(limiter.decide("c", of: "x", .warning, now: time(2)) == .write(leftOut: nil))
        #expect(limiter.decide("b", of: "x", .warning, now: time(3)) == .leaveOut)
        #expect(limiter.decide("a", of: "x", .warning, now: time(3)) == .write(leftOut: nil))
        // A kind that has been quiet is forgotten.
        #expect(limiter.collect(now: time(60)).isEmpty)
        #expect(limiter.decide("a", of: "x", .warning, now: time(61)) == .write(leftOut: nil))
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_399_999, "2000-02-28T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] as [(Int64, String)])
    func `dates are the calendar's`(milliseconds: Int64, text: String) {
        #expect(utcText(milliseconds: milliseconds) == text)
    }

    @Test func `extreme times do not trap`() {
        #expect(utcText(milliseconds: .max).hasSuffix("Z"))
        #expect(utcText(milliseconds: .min).hasSuffix("Z"))
    }

    @Test func `the memory sink keeps the last lines`() {
        let small = MemoryLogSink(capacity: 2)
        let logger = Logger(component: "c", sink: small, clock: clock)
        for number in 1...3 { logger.info("\(number)") }
        #expect(small.messages == ["2", "3"])
        #expect(small.contains("3") && !small.contains("1") && !small.contains("3", atLeast: .warning))
    }
}
