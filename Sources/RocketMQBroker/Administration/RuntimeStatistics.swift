import RocketMQBase

/// Turns the broker's counters into rates, and remembers where they stood at midnight. Confined to the broker's loop.
final class RuntimeStatistics {
    /// What is counted, all since the start.
    struct Totals {
        var putMessages: Int64 = 0
        var putBytes: Int64 = 0
        var refusedPuts: Int64 = 0
        var gotMessages: Int64 = 0
        var pulls: Int64 = 0
    }

    /// Rates are of the last ten seconds, minute and ten minutes, as far back as samples go.
    static let spans: [Duration] = [.seconds(10), .seconds(60), .seconds(600)]
    private static let interval: Duration = .seconds(10)

    let startedAtMilliseconds: Int64
    private let clock: any SystemClock
    /// See `BrokerConfiguration`.
    private let localOffsetSeconds: (Int64) -> Int64
    private let count: () -> Totals
    /// The newest last.
    private var samples: [(time: MonotonicTime, totals: Totals)] = []
    private var timer: (any ScheduledCall)?
    private var day: Int64
    private(set) var atMidnight = Totals()
    private(set) var atMidnightBefore = Totals()

    /// - Parameter count: the counters as they are now.
    init(clock: any SystemClock, localOffsetSeconds: @escaping (Int64) -> Int64, count: @escaping () -> Totals) {
        self.clock = clock
        self.localOffsetSeconds = localOffsetSeconds
        self.count = count
        startedAtMilliseconds = clock.wallMilliseconds
        day = Self.day(clock, localOffsetSeconds)
        samples.append((clock.monotonicNow, count()))
    }

    /// Local days since 1970.
    private static func day(_ clock: any SystemClock, _ localOffset: (Int64) -> Int64) -> Int64 {
        let seconds = clock.wallMilliseconds / 1000
        return (seconds + localOffset(seconds)) / 86_400
    }

    func start(on loop: any EventLoop) {
        timer = loop.scheduleRepeatedly(every: Self.interval) { [weak self] in self?.sample() }
    }

    func stop() { timer?.cancel() }

    var totals: Totals { count() }

    private func sample() {
        samples.append((clock.monotonicNow, count()))
        if samples.count > 62 { samples.removeFirst(samples.count - 62) }
        let today = Self.day(clock, localOffsetSeconds)
        guard today != day else { return }
        day = today
        atMidnightBefore = atMidnight
        atMidnight = count()
    }

    /// A counter's growth per second over each of the spans.
    func rates(_ counter: KeyPath<Totals, Int64>) -> [Double] {
        let (now, current) = (clock.monotonicNow, count()[keyPath: counter])
        return Self.spans.map { span in
            guard let start = samples.last(where: { now - $0.time >= span }) ?? samples.first, now > start.time else { return 0 }
            return Double(current - start.totals[keyPath: counter]) * 1_000_000_000 / Double((now - start.time).inNanoseconds)
        }
    }
}

/// Numbers as the reference's tools print them.
enum ReadableNumber {
    /// A number above zero with this many digits behind the point.
    static func decimal(_ value: Double, digits: Int) -> String {
        guard value.isFinite, value >= 0, value < 1e15 else { return "0" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((value * scale).rounded())
        let fraction = String(scaled % Int64(scale))
        let padding = String(repeating: "0", count: digits - fraction.count)
        return "\(scaled / Int64(scale)).\(padding)\(fraction)"
    }

    /// `1.5 GiB`.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1024 else { return "\(count) B" }
        var value = Double(count)
        for prefix in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
            value /= 1024
            if value < 1024 || prefix == "Ei" { return "\(decimal(value, digits: 1)) \(prefix)B" }
        }
        return "\(count) B"
    }
}
