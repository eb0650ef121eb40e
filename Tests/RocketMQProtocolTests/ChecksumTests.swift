import CZlib
import RocketMQBase
import RocketMQProtocol
import Testing

@Suite struct ChecksumTests {
    /// Every length around the borders of the folded part, at every alignment, agrees with zlib.
    @Test func agreesWithZlib() {
        var random = RandomSource(seed: 7)
        let bytes = (0..<1200).map { _ in UInt8.random(in: 0...255, using: &random) }
        for length in Array(0...300) + [511, 512, 513, 1023, 1024, 1025, 1100] {
            for start in [0, 1, 7, 15] {
                let part = Array(bytes[start..<(start + length)])
                let expected = part.withUnsafeBufferPointer { UInt32(truncatingIfNeeded: crc32_z(0, $0.baseAddress, $0.count)) }
                #expect(Checksum.crc32(part) == (length == 0 ? 0 : expected), "length \(length), start \(start)")
            }
        }
    }

    @Test func knownValue() {
        #expect(Checksum.crc32(Array("123456789".utf8)) == 0xCBF4_3926)
        #expect(Checksum.body(Array("123456789".utf8)) == 0x4BF4_3926)
    }
}
