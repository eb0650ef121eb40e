import RocketMQBase

/// A number of an expression, or read out of a property's text. Whole numbers of 64 bits are exact, all others the nearest
/// doubles, and finite ones in expressions. What is no number has no value here, so that any two can be compared.
enum PropertyNumber: Equatable {
    case whole(Int64), fraction(Double)

    /// Bytes of the longest text that is a number. More would make reading one dear, and no program writes them.
    static let longestText = 128

    /// The number that a text holds, with blanks around it or without: `42`, `-0.50`, `+1e9`, `.5`. `nil` when it holds none, as
    /// `NaN`, `Infinity`, `0x1F`, `1,5` and `12L` do.
    @inline(__always)
    static func read(_ text: RawSpan) -> PropertyNumber? {
        guard text.byteCount <= longestText else { return nil }
        var (start, end) = (0, text.byteCount)
        while start < end, text.byte(at: start) <= 0x20 { start += 1 }
        while end > start, text.byte(at: end - 1) <= 0x20 { end -= 1 }
        guard start < end else { return nil }
        let trimmed = text.extracting(start..<end)
        if let whole = whole(trimmed) { return .whole(whole) }
        return fraction(trimmed).map { .fraction($0) }
    }

    var negated: PropertyNumber {
        switch self {
        case .whole(let value): value == .min ? .fraction(0x1p63) : .whole(-value)
        case .fraction(let value): .fraction(-value)
        }
    }

    /// Below 0, 0 or above 0, by what the numbers are: neither is rounded to the other's form.
    @inline(__always)
    static func order(_ left: PropertyNumber, _ right: PropertyNumber) -> Int {
        switch (left, right) {
        case (.whole(let left), .whole(let right)): sign(left, right)
        case (.fraction(let left), .fraction(let right)): sign(left, right)
        case (.whole(let left), .fraction(let right)): order(left, right)
        case (.fraction(let left), .whole(let right)): -order(right, left)
        }
    }

    @inline(__always)
    private static func order(_ whole: Int64, _ fraction: Double) -> Int {
        if fraction >= 0x1p63 { return -1 }
        if fraction < -0x1p63 { return 1 }
        // Towards zero, and therefore exact both ways.
        let truncated = Int64(fraction)
        return whole != truncated ? sign(whole, truncated) : sign(Double(truncated), fraction)
    }

    @inline(__always)
    private static func sign<Value: Comparable>(_ left: Value, _ right: Value) -> Int { left < right ? -1 : left > right ? 1 : 0 }

    /// A whole number of 64 bits with or without a sign and nothing else around it.
    static func whole(_ text: RawSpan) -> Int64? {
        guard text.byteCount > 0 else { return nil }
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

    /// The double nearest to a decimal number: a sign, digits with or without a point, an exponent. Infinite beyond all doubles.
    static func fraction(_ text: RawSpan) -> Double? {
        guard text.byteCount > 0, text.byteCount <= longestText else { return nil }
        let isNegative = text.byte(at: 0) == UInt8(ascii: "-")
        let hasSign = isNegative || text.byte(at: 0) == UInt8(ascii: "+")
        guard let magnitude = magnitude(text.extracting((hasSign ? 1 : 0)..<text.byteCount)) else { return nil }
        return isNegative ? -magnitude : magnitude
    }

    private static func magnitude(_ text: RawSpan) -> Double? {
        var number = DecimalNumber()
        var index = number.readDigits(text, from: 0)
        if index < text.byteCount, text.byte(at: index) == UInt8(ascii: ".") { index = number.readFraction(text, from: index + 1) }
        guard number.hasDigits else { return nil }
        if index < text.byteCount, text.byte(at: index) & 0xDF == UInt8(ascii: "E") {
            guard let next = number.readExponent(text, from: index + 1) else { return nil }
            index = next
        }
        return index == text.byteCount ? number.nearestDouble(text) : nil
    }
}
