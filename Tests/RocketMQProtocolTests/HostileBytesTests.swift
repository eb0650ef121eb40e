import RocketMQBase
import RocketMQProtocol
import Testing

/// Bytes that no correct peer sends: each case passes or throws, and is found again from its seed.
@Suite struct HostileBytesTests {
    private func mutate(_ bytes: [UInt8], _ random: inout RandomSource) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: bytes.removeLast(bytes.count - index)
            case 3: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
            case 4: bytes.remove(at: index)
            default:
                for place in index..<min(index + 4, bytes.count) { bytes[place] = Bool.random(using: &random) ? 0xFF : 0x7F }
            }
        }
        return bytes
    }

    @Test func parsersOfTextNeverTrap() throws {
        let bodies = try Fixtures.bodies().map(\.bytes).filter { $0.count < 700 }
        let alphabet = Array(#"{}[]":,'\u0123456789.-+eEtrufalsn abc"#.utf8)
        var random = RandomSource(seed: 1)
        var accepted = 0
        for round in 0..<100_000 {
            let bytes: [UInt8] =
                round.isMultiple(of: 4)
                ? (0..<Int.random(in: 0...40, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
                : mutate(bodies.randomElement(using: &random) ?? [], &random)
            guard let value = try? JSONValue(parsing: bytes) else { continue }
            accepted += 1
            // What was read can be written, and reads the same.
            let again = try JSONValue(parsing: value.encoded())
            #expect(again == value, "seed 1, round \(round)")
            _ = try? HeartbeatData(json: value)
            _ = try? TopicRouteData(json: value)
            _ = try? ConsumeStats(json: value)
            _ = try? ConsumerOffsetSerializeWrapper(json: value)
        }
        #expect(accepted > 1_000)
    }

    @Test func readersOfRecordsNeverTrap() throws {
        let answer = try Fixtures.bytes("pull-answer.bin")
        let records = [Array(answer[..<173]), MessageRecordTests.ipv6Record, Array(answer[..<700])]
        var random = RandomSource(seed: 2)
        var accepted = 0
        for _ in 0..<100_000 {
            let bytes = mutate(records.randomElement(using: &random) ?? [], &random)
            let span = bytes.span.bytes
            for start in [0, bytes.count / 2, bytes.count] {
                if case .record(let record) = MessageRecord.find(in: span, at: start, verifyingChecksum: true) {
                    #expect(record.range.upperBound <= bytes.count && record.properties.upperBound == record.range.upperBound)
                }
            }
            if (try? MessageExt.decodeAll(bytes, decompressedLimit: 100_000)) != nil { accepted += 1 }
        }
        #expect(accepted > 1_000)
    }

    @Test func readersOfBatchesAndPropertiesNeverTrap() throws {
        let batch = try Fixtures.bytes("batch-request.bin")
        var random = RandomSource(seed: 3)
        for _ in 0..<50_000 {
            let bytes = mutate(Array(batch[..<Int.random(in: 0...batch.count, using: &random)]), &random)
            _ = try? MessageBatch.decode(bytes, topic: "t")
            let properties = MessageProperties(decoding: bytes)
            #expect(properties.allSatisfy { !$0.name.isEmpty && !$0.value.isEmpty })
            for entry in properties where entry.name == "TAGS" {
                #expect(MessageProperties.value(of: PropertyName.tags, in: bytes.span.bytes) == entry.value)
            }
            _ = JavaHash.hash(bytes.span.bytes)
            _ = try? OffsetMessageID(String(decoding: bytes.prefix(32), as: UTF8.self))
        }
    }
}
