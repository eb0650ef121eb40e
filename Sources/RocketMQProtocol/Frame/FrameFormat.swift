/// The form of a frame's header: the top byte of its second word.
@frozen
public enum Serialization: UInt8, Sendable {
    case json = 0
    /// The reference calls it ROCKETMQ.
    case binary = 1
}

/// The language of the sender, as the reference numbers and names it. It has no SWIFT: we are `other`.
public enum LanguageCode: UInt8, Sendable, CaseIterable {
    case java = 0, cpp, dotnet, python, delphi, erlang, ruby, other, http, go, php, oms, rust

    public var name: String {
        switch self {
        case .java: "JAVA"
        case .cpp: "CPP"
        case .dotnet: "DOTNET"
        case .python: "PYTHON"
        case .delphi: "DELPHI"
        case .erlang: "ERLANG"
        case .ruby: "RUBY"
        case .other: "OTHER"
        case .http: "HTTP"
        case .go: "GO"
        case .php: "PHP"
        case .oms: "OMS"
        case .rust: "RUST"
        }
    }

    public init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// Facts about frames.
public enum FrameFormat {
    /// Frames above this are refused: the connection is closed.
    public static let mostBytes = 16 * 1024 * 1024
    /// The version that we state: 4.9.8. It decides what peers expect of us (≥ 232 for SQL filters, for instance).
    public static let version: Int32 = 409
    /// As people read it, and as clients and brokers say it to tools.
    public static let versionName = "V4_9_8"
    public static let responseFlag: Int32 = 1
    public static let onewayFlag: Int32 = 2
}

/// What an answer needs to know of its request.
@frozen
public struct AnswerTo: Sendable, Hashable {
    public var opaque: Int32
    public var serialization: Serialization
    @inlinable
    public init(opaque: Int32, serialization: Serialization) {
        self.opaque = opaque
        self.serialization = serialization
    }
}
