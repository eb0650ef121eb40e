import RocketMQBase

/// How near a store is to the limits of its disk, as the last look found it.
public struct SpaceState: Sendable, Equatable {
    public enum Level: Int, Sendable, Comparable {
        /// Expired files go at their hour.
        case plenty
        /// Expired files go at any hour.
        case low
        /// The oldest files go before their time.
        case scarce
        /// Messages are refused.
        case exhausted

        public static func < (one: Level, other: Level) -> Bool { one.rawValue < other.rawValue }
    }
    public var level = Level.plenty
    /// What put it there, such as `the disk of /store is 95 % full, above the 90 % of diskSpaceWarningLevelRatio`.
    public var reason = ""
    /// Bytes of the disk: in all, and free for this process.
    public var totalBytes: UInt64 = 0
    public var availableBytes: UInt64 = 0
    /// Bytes of the log from its first to its last message.
    public var logBytes: Int64 = 0
    /// Bytes that may still be written before messages are refused.
    public var bytesUntilRefusal: Int64 = .max
    /// How fast the log grows, over the last ten minutes or what there is of them.
    public var bytesPerSecond = 0.0

    /// How long the room lasts at the present rate, when something is written and there is a limit.
    public var secondsUntilRefusal: Double? {
        guard bytesPerSecond >= 1, bytesUntilRefusal < .max else { return nil }
        return Double(max(0, bytesUntilRefusal)) / bytesPerSecond
    }

    /// For people: `12.5 GiB are left before messages are refused, enough for about 2 h 10 min at the present 1.6 MiB/s`.
    public var forecast: String {
        if level == .exhausted { return "messages are refused" }
        guard bytesUntilRefusal < .max else { return "nothing limits what is written" }
        let room = "\(Self.bytes(bytesUntilRefusal)) are left before messages are refused"
        guard let seconds = secondsUntilRefusal else { return room + ", nothing is being written" }
        return room + ", enough for about \(Self.duration(seconds)) at the present \(Self.bytes(Int64(bytesPerSecond)))/s"
    }

    /// `1.5 GiB`.
    static func bytes(_ count: Int64) -> String {
        guard count >= 1024 else { return "\(max(0, count)) B" }
        var value = Double(count)
        for unit in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            value /= 1024
            if value < 1024 || unit == "EiB" {
                let tenths = Int64((value * 10).rounded())
                return "\(tenths / 10).\(tenths % 10) \(unit)"
            }
        }
        return "\(count) B"
    }

    /// `3 d 4 h`, `2 h 10 min`, `5 min`, `20 s`.
    static func duration(_ seconds: Double) -> String {
        guard seconds < 366 * 86_400 else { return "more than a year" }
        let whole = Int64(seconds)
        return switch whole {
        case 86_400...: "\(whole / 86_400) d \(whole / 3600 % 24) h"
        case 3600...: "\(whole / 3600) h \(whole / 60 % 60) min"
        case 60...: "\(whole / 60) min"
        default: "\(whole) s"
        }
    }

    static func percent(_ part: Double) -> String { "\(Int((part * 100).rounded())) %" }
}

/// A disk that the store is on, as it was found.
struct DiskSpace: Sendable {
    /// A directory on it, by which people know it.
    var place: String
    var total: UInt64
    /// Free for this process.
    var available: UInt64
}

/// One of the limits on space: how many bytes are left until each level, below 0 beyond it.
struct SpaceLimit {
    var untilLow: Int64
    var untilScarce: Int64
    var untilRefusal: Int64
    /// Why a level is reached.
    var reason: (SpaceState.Level) -> String

    var level: SpaceState.Level {
        untilRefusal < 0 ? .exhausted : untilScarce < 0 ? .scarce : untilLow < 0 ? .low : .plenty
    }

    /// The limits that the policy sets on disks and a log of these sizes.
    static func all(_ policy: RetentionPolicy, _ disks: [DiskSpace], logBytes: Int64) -> [SpaceLimit] {
        var limits: [SpaceLimit] = []
        for disk in disks where disk.total > 0 {
            limits.append(ofRatio(policy, total: Double(disk.total), available: Double(disk.available), root: disk.place))
            if policy.minFreeBytes > 0 { limits.append(ofFreeBytes(policy, Int64(clamping: disk.available), root: disk.place)) }
        }
        if policy.maxLogBytes > 0 { limits.append(ofLogBytes(policy, logBytes)) }
        return limits
    }

    private static func ofRatio(_ policy: RetentionPolicy, total: Double, available: Double, root: String) -> SpaceLimit {
        func left(_ ratio: Double) -> Int64 { Int64((available - (1 - ratio) * total).rounded()) }
        let used = SpaceState.percent(1 - available / total)
        return SpaceLimit(
            untilLow: left(policy.cleanRatio), untilScarce: left(policy.forcedCleanRatio), untilRefusal: left(policy.refuseRatio)
        ) { level in
            let (ratio, setting) =
                switch level {
                case .exhausted: (policy.refuseRatio, "diskSpaceWarningLevelRatio")
                case .scarce: (policy.forcedCleanRatio, "diskSpaceCleanForciblyRatio")
                default: (policy.cleanRatio, "diskMaxUsedSpaceRatio")
                }
            return "the disk of \(root) is \(used) full, above the \(SpaceState.percent(ratio)) of \(setting)"
        }
    }

    private static func ofFreeBytes(_ policy: RetentionPolicy, _ available: Int64, root: String) -> SpaceLimit {
        let least = min(policy.minFreeBytes, 1 << 60)
        return SpaceLimit(untilLow: available - least * 4, untilScarce: available - least * 2, untilRefusal: available - least) { level in
            let times = level == .exhausted ? "" : level == .scarce ? "twice " : "four times "
            return "\(SpaceState.bytes(available)) are free on the disk of \(root), less than \(times)"
                + "the \(SpaceState.bytes(least)) of diskMinFreeBytes"
        }
    }

    /// Where old files may go before their time the log stays within the limit by itself.
    private static func ofLogBytes(_ policy: RetentionPolicy, _ logBytes: Int64) -> SpaceLimit {
        let most = min(policy.maxLogBytes, 1 << 60)
        return SpaceLimit(
            untilLow: most - most / 8 - logBytes, untilScarce: most - logBytes,
            untilRefusal: policy.mayCleanUnexpired ? .max : most - logBytes
        ) { level in
            let relation = level == .low ? "near" : "above"
            return "the commit log holds \(SpaceState.bytes(logBytes)), \(relation) the \(SpaceState.bytes(most)) of commitLogMaxBytes"
        }
    }
}

/// Follows the use of the disk from look to look.
struct SpaceWatch {
    private(set) var state = SpaceState()
    private var disks: [DiskSpace] = []
    /// The log's end at earlier looks, the oldest first, ten minutes of them at most.
    private var samples: [(time: MonotonicTime, end: Int64)] = []
    private var hasWarnedOfLevel = false
    private var hasWarnedOfTime = false

    private static let span: Duration = .seconds(600)
    private static let sampleInterval: Duration = .seconds(5)

    /// Takes what a look found; returns what should be said of it, if anything: each crossing once.
    ///
    /// - Parameter found: that of the log first; empty when they could not be looked at, and are taken to be as before.
    mutating func take(
        _ found: [DiskSpace], logStart: Int64, logEnd: Int64, now: MonotonicTime, _ policy: RetentionPolicy
    ) -> String? {
        note(logEnd, now)
        if !found.isEmpty { disks = found }
        let limits = SpaceLimit.all(policy, disks, logBytes: logEnd - logStart)
        let worst = limits.max { $0.level < $1.level }
        state.level = worst?.level ?? .plenty
        state.reason = worst.map { $0.level == .plenty ? "" : $0.reason($0.level) } ?? ""
        state.totalBytes = disks.first?.total ?? 0
        state.availableBytes = disks.first?.available ?? 0
        state.logBytes = logEnd - logStart
        state.bytesUntilRefusal = limits.map(\.untilRefusal).min() ?? .max
        return warning(policy)
    }

    private mutating func note(_ end: Int64, _ now: MonotonicTime) {
        while samples.count > 1, now - samples[1].time >= Self.span { samples.removeFirst() }
        if let first = samples.first, now > first.time {
            state.bytesPerSecond = Double(max(0, end - first.end)) * 1e9 / Double((now - first.time).inNanoseconds)
        }
        if let last = samples.last, now - last.time < Self.sampleInterval { return }
        samples.append((now, end))
    }

    private mutating func warning(_ policy: RetentionPolicy) -> String? {
        let seconds = state.secondsUntilRefusal ?? .infinity
        let isSoon = policy.warningSeconds > 0 && seconds < Double(policy.warningSeconds)
        defer {
            hasWarnedOfLevel = state.level > .plenty
            // What swings about the limit is said once.
            hasWarnedOfTime = isSoon || hasWarnedOfTime && seconds < 2 * Double(policy.warningSeconds)
        }
        guard state.level < .exhausted else { return nil }
        if state.level > .plenty, !hasWarnedOfLevel { return "\(state.reason): \(state.forecast)" }
        if isSoon, !hasWarnedOfTime { return state.forecast }
        return nil
    }

    /// When to look again: soon when the limit is near.
    func nextLook(_ interval: Duration) -> Duration {
        guard state.level < .exhausted, let seconds = state.secondsUntilRefusal else { return interval }
        return min(interval, .milliseconds(max(500, Int64(min(seconds, 1e6) * 250))))
    }
}
