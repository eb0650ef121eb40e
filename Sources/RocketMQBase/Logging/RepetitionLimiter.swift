/// Decides which of many alike lines are written: the first of a kind, then one an interval that also says how many were
/// left out. A pure core: time comes in, decisions go out.
public struct RepetitionLimiter: Sendable {
    public struct LeftOut: Sendable, Equatable {
        /// The part of the program that spoke.
        public let component: String
        public let kind: String
        /// The highest level among the lines.
        public let level: LogLevel
        public let count: Int
        /// Since the last line of the kind that was written.
        public let within: Duration
    }

    private struct Key: Hashable, Comparable {
        var component: String
        var kind: String

        static func < (left: Key, right: Key) -> Bool { (left.component, left.kind) < (right.component, right.kind) }
    }

    private struct Kind {
        var writtenAt: MonotonicTime
        var leftOut = 0
        var level = LogLevel.debug

        func leftOut(_ key: Key, within: Duration) -> LeftOut? {
            leftOut > 0 ? LeftOut(component: key.component, kind: key.kind, level: level, count: leftOut, within: within) : nil
        }
    }

    private let interval: Duration
    private let mostKinds: Int
    private var kinds: [Key: Kind] = [:]

    /// - Parameter mostKinds: how many kinds are remembered; beyond that the one written longest ago is forgotten.
    public init(interval: Duration = .seconds(10), mostKinds: Int = 256) {
        self.interval = interval
        self.mostKinds = max(1, mostKinds)
    }

    public enum Decision: Sendable, Equatable {
        /// Write the line, and say that `leftOut` like it came since the last one, if any did.
        case write(leftOut: LeftOut?)
        case leaveOut
    }

    public mutating func decide(_ kind: String, of component: String, _ level: LogLevel, now: MonotonicTime) -> Decision {
        let key = Key(component: component, kind: kind)
        if let kind = kinds[key] {
            let passed = now - kind.writtenAt
            guard passed >= interval else {
                kinds[key]?.leftOut += 1
                kinds[key]?.level = max(kind.level, level)
                return .leaveOut
            }
            kinds[key] = Kind(writtenAt: now)
            return .write(leftOut: kind.leftOut(key, within: passed))
        }
        if kinds.count >= mostKinds, let oldest = kinds.min(by: { $0.value.writtenAt < $1.value.writtenAt }) {
            kinds[oldest.key] = nil
        }
        kinds[key] = Kind(writtenAt: now)
        return .write(leftOut: nil)
    }

    /// The kinds of which lines were left out an interval ago or longer, so that the last of a burst are told of too.
    /// Call it now and then, with `.zero` as `olderThan` before the program ends.
    public mutating func collect(now: MonotonicTime, olderThan age: Duration? = nil) -> [LeftOut] {
        var found: [LeftOut] = []
        for (key, kind) in kinds where now - kind.writtenAt >= age ?? interval {
            if let leftOut = kind.leftOut(key, within: now - kind.writtenAt) {
                found.append(leftOut)
                kinds[key] = Kind(writtenAt: now)
            } else {
                kinds[key] = nil
            }
        }
        return found.sorted { ($0.component, $0.kind) < ($1.component, $1.kind) }
    }
}
