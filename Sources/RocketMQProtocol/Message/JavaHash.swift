import RocketMQBase

/// Java's `String.hashCode`: 32 bits over UTF-16 units. Consume queues hold it of a message's tag, index files of its keys.
public enum JavaHash {
    public static func hash(_ text: String) -> Int32 {
        var hash: Int32 = 0
        for unit in text.utf16 { hash = hash &* 31 &+ Int32(unit) }
        return hash
    }

    /// The hash of UTF-8 text, without making a `String` of it. What is not UTF-8 counts as U+FFFD, as Java reads it.
    public static func hash(_ utf8: RawSpan) -> Int32 { hash(utf8, continuing: 0) }

    public static func hash(_ utf8: [UInt8]) -> Int32 {
        let span = utf8.span.bytes
        return hash(span, continuing: 0)
    }

    /// The hash of a text whose first part has the hash `start`: for keys made of several parts.
    public static func hash(_ utf8: RawSpan, continuing start: Int32) -> Int32 {
        var hash = start
        for index in 0..<utf8.byteCount {
            let byte = utf8.byte(at: index)
            guard byte < 0x80 else { return hashBeyondASCII(utf8.extracting(index...), continuing: hash) }
            hash = hash &* 31 &+ Int32(byte)
        }
        return hash
    }

    private static func hashBeyondASCII(_ utf8: RawSpan, continuing start: Int32) -> Int32 {
        utf8.withUnsafeBytes { bytes in
            var hash = start
            var decoder = UTF8()
            var iterator = bytes.makeIterator()
            while true {
                let scalar: Unicode.Scalar
                switch decoder.decode(&iterator) {
                case .scalarValue(let value): scalar = value
                case .error: scalar = "\u{FFFD}"
                case .emptyInput: return hash
                }
                for unit in UTF16.encode(scalar)! { hash = hash &* 31 &+ Int32(unit) }
            }
        }
    }

    /// The hash as index files use it: never negative. The one number without a positive counterpart becomes 0.
    public static func nonNegative(_ hash: Int32) -> Int32 { hash == .min ? 0 : abs(hash) }
}
