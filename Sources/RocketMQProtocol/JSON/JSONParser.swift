import RocketMQBase

extension JSONValue {
    /// Objects and arrays within one another, at most: what a hostile text can make the parser recurse.
    public static let deepestNesting = 64

    /// Reads one JSON text. White space may surround it (C++ clients send a newline after it). Beyond the standard, keys
    /// may be numbers, objects, bare words or stand in single quotes.
    ///
    /// Throws what was expected and the byte at which it was not found; takes time in proportion to the bytes.
    public init(parsing bytes: RawSpan) throws(MalformedBytes) {
        var parser = JSONParser(bytes)
        self = try parser.document()
    }

    public init(parsing bytes: [UInt8]) throws(MalformedBytes) {
        try self.init(parsing: bytes.span.bytes)
    }
}

/// A recursive descent over the bytes of one JSON text.
struct JSONParser: ~Copyable, ~Escapable {
    private let bytes: RawSpan
    private var position = 0
    private var depth = 0
    /// Where strings with escapes are put together.
    private var scratch = ByteBuffer(capacity: 64)

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) { self.bytes = bytes }

    mutating func document() throws(MalformedBytes) -> JSONValue {
        let value = try value()
        skipWhiteSpace()
        guard position == bytes.byteCount else { throw malformed("more text after the value") }
        return value
    }

    private mutating func value() throws(MalformedBytes) -> JSONValue {
        skipWhiteSpace()
        guard let byte = peek() else { throw malformed("a value is missing") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: throw malformed("no value starts like this")
        }
    }

    private mutating func object() throws(MalformedBytes) -> JSONObject {
        try enter()
        var object = JSONObject()
        skipWhiteSpace()
        if take(UInt8(ascii: "}")) {
            depth -= 1
            return object
        }
        while true {
            let key = try key()
            skipWhiteSpace()
            guard take(UInt8(ascii: ":")) else { throw malformed("a colon is missing after a key") }
            object.members.append(JSONObject.Member(key: key, value: try value()))
            skipWhiteSpace()
            if take(UInt8(ascii: "}")) { break }
            guard take(UInt8(ascii: ",")) else { throw malformed("a comma or closing brace is missing") }
        }
        depth -= 1
        return object
    }

    private mutating func array() throws(MalformedBytes) -> [JSONValue] {
        try enter()
        var elements: [JSONValue] = []
        skipWhiteSpace()
        if take(UInt8(ascii: "]")) {
            depth -= 1
            return elements
        }
        while true {
            elements.append(try value())
            skipWhiteSpace()
            if take(UInt8(ascii: "]")) { break }
            guard take(UInt8(ascii: ",")) else { throw malformed("a comma or closing bracket is missing") }
        }
        depth -= 1
        return elements
    }

    /// A key of an object: a string as a rule; a number, an object or a bare word in the reference's dialect.
    private mutating func key() throws(MalformedBytes) -> JSONValue {
        skipWhiteSpace()
        guard let byte = peek() else { throw malformed("a key is missing") }
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try string())
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: break
        }
        let start = position
        while let byte = peek(), JSONParser.isWordByte(byte) { position += 1 }
        guard position > start else { throw malformed("a key is missing") }
        return .string(bytes.string(start..<position))
    }

    private mutating func string() throws(MalformedBytes) -> String {
        let quote = bytes.byte(at: position)
        let start = position + 1
        var hasEscape = false
        var end = start
        while end < bytes.byteCount {
            let byte = bytes.byte(at: end)
            if byte == quote { break }
            if byte == UInt8(ascii: "\\") {
                hasEscape = true
                end += 1
            }
            end += 1
        }
        guard end < bytes.byteCount else { throw malformed("a string is not closed") }
        position = end + 1
        guard hasEscape else { return bytes.string(start..<end) }
        scratch.removeAll()
        do throws(MalformedBytes) {
            try JSONText.appendUnescaped(bytes.extracting(start..<end), to: &scratch)
        } catch {
            throw MalformedBytes("JSON: \(error.what), in the string at byte \(start)")
        }
        return scratch.withBytes { $0.string(0..<$0.byteCount) }
    }

    private mutating func number() throws(MalformedBytes) -> JSONValue {
        let start = position
        var isWhole = true
        if take(UInt8(ascii: "-")), peek() == nil { throw malformed("a number has no digits") }
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): break
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"), UInt8(ascii: "-"): isWhole = false
            default:
                return try number(of: start..<position, isWhole: isWhole)
            }
            position += 1
        }
        return try number(of: start..<position, isWhole: isWhole)
    }

    private func number(of range: Range<Int>, isWhole: Bool) throws(MalformedBytes) -> JSONValue {
        if isWhole, let value = DecimalDigits.integer(bytes, range) { return .integer(value) }
        // Longer than any number that means something: a text that would only cost time.
        guard range.count <= 512, let value = Double(bytes.string(range)), value.isFinite else {
            throw MalformedBytes("JSON: a number cannot be read at byte \(range.lowerBound)")
        }
        return .number(value)
    }

    private mutating func word(_ text: StaticString, _ value: JSONValue) throws(MalformedBytes) -> JSONValue {
        let end = position + text.utf8CodeUnitCount
        guard end <= bytes.byteCount, bytes.equals(position..<end, text) else { throw malformed("no value starts like this") }
        position = end
        return value
    }

    // MARK: Bytes

    private mutating func enter() throws(MalformedBytes) {
        guard depth < JSONValue.deepestNesting else {
            throw malformed("nested deeper than \(JSONValue.deepestNesting) levels")
        }
        depth += 1
        position += 1
    }

    private func peek() -> UInt8? { position < bytes.byteCount ? bytes.byte(at: position) : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek() == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipWhiteSpace() {
        while let byte = peek(), byte == 0x20 || (0x09...0x0D).contains(byte) { position += 1 }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "$"), UInt8(ascii: "."), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private func malformed(_ what: String) -> MalformedBytes { MalformedBytes("JSON: \(what) at byte \(position)") }
}

/// Whole numbers in decimal digits.
enum DecimalDigits {
    /// The number that the bytes of `range` spell; `nil` when they are something else, or it does not fit.
    static func integer(_ bytes: RawSpan, _ range: Range<Int>) -> Int64? {
        var index = range.lowerBound
        let isNegative = index < range.upperBound && bytes.byte(at: index) == UInt8(ascii: "-")
        if isNegative { index += 1 }
        guard index < range.upperBound else { return nil }
        var value: Int64 = 0
        while index < range.upperBound {
            let digit = bytes.byte(at: index) &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            // Summed below zero, since the smallest number has no positive counterpart.
            let (sum, overflowAgain) = product.subtractingReportingOverflow(Int64(digit))
            guard !overflow, !overflowAgain else { return nil }
            value = sum
            index += 1
        }
        if isNegative { return value }
        return value == .min ? nil : -value
    }
}
