import RocketMQBase

/// Escaping of JSON strings, byte by byte.
public enum JSONText {
    /// Appends the inside of a JSON string.
    public static func appendEscaped(_ text: String, to output: inout ByteBuffer) {
        var text = text
        text.withUTF8 { appendEscaped(UnsafeRawBufferPointer($0).bytes, to: &output) }
    }

    /// Appends the inside of a JSON string whose text is the given UTF-8.
    public static func appendEscaped(_ text: RawSpan, to output: inout ByteBuffer) {
        let plain = plainCount(text, from: 0)
        if plain == text.byteCount { return output.append(text) }
        output.append(text.extracting(0..<plain))
        appendEscapedSlowly(text, from: plain, to: &output)
    }

    /// How many bytes from `start` on need no escape before the first that does. Words of eight are loaded only where
    /// `index + 8 <= count`.
    @inline(__always)
    private static func plainCount(_ text: RawSpan, from start: Int) -> Int {
        var index = start
        let count = text.byteCount
        while index + 8 <= count {
            let word: UInt64 = text.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            let found =
                zeroBytes(word ^ 0x2222_2222_2222_2222) | zeroBytes(word ^ 0x5C5C_5C5C_5C5C_5C5C)
                | ((word &- 0x2020_2020_2020_2020) & ~word & 0x8080_8080_8080_8080)
            if found != 0 { return index + found.trailingZeroBitCount >> 3 - start }
            index += 8
        }
        while index < count {
            let byte = text.byte(at: index)
            if byte < 0x20 || byte == 0x22 || byte == 0x5C { break }
            index += 1
        }
        return index - start
    }

    /// The high bit of each byte of `word` that is zero (exact up to the first one, which is all that is used).
    @inline(__always)
    static func zeroBytes(_ word: UInt64) -> UInt64 { (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 }

    private static func appendEscapedSlowly(_ text: RawSpan, from start: Int, to output: inout ByteBuffer) {
        var index = start
        while index < text.byteCount {
            let byte = text.byte(at: index)
            index += 1
            switch byte {
            case 0x22: output.append("\\\"")
            case 0x5C: output.append("\\\\")
            case 0x0A: output.append("\\n")
            case 0x0D: output.append("\\r")
            case 0x09: output.append("\\t")
            case 0..<0x20:
                output.append("\\u00")
                output.append(hexDigit(byte >> 4))
                output.append(hexDigit(byte & 15))
            default:
                let plain = 1 + plainCount(text, from: index)
                output.append(text.extracting((index - 1)..<(index - 1 + plain)))
                index += plain - 1
            }
        }
    }

    @inlinable
    public static func hexDigit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 0x30 + nibble : 0x37 + nibble }

    /// The value of a hexadecimal digit in either case.
    @inlinable
    public static func hexValue(_ digit: UInt8) -> UInt32? {
        switch digit {
        case 0x30...0x39: UInt32(digit - 0x30)
        case 0x41...0x46: UInt32(digit - 0x37)
        case 0x61...0x66: UInt32(digit - 0x57)
        default: nil
        }
    }

    static func appendUnescaped(_ text: RawSpan, to output: inout ByteBuffer) throws(MalformedBytes) {
        try text.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) throws(MalformedBytes) in try appendUnescaped(bytes, to: &output) }
    }

    /// Appends the text that the inside of a JSON string stands for. Unescaped text is never longer than escaped text, so
    /// room for all of it is made once; `read < bytes.count` bounds every load and `written <= read` every store.
    static func appendUnescaped(_ bytes: UnsafeRawBufferPointer, to output: inout ByteBuffer) throws(MalformedBytes) {
        _ = try output.appendUnsafe(upTo: bytes.count) { (room: UnsafeMutableRawBufferPointer) throws(MalformedBytes) -> Int in
            guard let source = bytes.baseAddress, let target = room.baseAddress else { return 0 }
            var read = 0
            var written = 0
            while read < bytes.count {
                // Eight at a time as long as none is a backslash; `written <= read`, so the room holds them too.
                if read + 8 <= bytes.count {
                    let word = source.loadUnaligned(fromByteOffset: read, as: UInt64.self)
                    let found = zeroBytes(word ^ 0x5C5C_5C5C_5C5C_5C5C)
                    target.storeBytes(of: word, toByteOffset: written, as: UInt64.self)
                    let plain = found == 0 ? 8 : found.trailingZeroBitCount >> 3
                    read += plain
                    written += plain
                    if found == 0 { continue }
                }
                let byte = source.load(fromByteOffset: read, as: UInt8.self)
                read += 1
                guard byte == 0x5C else {
                    target.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
                    written += 1
                    continue
                }
                guard read < bytes.count else { throw MalformedBytes("JSON string ends in an escape") }
                let kind = bytes[read]
                read += 1
                if kind == 0x75, read + 4 <= bytes.count,
                    source.loadUnaligned(fromByteOffset: read, as: UInt16.self) == 0x3030, bytes[read + 2] == 0x30,
                    0x30...0x39 ~= bytes[read + 3]
                {
                    // `\u000d`: the separators of properties, many a message.
                    target.storeBytes(of: bytes[read + 3] &- 0x30, toByteOffset: written, as: UInt8.self)
                    read += 4
                    written += 1
                } else if kind == 0x75 {
                    let scalar = try escapedScalar(bytes, &read)
                    written += store(scalar, to: target + written)
                } else {
                    target.storeBytes(of: try plainEscape(kind), toByteOffset: written, as: UInt8.self)
                    written += 1
                }
            }
            return written
        }
    }

    private static func plainEscape(_ kind: UInt8) throws(MalformedBytes) -> UInt8 {
        switch kind {
        case 0x22, 0x5C, 0x2F, 0x27: kind
        case 0x62: 0x08
        case 0x66: 0x0C
        case 0x6E: 0x0A
        case 0x72: 0x0D
        case 0x74: 0x09
        default: throw MalformedBytes("JSON string has an unknown escape")
        }
    }

    /// The scalar of `XXXX`, or of a surrogate pair `XXXX\uXXXX`, from `index`; a lone surrogate becomes U+FFFD.
    @inline(__always)
    private static func escapedScalar(_ text: UnsafeRawBufferPointer, _ index: inout Int) throws(MalformedBytes) -> UInt32 {
        let first = try fourDigits(text, at: index)
        index += 4
        guard 0xD800...0xDFFF ~= first else { return first }
        guard first < 0xDC00, index + 6 <= text.count, text[index] == 0x5C, text[index + 1] == 0x75 else { return 0xFFFD }
        let second = try fourDigits(text, at: index + 2)
        guard 0xDC00...0xDFFF ~= second else { return 0xFFFD }
        index += 6
        return 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
    }

    @inline(__always)
    private static func fourDigits(_ text: UnsafeRawBufferPointer, at index: Int) throws(MalformedBytes) -> UInt32 {
        guard index + 4 <= text.count else { throw MalformedBytes("JSON string ends in an escape") }
        var value: UInt32 = 0
        for offset in 0..<4 {
            guard let digit = hexValue(text[index + offset]) else { throw MalformedBytes("JSON escape has a bad digit") }
            value = value << 4 | digit
        }
        return value
    }

    /// Stores a scalar as UTF-8, one to four bytes, fewer than its escape has.
    @inline(__always)
    private static func store(_ scalar: UInt32, to target: UnsafeMutableRawPointer) -> Int {
        func put(_ byte: UInt32, _ offset: Int) {
            target.storeBytes(of: UInt8(truncatingIfNeeded: byte), toByteOffset: offset, as: UInt8.self)
        }
        switch scalar {
        case 0..<0x80:
            put(scalar, 0)
            return 1
        case 0x80..<0x800:
            put(0xC0 | scalar >> 6, 0)
            put(0x80 | scalar & 63, 1)
            return 2
        case 0x800..<0x10000:
            put(0xE0 | scalar >> 12, 0)
            put(0x80 | scalar >> 6 & 63, 1)
            put(0x80 | scalar & 63, 2)
            return 3
        default:
            put(0xF0 | scalar >> 18, 0)
            put(0x80 | scalar >> 12 & 63, 1)
            put(0x80 | scalar >> 6 & 63, 2)
            put(0x80 | scalar & 63, 3)
            return 4
        }
    }
}
