extension RawSpan {
    /// The big-endian integer at `offset`. The caller has checked that it lies within the span; it traps otherwise.
    @inlinable @inline(__always)
    public func bigEndian<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type, at offset: Int) -> Number {
        Number(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: Number.self))
    }

    /// The byte at `offset`, checked.
    @inlinable @inline(__always)
    public func byte(at offset: Int) -> UInt8 {
        unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// The bytes of `range` as text; invalid UTF-8 is repaired, as the reference does.
    public func string(_ range: Range<Int>) -> String {
        extracting(range).withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    public func array(_ range: Range<Int>) -> [UInt8] {
        extracting(range).withUnsafeBytes { [UInt8]($0) }
    }

    public func array() -> [UInt8] { array(0..<byteCount) }

    /// Whether the bytes of `range` are those of `text`.
    @inlinable
    public func equals(_ range: Range<Int>, _ text: StaticString) -> Bool {
        guard range.count == text.utf8CodeUnitCount else { return false }
        let expected = text.utf8Start
        for index in 0..<range.count where byte(at: range.lowerBound + index) != expected[index] { return false }
        return true
    }

    /// Whether both hold the same bytes; compared eight at a time.
    @inlinable
    public func equals(_ other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        var index = 0
        while index + 8 <= byteCount {
            if bigEndian(UInt64.self, at: index) != other.bigEndian(UInt64.self, at: index) { return false }
            index += 8
        }
        while index < byteCount {
            if byte(at: index) != other.byte(at: index) { return false }
            index += 1
        }
        return true
    }

    /// One to eight bytes as a number, the first one lowest; 0 for any other count. Compares short names in one step.
    @inlinable @inline(__always)
    public func word(_ range: Range<Int>) -> UInt64 {
        let length = range.count
        guard length >= 1, length <= 8 else { return 0 }
        if range.lowerBound + 8 <= byteCount {
            let word = UInt64(littleEndian: unsafeLoadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self))
            return word & (UInt64.max >> UInt64(truncatingIfNeeded: 64 - 8 * length))
        }
        var word: UInt64 = 0
        for index in 0..<length { word |= UInt64(byte(at: range.lowerBound + index)) << UInt64(truncatingIfNeeded: 8 * index) }
        return word
    }
}
