import RocketMQBase
import RocketMQProtocol
import Testing

/// Records of message trace, held against what the reference writes: fields with U+0001 between them, U+0002 at the end.
@Suite struct TraceRecordTests {
    static func reference(_ fields: String...) -> String { fields.joined(separator: "\u{1}") + "\u{2}" }

    static let published = TraceRecord.published(
        .init(
            timestamp: 1_795_218_698_632, regionID: "DefaultRegion", group: "pg", topic: "T", messageID: "ID1", tags: "A", keys: "k1 k2",
            storeHost: "10.0.0.1:10911", bodyLength: 5, costMilliseconds: 3, kind: .delayed, offsetMessageID: "OFF1", isSuccess: true))
    static let consuming = TraceRecord.consuming(
        .init(timestamp: 7, regionID: "DefaultRegion", group: "cg", requestID: "R1", messageID: "ID1", retryTimes: 2, keys: nil))
    static let consumed = TraceRecord.consumed(
        .init(
            requestID: "R1", messageID: "ID1", costMilliseconds: 12, isSuccess: false, keys: "k1", outcome: .exception, timestamp: 19,
            group: "cg"))
    static let ended = TraceRecord.transactionEnded(
        .init(
            timestamp: 8, regionID: "DefaultRegion", group: "tg", topic: "T", messageID: "ID2", tags: nil, keys: "order-1",
            storeHost: "10.0.0.1:10911", transactionID: "ID2", state: "COMMIT_MESSAGE", isFromCheck: true))

    static let all: [(TraceRecord, String)] = [
        (
            published,
            reference(
                "Pub", "1795218698632", "DefaultRegion", "pg", "T", "ID1", "A", "k1 k2", "10.0.0.1:10911", "5", "3", "3", "OFF1", "true")
        ),
        // The reference writes what is missing as "null", and its reader needs the last field of this one.
        (consuming, reference("SubBefore", "7", "DefaultRegion", "cg", "R1", "ID1", "2", "null")),
        (consumed, reference("SubAfter", "R1", "ID1", "12", "false", "k1", "2", "19", "cg")),
        (
            ended,
            reference(
                "EndTransaction", "8", "DefaultRegion", "tg", "T", "ID2", "null", "order-1", "10.0.0.1:10911", "2", "ID2", "COMMIT_MESSAGE",
                "true")
        ),
    ]

    @Test(arguments: all) func aRecordIsTheReferences(_ record: TraceRecord, _ text: String) {
        #expect(record.encoded == text)
        #expect(TraceRecord.decodeAll(Array(text.utf8)) == [record])
    }

    @Test func manyStandInOneBody() {
        let body = Self.all.map(\.1).joined()
        #expect(TraceRecord.decodeAll(Array(body.utf8)) == Self.all.map(\.0))
        #expect(Self.all.map(\.0.messageID) == ["ID1", "ID1", "ID1", "ID2"])
        #expect(Self.all.map(\.0.messageKeys) == ["k1 k2", nil, "k1", "order-1"])
    }

    @Test func recordsOfOtherVersionsAreRead() throws {
        let old = Self.reference("Pub", "1", "R", "pg", "T", "ID", "", "", "h:1", "5", "3", "0", "true")
        guard case .published(let it) = try #require(TraceRecord.decodeAll(Array(old.utf8)).first) else { throw Wrong() }
        #expect(it.isSuccess && it.offsetMessageID.isEmpty && it.tags == nil && it.keys == nil)
        let newer = Self.reference("Pub", "1", "R", "pg", "T", "ID", "A", "k", "h:1", "5", "3", "0", "OFF", "true", "10.0.0.7")
        guard case .published(let it) = try #require(TraceRecord.decodeAll(Array(newer.utf8)).first) else { throw Wrong() }
        #expect(it.isSuccess && it.offsetMessageID == "OFF")
        let short = Self.reference("SubAfter", "R1", "ID1", "12", "true", "k1")
        guard case .consumed(let it) = try #require(TraceRecord.decodeAll(Array(short.utf8)).first) else { throw Wrong() }
        #expect(it.isSuccess && it.timestamp == nil && it.group == nil && it.outcome == .success)
    }

    struct Wrong: Error {}

    @Test func whatIsNoRecordIsLeftOut() {
        let texts = [
            "", "\u{2}\u{2}", "Pub", "Pub\u{1}x\u{1}y\u{2}", "Recall\u{1}1\u{2}", "SubBefore\u{1}99999999999999999999\u{1}a\u{1}b\u{2}",
        ]
        for text in texts { #expect(TraceRecord.decodeAll(Array(text.utf8)).isEmpty) }
        #expect(TraceRecord.decodeAll([0xFF, 2] + Array(Self.consumed.encoded.utf8)) == [Self.consumed])
    }

    @Test(arguments: 0..<20) func anyBytesAreReadWithoutHarm(seed: UInt64) {
        var random = RandomSource(seed: seed)
        var bytes = Array(Self.all.map(\.1).joined().utf8)
        for _ in 0..<40 {
            let index = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.remove(at: index)
            default: bytes.insert(UInt8.random(in: 1...2, using: &random), at: index)
            }
            _ = TraceRecord.decodeAll(bytes)
        }
    }
}
