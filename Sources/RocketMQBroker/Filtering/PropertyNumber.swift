import RocketMQBase

/// A number of an expression, or read out of a property's text. As in the reference the number that an expression is written
/// with decides how the text of a property is read that it is compared with: `amount > 10` wants a whole number of 32 bits
/// there, `amount > 10.0` takes any.
enum PropertyNumber: Equatable {
    case int(Int32), long(Int64), double(Double)

    /// Bytes of the longest text that is a number. More would make reading one dear, and no program writes them.
    static let longestText = 128

    var asDouble: Double {
        switch self {
        case .int(let value): Double(value)
        case .long(let value): Double(value)
        case .double(let value): value
        }
    }

    /// The number in `text` in the form that this one has; `nil` when it holds none.
    @inline(__always)
    func read(_ text: RawSpan) -> PropertyNumber? {
        switch self {
        case .int: PropertyNumber.int64(text).flatMap { Int32(exactly: $0) }.map { .int($0) }
        case .long: PropertyNumber.int64(text).map { .long($0) }
        case .double: PropertyNumber.double(text).map { .double($0) }
        }
    }

    /// Below 0, 0 or above 0. Whole numbers are compared with fractions as fractions.
    @inline(__always)
    static func order(_ left: PropertyNumber, _ right: PropertyNumber) -> Int {
        switch (left, right) {
        case (.int(let left), .int(let right)): sign(left, right)
        case (.int(let left), .long(let right)): sign(Int64(left), right)
        case (.long(let left), .int(let right)): sign(left, Int64(right))
        case (.long(let left), .long(let right)): sign(left, right)
        default: order(left.asDouble, right.asDouble)
        }
    }

    /// Every double has its place: -0 before 0, and what is no number after all others.
    @inline(__always)
    static func order(_ left: Double, _ right: Double) -> Int {
        if left < right { return -1 }
        if left > right { return 1 }
        if left == right { return left != 0 ? 0 : sign(left.sign == .minus ? 0 : 1, right.sign == .minus ? 0 : 1) }
        return sign(left.isNaN ? 1 : 0, right.isNaN ? 1 : 0)
    }

    @inline(__always)
    private static func sign<Value: FixedWidthInteger>(_ left: Value, _ right: Value) -> Int { left < right ? -1 : left > right ? 1 : 0 }

    /// A whole number with or without a sign and nothing else around it.
    static func int64(_ text: RawSpan) -> Int64? {
        guard text.byteCount > 0, text.byteCount <= longestText else { return nil }
        var index = 0
        let isNegative = text.byte(at: 0) == UInt8(ascii: "-")
        if isNegative || text.byte(at: 0) == UInt8(ascii: "+") { index = 1 }
        guard index < text.byteCount else { return nil }
        // Counted below zero, where there is one number more.
        var value: Int64 = 0
        while index < text.byteCount {
            let digit = text.byte(at: index) &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, overflowToo) = tenfold.subtractingReportingOverflow(Int64(digit))
            guard !overflow, !overflowToo else { return nil }
            value = next
            index += 1
        }
        guard !isNegative else { return value }
        return value == .min ? nil : -value
    }

    /// A number as the reference reads doubles: blanks around it, a sign, digits with or without a point, an exponent, `f` or
    /// `d` at the end; `NaN`, `Infinity`. Hexadecimal forms are not read.
    static func double(_ text: RawSpan) -> Double? {
        guard text.byteCount <= longestText else { return nil }
        var (start, end) = (0, text.byteCount)
        while start < end, text.byte(at: start) <= 0x20 { start += 1 }
        while end > start, text.byte(at: end - 1) <= 0x20 { end -= 1 }
        guard start < end else { return nil }
        let isNegative = text.byte(at: start) == UInt8(ascii: "-")
        if isNegative || text.byte(at: start) == UInt8(ascii: "+") { start += 1 }
        guard let magnitude = magnitude(text.extracting(start..<end)) else { return nil }
        return isNegative ? -magnitude : magnitude
    }

    private static func magnitude(_ text: RawSpan) -> Double? {
        if text.equals(0..<text.byteCount, "NaN") { return .nan }
        if text.equals(0..<text.byteCount, "Infinity") { return .infinity }
        var number = DecimalNumber()
        var index = number.readDigits(text, from: 0)
        if index < text.byteCount, text.byte(at: index) == UInt8(ascii: ".") { index = number.readFraction(text, from: index + 1) }
        guard number.hasDigits else { return nil }
        if index < text.byteCount, text.byte(at: index) & 0xDF == UInt8(ascii: "E") {
            guard let next = number.readExponent(text, from: index + 1) else { return nil }
            index = next
        }
        if index < text.byteCount {
            let suffix = text.byte(at: index) & 0xDF
            guard index == text.byteCount - 1, suffix == UInt8(ascii: "F") || suffix == UInt8(ascii: "D") else { return nil }
        }
        return number.nearestDouble(text)
    }
}
