/// A promise that did not hold, with what led to it.
public struct TortureFailure: Error, Sendable, CustomStringConvertible {
    /// Which history: `store`, `broker` and so on, and its seed, which brings the same again.
    public let kind: String
    public let seed: UInt64
    public let what: String
    /// What was done before, when the history was told to keep that.
    public let steps: [String]

    public var description: String {
        let history = steps.isEmpty ? "" : "\n  " + steps.joined(separator: "\n  ")
        return "\(kind) seed \(seed): \(what)\(history)"
    }
}

/// What histories did, for those who want to know how much was tried.
public struct TortureCounts: Sendable, CustomStringConvertible {
    public var histories = 0
    public var messages = 0
    public var kills = 0
    public var powerLosses = 0
    /// Ends in the middle of opening the store.
    public var endsInRecovery = 0
    public var cleanStops = 0
    public var faults = 0
    public var bitFlips = 0
    /// Cases of fuzzing, by what was damaged.
    public var cases: [String: Int] = [:]

    public init() {}

    public static func += (left: inout TortureCounts, right: TortureCounts) {
        left.histories += right.histories
        left.messages += right.messages
        left.kills += right.kills
        left.powerLosses += right.powerLosses
        left.endsInRecovery += right.endsInRecovery
        left.cleanStops += right.cleanStops
        left.faults += right.faults
        left.bitFlips += right.bitFlips
        left.cases.merge(right.cases) { $0 + $1 }
    }

    public var description: String {
        guard cases.isEmpty else {
            let list = cases.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            return "\(histories) seeds, damaged: \(list.joined(separator: ", "))"
        }
        return
            "\(histories) histories, \(messages) messages, \(kills) kills, \(powerLosses) losses of power, \(endsInRecovery) ends during "
            + "recovery, \(cleanStops) clean stops, \(faults) faults of the disk, \(bitFlips) damaged files"
    }
}
