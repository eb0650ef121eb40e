import RocketMQBase

extension HeaderTable {
    /// Scans `{"code":…,"extFields":{…},…}` after the four bytes of the header word. Unknown members are passed over.
    mutating func scanJSON(_ header: RawSpan) throws(MalformedBytes) {
        var scanner = JSONHeaderScanner(header, at: 4)
        try scanner.expect(0x7B, "a JSON object")
        if try scanner.ends(with: 0x7D) { return try scanner.expectEnd() }
        while true {
            let name = try scanner.stringToken()
            try scanner.expect(0x3A, "':'")
            if header.equals(name.range, "extFields") {
                try scanExtensionFields(&scanner)
            } else {
                try scanMember(header, name.range, &scanner)
            }
            if try scanner.ends(with: 0x7D) { break }
            try scanner.expect(0x2C, "',' or '}'")
        }
        try scanner.expectEnd()
    }

    private mutating func scanMember(_ header: RawSpan, _ name: Range<Int>, _ scanner: inout JSONHeaderScanner) throws(MalformedBytes) {
        let value = try scanner.value()
        if header.equals(name, "code") {
            code = try number(value, header, "code")
        } else if header.equals(name, "opaque") {
            opaque = try number(value, header, "opaque")
        } else if header.equals(name, "flag") {
            flag = try number(value, header, "flag")
        } else if header.equals(name, "version") {
            version = try number(value, header, "version")
        } else if header.equals(name, "language") {
            language = LanguageCode(json: header.extracting(value.range)) ?? .other
        } else if header.equals(name, "remark"), value.kind == .string {
            remarkField = try field(name: 0..<0, value, header)
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
            let name = try scanner.stringToken()
            try scanner.expect(0x3A, "':'")
            let value = try scanner.value()
            if value.kind != .null { fields.append(try field(name: name.range, value, scanner.text)) }
            if try scanner.ends(with: 0x7D) { return }
            try scanner.expect(0x2C, "',' or '}'")
        }
    }

    private mutating func field(
        name: Range<Int>, _ value: JSONHeaderScanner.Token, _ header: RawSpan
    ) throws(MalformedBytes) -> Field {
        var range = value.range
        if value.hasEscapes {
            let start = unescaped.count
            try JSONText.appendUnescaped(header.extracting(value.range), to: &unescaped)
            range = start..<unescaped.count
        }
        return Field(
            nameStart: Int32(name.lowerBound), nameEnd: Int32(name.upperBound), valueStart: Int32(range.lowerBound),
            valueEnd: Int32(range.upperBound), isUnescaped: value.hasEscapes)
    }

    private func number(_ value: JSONHeaderScanner.Token, _ header: RawSpan, _ what: StaticString) throws(MalformedBytes) -> Int32 {
        guard let number = DecimalText.integer(header.extracting(value.range)), let fits = Int32(exactly: number) else {
            throw MalformedBytes("\(what) in the header is not a number of 32 bits")
        }
        return fits
    }
}

extension LanguageCode {
    /// The language by its name's bytes.
    init?(json text: RawSpan) {
        let all = 0..<text.byteCount
        if text.equals(all, "JAVA") { self = .java } else if text.equals(all, "CPP") { self = .cpp } else {
            self.init(name: text.string(all))
        }
    }
}

/// Walks over JSON text without building anything.
struct JSONHeaderScanner: ~Escapable {
    enum Kind { case string, number, bool, null, nested }
    struct Token {
        var kind: Kind
        /// The value's text; of a string, what stands between the quotes.
        var range: Range<Int>
        var hasEscapes = false
    }

    let text: RawSpan
    private var at: Int
    private static let mostDepth = 64

    @_lifetime(copy text)
    init(_ text: RawSpan, at position: Int) {
        self.text = text
        at = position
    }

    mutating func peek() -> UInt8? {
        skipSpace()
        return at < text.byteCount ? text.byte(at: at) : nil
    }

    mutating func expect(_ byte: UInt8, _ what: StaticString) throws(MalformedBytes) {
        guard peek() == byte else { throw MalformedBytes("JSON header: expected \(what) at byte \(at)") }
        at += 1
    }

    /// Whether the next byte is `byte`; passes it if so.
    mutating func ends(with byte: UInt8) throws(MalformedBytes) -> Bool {
        guard let next = peek() else { throw MalformedBytes("JSON header ends early") }
        if next == byte { at += 1 }
        return next == byte
    }

    mutating func expectEnd() throws(MalformedBytes) {
        if peek() != nil { throw MalformedBytes("JSON header: text after its end at byte \(at)") }
    }

    mutating func stringToken() throws(MalformedBytes) -> Token {
        try expect(0x22, "a string")
        let start = at
        var hasEscapes = false
        let (end, escaped) = text.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) -> (Int, Bool) in
            // Bytes are compared eight at a time; `index + 8 <= count` bounds every load.
            var index = start
            var seen = false
            while index < bytes.count {
                if index + 8 <= bytes.count {
                    let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    let found = Self.zeroBytes(word ^ 0x2222_2222_2222_2222) | Self.zeroBytes(word ^ 0x5C5C_5C5C_5C5C_5C5C)
                    if found == 0 {
                        index += 8
                        continue
                    }
                    index += found.trailingZeroBitCount >> 3
                }
                let byte = bytes[index]
                if byte == 0x22 { return (index, seen) }
                if byte == 0x5C {
                    seen = true
                    index += 2
                } else {
                    index += 1
                }
            }
            return (-1, seen)
        }
        hasEscapes = escaped
        guard end >= 0 else { throw MalformedBytes("JSON header: a string does not end") }
        at = end + 1
        return Token(kind: .string, range: start..<end, hasEscapes: hasEscapes)
    }

    /// The high bit of each byte of `word` that is zero (exact up to the first one, which is all that is used).
    @inline(__always)
    private static func zeroBytes(_ word: UInt64) -> UInt64 {
        (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
    }

    mutating func value() throws(MalformedBytes) -> Token {
        guard let first = peek() else { throw MalformedBytes("JSON header ends early") }
        switch first {
        case 0x22: return try stringToken()
        case 0x7B, 0x5B: return try nested()
        default: return try literal()
        }
    }

    private mutating func literal() throws(MalformedBytes) -> Token {
        let start = at
        while at < text.byteCount {
            switch text.byte(at: at) {
            case 0x30...0x39, 0x2D, 0x2B, 0x2E, 0x41...0x5A, 0x61...0x7A:
                at += 1
                continue
            default: break
            }
            break
        }
        let range = start..<at
        if text.equals(range, "null") { return Token(kind: .null, range: range) }
        if text.equals(range, "true") || text.equals(range, "false") { return Token(kind: .bool, range: range) }
        guard let first = range.first, text.byte(at: first) == 0x2D || 0x30...0x39 ~= text.byte(at: first) else {
            throw MalformedBytes("JSON header: not a value at byte \(start)")
        }
        return Token(kind: .number, range: range)
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
        return Token(kind: .nested, range: start..<at)
    }

    private mutating func skipSpace() {
        while at < text.byteCount {
            switch text.byte(at: at) {
            case 0x20, 0x09, 0x0A, 0x0D: at += 1
            default: return
            }
        }
    }
}
