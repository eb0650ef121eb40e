import RocketMQProtocol
import Testing

/// Bytes that the reference's own encoder wrote (`TraceDataEncoder` of release 4.9.8), and which its decoder read back: a record of
/// each kind, with all that it can hold and with what may be missing.
@Suite struct TraceVectorTests {
    private static let id = "7F00000100002A9F00000000000000A0"
    private static let secondID = "7F00000100002A9F00000000000000A1"
    private static let request = "7F0000010000000000000000000000A1"
    private static let time: Int64 = 1_795_218_698_632

    static let vectors: [(String, [TraceRecord])] = [
        (Hex.published, [publication(tags: "A", keys: "k1 k2", length: 5, cost: 3, kind: .delayed, isSuccess: true)]),
        (Hex.publishedBare, [publication(tags: nil, keys: nil, length: 0, cost: 0, kind: .transactionHalf, isSuccess: false)]),
        (Hex.consuming, [start(id, retryTimes: 2, keys: "k1 k2"), start(secondID, retryTimes: 0, keys: nil)]),
        (Hex.consumed, [end(id, keys: "k1 k2"), end(secondID, keys: nil)]),
        (Hex.committed, [transactionEnd(tags: "A", keys: "k1 k2", state: "COMMIT_MESSAGE", isFromCheck: false)]),
        (Hex.rolledBack, [transactionEnd(tags: "A", keys: "k1 k2", state: "ROLLBACK_MESSAGE", isFromCheck: true)]),
        (Hex.undecided, [transactionEnd(tags: nil, keys: "größe", state: "UNKNOW", isFromCheck: false)]),
    ]

    @Test(arguments: vectors) func whatTheReferenceWroteIsReadAndWritten(_ hex: String, _ records: [TraceRecord]) throws {
        let bytes = try Hex.bytes(hex)
        #expect(TraceRecord.decodeAll(bytes) == records)
        #expect(Array(records.map(\.encoded).joined().utf8) == bytes)
    }

    @Test func manyStandInOneBody() throws {
        let body = try Self.vectors.flatMap { try Hex.bytes($0.0) }
        #expect(TraceRecord.decodeAll(body) == Self.vectors.flatMap(\.1))
    }

    /// With its access channel CLOUD the reference writes no time, no group and no end.
    @Test func aRecordWithoutTimeAndEndIsRead() throws {
        let record = TraceRecord.consumed(
            .init(
                requestID: Self.request, messageID: Self.id, costMilliseconds: 0, isSuccess: true, keys: "k1 k2", outcome: .success,
                timestamp: nil, group: nil))
        #expect(TraceRecord.decodeAll(try Hex.bytes(Hex.consumedUnfinished)) == [record])
    }

    // MARK: What they say

    private static func publication(
        tags: String?, keys: String?, length: Int, cost: Int64, kind: MessageKind, isSuccess: Bool
    ) -> TraceRecord {
        .published(
            .init(
                timestamp: time, regionID: "DefaultRegion", group: "pg", topic: "T", messageID: id, tags: tags, keys: keys,
                storeHost: "10.0.0.1:10911", bodyLength: length, costMilliseconds: cost, kind: kind,
                offsetMessageID: "0A00000100002A9F0000000000000010", isSuccess: isSuccess))
    }

    private static func start(_ id: String, retryTimes: Int32, keys: String?) -> TraceRecord {
        .consuming(
            .init(
                timestamp: time, regionID: "DefaultRegion", group: "pg", requestID: request, messageID: id, retryTimes: retryTimes,
                keys: keys))
    }

    private static func end(_ id: String, keys: String?) -> TraceRecord {
        .consumed(
            .init(
                requestID: request, messageID: id, costMilliseconds: 12, isSuccess: false, keys: keys, outcome: .failed, timestamp: time,
                group: "pg"))
    }

    private static func transactionEnd(tags: String?, keys: String?, state: String, isFromCheck: Bool) -> TraceRecord {
        .transactionEnded(
            .init(
                timestamp: time, regionID: "DefaultRegion", group: "pg", topic: "T", messageID: id, tags: tags, keys: keys,
                storeHost: "10.0.0.1:10911", transactionID: id, state: state, isFromCheck: isFromCheck))
    }
}

private enum Hex {
    struct Malformed: Error {}

    static func bytes(_ hex: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = hex[...]
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { throw Malformed() }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    static let published = """
        50756201313739353231383639383633320144656661756c74526567696f6e01706701540137463030303030313030303032413946303030\
        303030303030303030303041300141016b31206b320131302e302e302e313a31303931310135013301330130413030303030313030303032\
        41394630303030303030303030303030303130017472756502
        """
    static let publishedBare = """
        50756201313739353231383639383633320144656661756c74526567696f6e01706701540137463030303030313030303032413946303030\
        30303030303030303030304130016e756c6c016e756c6c0131302e302e302e313a3130393131013001300131013041303030303031303030\
        3032413946303030303030303030303030303031300166616c736502
        """
    static let consuming = """
        5375624265666f726501313739353231383639383633320144656661756c74526567696f6e01706701374630303030303130303030303030\
        30303030303030303030303030303041310137463030303030313030303032413946303030303030303030303030303041300132016b3120\
        6b32025375624265666f726501313739353231383639383633320144656661756c74526567696f6e01706701374630303030303130303030\
        3030303030303030303030303030303030304131013746303030303031303030303241394630303030303030303030303030304131013001\
        6e756c6c02
        """
    static let consumed = """
        5375624166746572013746303030303031303030303030303030303030303030303030303030304131013746303030303031303030303241\
        3946303030303030303030303030303041300131320166616c7365016b31206b320134013137393532313836393836333201706702537562\
        4166746572013746303030303031303030303030303030303030303030303030303030304131013746303030303031303030303241394630\
        3030303030303030303030303041310131320166616c7365016e756c6c0134013137393532313836393836333201706702
        """
    static let committed = """
        456e645472616e73616374696f6e01313739353231383639383633320144656661756c74526567696f6e0170670154013746303030303031\
        3030303032413946303030303030303030303030303041300141016b31206b320131302e302e302e313a3130393131013201374630303030\
        303130303030324139463030303030303030303030303030413001434f4d4d49545f4d4553534147450166616c736502
        """
    static let rolledBack = """
        456e645472616e73616374696f6e01313739353231383639383633320144656661756c74526567696f6e0170670154013746303030303031\
        3030303032413946303030303030303030303030303041300141016b31206b320131302e302e302e313a3130393131013201374630303030\
        303130303030324139463030303030303030303030303030413001524f4c4c4241434b5f4d455353414745017472756502
        """
    static let undecided = """
        456e645472616e73616374696f6e01313739353231383639383633320144656661756c74526567696f6e0170670154013746303030303031\
        303030303241394630303030303030303030303030304130016e756c6c016772c3b6c39f650131302e302e302e313a313039313101320137\
        4630303030303130303030324139463030303030303030303030303030413001554e4b4e4f570166616c736502
        """
    static let consumedUnfinished = """
        5375624166746572013746303030303031303030303030303030303030303030303030303030304131013746303030303031303030303241\
        39463030303030303030303030303030413001300174727565016b31206b32013001
        """
}
