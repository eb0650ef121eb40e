extension ProgramDeclaration {
    /// The help of the whole program: of its one command, or its list of commands.
    public var help: String {
        if let single { return help(for: single) }
        var text = "\(name): \(summary)\n\nUsage: \(name) COMMAND [OPTIONS]\n"
        for group in groups {
            text += "\n\(group.title)\n" + Self.table(group.commands.map { ("  " + $0.name, $0.summary) })
        }
        return text + "\n'\(name) COMMAND --help' shows a command's options; '\(name) --version' the version.\n"
    }

    /// The help of one command.
    public func help(for command: CommandDeclaration) -> String {
        var usage = "Usage: \(fullName(of: command))"
        for option in command.options where option.isRequired {
            usage += " " + (option.shortName.map { "-\($0)" } ?? "--\(option.longName)") + " \(option.valueName ?? "")"
        }
        for choice in command.exactlyOneOf {
            let forms = choice.map { option in
                (option.shortName.map { "-\($0)" } ?? "--\(option.longName)") + (option.valueName.map { " \($0)" } ?? "")
            }
            usage += " (\(forms.joined(separator: " | ")))"
        }
        usage += " [OPTIONS]"
        if let operand = command.operandName {
            usage +=
                " " + (command.operandCount.lowerBound == 0 ? "[\(operand)]" : operand) + (command.operandCount.upperBound > 1 ? "…" : "")
        }
        var rows = command.options.map { ("  " + $0.usage, $0.text + ($0.isRequired ? " Required." : "")) }
        rows.append((command.takesShortHelp ? "  -h, --help" : "      --help", "Show this text."))
        rows.append(("      --version", "Show the version."))
        let notes = command.notes.isEmpty ? "" : "\n\(command.notes)\n"
        return "\(fullName(of: command)): \(command.summary)\n\n\(usage)\n\nOptions\n\(Self.table(rows))\(notes)"
    }

    /// Two columns; the second is wrapped at 100 characters. A first cell that is too wide has a line of its own.
    private static func table(_ rows: [(String, String)]) -> String {
        let column = min(40, (rows.map(\.0.count).max() ?? 0) + 2)
        let indent = String(repeating: " ", count: column)
        var text = ""
        for (left, right) in rows {
            var line = left.count + 2 <= column ? left + String(repeating: " ", count: column - left.count) : left + "\n" + indent
            var width = column
            for word in right.split(separator: " ") {
                if width > column, width + 1 + word.count > 100 {
                    line += "\n" + indent
                    width = column
                }
                line += (width > column ? " " : "") + word
                width += word.count + (width > column ? 1 : 0)
            }
            text += line + "\n"
        }
        return text
    }
}
