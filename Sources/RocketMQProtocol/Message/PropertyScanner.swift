import RocketMQBase

/// Steps through the encoded properties of a message, `key\u{1}value\u{2}…`, without allocating.
///
/// Entries without a key or with an empty value are passed over, as the reference drops them.
public struct PropertyScanner: ~Escapable {
    public static let nameValueSeparator: UInt8 = 1
    public static let entrySeparator: UInt8 = 2

    private let bytes: RawSpan
    private var position = 0

    @_lifetime(copy bytes)
    public init(_ bytes: RawSpan) { self.bytes = bytes }

    /// Where the name and the value of the next entry lie; `nil` after the last.
    public mutating func next() -> (name: Range<Int>, value: Range<Int>)? {
        let end = bytes.byteCount
        while position < end {
            let start = position
            let entryEnd = bytes.firstIndex(of: PropertyScanner.entrySeparator, in: start..<end) ?? end
            position = entryEnd + 1
            guard let separator = bytes.firstIndex(of: PropertyScanner.nameValueSeparator, in: start..<entryEnd) else { continue }
            if separator > start, separator + 1 < entryEnd { return (start..<separator, (separator + 1)..<entryEnd) }
        }
        return nil
    }
}

extension RawSpan {
    /// The first place of `byte` within `range`, which lies within the span. Looks at eight bytes a step.
    func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        let low: UInt64 = 0x0101_0101_0101_0101
        let high: UInt64 = 0x8080_8080_8080_8080
        let pattern = low &* UInt64(byte)
        var index = range.lowerBound
        while range.upperBound - index >= 8 {
            // A byte that equals the one sought is zero after the exclusive or; the lowest mark is always a true one.
            let word = UInt64(littleEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self)) ^ pattern
            let marks = (word &- low) & ~word & high
            if marks != 0 { return index + marks.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < range.upperBound {
            if unsafeLoad(fromUncheckedByteOffset: index, as: UInt8.self) == byte { return index }
            index += 1
        }
        return nil
    }
}
