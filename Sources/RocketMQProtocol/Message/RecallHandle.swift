/// A handle by which a producer takes a message back that waits for its time: Base64 of `v1 topic broker time key offset`.
/// The reference's, with one more field at the end, which its clients pass over.
public struct RecallHandle: Equatable, Sendable {
    /// The message's topic.
    public var topic: String
    /// The broker at which it waits.
    public var brokerName: String
    /// When the message is due.
    public var due: Int64
    /// Its `UNIQ_KEY`.
    public var key: String
    /// Of its record in the timer's queue; `nil` in handles that others made.
    public var queueOffset: Int64?

    /// As it is sent; no secret.
    public var text: String {
        let fields = ["v1", topic, brokerName, "\(due)", key] + (queueOffset.map { ["\($0)"] } ?? [])
        return URLBase64.text(Array(fields.joined(separator: " ").utf8))
    }

    public init(topic: String, brokerName: String, due: Int64, key: String, queueOffset: Int64?) {
        self.topic = topic
        self.brokerName = brokerName
        self.due = due
        self.key = key
        self.queueOffset = queueOffset
    }

    /// From text; `nil` when it is no handle.
    public init?(_ text: String) {
        guard let bytes = URLBase64.bytes(text) else { return nil }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard fields.count >= 5, fields[0] == "v1", let due = Int64(fields[3]) else { return nil }
        self.init(
            topic: fields[1], brokerName: fields[2], due: due, key: fields[4], queueOffset: fields.count > 5 ? Int64(fields[5]) : nil)
    }
}

/// Base64 with `-` and `_`.
enum URLBase64 {
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func text(_ bytes: [UInt8]) -> String {
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits = group.reduce(0 as UInt32) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            var four: [UInt8] = []
            for _ in 0..<4 {
                four.insert(digits[Int(bits & 63)], at: 0)
                bits >>= 6
            }
            for index in (group.count + 1)..<5 where index < 4 { four[index] = UInt8(ascii: "=") }
            output += four
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// With padding or without; `nil` for anything else.
    static func bytes(_ text: String) -> [UInt8]? {
        var (bits, count): (UInt32, Int) = (0, 0)
        var output: [UInt8] = []
        for character in text.utf8.prefix(while: { $0 != UInt8(ascii: "=") }) {
            guard let digit = digits.firstIndex(of: character) else { return nil }
            bits = bits << 6 | UInt32(digit)
            count += 6
            if count >= 8 {
                count -= 8
                output.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return text.isEmpty ? nil : output
    }
}
