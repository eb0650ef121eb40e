/// Numbers as people read them.
enum NumberText {
    /// With this many digits behind the point. What is no number, or beyond 15 digits, is written as Swift does.
    static func decimal(_ value: Double, digits: Int) -> String {
        guard value.isFinite, value.magnitude < 1e15 else { return "\(value)" }
        var scale: Int64 = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((value.magnitude * Double(scale)).rounded(.toNearestOrEven).clamped(to: 0...9e18))
        let sign = value < 0 && scaled != 0 ? "-" : ""
        guard digits > 0 else { return sign + "\(scaled)" }
        let fraction = "\(scaled % scale)"
        return sign + "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}

extension Double {
    fileprivate func clamped(to range: ClosedRange<Double>) -> Double { min(max(self, range.lowerBound), range.upperBound) }
}

/// Texts of others that go to a terminal: characters that would move its cursor or worse are shown as their codes.
enum Printable {
    /// For one line.
    static func line(_ text: String) -> String { escaped(text) { _ in false } }

    /// For several lines: line ends and tabs stay.
    static func lines(_ text: String) -> String { escaped(text) { $0 == "\n" || $0 == "\t" } }

    private static func escaped(_ text: String, _ mayStay: (Unicode.Scalar) -> Bool) -> String {
        guard text.unicodeScalars.contains(where: { isControl($0) && !mayStay($0) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if isControl(scalar), !mayStay(scalar) {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            || (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
    }
}

/// RFC 4648, with padding.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func text(_ bytes: [UInt8]) -> String {
        var digits: [UInt8] = []
        digits.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let count = min(3, bytes.count - start)
            var group: UInt32 = 0
            for index in 0..<3 { group = group << 8 | (index < count ? UInt32(bytes[start + index]) : 0) }
            for index in 0..<4 {
                digits.append(index <= count ? alphabet[Int(group >> (18 - 6 * UInt32(index)) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: digits, as: UTF8.self)
    }
}

/// The names of the reference's releases by the number that clients and brokers state.
enum VersionName {
    /// `V4_9_8` for 409. From 4.0.0 on the numbers are regular: two a release, the first for its snapshots.
    static func text(_ version: Int32) -> String {
        switch version {
        case ..<212: return "before V4_0_0 (\(version))"
        case 612...: return "HIGHER_VERSION"
        default:
            let release = (version - 212) / 2
            let name = "V\(4 + release / 100)_\(release / 10 % 10)_\(release % 10)"
            return version % 2 == 0 ? name + "_SNAPSHOT" : name
        }
    }
}
