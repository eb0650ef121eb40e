import Synchronization

/// One line for the log.
public struct LogRecord: Sendable, Equatable {
    /// Milliseconds since 1970.
    public var wallMilliseconds: Int64
    public var level: LogLevel
    /// The part of the program that speaks: `broker`, `store.flush`.
    public var component: String
    public var message: String

    public init(wallMilliseconds: Int64, level: LogLevel, component: String, message: String) {
        self.wallMilliseconds = wallMilliseconds
        self.level = level
        self.component = component
        self.message = message
    }

    /// `2025-11-21T09:01:02.345Z INFO  broker: message`, without a line end. Control characters in the message are shown as
    /// `?`, and line ends as ` | `, so that text from a peer cannot look like a line of ours.
    public var line: String {
        var result = utcText(milliseconds: wallMilliseconds)
        result += " \(level.label) \(component): "
        for scalar in message.unicodeScalars {
            switch scalar {
            case "\n": result += " | "
            case "\t": result += " "
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}": result += "?"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// Where lines go: a seam. The system layer writes to standard error, tests keep them in memory.
public protocol LogSink: Sendable {
    /// May be called from any thread; must not throw, and should not block for long.
    func write(_ record: LogRecord)
}

/// Keeps the last lines in memory, for tests.
public final class MemoryLogSink: LogSink {
    private let kept = Mutex<[LogRecord]>([])
    private let capacity: Int

    public init(capacity: Int = 10_000) { self.capacity = max(1, capacity) }

    public func write(_ record: LogRecord) {
        kept.withLock { records in
            if records.count == capacity { records.removeFirst() }
            records.append(record)
        }
    }

    public var records: [LogRecord] { kept.withLock { $0 } }
    public var messages: [String] { records.map(\.message) }

    /// Whether a line of at least this level holds the text.
    public func contains(_ text: String, atLeast level: LogLevel = .debug) -> Bool {
        records.contains { $0.level >= level && $0.message.contains(text) }
    }
}

/// Drops every line.
public struct SilentLogSink: LogSink {
    public init() {}
    public func write(_ record: LogRecord) {}
}
