/// Something to say about a line of a settings file, or about a value from elsewhere.
public struct SettingsFinding: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Severity: Int, Sendable, Comparable {
        /// Good to know: accepted, without effect.
        case notice
        /// Probably a mistake; the start goes on.
        case warning
        /// The start must not go on.
        case error
        public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    public var severity: Severity
    /// The file, or what else the value came from: `option --listenPort`.
    public var source: String
    /// Counted from 1; 0 when the source has no lines.
    public var line: Int
    /// The key that the finding is about, `""` when it is about none.
    public var key: String
    public var message: String

    public init(_ severity: Severity, source: String, line: Int, key: String, _ message: String) {
        self.severity = severity
        self.source = source
        self.line = line
        self.key = key
        self.message = message
    }

    /// `conf/broker.conf:12: listenPort must be a whole number from 0 to 65535, not "abc"`
    public var description: String { line > 0 ? "\(source):\(line): \(message)" : "\(source): \(message)" }
}

/// Where the value of a setting came from.
public enum SettingOrigin: Sendable, Equatable, CustomStringConvertible {
    /// Nobody set it: the declared default.
    case builtIn
    case file(String, line: Int)
    /// An option of the command line, as in `--namesrvAddr`.
    case option(String)
    /// A variable of the environment, by name.
    case environment(String)
    /// Found out at the start, with how: `the only interface that is up`.
    case chosen(String)
    /// A request while running, by the peer's address.
    case request(String)

    public var description: String {
        switch self {
        case .builtIn: "default"
        case .file(let path, let line): "\(path):\(line)"
        case .option(let name): "option \(name)"
        case .environment(let name): "environment \(name)"
        case .chosen(let how): "chosen: \(how)"
        case .request(let peer): "request from \(peer)"
        }
    }

    /// Source and line for findings.
    var place: (source: String, line: Int) {
        if case .file(let path, let line) = self { (path, line) } else { (description, 0) }
    }
}
