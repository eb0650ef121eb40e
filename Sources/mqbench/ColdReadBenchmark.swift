import RocketMQBase
import RocketMQClient
import RocketMQSystem

/// What a consumer that reads a large backlog from the disk does to those who send meanwhile.
///
/// Fills a topic, lets the system forget the store's files, finds how much the broker takes, and then sends half as much all
/// the time, in turns without a reader, with one that keeps up, and with one that reads the backlog. Each turn is measured in
/// pieces of a second, of which the median counts: a machine with other work has pauses of its own.
struct ColdReadBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    private var backlogTopic: String { options.topic + "-backlog" }
    /// Larger than those of the sends that are measured, so that the backlog is soon there.
    private var backlogBodySize: Int { max(options.bodySize, 4000) }

    func run() async throws -> ColdReadReport {
        let backlog = try await fill()
        let most = try await load(options.topic, rate: 0)
        let rate = max(1, Int(Double(most.messages) / most.seconds / 2))
        note("alone the broker takes \(decimal(Double(most.messages) / most.seconds, 0)) sends/s; half of that from here on")
        try dropCache()
        let sends = try LoadSession(options: wanted(options.topic, rate: rate))
        defer { sends.end() }
        var report = ColdReadReport(backlogMessages: backlog, options: options, rate: rate)
        var place = [Int64](repeating: 0, count: options.queues)
        for number in 1...options.rounds {
            report.alone.append(try await measure(sends))
            // One that keeps up: what a reader costs that does not need the disk.
            let tail = try ReadSession(options: reader(options.topic), from: nil)
            let beside = try await measure(sends)
            report.beside.append(ColdReadReport.Turn(windows: beside, bytesRead: tail.end().bytes))
            let old = try ReadSession(options: reader(backlogTopic), from: place)
            let reading = try await measure(sends)
            let end = old.end()
            report.reading.append(ColdReadReport.Turn(windows: reading, bytesRead: end.bytes))
            place = end.offsets
            guard end.missing == 0 else {
                throw RawFailure(
                    description:
                        "\(end.missing) messages of the backlog were deleted before they were read, and deleting is not what is to be "
                        + "measured: the disk has too little room for diskMaxUsedSpaceRatio, see the broker's log")
            }
            note("round \(number): \(report.line(number - 1))")
            if end.isDone {
                note("the backlog is read; it begins anew")
                place = place.map { _ in 0 }
                try dropCache()
            }
        }
        return report
    }

    /// A histogram for each second. What comes in the warm-up does not count.
    private func measure(_ sends: LoadSession) async throws -> [LatencyHistogram] {
        try await clock.sleep(for: .seconds(options.warmUpSeconds))
        _ = try sends.take()
        var windows: [LatencyHistogram] = []
        for _ in 0..<options.seconds {
            try await clock.sleep(for: .seconds(1))
            windows.append(try sends.take())
        }
        return windows
    }

    private func reader(_ topic: String) -> BenchmarkOptions {
        var wanted = wanted(topic, rate: 0)
        wanted.connections = 1
        wanted.depth = options.queues
        return wanted
    }

    /// Sends until so many bytes have been stored; returns how many messages those are.
    private func fill() async throws -> UInt64 {
        let wanted = UInt64(options.gibibytes) << 30
        var messages: UInt64 = 0
        while messages * UInt64(backlogBodySize) < wanted {
            let report = try await load(backlogTopic, rate: 0, bodySize: backlogBodySize, seconds: 5, warmUp: 0)
            guard report.messages > 0 else { throw RawFailure(description: "the backlog cannot be filled: no send is answered") }
            messages += report.messages
            note("\(decimal(Double(messages * UInt64(backlogBodySize)) / 1_073_741_824, 1)) GiB of backlog")
        }
        return messages
    }

    private func wanted(_ topic: String, rate: Int) -> BenchmarkOptions {
        var wanted = options
        wanted.topic = topic
        wanted.topics = 1
        wanted.rate = rate
        return wanted
    }

    private func load(
        _ topic: String, rate: Int, bodySize: Int? = nil, seconds: Int? = nil, warmUp: Int? = nil
    ) async throws -> Report {
        var wanted = wanted(topic, rate: rate)
        wanted.bodySize = bodySize ?? options.bodySize
        wanted.seconds = seconds ?? options.seconds
        wanted.warmUpSeconds = warmUp ?? options.warmUpSeconds
        let report = try await LoadBenchmark(options: wanted).run()
        if report.failed > 0 { throw RawFailure(description: "\(report.failed) sends failed: \(report.firstError ?? "")") }
        return report
    }

    private func dropCache() throws {
        guard let store = options.store else { return }
        let count = try PageCache.drop(below: store)
        note("the system was told to forget \(count) files in \(store)")
    }

    private func note(_ line: String) { if !options.json { Console.complain(line) } }
}

/// The outcome: latencies of sends without a reader, with one that keeps up, and with one of a backlog.
struct ColdReadReport: Sendable {
    struct Turn: Sendable {
        /// Of the sends, one for each second.
        var windows: [LatencyHistogram]
        var bytesRead: Int
    }
    var backlogMessages: UInt64
    var options: BenchmarkOptions
    var rate: Int
    var alone: [[LatencyHistogram]] = []
    var beside: [Turn] = []
    var reading: [Turn] = []

    init(backlogMessages: UInt64, options: BenchmarkOptions, rate: Int) {
        self.backlogMessages = backlogMessages
        self.options = options
        self.rate = rate
    }

    /// The median over the seconds, in microseconds.
    private static func median(_ windows: [LatencyHistogram], _ percent: Double) -> Double {
        let values = windows.map { Double($0.percentile(percent)) / 1000 }.sorted()
        return values.isEmpty ? 0 : values[values.count / 2]
    }
    private static func describe(_ windows: [LatencyHistogram]) -> String {
        "p50 \(decimal(median(windows, 50), 0)) p99 \(decimal(median(windows, 99), 0)) p99.9 \(decimal(median(windows, 99.9), 0)) us"
    }
    private func rate(_ bytes: Int) -> String {
        decimal(Double(bytes) / 1_048_576 / Double(options.seconds + options.warmUpSeconds), 0) + " MiB/s"
    }
    private static func ratio(_ windows: [LatencyHistogram], _ base: [LatencyHistogram]) -> Double {
        let without = median(base, 99)
        return without > 0 ? median(windows, 99) / without : 0
    }

    func line(_ round: Int) -> String {
        "sends alone \(Self.describe(alone[round])); with a reader that keeps up \(Self.describe(beside[round].windows)); "
            + "with the backlog read at \(rate(reading[round].bytesRead)) \(Self.describe(reading[round].windows)), "
            + "p99 \(decimal(Self.ratio(reading[round].windows, alone[round]), 2)) times that alone"
    }

    private var allAlone: [LatencyHistogram] { alone.flatMap { $0 } }
    /// p99 with the backlog's reader as a multiple of that without, and with a reader that keeps up.
    private var ratios: (alone: Double, beside: Double) {
        let old = reading.flatMap(\.windows)
        return (Self.ratio(old, allAlone), Self.ratio(old, beside.flatMap(\.windows)))
    }
    private var bytesRead: Int { reading.reduce(0) { $0 + $1.bytesRead } }

    /// For people.
    var text: String {
        var lines = [
            "cold: \(backlogMessages) messages of \(max(options.bodySize, 4000)) bytes as backlog; \(rate) sends/s of \(options.bodySize) "
                + "bytes; medians of seconds"
        ]
        lines += alone.indices.map { "  " + line($0) }
        let spread = alone.indices.map { Self.ratio(reading[$0].windows, alone[$0]) }
        lines.append(
            "  p99 of sends while the backlog is read (\(bytesRead >> 20) MiB): \(decimal(ratios.alone, 2)) times that without a reader "
                + "(rounds \(decimal(spread.min() ?? 0, 2)) to \(decimal(spread.max() ?? 0, 2))), \(decimal(ratios.beside, 2)) times that "
                + "with one that keeps up")
        return lines.joined(separator: "\n") + "\n"
    }

    /// For programs.
    var json: String {
        func figures(_ windows: [LatencyHistogram]) -> String {
            "{\"p50Microseconds\":\(decimal(Self.median(windows, 50), 0)),\"p99Microseconds\":\(decimal(Self.median(windows, 99), 0)),"
                + "\"p99.9Microseconds\":\(decimal(Self.median(windows, 99.9), 0)),"
                + "\"messages\":\(windows.reduce(0) { $0 + $1.count })}"
        }
        let all = alone.indices.map {
            "{\"alone\":\(figures(alone[$0])),\"beside\":\(figures(beside[$0].windows)),\"reading\":\(figures(reading[$0].windows)),"
                + "\"readMebibytes\":\(reading[$0].bytesRead >> 20)}"
        }
        return "{\"benchmark\":\"cold\",\"backlogMessages\":\(backlogMessages),\"bodyBytes\":\(options.bodySize),\"rate\":\(rate),"
            + "\"ratio\":\(decimal(ratios.alone, 3)),\"ratioToReaderThatKeepsUp\":\(decimal(ratios.beside, 3)),"
            + "\"rounds\":[\(all.joined(separator: ","))]}\n"
    }
}
