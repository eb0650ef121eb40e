import RocketMQBase

/// The checksum of a whole record, which 5.x writes as its last property when `enabledAppendPropCRC` is set: `__CRC32#`, then
/// ten decimal digits with the lowest first. It covers everything before it.
public enum RecordChecksum {
    /// Bytes of the property with both its separators.
    public static let size = 20
    private static let nameSize = 8

    /// CRC-32 of a record without its last `size` bytes, top bit cleared.
    public static func of(_ bytes: RawSpan) -> Int32 { Checksum.body(bytes) }

    /// Writes the property to `size` bytes of memory.
    public static func write(_ checksum: Int32, to memory: UnsafeMutableRawBufferPointer) {
        precondition(memory.count >= size)
        let name = PropertyName.crc32
        for index in 0..<nameSize { memory[index] = name.utf8Start[index] }
        memory[nameSize] = PropertyScanner.nameValueSeparator
        var rest = checksum
        for index in (nameSize + 1)..<(size - 1) {
            memory[index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        memory[size - 1] = PropertyScanner.entrySeparator
    }

    /// What the property says where it stands at the end of a record's properties; `nil` where there is none. A property of
    /// this name at any other place, or of another form, was not written by a store.
    public static func value(in properties: RawSpan) -> Int64? {
        let start = properties.byteCount - size
        guard start >= 0, properties.byte(at: properties.byteCount - 1) == PropertyScanner.entrySeparator,
            start == 0 || properties.byte(at: start - 1) == PropertyScanner.entrySeparator,
            properties.equals(start..<(start + nameSize), PropertyName.crc32),
            properties.byte(at: start + nameSize) == PropertyScanner.nameValueSeparator
        else { return nil }
        var value: Int64 = 0
        for index in stride(from: properties.byteCount - 2, to: start + nameSize, by: -1) {
            let byte = properties.byte(at: index)
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            value = value * 10 + Int64(byte - 0x30)
        }
        return value
    }
}
