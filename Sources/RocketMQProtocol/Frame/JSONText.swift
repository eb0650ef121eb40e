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
        var plainFrom = 0
        for index in 0..<text.byteCount {
            let byte = text.byte(at: index)
            if byte >= 0x20, byte != 0x22, byte != 0x5C { continue }
            output.append(text.extracting(plainFrom..<index))
            plainFrom = index + 1
            switch byte {
            case 0x22: output.append("\\\"")
            case 0x5C: output.append("\\\\")
            case 0x0A: output.append("\\n")
            case 0x0D: output.append("\\r")
            case 0x09: output.append("\\t")
            default:
                output.append("\\u00")
                output.append(hexDigit(byte >> 4))
                output.append(hexDigit(byte & 15))
            }
        }
        output.append(text.extracting(plainFrom..<text.byteCount))
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

    /// Appends the text that the inside of a JSON string stands for.
    static func appendUnescaped(_ text: RawSpan, to output: inout ByteBuffer) throws(MalformedBytes) {
        var index = 0
        var plainFrom = 0
        while index < text.byteCount {
            guard text.byte(at: index) == 0x5C else {
                index += 1
                continue
            }
            output.append(text.extracting(plainFrom..<index))
            guard index + 1 < text.byteCount else { throw MalformedBytes("JSON string ends in an escape") }
            let kind = text.byte(at: index + 1)
            index += 2
            switch kind {
            case 0x22, 0x5C, 0x2F, 0x27: output.append(kind)
            case 0x62: output.append(0x08)
            case 0x66: output.append(0x0C)
            case 0x6E: output.append(0x0A)
            case 0x72: output.append(0x0D)
            case 0x74: output.append(0x09)
            case 0x75: appendScalar(try escapedScalar(text, &index), to: &output)
            default: throw MalformedBytes("JSON string has an unknown escape")
            }
            plainFrom = index
        }
        output.append(text.extracting(plainFrom..<text.byteCount))
    }

    /// The scalar of `XXXX`, or of a surrogate pair `XXXX\uXXXX`, from `index`; a lone surrogate becomes U+FFFD.
    private static func escapedScalar(_ text: RawSpan, _ index: inout Int) throws(MalformedBytes) -> UInt32 {
        let first = try fourDigits(text, at: index)
        index += 4
        guard 0xD800...0xDFFF ~= first else { return first }
        guard first < 0xDC00, index + 6 <= text.byteCount, text.byte(at: index) == 0x5C, text.byte(at: index + 1) == 0x75 else {
            return 0xFFFD
        }
        let second = try fourDigits(text, at: index + 2)
        guard 0xDC00...0xDFFF ~= second else { return 0xFFFD }
        index += 6
        return 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
    }

    private static func fourDigits(_ text: RawSpan, at index: Int) throws(MalformedBytes) -> UInt32 {
        guard index + 4 <= text.byteCount else { throw MalformedBytes("JSON string ends in an escape") }
        var value: UInt32 = 0
        for offset in 0..<4 {
            guard let digit = hexValue(text.byte(at: index + offset)) else { throw MalformedBytes("JSON escape has a bad digit") }
            value = value << 4 | digit
        }
        return value
    }

    private static func appendScalar(_ scalar: UInt32, to output: inout ByteBuffer) {
        switch scalar {
        case 0..<0x80: output.append(UInt8(scalar))
        case 0x80..<0x800:
            output.append(UInt8(0xC0 | scalar >> 6))
            output.append(UInt8(0x80 | scalar & 63))
        case 0x800..<0x10000:
            output.append(UInt8(0xE0 | scalar >> 12))
            output.append(UInt8(0x80 | scalar >> 6 & 63))
            output.append(UInt8(0x80 | scalar & 63))
        default:
            output.append(UInt8(0xF0 | scalar >> 18))
            output.append(UInt8(0x80 | scalar >> 12 & 63))
            output.append(UInt8(0x80 | scalar >> 6 & 63))
            output.append(UInt8(0x80 | scalar & 63))
        }
    }
}
