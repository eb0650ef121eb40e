import Synchronization

/// Writes lines of one component. A value to pass around; all loggers made from one share sink, level and limiter.
///
/// The message is only made when its level is on: a line that is off costs one atomic load.
public struct Logger: Sendable {
    public let component: String
    /// For changing the level while running.
    public let threshold: LogThreshold
    private let output: Output

    /// What all loggers of a process share.
    private final class Output: Sendable {
        let sink: any LogSink
        let clock: any SystemClock
        let limiter: Mutex<RepetitionLimiter>

        init(sink: any LogSink, clock: any SystemClock, interval: Duration) {
            self.sink = sink
            self.clock = clock
            limiter = Mutex(RepetitionLimiter(interval: interval))
        }
    }

    /// - Parameter repetitionInterval: how far apart lines are that are written with `limitedBy`.
    public init(
        component: String, threshold: LogThreshold = LogThreshold(.info), sink: any LogSink, clock: any SystemClock,
        repetitionInterval: Duration = .seconds(10)
    ) {
        self.component = component
        self.threshold = threshold
        output = Output(sink: sink, clock: clock, interval: repetitionInterval)
    }

    private init(component: String, threshold: LogThreshold, output: Output) {
        self.component = component
        self.threshold = threshold
        self.output = output
    }

    /// A logger for another component, with the same sink, level and limiter.
    public func component(_ name: String) -> Logger { Logger(component: name, threshold: threshold, output: output) }

    @inlinable public func isOn(_ level: LogLevel) -> Bool { threshold.allows(level) }

    @inlinable
    public func debug(_ message: @autoclosure () -> String) { if threshold.allows(.debug) { write(.debug, message()) } }
    @inlinable
    public func info(_ message: @autoclosure () -> String) { if threshold.allows(.info) { write(.info, message()) } }
    @inlinable
    public func warning(_ message: @autoclosure () -> String) { if threshold.allows(.warning) { write(.warning, message()) } }
    @inlinable
    public func error(_ message: @autoclosure () -> String) { if threshold.allows(.error) { write(.error, message()) } }

    /// Writes a line whatever its level: for those that have asked `isOn`.
    public func write(_ level: LogLevel, _ message: String) {
        output.sink.write(
            LogRecord(wallMilliseconds: output.clock.wallMilliseconds, level: level, component: component, message: message))
    }

    /// As `warning` and the like, for lines that may come in masses: of those with the same component and `kind` one in ten
    /// seconds is written, with how many were left out: `… (37 more in the last 10 s)`.
    public func log(_ level: LogLevel, limitedBy kind: StaticString, _ message: @autoclosure () -> String) {
        guard threshold.allows(level) else { return }
        let now = output.clock.monotonicNow
        switch output.limiter.withLock({ $0.decide("\(kind)", of: component, level, now: now) }) {
        case .leaveOut: return
        case .write(nil): write(level, message())
        case .write(let leftOut?): write(level, "\(message()) (\(Self.text(leftOut)))")
        }
    }

    /// Says how many lines were left out of bursts that have ended, in the name of the components that wrote them. Call it every
    /// few seconds, and with `all` before the program ends.
    public func reportLeftOut(all: Bool = false) {
        let now = output.clock.monotonicNow
        let found = output.limiter.withLock { $0.collect(now: now, olderThan: all ? .zero : nil) }
        for leftOut in found where threshold.allows(leftOut.level) {
            self.component(leftOut.component).write(leftOut.level, "\(leftOut.kind): \(Self.text(leftOut))")
        }
    }

    private static func text(_ leftOut: RepetitionLimiter.LeftOut) -> String {
        "\(leftOut.count) more in the last \(max(1, leftOut.within.inMilliseconds / 1000)) s"
    }
}
