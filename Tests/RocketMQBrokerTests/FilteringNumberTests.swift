import RocketMQBase
import Testing

@testable import RocketMQBroker

/// Numbers are read out of bytes; the standard library, which needs a `String` for it, is the judge.
struct FilteringNumberTests {
    private func double(_ text: String) -> Double? { PropertyNumber.fraction(Array(text.utf8).span.bytes) }

    @Test(
        "Doubles at the edges are the nearest ones",
        arguments: [
            "0", "1", "0.1", "123456789012345678", "9007199254740993", "9007199254740992.999999999", "9007199254740993.0000000000000000001",
            "2.2250738585072011e-308", "2.2250738585072014e-308", "4.9e-324", "2.4703282292062327208e-324", "2.4703282292062328e-324",
            "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "8.5e22", "1e23", "1e400", "1e-400",
            "0e999999999999", "1e99999999999999999999", "1e-99999999999999999999", "179769313486231580793728971405301e276",
        ])
    func edges(_ text: String) { #expect(double(text)?.bitPattern == Double(text)?.bitPattern) }

    @Test("Any double that is written out is read back")
    func roundTrips() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let value = Double(bitPattern: UInt64.random(in: 0..<(0x7FF << 52), using: &random))
            #expect(double("\(value)") == value)
            #expect(double("-\(value)") == -value)
        }
    }

    @Test("Digits, point and exponent anywhere")
    func anyDigits() {
        for _ in 0..<20_000 {
            var text = String((0..<Int.random(in: 1...60)).map { _ in "0123456789".randomElement() ?? "0" })
            text += "." + String((0..<Int.random(in: 1...60)).map { _ in "0123456789".randomElement() ?? "0" })
            if Bool.random() { text += "e\(Int.random(in: -345...320))" }
            #expect(double(text)?.bitPattern == Double(text)?.bitPattern, "\(text)")
        }
    }

    @Test("Exactly between two doubles the even one is taken, and a digit far behind decides otherwise")
    func halfway() {
        for _ in 0..<2000 {
            // m + 1/2 for an m of 53 bits, divided by a power of two that leaves a finite decimal.
            let (mantissa, shift) = (UInt64.random(in: (1 << 52)..<(1 << 53)), UInt128(Int.random(in: 0...50)))
            let numerator = UInt128(mantissa) << 1 | 1
            var text = "\(numerator >> (shift + 1))."
            let mask = (UInt128(1) << (shift + 1)) - 1
            var rest = numerator & mask
            while rest > 0 {
                rest *= 10
                text += "\(rest >> (shift + 1))"
                rest &= mask
            }
            let even = mantissa & 1 == 0 ? mantissa : mantissa + 1
            #expect(double(text) == Double(even) / Double(UInt64(1) << UInt64(shift)))
            #expect(double(text + String(repeating: "0", count: 30) + "1") == Double(mantissa + 1) / Double(UInt64(1) << UInt64(shift)))
        }
    }

    @Test("Whole numbers have 64 bits and nothing around them")
    func whole() {
        for value in [0, 1, -1, 42, Int64.max, Int64.min, Int64.max - 1] {
            #expect(PropertyNumber.whole(Array("\(value)".utf8).span.bytes) == value)
        }
        for text in ["", "+", "-", "9223372036854775808", "-9223372036854775809", "1_000", "0x1", "1.", "１", "99999999999999999999999"] {
            #expect(PropertyNumber.whole(Array(text.utf8).span.bytes) == nil, "\(text)")
        }
        let long = "1." + String(repeating: "0", count: 128)
        #expect(double(long) == nil, "longer than any number that is read")
    }

    @Test("Whole numbers and doubles have their order, as numbers of more digits say")
    func order() {
        // Multiples of 2^-8 within ±2^70, exact as doubles and in 128 bits.
        func exact(_ number: PropertyNumber) -> Int128 {
            switch number {
            case .whole(let value): Int128(value) << 8
            case .fraction(let value): Int128(value * 256)
            }
        }
        var random = RandomSource(seed: 7)
        func some() -> PropertyNumber {
            let bits = Int64(bitPattern: random.next()) >> Int64.random(in: 0...63, using: &random)
            switch Int.random(in: 0...3, using: &random) {
            case 0: return .whole(bits)
            case 1: return .fraction(Double(bits) / 256)
            case 2: return .fraction(Double(bits) * 64)
            default: return .fraction(Double(bits).nextDown.rounded(.down))
            }
        }
        var pool: [PropertyNumber] = [.whole(.min), .whole(.max), .fraction(0x1p63), .fraction(-0x1p63), .fraction(-0.0), .whole(0)]
        for _ in 0..<300 { pool.append(some()) }
        for left in pool {
            for right in pool {
                let sign = (exact(left) - exact(right)).signum()
                #expect(PropertyNumber.order(left, right) == Int(sign), "\(left) and \(right)")
            }
        }
        #expect(PropertyNumber.order(.fraction(.infinity), .whole(.max)) == 1)
        #expect(PropertyNumber.order(.fraction(-.infinity), .whole(.min)) == -1)
    }
}
