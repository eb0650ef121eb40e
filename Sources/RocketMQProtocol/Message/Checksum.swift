import CChecksum
import CZlib
import RocketMQBase

/// CRC-32 as Java's `CRC32` computes it.
public enum Checksum {
    private static let canFold = cchecksum_can_fold() != 0

    /// - Parameter before: the checksum of what comes before these bytes.
    public static func crc32(_ bytes: RawSpan, continuing before: UInt32 = 0) -> UInt32 {
        bytes.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return before }
            guard buffer.count >= 64, canFold else { return UInt32(truncatingIfNeeded: crc32_z(UInt(before), start, buffer.count)) }
            // Sixteen bytes at a time; zlib goes on with the rest.
            let folded = buffer.count & ~15
            let crc = ~cchecksum_fold(~before, start, folded)
            return UInt32(truncatingIfNeeded: crc32_z(UInt(crc), start + folded, buffer.count - folded))
        }
    }

    public static func crc32(_ bytes: [UInt8]) -> UInt32 { crc32(bytes.span.bytes) }

    /// The checksum that records and registrations carry: CRC-32 with the top bit cleared.
    public static func body(_ bytes: RawSpan) -> Int32 { Int32(crc32(bytes) & 0x7FFF_FFFF) }

    public static func body(_ bytes: [UInt8]) -> Int32 { body(bytes.span.bytes) }
}
