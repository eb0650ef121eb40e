/// Reads the words of one command. Forms: `-n VALUE`, `-nVALUE`, `-n=VALUE`, `--name VALUE`, `--name=VALUE`, several flags in
/// one word (`-pm`), a long name after one dash (the reference's parser takes it), and `--` before words that begin with a dash.
/// An option that comes again counts as it came last, so that a script's defaults can be overridden.
struct CommandLineReader {
    enum Outcome {
        case help, version
        case arguments(CommandArguments)
    }

    private enum Match {
        case option(any CommandOptionDeclaration, attached: String?)
        case flags([any CommandOptionDeclaration])
        case help, version
    }

    private let command: CommandDeclaration
    private var arguments: CommandArguments

    init(command: CommandDeclaration, fullName: String) {
        self.command = command
        arguments = CommandArguments(fullName: fullName, command: command.name)
    }

    mutating func read(_ words: ArraySlice<String>) throws(CommandLineError) -> Outcome {
        // Help is given even beside mistakes: it is what the mistaken ask for.
        if words.prefix(while: { $0 != "--" }).contains(where: { $0 == "--help" || $0 == "-h" && command.takesShortHelp }) { return .help }
        var rest = words
        while let word = rest.popFirst() {
            if word == "--" {
                arguments.operands += rest
                break
            }
            guard word.hasPrefix("-"), word != "-" else {
                arguments.operands.append(word)
                continue
            }
            switch try match(word) {
            case .help: return .help
            case .version: return .version
            case .flags(let flags): for flag in flags { arguments.values[flag.longName] = true }
            case .option(let option, let attached):
                if option.valueName == nil, attached == nil {
                    arguments.values[option.longName] = true
                    continue
                }
                let text: String
                if let attached { text = attached } else { text = try nextValue(of: option, &rest) }
                if option.isName, text.allSatisfy(\.isWhitespace) {
                    throw wrong("option --\(option.longName) is empty: \(option.usage.trimmingLeadingSpaces)")
                }
                guard let value = option.parse(text) else {
                    throw wrong("option --\(option.longName) must be \(option.allowed), not \"\(printable(text))\"")
                }
                arguments.values[option.longName] = value
            }
        }
        try checkCompleteness()
        return .arguments(arguments)
    }

    /// The word after an option, unless it is an option itself: then the value was forgotten. `-1` is a value.
    private func nextValue(of option: any CommandOptionDeclaration, _ rest: inout ArraySlice<String>) throws(CommandLineError) -> String {
        let missing = wrong("option --\(option.longName) needs a value: \(option.usage.trimmingLeadingSpaces)")
        guard let next = rest.first else { throw missing }
        if next == "--" { throw missing }
        if next.hasPrefix("-"), next.count > 1, (try? match(next)) != nil { throw missing }
        rest.removeFirst()
        return next
    }

    private func match(_ word: String) throws(CommandLineError) -> Match {
        let (name, attached) = Self.split(word)
        if word.hasPrefix("--") {
            let long = String(name.dropFirst(2))
            if long == "help" { return .help }
            if long == "version" { return .version }
            guard let option = command.options.first(where: { $0.longName == long }) else { throw unknownOption(name, long) }
            return .option(option, attached: attached)
        }
        let body = name.dropFirst()
        if let option = command.options.first(where: { $0.longName == body }) { return .option(option, attached: attached) }
        guard let first = body.first, let option = command.options.first(where: { $0.shortName == first }) else {
            throw unknownOption(name, String(body))
        }
        if body.count == 1 { return .option(option, attached: attached) }
        if option.valueName != nil { return .option(option, attached: String(word.dropFirst(2))) }
        var flags: [any CommandOptionDeclaration] = []
        for letter in word.dropFirst() {
            guard let flag = command.options.first(where: { $0.shortName == letter && $0.valueName == nil }) else {
                throw unknownOption("-\(letter) in \(word)", String(body))
            }
            flags.append(flag)
        }
        return .flags(flags)
    }

    /// The part before the first `=` and the part after it.
    private static func split(_ word: String) -> (name: Substring, attached: String?) {
        guard let equals = word.firstIndex(of: "=") else { return (word[...], nil) }
        return (word[..<equals], String(word[word.index(after: equals)...]))
    }

    private func unknownOption(_ shown: some StringProtocol, _ name: String) -> CommandLineError {
        let known = command.options.map(\.longName) + ["help", "version"]
        let hint = nearestName(to: name, among: known).map { "; did you mean --\($0)?" } ?? ""
        return wrong("unknown option \(printable(String(shown)))\(hint)")
    }

    private func checkCompleteness() throws(CommandLineError) {
        for option in command.options where option.isRequired && arguments.values[option.longName] == nil {
            throw wrong("option --\(option.longName) is missing: \(option.usage.trimmingLeadingSpaces)")
        }
        for choice in command.exactlyOneOf {
            let given = choice.filter { arguments.values[$0.longName] != nil }
            guard given.count != 1 else { continue }
            let names = choice.map { "--\($0.longName)" }.joined(separator: ", ")
            throw wrong(given.isEmpty ? "one of \(names) is missing" : "only one of \(names) can be given")
        }
        let count = arguments.operands.count
        if count > command.operandCount.upperBound {
            let extra = printable(arguments.operands[command.operandCount.upperBound])
            let known = command.operandName == nil ? "\"\(extra)\" is not an option" : "\"\(extra)\" is one word too many"
            throw wrong(known)
        }
        if count < command.operandCount.lowerBound { throw wrong("\(command.operandName ?? "a word") is missing") }
    }

    private func wrong(_ message: String) -> CommandLineError { CommandLineError(command: arguments.fullName, message) }
}

extension String {
    var trimmingLeadingSpaces: String { String(drop { $0 == " " }) }
}
