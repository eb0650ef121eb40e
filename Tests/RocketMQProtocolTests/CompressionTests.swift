import RocketMQBase
import RocketMQProtocol
import Testing

@Suite struct CompressionTests {
    private static let sentence = Array(String(repeating: "The quick brown fox jumps over the lazy dog. ", count: 8).utf8)

    /// What the formats' own tools made of the sentence.
    private static let foreign: [(CompressionType, [UInt8])] = [
        (
            .lz4,
            hex(
                "04224d1860408239000000ff1e54686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f672e202d00ff24"
                    + "50646f672e2000000000")
        ),
        (
            .zstd,
            hex(
                "28b52ffd0458b50100d40254686520717569636b2062726f776e20666f78206a756d7073206f76657220746865206c617a7920646f672e200100c581aa2a"
                    + "03e421b1e6")
        ),
        (
            .zlib,
            hex(
                "78da0bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4e4a7eb29848c2a2657310065318139")
        ),
    ]

    @Test func readsWhatOtherToolsWrote() throws {
        for (type, bytes) in Self.foreign { #expect(try type.decompress(bytes, limit: 1024) == Self.sentence) }
    }

    @Test(arguments: CompressionType.allCases) func roundTrips(type: CompressionType) throws {
        var random = RandomSource(seed: 7)
        let noise = (0..<100_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        for body in [[], [1], Self.sentence, noise, [UInt8](repeating: 9, count: 300_000)] {
            for level: Int32 in [0, 1, 5, 9] {
                let compressed = try type.compress(body, level: level)
                #expect(try type.decompress(compressed, limit: body.count) == body)
            }
        }
    }

    @Test(arguments: CompressionType.allCases) func stopsAtTheLimit(type: CompressionType) throws {
        let bomb = try type.compress([UInt8](repeating: 0, count: 2_000_000))
        for limit in [0, 1, 65_536, 1_999_999] {
            do {
                _ = try type.decompress(bomb, limit: limit)
                Issue.record("\(limit) bytes were exceeded")
            } catch {
                #expect(error.code == .limitExceeded, "\(error)")
            }
        }
        #expect(try type.decompress(bomb, limit: 2_000_000).count == 2_000_000)
        #expect(throws: CompressionError.self) { try type.decompress(type.compress([1]), limit: 0) }
    }

    @Test(arguments: CompressionType.allCases) func refusesBrokenBodies(type: CompressionType) throws {
        let good = try type.compress(Self.sentence)
        for length in 0..<good.count {
            do {
                _ = try type.decompress(Array(good[..<length]), limit: 100_000)
                Issue.record("\(length) of \(good.count) bytes are taken for all")
            } catch {
                #expect(error.code == .corrupt, "\(error)")
            }
        }
        #expect(throws: CompressionError.self) { try type.decompress(Self.sentence, limit: 100_000) }
        var random = RandomSource(seed: 11)
        for _ in 0..<5_000 {
            var bytes = good
            bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            _ = try? type.decompress(bytes, limit: 100_000)
        }
    }

    @Test func namesTypes() {
        #expect(CompressionType(name: "lz4") == .lz4 && CompressionType(name: "GZIP") == nil)
        #expect(CompressionType(systemFlagBits: 0) == .zlib && CompressionType(systemFlagBits: 7) == nil)
    }
}
