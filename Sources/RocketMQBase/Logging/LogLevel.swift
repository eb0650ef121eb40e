import Synchronization

/// How much a line matters. Ordered: `.debug < .info < .warning < .error`.
public enum LogLevel: String, NamedSettingValue, Comparable {
    /// For finding out how something went wrong; off by default.
    case debug
    /// What an operator wants to see of normal work: starts, stops, changes of configuration.
    case info
    /// Works, but should be looked at.
    case warning
    /// Something asked for did not happen.
    case error

    @inlinable public var rank: UInt8 {
        switch self {
        case .debug: 0
        case .info: 1
        case .warning: 2
        case .error: 3
        }
    }

    @inlinable public static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }

    /// Padded to one width.
    var label: String {
        switch self {
        case .debug: "DEBUG"
        case .info: "INFO "
        case .warning: "WARN "
        case .error: "ERROR"
        }
    }
}

/// The level from which lines are written, shared by all loggers of a process and changeable while it runs.
public final class LogThreshold: Sendable {
    @usableFromInline let rank: Atomic<UInt8>

    public init(_ level: LogLevel) { rank = Atomic(level.rank) }

    public func set(_ level: LogLevel) { rank.store(level.rank, ordering: .relaxed) }

    @inlinable public func allows(_ level: LogLevel) -> Bool { level.rank >= rank.load(ordering: .relaxed) }
}
