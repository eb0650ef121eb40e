/// Bytes ended before the value that was expected, or hold what the format does not allow.
public struct MalformedBytes: Error, Sendable, Equatable, CustomStringConvertible {
    public var what: String
    public init(_ what: String) { self.what = what }
    public var description: String { what }
}

/// Reads big-endian values one after another from bytes that a peer or a disk wrote. Whatever they hold it throws, and
/// never traps.
public struct ByteReader: ~Escapable {
    public let bytes: RawSpan
    public private(set) var position: Int

    @_lifetime(copy bytes)
    public init(_ bytes: RawSpan, at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    public var remaining: Int { bytes.byteCount - position }

    public mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(
        _ type: Number.Type, _ what: @autoclosure () -> String
    ) throws(MalformedBytes) -> Number {
        guard remaining >= MemoryLayout<Number>.size else { throw MalformedBytes("\(what()) is cut off at byte \(position)") }
        defer { position += MemoryLayout<Number>.size }
        return bytes.bigEndian(type, at: position)
    }

    /// The range of the next `count` bytes.
    public mutating func skip(_ count: Int, _ what: @autoclosure () -> String) throws(MalformedBytes) -> Range<Int> {
        guard count >= 0, remaining >= count else {
            throw MalformedBytes("\(what()) of \(count) bytes does not fit the \(remaining) bytes left at byte \(position)")
        }
        defer { position += count }
        return position..<(position + count)
    }
}
