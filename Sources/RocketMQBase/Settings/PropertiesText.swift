/// Text in the form of Java's `.properties` files, as RocketMQ's configuration files and its configuration requests have it:
/// `key=value`, `key: value` or `key value` a line, `#` and `!` before comments, a backslash at the end to go on in the next
/// line, and the escapes `\t \n \r \f \uXXXX`.
///
/// Text is read as UTF-8, or as ISO-8859-1 when it is not valid UTF-8, so that files of either kind work.
public struct PropertiesText: Sendable {
    public struct Entry: Sendable, Equatable {
        public let key: String
        /// Blanks at the end belong to it, as in Java.
        public let value: String
        /// The lines, counted from 1, that the entry takes.
        public let lines: ClosedRange<Int>
    }

    /// In the order of the text; a key that comes again is here again.
    public private(set) var entries: [Entry] = []
    private var naturalLines: [Substring.UnicodeScalarView] = []

    /// Throws when an escape is malformed, naming `source` and the line. Nothing else can be wrong with such text.
    public init(_ bytes: [UInt8], source: String) throws(SettingsFinding) {
        let text = String(validating: bytes, as: UTF8.self) ?? String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
        try self.init(text, source: source)
    }

    public init(_ text: String, source: String) throws(SettingsFinding) {
        naturalLines = Self.lines(of: text)
        var index = 0
        while index < naturalLines.count {
            let first = index
            var logical = Array(Self.withoutLeadingBlanks(naturalLines[index]))
            index += 1
            guard let start = logical.first, start != "#", start != "!" else { continue }
            while Self.endsInOpenBackslash(logical) {
                logical.removeLast()
                guard index < naturalLines.count else { break }
                logical += Self.withoutLeadingBlanks(naturalLines[index])
                index += 1
            }
            guard !logical.isEmpty else { continue }
            entries.append(try Self.entry(logical, lines: (first + 1)...index, source: source))
        }
    }

    /// The text with the given values in place of the last entries of those keys, comments and order kept; new keys go to
    /// the end. For writing a changed setting back into the file that it came from.
    public func replacing(_ changes: [(key: String, value: String)]) -> String {
        var lines: [String?] = naturalLines.map { String($0) }
        if lines.last == "" { lines.removeLast() }
        var added: [String] = []
        for (key, value) in changes {
            let line = Self.line(key: key, value: value)
            guard let entry = entries.last(where: { $0.key == key }) else {
                added.append(line)
                continue
            }
            for number in entry.lines { lines[number - 1] = nil }
            lines[entry.lines.lowerBound - 1] = line
        }
        return (lines.compactMap { $0 } + added).map { $0 + "\n" }.joined()
    }

    /// `key=value` with what must be escaped escaped: reads back as the same pair here and in Java.
    public static func line(key: String, value: String) -> String {
        escaped(key, isKey: true) + "=" + escaped(value, isKey: false)
    }

    private static func escaped(_ text: String, isKey: Bool) -> String {
        var result = ""
        for (position, scalar) in text.unicodeScalars.enumerated() {
            switch scalar {
            case "\\": result += "\\\\"
            case "\t": result += "\\t"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\u{0C}": result += "\\f"
            case " " where isKey || position == 0: result += "\\ "
            case "=", ":", "#", "!": result += isKey ? "\\\(scalar)" : String(scalar)
            case " "..."~": result.unicodeScalars.append(scalar)
            default:
                for unit in UTF16.encode(scalar) ?? .init() {
                    let digits = String(unit, radix: 16, uppercase: true)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result
    }

    // MARK: Reading

    private static func lines(of text: String) -> [Substring.UnicodeScalarView] {
        var scalars = Substring(text).unicodeScalars
        if scalars.first == "\u{FEFF}" { scalars.removeFirst() }
        var found: [Substring.UnicodeScalarView] = []
        var start = scalars.startIndex
        var index = start
        while index < scalars.endIndex {
            let scalar = scalars[index]
            let next = scalars.index(after: index)
            guard scalar == "\n" || scalar == "\r" else {
                index = next
                continue
            }
            found.append(scalars[start..<index])
            index = scalar == "\r" && next < scalars.endIndex && scalars[next] == "\n" ? scalars.index(after: next) : next
            start = index
        }
        found.append(scalars[start...])
        return found
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool { scalar == " " || scalar == "\t" || scalar == "\u{0C}" }

    private static func withoutLeadingBlanks(_ line: Substring.UnicodeScalarView) -> Substring.UnicodeScalarView {
        line.drop(while: isBlank)
    }

    /// A line goes on when an odd number of backslashes ends it.
    private static func endsInOpenBackslash(_ line: [Unicode.Scalar]) -> Bool {
        line.reversed().prefix { $0 == "\\" }.count % 2 == 1
    }

    private static func entry(_ line: [Unicode.Scalar], lines: ClosedRange<Int>, source: String) throws(SettingsFinding) -> Entry {
        var index = 0
        let key = try unescaped(line, from: &index, lines: lines, source: source) { isBlank($0) || $0 == "=" || $0 == ":" }
        while index < line.count, isBlank(line[index]) { index += 1 }
        if index < line.count, line[index] == "=" || line[index] == ":" { index += 1 }
        while index < line.count, isBlank(line[index]) { index += 1 }
        let value = try unescaped(line, from: &index, lines: lines, source: source) { _ in false }
        return Entry(key: key, value: value, lines: lines)
    }

    /// Reads up to an unescaped scalar for which `ends` holds, or to the end.
    private static func unescaped(
        _ line: [Unicode.Scalar], from index: inout Int, lines: ClosedRange<Int>, source: String, until ends: (Unicode.Scalar) -> Bool
    ) throws(SettingsFinding) -> String {
        var units: [UInt16] = []
        while index < line.count, !ends(line[index]) {
            var scalar = line[index]
            index += 1
            if scalar == "\\", index < line.count {
                scalar = line[index]
                index += 1
                switch scalar {
                case "t": scalar = "\t"
                case "n": scalar = "\n"
                case "r": scalar = "\r"
                case "f": scalar = "\u{0C}"
                case "u":
                    let digits = line[index..<min(index + 4, line.count)]
                    guard digits.count == 4, digits.allSatisfy(\.properties.isASCIIHexDigit),
                        let unit = UInt16(String(String.UnicodeScalarView(digits)), radix: 16)
                    else {
                        throw SettingsFinding(
                            .error, source: source, line: lines.lowerBound, key: "", "\\u needs four hexadecimal digits after it")
                    }
                    index += 4
                    units.append(unit)
                    continue
                default: break
                }
            }
            units += UTF16.encode(scalar) ?? .init()
        }
        return String(decoding: units, as: UTF16.self)
    }
}
