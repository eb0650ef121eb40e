import CZlib
import RocketMQBase

/// CRC-32 as Java's `CRC32` computes it.
public enum Checksum {
    public static func crc32(_ bytes: RawSpan) -> UInt32 {
        bytes.withUnsafeBytes { buffer in
            UInt32(truncatingIfNeeded: crc32_z(0, buffer.bindMemory(to: UInt8.self).baseAddress, buffer.count))
        }
    }

    public static func crc32(_ bytes: [UInt8]) -> UInt32 { crc32(bytes.span.bytes) }

    /// The checksum that records and registrations carry: CRC-32 with the top bit cleared.
    public static func body(_ bytes: RawSpan) -> Int32 { Int32(crc32(bytes) & 0x7FFF_FFFF) }

    public static func body(_ bytes: [UInt8]) -> Int32 { body(bytes.span.bytes) }
}
