/// Words with a meaning of their own, in any case. The last three are the names of properties too where a value is expected.
enum ExpressionKeyword: String, CaseIterable {
    case not = "NOT", and = "AND", or = "OR", between = "BETWEEN", isWord = "IS", inWord = "IN", trueWord = "TRUE", falseWord = "FALSE"
    case null = "NULL", contains = "CONTAINS", startsWith = "STARTSWITH", endsWith = "ENDSWITH"
}

/// A piece of an expression's text.
struct ExpressionToken {
    enum Kind: Equatable {
        case name, keyword(ExpressionKeyword), number(PropertyNumber), string, symbol(ExpressionSymbol), end
    }

    var kind: Kind
    /// Where it stands in the text's bytes.
    var range: Range<Int>
}

enum ExpressionSymbol: String {
    case equal = "=", notEqual = "<>", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
    case plus = "+", minus = "-", open = "(", close = ")", comma = ","
}

/// Cuts an expression's text into tokens; blanks and comments (`-- …` up to the line's end, `/* … */`) are passed over.
struct ExpressionLexer {
    let text: [UInt8]
    private var position = 0
    private var isBehindMinus = false

    init(_ text: [UInt8]) { self.text = text }

    func error(at offset: Int, _ reason: String) -> ExpressionError {
        // Bytes that begin a character; the text is UTF-8.
        ExpressionError(character: text[..<min(offset, text.count)].count { $0 & 0xC0 != 0x80 } + 1, reason: reason)
    }

    mutating func next() throws(ExpressionError) -> ExpressionToken {
        try skipBlanks()
        let start = position
        guard let byte = byte(0) else { return ExpressionToken(kind: .end, range: start..<start) }
        let kind: ExpressionToken.Kind
        switch byte {
        case UInt8(ascii: "'"): kind = try string()
        case UInt8(ascii: "0")...UInt8(ascii: "9"): kind = try number()
        case UInt8(ascii: "."): kind = try number()
        case _ where Self.beginsName(byte): kind = word()
        default: kind = try symbol()
        }
        isBehindMinus = kind == .symbol(.minus)
        return ExpressionToken(kind: kind, range: start..<position)
    }

    private func byte(_ ahead: Int) -> UInt8? { position + ahead < text.count ? text[position + ahead] : nil }

    private func isDigit(_ ahead: Int) -> Bool { byte(ahead).map { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } ?? false }

    private static func beginsName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "$"): true
        default: false
        }
    }

    // MARK: Pieces

    private mutating func skipBlanks() throws(ExpressionError) {
        while let first = byte(0) {
            switch (first, byte(1)) {
            case (0x20, _), (0x09, _), (0x0A, _), (0x0C, _), (0x0D, _): position += 1
            case (UInt8(ascii: "-"), UInt8(ascii: "-")):
                while let next = byte(0), next != 0x0A, next != 0x0D { position += 1 }
            case (UInt8(ascii: "/"), UInt8(ascii: "*")):
                let start = position
                position += 2
                while byte(0) != nil, byte(0) != UInt8(ascii: "*") || byte(1) != UInt8(ascii: "/") { position += 1 }
                guard byte(0) != nil else { throw error(at: start, "this comment has no end: */ is missing") }
                position += 2
            default: return
            }
        }
    }

    private mutating func word() -> ExpressionToken.Kind {
        let start = position
        while let next = byte(0), Self.beginsName(next) || isDigit(0) { position += 1 }
        let length = position - start
        for keyword in ExpressionKeyword.allCases where keyword.rawValue.utf8.count == length {
            // Keywords are of letters alone, which differ in one bit from their small form.
            if keyword.rawValue.utf8.elementsEqual(text[start..<position], by: { $0 == $1 & 0xDF }) { return .keyword(keyword) }
        }
        return .name
    }

    private mutating func string() throws(ExpressionError) -> ExpressionToken.Kind {
        let start = position
        position += 1
        while let next = byte(0) {
            position += 1
            guard next == UInt8(ascii: "'") else { continue }
            // Two quotes are one that belongs to the string.
            guard byte(0) == UInt8(ascii: "'") else { return .string }
            position += 1
        }
        throw error(at: start, "this string has no end: a quote (') is missing")
    }

    /// Whole numbers have 64 bits; `12l` is 12. Others have a point or an exponent: `5.`, `.5`, `5E10`.
    private mutating func number() throws(ExpressionError) -> ExpressionToken.Kind {
        let start = position
        while isDigit(0) { position += 1 }
        let wholeDigits = position - start
        var isFraction = false
        if byte(0) == UInt8(ascii: ".") {
            guard wholeDigits > 0 || isDigit(1) else { throw error(at: start, "expected a digit after the point") }
            isFraction = true
            position += 1
            while isDigit(0) { position += 1 }
        }
        if byte(0).map({ $0 & 0xDF }) == UInt8(ascii: "E") {
            let sign = byte(1) == UInt8(ascii: "+") || byte(1) == UInt8(ascii: "-") ? 1 : 0
            if isDigit(1 + sign) {
                isFraction = true
                position += 1 + sign
                while isDigit(0) { position += 1 }
            }
        }
        let digits = text[start..<position]
        if isFraction { return .number(try fraction(start, Array(digits))) }
        guard wholeDigits == 1 || digits.first != UInt8(ascii: "0") else {
            throw error(at: start, "a whole number does not begin with 0")
        }
        let value = PropertyNumber.whole(Array(digits).span.bytes).map { PropertyNumber.whole($0) }
        // There is one number more below zero than above.
        let least = isBehindMinus && digits.elementsEqual("\(Int64.min.magnitude)".utf8) ? PropertyNumber.whole(.min).negated : nil
        guard let number = value ?? least else {
            throw error(at: start, "this number is too large: whole numbers go from \(Int64.min) to \(Int64.max)")
        }
        if byte(0).map({ $0 & 0xDF }) == UInt8(ascii: "L") { position += 1 }
        return .number(number)
    }

    private func fraction(_ start: Int, _ digits: [UInt8]) throws(ExpressionError) -> PropertyNumber {
        guard digits.count <= PropertyNumber.longestText, let value = PropertyNumber.fraction(digits.span.bytes) else {
            throw error(at: start, "this number has more than \(PropertyNumber.longestText) digits")
        }
        guard value.isFinite else { throw error(at: start, "this number is too large: numbers end at \(Double.greatestFiniteMagnitude)") }
        let mantissa = digits.prefix { $0 & 0xDF != UInt8(ascii: "E") }
        guard value != 0 || !mantissa.contains(where: { $0 > UInt8(ascii: "0") }) else {
            throw error(at: start, "this number is too small: the smallest above 0 is \(Double.leastNonzeroMagnitude)")
        }
        return .fraction(value)
    }

    private mutating func symbol() throws(ExpressionError) -> ExpressionToken.Kind {
        let start = position
        for length in [2, 1] where start + length <= text.count {
            if let symbol = ExpressionSymbol(rawValue: String(decoding: text[start..<(start + length)], as: UTF8.self)) {
                position += length
                return .symbol(symbol)
            }
        }
        switch (text[start], byte(1)) {
        case (UInt8(ascii: "!"), UInt8(ascii: "=")): throw error(at: start, "!= is not known: write <>")
        case (UInt8(ascii: "&"), _): throw error(at: start, "& is not known: write AND")
        case (UInt8(ascii: "|"), _): throw error(at: start, "| is not known: write OR")
        case (UInt8(ascii: "\""), _): throw error(at: start, "strings stand in single quotes (')")
        default:
            let character = String(decoding: text[start...].prefix(8), as: UTF8.self).first ?? "?"
            throw error(at: start, "\(character.debugDescription) has no meaning here")
        }
    }
}

extension Character {
    /// The character in quotes, control characters escaped.
    fileprivate var debugDescription: String { String(self).debugDescription }
}
