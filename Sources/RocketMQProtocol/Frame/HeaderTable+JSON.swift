import RocketMQBase

extension HeaderTable {
    /// Scans `{"code":…,"extFields":{…},…}` after the four bytes of the header word. Unknown members are passed over.
    mutating func scanJSON(_ header: RawSpan) throws(MalformedBytes) {
        try header.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) throws(MalformedBytes) in
            var scanner = JSONHeaderScanner(bytes, at: 4)
            try scanner.expect(0x7B, "a JSON object")
            if try scanner.ends(with: 0x7D) { return try scanner.expectEnd() }
            while true {
                let name = try scanner.stringToken()
                try scanner.expect(0x3A, "':'")
                if name.end - name.start == 9, scanner.text(name, is: "extFields") {
                    try scanExtensionFields(&scanner)
                } else {
                    try scanMember(name, &scanner)
                }
                if try scanner.ends(with: 0x7D) { break }
                try scanner.expect(0x2C, "',' or '}'")
            }
            try scanner.expectEnd()
        }
    }

    private mutating func scanMember(_ name: JSONHeaderScanner.Token, _ scanner: inout JSONHeaderScanner) throws(MalformedBytes) {
        switch scanner.shortText(name) {
        case Word.code: code = try scanner.number("code")
        case Word.flag: flag = try scanner.number("flag")
        case Word.opaque: opaque = try scanner.number("opaque")
        case Word.version: version = try scanner.number("version")
        case Word.remark:
            let value = try scanner.value()
            if value.kind == .string { remarkField = try field(name: name, value, scanner) }
        case Word.language:
            let value = try scanner.value()
            language =
                scanner.shortText(value) == Word.java
                ? .java : LanguageCode(name: scanner.string(value)) ?? .other
        default: _ = try scanner.value()
        }
    }

    private mutating func scanExtensionFields(_ scanner: inout JSONHeaderScanner) throws(MalformedBytes) {
        guard scanner.peek() == 0x7B else {
            let value = try scanner.value()
            guard value.kind == .null else { throw MalformedBytes("extFields is neither an object nor null") }
            return
        }
        try scanner.expect(0x7B, "an object")
        if try scanner.ends(with: 0x7D) { return }
        while true {
            // Nearly all fields of the hot requests have one letter and a plain string: `"a":"…"`.
            while let (name, value) = scanner.letterField() {
                append(try field(name: name, value, scanner))
                if scanner.passComma() { continue }
                if try scanner.ends(with: 0x7D) { return }
                try scanner.expect(0x2C, "',' or '}'")
            }
            let name = try scanner.stringToken()
            try scanner.expect(0x3A, "':'")
            let value = try scanner.value()
            if value.kind != .null { append(try field(name: name, value, scanner)) }
            if try scanner.ends(with: 0x7D) { return }
            try scanner.expect(0x2C, "',' or '}'")
        }
    }

    @inline(__always)
    private mutating func field(
        name: JSONHeaderScanner.Token, _ value: JSONHeaderScanner.Token, _ scanner: borrowing JSONHeaderScanner
    ) throws(MalformedBytes) -> Field {
        var (start, end) = (value.start, value.end)
        if value.hasEscapes {
            start = unescaped.count
            try JSONText.appendUnescaped(scanner.bytes(value), to: &unescaped)
            end = unescaped.count
        }
        // A header is below 16 MiB, so positions fit.
        return Field(
            nameStart: Int32(truncatingIfNeeded: name.start), nameEnd: Int32(truncatingIfNeeded: name.end),
            valueStart: Int32(truncatingIfNeeded: start), valueEnd: Int32(truncatingIfNeeded: end), isUnescaped: value.hasEscapes)
    }
}

/// Names as `JSONHeaderScanner.shortText` sees them: the bytes of the name, the first one lowest.
private enum Word {
    static var code: UInt64 { 0x6564_6F63 }
    static var flag: UInt64 { 0x6761_6C66 }
    static var opaque: UInt64 { 0x6575_7161_706F }
    static var version: UInt64 { 0x6E_6F69_7372_6576 }
    static var remark: UInt64 { 0x6B72_616D_6572 }
    static var language: UInt64 { 0x6567_6175_676E_616C }
    static var java: UInt64 { 0x4156_414A }
}

/// Walks over JSON text without building anything.
///
/// Memory safety: it lives only inside the closure that lends `base`, and every load is preceded by a comparison with
/// `count`: single bytes by `at < count`, words of eight by `index + 8 <= count`.
struct JSONHeaderScanner: ~Copyable {
    enum Kind { case string, number, bool, null, nested }

    struct Token {
        var kind: Kind
        /// The value's text; of a string, what stands between the quotes.
        var start: Int
        var end: Int
        var hasEscapes = false
    }

    private let base: UnsafeRawPointer
    private let count: Int
    private var at: Int
    private static let mostDepth = 64

    init(_ bytes: UnsafeRawBufferPointer, at position: Int) {
        // An empty buffer may have no address; none of it is ever loaded.
        base = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        count = bytes.count
        at = position
    }

    @inline(__always)
    private func load(_ index: Int) -> UInt8 { base.load(fromByteOffset: index, as: UInt8.self) }

    func bytes(_ token: Token) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + token.start, count: token.end - token.start)
    }

    func string(_ token: Token) -> String { String(decoding: bytes(token), as: UTF8.self) }

    /// A text of one to eight bytes as a number, its first byte lowest; 0 for any other.
    @inline(__always)
    func shortText(_ token: Token) -> UInt64 {
        let length = token.end - token.start
        guard length >= 1, length <= 8 else { return 0 }
        if token.start + 8 <= count {
            let word = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: token.start, as: UInt64.self))
            return word & (UInt64.max >> UInt64(truncatingIfNeeded: 64 - 8 * length))
        }
        var word: UInt64 = 0
        for index in 0..<length { word |= UInt64(load(token.start + index)) << UInt64(truncatingIfNeeded: 8 * index) }
        return word
    }

    /// Passes a field whose name has one letter and whose value is a string, when one stands here without white space.
    @inline(__always)
    mutating func letterField() -> (name: Token, value: Token)? {
        guard at + 16 <= count else { return nil }
        let word = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: at, as: UInt64.self))
        // `"`, any letter, `":"`.
        guard word & 0xFF_FFFF_00FF == 0x22_3A22_0022, word & 0xFF00 != 0x5C00, word & 0xFF00 != 0x2200 else { return nil }
        let name = Token(kind: .string, start: at + 1, end: at + 2)
        let start = at + 5
        var index = start
        while index + 8 <= count {
            let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let found = Self.zeroBytes(word ^ 0x2222_2222_2222_2222) | Self.zeroBytes(word ^ 0x5C5C_5C5C_5C5C_5C5C)
            if found != 0 {
                index += found.trailingZeroBitCount >> 3
                guard load(index) == 0x22 else { return escapedLetterField(name, start: start, from: index) }
                at = index + 1
                return (name, Token(kind: .string, start: start, end: index))
            }
            index += 8
        }
        return nil
    }

    @inline(never)
    private mutating func escapedLetterField(_ name: Token, start: Int, from: Int) -> (name: Token, value: Token)? {
        guard let value = try? longString(start: start, from: from) else { return nil }
        return (name, value)
    }

    /// Passes a comma that stands right here.
    @inline(__always)
    mutating func passComma() -> Bool {
        guard at < count, load(at) == 0x2C else { return false }
        at += 1
        return true
    }

    @inline(__always)
    func text(_ token: Token, is expected: StaticString) -> Bool {
        guard token.end - token.start == expected.utf8CodeUnitCount else { return false }
        let text = expected.utf8Start
        for index in 0..<(token.end - token.start) where load(token.start + index) != text[index] { return false }
        return true
    }

    /// A number of 32 bits, or a string that holds one.
    @inline(__always)
    mutating func number(_ what: StaticString) throws(MalformedBytes) -> Int32 {
        // Up to nine digits cannot overflow; anything else goes the long way.
        if let first = peek(), 0x30...0x39 ~= first {
            var value: Int32 = 0
            var index = at
            let near = min(at + 9, count)
            while index < near, 0x30...0x39 ~= load(index) {
                value = value &* 10 &+ Int32(load(index) &- 0x30)
                index += 1
            }
            if index < count, load(index) == 0x2C || load(index) == 0x7D {
                at = index
                return value
            }
        }
        return try otherNumber(what)
    }

    @inline(never)
    private mutating func otherNumber(_ what: StaticString) throws(MalformedBytes) -> Int32 {
        let token = try value()
        guard let number = DecimalText.integer(bytes(token).bytes), let fits = Int32(exactly: number) else {
            throw MalformedBytes("\(what) in the header is not a number of 32 bits")
        }
        return fits
    }

    /// The next byte that is not white space.
    @inline(__always)
    mutating func peek() -> UInt8? {
        guard at < count else { return nil }
        let byte = load(at)
        return byte > 0x20 ? byte : peekSlowly()
    }

    @inline(never)
    private mutating func peekSlowly() -> UInt8? {
        while at < count {
            switch load(at) {
            case 0x20, 0x09, 0x0A, 0x0D: at += 1
            case let byte: return byte
            }
        }
        return nil
    }

    @inline(__always)
    mutating func expect(_ byte: UInt8, _ what: StaticString) throws(MalformedBytes) {
        guard peek() == byte else { throw unexpected(what) }
        at += 1
    }

    @inline(never)
    private func unexpected(_ what: StaticString) -> MalformedBytes { MalformedBytes("JSON header: expected \(what) at byte \(at)") }

    /// Whether the next byte is `byte`; passes it if so.
    @inline(__always)
    mutating func ends(with byte: UInt8) throws(MalformedBytes) -> Bool {
        guard let next = peek() else { throw MalformedBytes("JSON header ends early") }
        if next == byte { at += 1 }
        return next == byte
    }

    mutating func expectEnd() throws(MalformedBytes) {
        if peek() != nil { throw MalformedBytes("JSON header: text after its end at byte \(at)") }
    }

    @inline(__always)
    mutating func stringToken() throws(MalformedBytes) -> Token {
        try expect(0x22, "a string")
        let start = at
        // Names and numbers are short: most end within the first eight bytes.
        if start + 8 <= count {
            let word = base.loadUnaligned(fromByteOffset: start, as: UInt64.self)
            let found = Self.zeroBytes(word ^ 0x2222_2222_2222_2222) | Self.zeroBytes(word ^ 0x5C5C_5C5C_5C5C_5C5C)
            let end = start + (found.trailingZeroBitCount >> 3)
            if found != 0, load(end) == 0x22 {
                at = end + 1
                return Token(kind: .string, start: start, end: end)
            }
            if found == 0 { return try longString(start: start, from: start + 8) }
        }
        return try longString(start: start, from: start)
    }

    @inline(never)
    private mutating func longString(start: Int, from: Int) throws(MalformedBytes) -> Token {
        var index = from
        var hasEscapes = false
        while index < count {
            if index + 8 <= count {
                let word = base.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                let found = Self.zeroBytes(word ^ 0x2222_2222_2222_2222) | Self.zeroBytes(word ^ 0x5C5C_5C5C_5C5C_5C5C)
                if found == 0 {
                    index += 8
                    continue
                }
                index += found.trailingZeroBitCount >> 3
            }
            let byte = load(index)
            if byte == 0x22 {
                at = index + 1
                return Token(kind: .string, start: start, end: index, hasEscapes: hasEscapes)
            }
            if byte == 0x5C {
                hasEscapes = true
                index += 2
            } else {
                index += 1
            }
        }
        throw MalformedBytes("JSON header: a string does not end")
    }

    /// The high bit of each byte of `word` that is zero (exact up to the first one, which is all that is used).
    @inline(__always)
    private static func zeroBytes(_ word: UInt64) -> UInt64 {
        (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
    }

    @inline(__always)
    mutating func value() throws(MalformedBytes) -> Token {
        if peek() == 0x22 { return try stringToken() }
        return try otherValue()
    }

    @inline(never)
    private mutating func otherValue() throws(MalformedBytes) -> Token {
        switch peek() {
        case nil: throw MalformedBytes("JSON header ends early")
        case 0x7B, 0x5B: return try nested()
        default: return try literal()
        }
    }

    private mutating func literal() throws(MalformedBytes) -> Token {
        let start = at
        scan: while at < count {
            switch load(at) {
            case 0x30...0x39, 0x2D, 0x2B, 0x2E, 0x41...0x5A, 0x61...0x7A: at += 1
            default: break scan
            }
        }
        var token = Token(kind: .number, start: start, end: at)
        if at > start, load(start) == 0x2D || 0x30...0x39 ~= load(start) { return token }
        if text(token, is: "null") {
            token.kind = .null
        } else if text(token, is: "true") || text(token, is: "false") {
            token.kind = .bool
        } else {
            throw MalformedBytes("JSON header: not a value at byte \(start)")
        }
        return token
    }

    /// Passes over an object or array of an unknown member.
    private mutating func nested() throws(MalformedBytes) -> Token {
        let start = at
        var depth = 0
        repeat {
            guard let byte = peek() else { throw MalformedBytes("JSON header ends early") }
            switch byte {
            case 0x22: _ = try stringToken()
            case 0x7B, 0x5B:
                depth += 1
                at += 1
                if depth > Self.mostDepth { throw MalformedBytes("JSON header is nested too deeply") }
            case 0x7D, 0x5D:
                depth -= 1
                at += 1
            default: at += 1
            }
        } while depth > 0
        return Token(kind: .nested, start: start, end: at)
    }
}
