import RocketMQBase
import RocketMQProtocol

/// The last member of a table's text, `"checksum":"crc32:…"`, of all that stands before it: a turned bit in a number makes another
/// number. The reference passes over it when it reads, and leaves it out when it writes; a text without one is believed.
enum TableChecksum {
    private static let name = Array("\"checksum\":\"crc32:".utf8)
    private static let digits = 8
    /// It stands so near the end.
    private static let reach = 64

    enum Finding { case none, fits, differs }

    /// The text of an object that is not empty, with the member.
    static func append(to text: [UInt8]) -> [UInt8] {
        guard let last = text.lastIndex(of: UInt8(ascii: "}")), last > 0 else { return text }
        var kept = text[..<last]
        while kept.last == UInt8(ascii: "\n") { kept.removeLast() }
        guard kept.last != UInt8(ascii: "{") else { return text }
        let before = Array(kept) + Array(",\n\t".utf8)
        return before + name + hex(Checksum.crc32(before.span.bytes)) + Array("\"\n}".utf8)
    }

    static func check(_ text: [UInt8]) -> Finding {
        let first = max(0, text.count - reach)
        for start in (first..<text.count).reversed() where text[start...].starts(with: name) {
            let said = text[(start + name.count)...].prefix(digits)
            return said.elementsEqual(hex(Checksum.crc32(text.span.bytes.extracting(0..<start)))) ? .fits : .differs
        }
        return .none
    }

    private static func hex(_ value: UInt32) -> [UInt8] {
        let text = String(value, radix: 16)
        return Array((String(repeating: "0", count: digits - text.utf8.count) + text).utf8)
    }
}
