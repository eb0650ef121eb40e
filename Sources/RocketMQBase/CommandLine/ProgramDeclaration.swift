/// A program's command line: either one command, or several of which the first word chooses one.
///
/// Pure: words in, a result out. The caller prints and chooses the exit code.
public struct ProgramDeclaration: Sendable {
    public let name: String
    /// What `--version` answers.
    public let version: String
    public let summary: String
    /// The one command of a program without subcommands.
    let single: CommandDeclaration?
    let groups: [CommandGroup]

    /// A program that does one thing. Help and `--version` are answered without being declared.
    public init(_ command: CommandDeclaration, version: String) {
        name = command.name
        self.version = version
        summary = command.summary
        single = command
        groups = []
    }

    /// A program of several commands.
    public init(_ name: String, _ summary: String, version: String, groups: [CommandGroup]) {
        self.name = name
        self.version = version
        self.summary = summary
        single = nil
        self.groups = groups
    }

    public var commands: [CommandDeclaration] { single.map { [$0] } ?? groups.flatMap(\.commands) }

    /// Reads the words after the program's name.
    public func parse(_ words: [String]) -> ParsedCommandLine {
        if let single { return read(single, words[...]) }
        guard let first = words.first else { return .answer(help) }
        switch first {
        case "--help", "-h": return .answer(help)
        case "--version": return .answer(versionText)
        case "help":
            guard words.count > 1 else { return .answer(help) }
            guard let command = commands.first(where: { $0.name == words[1] }) else { return .wrong(unknownCommand(words[1])) }
            return .answer(help(for: command))
        default:
            guard let command = commands.first(where: { $0.name == first }) else { return .wrong(unknownCommand(first)) }
            return read(command, words.dropFirst())
        }
    }

    private func unknownCommand(_ word: String) -> CommandLineError {
        if word.hasPrefix("-") {
            return CommandLineError(command: name, "a command must come before the options; \(printable(word)) is none")
        }
        let hint = nearestName(to: word, among: commands.map(\.name)).map { "; did you mean \($0)?" } ?? ""
        return CommandLineError(command: name, "unknown command \(printable(word))\(hint)")
    }

    private func read(_ command: CommandDeclaration, _ words: ArraySlice<String>) -> ParsedCommandLine {
        var reader = CommandLineReader(command: command, fullName: fullName(of: command))
        do throws(CommandLineError) {
            switch try reader.read(words) {
            case .help: return .answer(help(for: command))
            case .version: return .answer(versionText)
            case .arguments(let arguments): return .run(arguments)
            }
        } catch {
            return .wrong(error)
        }
    }

    func fullName(of command: CommandDeclaration) -> String { single == nil ? "\(name) \(command.name)" : name }

    var versionText: String { "\(name) \(version)\n" }
}

/// What a command line asks for.
public enum ParsedCommandLine: Sendable {
    /// Do the work.
    case run(CommandArguments)
    /// Help or the version: print to standard output, and end successfully.
    case answer(String)
    /// Print to standard error, and end with a failure.
    case wrong(CommandLineError)
}

/// What is wrong with a command line, and where to read how it should be.
public struct CommandLineError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The program, and the subcommand if any.
    public let command: String
    public let message: String

    public init(command: String, _ message: String) {
        self.command = command
        self.message = message
    }

    /// `mqbroker: unknown option --namesrvAdr; did you mean --namesrvAddr?` and, in a second line, where help is.
    public var description: String { "\(command): \(message)\nTry '\(command) --help'." }
}

/// The options and other words given to a command, checked against its declaration.
public struct CommandArguments: Sendable {
    /// The program, and the subcommand if any.
    public let fullName: String
    /// The command's own name.
    public let command: String
    /// The words without a dash.
    public internal(set) var operands: [String] = []
    var values: [String: any SettingValue] = [:]

    init(fullName: String, command: String) {
        self.fullName = fullName
        self.command = command
    }

    /// The option's value; `nil` when it was not given.
    public subscript<Value>(_ option: CommandOption<Value>) -> Value? { values[option.longName] as? Value }

    /// Whether the flag was given.
    public subscript(_ flag: CommandFlag) -> Bool { values[flag.longName] as? Bool ?? false }

    /// The value of an option that is declared required, or of one that this call needs.
    public func required<Value>(_ option: CommandOption<Value>) throws(CommandLineError) -> Value {
        guard let value = self[option] else { throw wrong("option --\(option.longName) is missing") }
        return value
    }

    /// An error about this command line that its declaration could not express.
    public func wrong(_ message: String) -> CommandLineError { CommandLineError(command: fullName, message) }
}
