import RocketMQBase

/// A decimal number found in text, on its way to the nearest double. Exact, and without allocating, since it is done for
/// messages: what fits is computed in doubles, the rest by division of large whole numbers on the stack.
struct DecimalNumber {
    /// The first significant digits, at most 19, as a number.
    private var leading: UInt64 = 0
    private var significantDigits = 0
    /// Where the significant digits lie in the text; a point may stand between them.
    private var first = 0
    private var end = 0
    /// The number is its significant digits without the point times ten to this.
    private var exponent = 0
    private(set) var hasDigits = false

    /// Takes the digits from `index` on; where they end.
    mutating func readDigits(_ text: RawSpan, from start: Int) -> Int {
        var index = start
        while index < text.byteCount {
            let digit = text.byte(at: index) &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            hasDigits = true
            if significantDigits > 0 || digit != 0 {
                if significantDigits == 0 { first = index }
                if significantDigits < 19 { leading = leading * 10 + UInt64(digit) }
                significantDigits += 1
                end = index + 1
            }
            index += 1
        }
        return index
    }

    /// Takes the digits behind the point.
    mutating func readFraction(_ text: RawSpan, from start: Int) -> Int {
        let index = readDigits(text, from: start)
        exponent -= index - start
        return index
    }

    /// Takes the exponent behind its letter; `nil` when there is none.
    mutating func readExponent(_ text: RawSpan, from start: Int) -> Int? {
        var index = start
        var isNegative = false
        if index < text.byteCount, text.byte(at: index) == UInt8(ascii: "-") || text.byte(at: index) == UInt8(ascii: "+") {
            isNegative = text.byte(at: index) == UInt8(ascii: "-")
            index += 1
        }
        let digitsStart = index
        var value = 0
        while index < text.byteCount {
            let digit = text.byte(at: index) &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            // Beyond this every number is zero or infinite, however many digits it has.
            if value < 100_000 { value = value * 10 + Int(digit) }
            index += 1
        }
        guard index > digitsStart else { return nil }
        exponent += isNegative ? -value : value
        return index
    }

    /// The double nearest to the number, the even one of two equally near.
    func nearestDouble(_ text: RawSpan) -> Double {
        guard significantDigits > 0 else { return 0 }
        if significantDigits <= 19, leading <= 1 << 53, abs(exponent) <= 22 {
            // Both are exact, so that one rounding is left.
            return exponent < 0 ? Double(leading) / Self.powerOfTen(-exponent) : Double(leading) * Self.powerOfTen(exponent)
        }
        // 1E309 is beyond all doubles, 1E-324 below half the smallest.
        if significantDigits + exponent > 310 { return .infinity }
        if significantDigits + exponent < -324 { return 0 }
        return divided(text)
    }

    private static func powerOfTen(_ exponent: Int) -> Double {
        var power = 1.0
        for _ in 0..<exponent { power *= 10 }
        return power
    }

    /// The digits as one whole number, over or times a power of ten, divided bit by bit.
    private func divided(_ text: RawSpan) -> Double {
        var numerator = LargeNumber()
        for index in first..<end {
            let digit = text.byte(at: index) &- UInt8(ascii: "0")
            if digit <= 9 { numerator.multiply(by: 10, adding: UInt32(digit)) }
        }
        var denominator = LargeNumber(1)
        // Ten is five times two; the twos go into the binary exponent.
        if exponent >= 0 { numerator.multiplyByFive(exponent) } else { denominator.multiplyByFive(-exponent) }
        // Bring the quotient between 1 and 2.
        var binaryExponent = exponent + numerator.bitWidth - denominator.bitWidth
        let shift = denominator.bitWidth - numerator.bitWidth
        if shift >= 0 { numerator.shiftLeft(shift) } else { denominator.shiftLeft(-shift) }
        if numerator < denominator {
            numerator.shiftLeft(1)
            binaryExponent -= 1
        }
        guard binaryExponent <= 1023 else { return .infinity }
        // Doubles below 2^-1022 have fewer bits.
        let bits = min(53, binaryExponent + 1075)
        guard bits >= 0 else { return 0 }
        var quotient: UInt64 = 0
        for _ in 0..<bits {
            quotient <<= 1
            if !(numerator < denominator) {
                numerator.subtract(denominator)
                quotient |= 1
            }
            numerator.shiftLeft(1)
        }
        // What is left, against half of the last bit.
        if denominator < numerator || (!(numerator < denominator) && quotient & 1 == 1) { quotient += 1 }
        // The carry of a rounding goes into the exponent by itself.
        if bits < 53 { return Double(bitPattern: quotient) }
        let magnitude = UInt64(binaryExponent + 1022) << 52 + quotient
        return Double(bitPattern: magnitude)
    }
}

/// A whole number of up to 1,280 bits: the largest doubles take 1,030, and 5^452, which goes with the smallest number of
/// `PropertyNumber.longestText` digits, 1,050.
private struct LargeNumber {
    private var limbs = InlineArray<40, UInt32>(repeating: 0)
    /// Limbs in use; the last is not zero.
    private var count = 0

    init() {}

    init(_ value: UInt32) {
        if value > 0 {
            limbs[0] = value
            count = 1
        }
    }

    var bitWidth: Int { count == 0 ? 0 : count * 32 - limbs[count - 1].leadingZeroBitCount }

    mutating func multiply(by factor: UInt32, adding addend: UInt32) {
        var carry = UInt64(addend)
        for index in 0..<count {
            let product = UInt64(limbs[index]) * UInt64(factor) + carry
            limbs[index] = UInt32(truncatingIfNeeded: product)
            carry = product >> 32
        }
        if carry > 0 {
            limbs[count] = UInt32(carry)
            count += 1
        }
    }

    mutating func multiplyByFive(_ times: Int) {
        var left = times
        // 5^13 is the largest power in 32 bits.
        while left >= 13 {
            multiply(by: 1_220_703_125, adding: 0)
            left -= 13
        }
        for _ in 0..<left { multiply(by: 5, adding: 0) }
    }

    mutating func shiftLeft(_ bits: Int) {
        guard count > 0, bits > 0 else { return }
        let (whole, part) = (bits / 32, UInt32(bits % 32))
        if part > 0 {
            var carry: UInt32 = 0
            for index in 0..<count {
                let limb = limbs[index]
                limbs[index] = limb << part | carry
                carry = limb >> (32 - part)
            }
            if carry > 0 {
                limbs[count] = carry
                count += 1
            }
        }
        guard whole > 0 else { return }
        for index in (0..<count).reversed() { limbs[index + whole] = limbs[index] }
        for index in 0..<whole { limbs[index] = 0 }
        count += whole
    }

    /// `other` is not larger.
    mutating func subtract(_ other: borrowing LargeNumber) {
        var borrow: UInt32 = 0
        for index in 0..<count {
            let subtrahend = index < other.count ? other.limbs[index] : 0
            let (difference, overflow) = limbs[index].subtractingReportingOverflow(subtrahend)
            let (result, overflowToo) = difference.subtractingReportingOverflow(borrow)
            limbs[index] = result
            borrow = overflow || overflowToo ? 1 : 0
        }
        while count > 0, limbs[count - 1] == 0 { count -= 1 }
    }

    static func < (left: borrowing LargeNumber, right: borrowing LargeNumber) -> Bool {
        if left.count != right.count { return left.count < right.count }
        for index in (0..<left.count).reversed() where left.limbs[index] != right.limbs[index] {
            return left.limbs[index] < right.limbs[index]
        }
        return false
    }
}
