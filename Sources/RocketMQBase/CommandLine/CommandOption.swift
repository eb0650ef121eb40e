/// An option of a command that takes a value: `-n 127.0.0.1:9876`, `--namesrvAddr 127.0.0.1:9876`, or either with `=`.
///
/// ```swift
/// static let nameServers = CommandOption<[String]>("namesrvAddr", "n", value: "HOST:PORT[;…]", "Name servers to register with.")
/// arguments[nameServers]    // [String]?
/// ```
public struct CommandOption<Value: SettingValue>: CommandOptionDeclaration {
    public let longName: String
    public let shortName: Character?
    public let valueName: String?
    public let isRequired: Bool
    public let allowed: String
    public let text: String
    private let accepts: @Sendable (Value) -> Bool

    /// - Parameters:
    ///   - valueName: what stands for the value in the help, in capitals.
    ///   - allowed: completes `must be …` when a value is refused.
    public init(
        _ longName: String, _ shortName: Character? = nil, value valueName: String, required: Bool = false,
        allowed: String = Value.form, _ text: String, accepts: @escaping @Sendable (Value) -> Bool = { _ in true }
    ) {
        self.longName = longName
        self.shortName = shortName
        self.valueName = valueName
        self.isRequired = required
        self.allowed = allowed
        self.text = text
        self.accepts = accepts
    }

    public func parse(_ text: String) -> (any SettingValue)? {
        guard let value = Value(settingText: text), accepts(value) else { return nil }
        return value
    }
}

/// An option without a value: there or not.
public struct CommandFlag: CommandOptionDeclaration {
    public let longName: String
    public let shortName: Character?
    public let text: String
    public var valueName: String? { nil }
    public var isRequired: Bool { false }
    public var allowed: String { Bool.form }

    public init(_ longName: String, _ shortName: Character? = nil, _ text: String) {
        self.longName = longName
        self.shortName = shortName
        self.text = text
    }

    /// `--flag=false` is understood.
    public func parse(_ text: String) -> (any SettingValue)? { Bool(settingText: text) }
}

/// An option whose value type is not of interest.
public protocol CommandOptionDeclaration: Sendable {
    /// Without dashes; the reference's where it has one.
    var longName: String { get }
    var shortName: Character? { get }
    /// `nil` for a flag.
    var valueName: String? { get }
    var isRequired: Bool { get }
    var allowed: String { get }
    var text: String { get }
    func parse(_ text: String) -> (any SettingValue)?
}

extension CommandOptionDeclaration {
    /// Whether its value names something, which no empty one does.
    var isName: Bool { ["GROUP", "TOPIC", "CLUSTER", "HOST:PORT"].contains(valueName) }

    /// `-n, --namesrvAddr HOST:PORT`, as help shows it.
    var usage: String {
        (shortName.map { "-\($0), " } ?? "    ") + "--\(longName)" + (valueName.map { " \($0)" } ?? "")
    }
}

/// One command: a program without subcommands has one, `mqadmin` has many.
public struct CommandDeclaration: Sendable {
    public let name: String
    /// One sentence.
    public let summary: String
    public let options: [any CommandOptionDeclaration]
    /// Sets of options of which exactly one must be given: a broker's address or a cluster's name, say.
    public let exactlyOneOf: [[any CommandOptionDeclaration]]
    /// What stands for the words without a dash in the help, `nil` when the command takes none.
    public let operandName: String?
    /// How many such words there may be.
    public let operandCount: ClosedRange<Int>
    /// Lines for the end of the help: examples, files, environment.
    public let notes: String

    public init(
        _ name: String, _ summary: String, options: [any CommandOptionDeclaration] = [],
        exactlyOneOf: [[any CommandOptionDeclaration]] = [], operands operandName: String? = nil, count: ClosedRange<Int> = 0...1,
        notes: String = ""
    ) {
        self.name = name
        self.summary = summary
        self.options = options
        self.exactlyOneOf = exactlyOneOf
        self.operandName = operandName
        self.operandCount = operandName == nil ? 0...0 : count
        self.notes = notes
    }

    /// Whether `-h` asks for help here.
    var takesShortHelp: Bool { !options.contains { $0.shortName == "h" } }
}

/// Commands under a title in the help of their program.
public struct CommandGroup: Sendable {
    public let title: String
    public let commands: [CommandDeclaration]

    public init(_ title: String, _ commands: [CommandDeclaration]) {
        self.title = title
        self.commands = commands
    }
}
