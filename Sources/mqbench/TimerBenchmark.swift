import Glibc
import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSystem

/// Stores messages that are all due at once, or within some time, and measures how late they come, what that does to fresh
/// sends, and how much memory the broker has while they wait. Every delivered message is read back: one that is missing,
/// early or there twice is a failure.
struct TimerBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    func run() async throws -> Report {
        let (baseline, during) = (Recorder(isMeasuring: true), Recorder(isMeasuring: true))
        let loop = EpollLoop(name: "mqbench", clock: clock)
        defer { loop.stop() }
        let made: Result<[LoopBound<CallConnection>], RawFailure> = loop.waitFor { [options] done in
            CallConnection.connect(options.connections, to: options.broker, on: loop, during) { result in
                done(result.map { $0.map { LoopBound($0, on: loop) } })
            }
        }
        let connections = try made.get()
        let rig = loop.perform { [options, clock] in
            LoopBound(TimerRig(options, connections.map(\.value), loop: loop, clock: clock), on: loop)
        }
        let before = ProcessUsage.now()
        let starts: [Int64] = loop.waitFor { done in rig.value.ends { done($0) } }
        let beganAt = clock.monotonicNow
        loop.perform { rig.value.store() }
        while loop.perform({ rig.value.stored }) < options.count {
            if let failure = loop.perform({ rig.value.failure }) { throw failure }
            try await clock.sleep(for: .milliseconds(20))
        }
        var more = [("storeSeconds", seconds(since: beganAt))]
        let due = loop.perform { rig.value.due }
        guard clock.wallMilliseconds < due - Int64(options.warmUpSeconds * 1000) else {
            throw RawFailure(description: "storing took until after the first were due: a larger --due is needed")
        }
        more += await waiting(loop, rig)
        var measured = 1.0
        if !options.pendingOnly {
            let (figures, seconds) = try await deliver(loop, rig, baseline, during, due, starts)
            more += figures
            measured = seconds
        }
        let failures = loop.perform { rig.value.failure }
        if let failures { during.failed(failures) }
        var report = Report(
            title: "timers", parameters: parameters, recorders: [during], seconds: measured, before: before, after: ProcessUsage.now(),
            countsAllocations: false)
        report.more = more
        return report
    }

    private var parameters: [(String, String)] {
        [
            ("topic", options.topic), ("count", "\(options.count)"), ("dueSeconds", "\(options.dueSeconds)"),
            ("spreadMilliseconds", "\(options.spreadMilliseconds)"), ("queues", "\(options.queues)"),
            ("connections", "\(options.connections)"), ("depth", "\(options.depth)"), ("rate", "\(options.rate)"),
            ("bodyBytes", "\(options.bodySize)"),
        ]
    }

    private func seconds(since start: MonotonicTime) -> String { decimal(Double((clock.monotonicNow - start).inNanoseconds) / 1e9, 2) }

    /// What the broker has while all wait.
    private func waiting(_ loop: EpollLoop, _ rig: LoopBound<TimerRig>) async -> [(String, String)] {
        let table: [String: String] = loop.waitFor { done in rig.value.runtime { done($0) } }
        var figures = ["timerPendingCount", "timerEntriesInMemory"].map { ($0, table[$0] ?? "-1") }
        if options.brokerProcess > 0 {
            figures += [("brokerAnonymousMebibytes", "RssAnon"), ("brokerPeakMebibytes", "VmHWM")].map { name, line in
                (name, Self.kilobytes(line, options.brokerProcess).map { decimal(Double($0) / 1024, 1) } ?? "-1")
            }
        }
        return figures
    }

    private func deliver(
        _ loop: EpollLoop, _ rig: LoopBound<TimerRig>, _ baseline: Recorder, _ during: Recorder, _ due: Int64, _ starts: [Int64]
    ) async throws -> (figures: [(String, String)], seconds: Double) {
        loop.perform { rig.value.sendFresh(baseline) }
        let left = due - clock.wallMilliseconds
        if left > 0 { try await clock.sleep(for: .milliseconds(left)) }
        loop.perform { rig.value.sendFresh(during) }
        let limit = clock.monotonicNow + .seconds(options.seconds) + .milliseconds(options.spreadMilliseconds)
        var delivered: Int64 = 0
        let began = clock.monotonicNow
        while delivered < Int64(options.count), clock.monotonicNow < limit {
            try await clock.sleep(for: .milliseconds(20))
            let ends: [Int64] = loop.waitFor { done in rig.value.ends { done($0) } }
            delivered = zip(ends, starts).reduce(0) { $0 + $1.0 - $1.1 }
        }
        loop.perform { rig.value.stopFresh() }
        let took = Double((clock.monotonicNow - began).inNanoseconds) / 1e9
        let found: TimerRig.Delivered = loop.waitFor { done in rig.value.read(from: starts) { done($0) } }
        if let failure = found.failure { throw failure }
        for (what, count) in [("missing", found.missing), ("delivered twice", found.repeated), ("early", found.early)] where count > 0 {
            during.failed(RawFailure(description: "\(count) messages are \(what)"))
        }
        let fresh = baseline.read()
        func late(_ percent: Double) -> String { decimal(Double(found.lateness.percentile(percent)) / 1000, 0) }
        let figures = [
            ("delivered", "\(found.count)"), ("missing", "\(found.missing)"), ("repeated", "\(found.repeated)"),
            ("early", "\(found.early)"),
            ("deliverySeconds", decimal(took, 2)), ("lateP50Milliseconds", late(50)), ("lateP99Milliseconds", late(99)),
            ("lateLastMilliseconds", decimal(Double(found.lateness.maximum) / 1000, 0)),
            ("freshBeforeP50Microseconds", decimal(Double(fresh.latencies.percentile(50)) / 1000, 1)),
            ("freshBeforeP99Microseconds", decimal(Double(fresh.latencies.percentile(99)) / 1000, 1)),
            ("freshBeforeMaxMicroseconds", decimal(Double(fresh.latencies.maximum) / 1000, 1)),
        ]
        return (figures, took)
    }

    /// A line of `/proc/PID/status`.
    private static func kilobytes(_ name: String, _ process: Int) -> Int? {
        guard let file = fopen("/proc/\(process)/status", "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = fread(&bytes, 1, bytes.count, file)
        let lines = String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
        return lines.first { $0.hasPrefix(name + ":") }?.split(whereSeparator: { $0 == ":" || $0 == " " || $0 == "\t" }).dropFirst().first
            .flatMap { Int($0) }
    }
}
