import Foundation
import RocketMQBase
import RocketMQProtocol
import Testing

@Suite struct MessageRecordTests {
    /// A record of the second layout with IPv6 addresses, made by hand.
    static let ipv6Record = hex(
        "0000014bdaa320ab3610a6860000000300000009000000000000000500000000000003e800000030000000000000006f"
            + "20010db80000000000000000000000010000138800000000000000defe80000000000000000000000000000200002a9f"
            + "00000002000000000000004d0000000568656c6c6f00c8" + String(repeating: "54", count: 200) + "000a54414753015461674102")

    private func expected() throws -> [[String: Any]] {
        let json = try JSONSerialization.jsonObject(with: Data(Fixtures.bytes("commitlog.json")))
        return try #require(json as? [[String: Any]])
    }

    private func address(_ text: Any?) throws -> SocketAddress {
        let text = try #require(text as? String)
        return try #require(SocketAddress(text))
    }

    private func check(_ record: MessageRecord, in bytes: RawSpan, against expected: [String: Any]) throws {
        func number(_ name: String) throws -> Int64 { try #require(expected[name] as? NSNumber).int64Value }
        let fields = record.fields
        #expect(Int64(record.size) == (try number("storeSize")))
        #expect(fields.physicalOffset == (try number("physicalOffset")))
        #expect(Int64(fields.queueID) == (try number("queueId")))
        #expect(fields.queueOffset == (try number("queueOffset")))
        #expect(Int64(fields.flag) == (try number("flag")))
        #expect(Int64(fields.systemFlag.rawValue) == (try number("sysFlag")))
        #expect(Int64(record.bodyChecksum) == (try number("bodyCRC")))
        #expect(fields.bornTimestamp == (try number("bornTimestamp")))
        #expect(fields.storeTimestamp == (try number("storeTimestamp")))
        #expect(fields.bornHost == (try address(expected["bornHost"])))
        #expect(fields.storeHost == (try address(expected["storeHost"])))
        #expect(Int64(fields.reconsumeTimes) == (try number("reconsumeTimes")))
        #expect(fields.preparedTransactionOffset == (try number("preparedTransactionOffset")))
        #expect(Int64(record.body.count) == (try number("bodyLenStored")))
        #expect(bytes.string(record.topic) == expected["topic"] as? String)
        #expect(bytes.string(record.properties) == expected["propertiesRaw"] as? String)
        let message = MessageExt(record, in: bytes)
        #expect(message.decompressionError == nil)
        if let body = expected["body"] as? String { #expect(String(decoding: message.body, as: UTF8.self) == body) }
        #expect(message.messageID == message.properties["UNIQ_KEY"] ?? message.offsetMessageID)
    }

    @Test func readsEveryRecordOfAStoreAndWritesItAgain() throws {
        var expected = try expected()[...]
        var output = ByteBuffer()
        for (start, bytes) in try Fixtures.commitLog() {
            let span = bytes.span.bytes
            var position = 0
            file: while position < bytes.count {
                switch MessageRecord.find(in: span, at: position, verifyingChecksum: true) {
                case .record(let record):
                    #expect(record.fields.physicalOffset == Int64(start + position))
                    let next = expected.popFirst()
                    try check(record, in: span, against: #require(next))
                    output.removeAll()
                    MessageRecord.encode(
                        record.fields, body: span.extracting(record.body), topic: span.extracting(record.topic),
                        properties: span.extracting(record.properties), into: &output)
                    #expect(output.copyBytes().elementsEqual(bytes[record.range]))
                    position = record.range.upperBound
                case .endOfFile(let byteCount):
                    let blank = expected.popFirst()
                    #expect(blank?["blank"] as? Bool == true && blank?["storeSize"] as? Int == byteCount)
                    #expect(position + byteCount == bytes.count)
                    output.removeAll()
                    MessageRecord.encodeEndOfFile(byteCount: byteCount, into: &output)
                    #expect(output.copyBytes().elementsEqual(bytes[position..<(position + 8)]))
                    break file
                case .unwritten:
                    #expect(bytes.count - position == 64)
                    break file
                case let other:
                    Issue.record("\(other) at \(start + position)")
                    return
                }
            }
        }
        #expect(expected.isEmpty)
    }

    @Test func readsTheSecondLayoutWithIPv6Addresses() throws {
        let bytes = Self.ipv6Record
        let record = try MessageRecord.parse(bytes.span.bytes, at: 0)
        #expect(record.version == .v2 && record.topic.count == 200 && record.size == bytes.count)
        #expect(record.fields.bornHost == SocketAddress("[2001:db8::1]:5000"))
        #expect(record.fields.storeHost == SocketAddress("[fe80::2]:10911"))
        #expect(record.fields.reconsumeTimes == 2 && record.fields.preparedTransactionOffset == 77)
        #expect(record.fields.bornTimestamp == 111 && record.fields.storeTimestamp == 222)
        let message = MessageExt(record, in: bytes.span.bytes)
        #expect(message.tag == "TagA" && message.body == Array("hello".utf8))
        #expect(message.offsetMessageID == "FE80000000000000000000000000000200002A9F00000000000003E8")
        // The flags are those of the addresses, whatever was given.
        var fields = record.fields
        fields.systemFlag = []
        var output = ByteBuffer()
        let size = MessageRecord.encode(
            fields, body: Array("hello".utf8).span.bytes, topic: bytes.span.bytes.extracting(record.topic),
            properties: bytes.span.bytes.extracting(record.properties), version: .v2, into: &output)
        #expect(output.copyBytes() == bytes && size == bytes.count)
    }

    @Test func tellsWhatIsNoRecord() throws {
        var bytes = Array(try Fixtures.bytes("pull-answer.bin")[..<173])
        func finding(_ bytes: [UInt8], verifyingChecksum: Bool = true) -> MessageRecord.Finding {
            MessageRecord.find(in: bytes.span.bytes, at: 0, verifyingChecksum: verifyingChecksum)
        }
        guard case .record(let record) = finding(bytes) else {
            Issue.record("a good record is not found")
            return
        }
        for length in 0..<8 { #expect(finding(Array(bytes[..<length])) == .incomplete(needed: 8)) }
        for length in 8..<173 { #expect(finding(Array(bytes[..<length])) == .incomplete(needed: 173)) }
        #expect(finding([UInt8](repeating: 0, count: 100)) == .unwritten)

        for index in record.body {
            bytes[index] ^= 1
            guard case .damaged(.wrongChecksum(let stored, _)) = finding(bytes) else {
                Issue.record("a flipped bit in the body is not noticed")
                return
            }
            #expect(stored == record.bodyChecksum)
            guard case .record = finding(bytes, verifyingChecksum: false) else {
                Issue.record("the checksum is verified though it was not asked for")
                return
            }
            bytes[index] ^= 1
        }
        for index in 4..<8 {
            bytes[index] ^= 0x10
            guard case .damaged(.wrongMagic) = finding(bytes) else {
                Issue.record("a wrong magic number is not noticed")
                return
            }
            bytes[index] ^= 0x10
        }
        for size: Int32 in [.min, -1, 0, 8, 90] {
            var other = bytes
            other.replaceSubrange(0..<4, with: withUnsafeBytes(of: size.bigEndian) { Array($0) })
            #expect(finding(other) == .damaged(.impossibleSize(size)))
        }
        for size: Int32 in [91, 172] {
            var other = bytes
            other.replaceSubrange(0..<4, with: withUnsafeBytes(of: size.bigEndian) { Array($0) })
            #expect(finding(other) == .damaged(.lengthsDisagree(size: Int(size))))
        }
        for length: Int32 in [.min, -1, 11, .max] {
            var other = bytes
            other.replaceSubrange(84..<88, with: withUnsafeBytes(of: length.bigEndian) { Array($0) })
            #expect(finding(other) == .damaged(.lengthsDisagree(size: 173)))
        }
    }

    @Test func readsTheAnswerToAPull() throws {
        let bytes = try Fixtures.bytes("pull-answer.bin")
        let messages = try MessageExt.decodeAll(bytes, brokerName: "broker-a")
        #expect(messages.count == 7)
        #expect(messages.map(\.queueOffset) == Array(0..<7))
        #expect(messages[0].text == "plain body" && messages[0].messageID == "7F00000120B05FFD2B2766F803E50000")
        #expect(messages[0].offsetMessageID == "7F00000100002A9F0000000000000000")
        #expect(messages[0].messageQueue == MessageQueue(topic: "VecTopic", brokerName: "broker-a", queueID: 0))
        let compressed = try #require(messages.first { $0.systemFlag.contains(.compressed) })
        #expect(compressed.body.count == 8192 && compressed.storedBody.count == 8203)
        #expect(Checksum.body(compressed.storedBody) == compressed.bodyCRC)
        #expect(messages.reduce(0) { $0 + $1.storeSize } == bytes.count)

        var output = ByteBuffer()
        for message in messages { try message.encodeRecord(into: &output) }
        #expect(output.copyBytes() == bytes)
        for cut in [1, 100, 173 + 50, bytes.count - 1] {
            #expect(throws: MalformedBytes.self) { try MessageExt.decodeAll(Array(bytes[..<cut])) }
        }
        #expect(try MessageExt.decodeAll([]).isEmpty)
    }

    @Test func deliversABodyThatCannotBeDecompressed() throws {
        let messages = try MessageExt.decodeAll(try Fixtures.bytes("pull-answer.bin"), decompressedLimit: 4096)
        let compressed = try #require(messages.first { $0.systemFlag.contains(.compressed) })
        #expect(compressed.decompressionError?.code == .limitExceeded && compressed.body == compressed.storedBody)
        #expect(messages.count == 7)
    }

    @Test func refusesToEncodeWhatDoesNotFit() throws {
        var message = try MessageExt.decodeAll(try Fixtures.bytes("pull-answer.bin"))[0]
        var output = ByteBuffer()
        message.properties["long"] = String(repeating: "x", count: 32_768)
        #expect(throws: MalformedBytes.self) { try message.encodeRecord(into: &output) }
        message.properties["long"] = nil
        message.topic = String(repeating: "t", count: 128)
        #expect(throws: MalformedBytes.self) { try message.encodeRecord(into: &output) }
        let written = output.count
        #expect(written == 0)
    }
}

extension MessageExt {
    var text: String { String(decoding: body, as: UTF8.self) }
}
