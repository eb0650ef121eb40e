import RocketMQBase

/// Which brokers to leave alone for a while because they were slow or failed. Pure: times come in.
public struct LatencyFaultTolerance: Sendable {
    /// How long a broker is avoided after an answer that took so long. The defaults are the Java client's.
    public struct Limits: Sendable, Equatable {
        /// From which answer time on a broker is avoided, and for how long.
        public struct Step: Sendable, Equatable {
            public var latency: Duration
            public var avoidFor: Duration
            public init(latency: Duration, avoidFor: Duration) {
                self.latency = latency
                self.avoidFor = avoidFor
            }
        }

        /// By rising latency.
        public var steps: [Step] = [
            Step(latency: .milliseconds(50), avoidFor: .zero), Step(latency: .milliseconds(100), avoidFor: .zero),
            Step(latency: .milliseconds(550), avoidFor: .seconds(30)), Step(latency: .seconds(1), avoidFor: .seconds(60)),
            Step(latency: .seconds(2), avoidFor: .seconds(120)), Step(latency: .seconds(3), avoidFor: .seconds(180)),
            Step(latency: .seconds(15), avoidFor: .seconds(600)),
        ]
        /// A failure counts as an answer that took this long.
        public var failureLatency: Duration = .seconds(30)

        public init() {}
    }

    private struct Item {
        var latency: Duration
        var availableFrom: MonotonicTime
    }

    private let limits: Limits
    private var items: [String: Item] = [:]
    private var turn = 0

    init(_ limits: Limits = Limits()) { self.limits = limits }

    /// Notes how a broker answered.
    mutating func record(_ brokerName: String, latency: Duration, failed: Bool, now: MonotonicTime) {
        let counted = failed ? limits.failureLatency : latency
        let avoidFor = limits.steps.last { counted >= $0.latency }?.avoidFor ?? .zero
        items[brokerName] = Item(latency: latency, availableFrom: now + avoidFor)
    }

    func isAvailable(_ brokerName: String, now: MonotonicTime) -> Bool {
        items[brokerName].map { $0.availableFrom <= now } ?? true
    }

    /// When every broker is avoided: one of the better half of those in `names`.
    mutating func pickLeastBad(among names: Set<String>, now: MonotonicTime) -> String? {
        let ordered = names.compactMap { name in items[name].map { (name: name, item: $0) } }.sorted { left, right in
            let (leftFree, rightFree) = (left.item.availableFrom <= now, right.item.availableFrom <= now)
            if leftFree != rightFree { return leftFree }
            if left.item.latency != right.item.latency { return left.item.latency < right.item.latency }
            if left.item.availableFrom != right.item.availableFrom { return left.item.availableFrom < right.item.availableFrom }
            return left.name < right.name
        }
        guard !ordered.isEmpty else { return nil }
        turn &+= 1
        return ordered[turn % max(1, ordered.count / 2)].name
    }

    /// Forgets brokers that are gone.
    mutating func keep(only names: Set<String>) { items = items.filter { names.contains($0.key) } }
}
