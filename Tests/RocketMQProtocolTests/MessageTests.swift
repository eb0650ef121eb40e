import RocketMQBase
import RocketMQProtocol
import Testing

@Suite struct MessageTests {
    // MARK: Properties

    @Test func readsPropertiesAsTheReferenceDoes() {
        func read(_ text: String) -> [String] {
            MessageProperties(decoding: text).map { "\($0.name)=\($0.value)" }
        }
        #expect(read("a\u{1}1\u{2}b\u{1}2") == ["a=1", "b=2"])
        #expect(read("a\u{1}1\u{2}b\u{1}2\u{2}") == ["a=1", "b=2"])
        #expect(read("a\u{1}1\u{2}b\u{1}\u{2}c\u{1}3") == ["a=1", "c=3"])
        #expect(read("\u{1}1\u{2}noseparator\u{2}\u{2}a\u{1}x\u{1}y") == ["a=x\u{1}y"])
        #expect(read("a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3") == ["a=3", "b=2"])
        #expect(read("").isEmpty)
        let many = (0..<100).map { "key\($0 % 50)\u{1}\($0)" }.joined(separator: "\u{2}")
        #expect(read(many) == (0..<50).map { "key\($0)=\($0 + 50)" })
    }

    @Test func findsPropertiesInPlace() {
        let bytes = Array("TAGS\u{1}first\u{2}KEYS2\u{1}no\u{2}KEYS\u{1}\u{2}UNIQ_KEY\u{1}一二三\u{2}TAGS\u{1}last".utf8)
        #expect(MessageProperties.value(of: PropertyName.tags, in: bytes.span.bytes) == "last")
        #expect(MessageProperties.value(of: PropertyName.keys, in: bytes.span.bytes) == nil)
        #expect(MessageProperties.value(of: PropertyName.uniqueKey, in: bytes.span.bytes) == "一二三")
        #expect(MessageProperties.range(of: PropertyName.tags, in: [UInt8]().span.bytes) == nil)
    }

    @Test func writesPropertiesSoThatTheyAreReadTheSame() throws {
        var properties: MessageProperties = ["KEYS": "a b", "中": "文"]
        properties["empty"] = ""
        properties["gone"] = "x"
        properties["gone"] = nil
        properties[PropertyName.tags] = "TagA"
        #expect(properties.encodedText == "KEYS\u{1}a b\u{2}中\u{1}文\u{2}TAGS\u{1}TagA")
        #expect(MessageProperties(decoding: properties.encoded()).count == 3)
        #expect(properties.unencodable.isEmpty)
        properties["bad"] = "a\u{2}b"
        #expect(properties.unencodable == ["bad"])
        for message in try MessageExt.decodeAll(Fixtures.bytes("pull-answer.bin")) {
            #expect(MessageProperties(decoding: message.properties.encoded()) == message.properties)
        }
    }

    @Test func appendsAPropertyToEncodedOnes() {
        var output = ByteBuffer()
        output.append("before")
        for _ in 0..<2 { MessageProperties.append(PropertyName.cluster, Array("c".utf8).span.bytes, to: &output, startingAt: 6) }
        output.append(2 as UInt8)
        MessageProperties.append(PropertyName.tags, Array("t".utf8).span.bytes, to: &output, startingAt: 6)
        #expect(String(decoding: output.copyBytes(), as: UTF8.self) == "beforeCLUSTER\u{1}c\u{2}CLUSTER\u{1}c\u{2}TAGS\u{1}t")
    }

    @Test func givesPropertiesMeaning() {
        var message = Message(topic: "t", tag: "TagA", keys: ["order-42", "x"], body: Array("hello".utf8))
        #expect(message.properties["TAGS"] == "TagA" && message.properties["KEYS"] == "order-42 x")
        #expect(message.keys == ["order-42", "x"])
        message.delayLevel = 3
        #expect(message.properties["DELAY"] == "3" && message.delayLevel == 3)
        message.delayLevel = 0
        #expect(message.properties["DELAY"] == nil)
        message.delay = .seconds(90)
        #expect(message.properties["TIMER_DELAY_SEC"] == "90" && message.delay == .seconds(90))
        message.delay = .milliseconds(1500)
        #expect(message.properties["TIMER_DELAY_MS"] == "1500" && message.properties["TIMER_DELAY_SEC"] == nil)
        message.deliverAtMilliseconds = 1_795_218_614_691
        #expect(message.properties["TIMER_DELIVER_MS"] == "1795218614691" && message.delay == nil)
        #expect(message.waitStoreMessageOK)
        message.waitStoreMessageOK = false
        #expect(message.properties["WAIT"] == "false")
        #expect(Message(topic: "t", tag: "", text: "x").properties.isEmpty)
    }

    // MARK: Flags, hashes, checksums

    @Test func keepsTransactionAndCompressionInTheSystemFlag() {
        var flag = MessageSystemFlag(rawValue: 769)
        #expect(flag.contains(.compressed) && flag.compression == .zlib && flag.transaction == .none)
        flag.compression = .zstd
        #expect(flag.rawValue == 0x201)
        flag.transaction = .rolledBack
        #expect(flag.rawValue == 0x20D && flag.transaction == .rolledBack)
        flag.transaction = .committed
        #expect(flag.rawValue == 0x209)
        flag.compression = nil
        #expect(flag.compression == .zlib)
        #expect(MessageSystemFlag(rawValue: 5 << 8).compression == nil)
    }

    @Test(arguments: [
        ("", 0), ("TagA", 2_598_919), ("中文标签", 622_041_809), ("😀", 1_772_899), ("polygenelubricants", Int32.min),
        ("TopicTest#order-42", -870_421_153),
    ])
    func hashesAsJavaDoes(text: String, hash: Int32) {
        #expect(JavaHash.hash(text) == hash)
        #expect(JavaHash.hash(Array(text.utf8).span.bytes) == hash)
    }

    @Test func hashesTextInParts() {
        let start = JavaHash.hash("TopicTest#")
        #expect(JavaHash.hash(Array("order-42".utf8).span.bytes, continuing: start) == -870_421_153)
        #expect(JavaHash.nonNegative(.min) == 0 && JavaHash.nonNegative(-5) == 5)
        #expect(JavaHash.hash([0x61, 0xFF] as [UInt8]) == JavaHash.hash("a\u{FFFD}"))
    }

    @Test func checksumsAsTheReferenceDoes() {
        #expect(Checksum.crc32(Array("123456789".utf8)) == 0xCBF4_3926)
        #expect(Checksum.body(Array("123456789".utf8)) == 0x4BF4_3926)
        #expect(Checksum.crc32([]) == 0)
    }

    // MARK: Ids

    @Test func writesAndReadsOffsetMessageIDs() throws {
        let id = try OffsetMessageID("7F00000100002A9F0000000000198B65")
        #expect(id.storeHost == SocketAddress("127.0.0.1:10911") && id.commitLogOffset == 1_674_085)
        #expect(id.description == "7F00000100002A9F0000000000198B65")
        #expect(try OffsetMessageID("7f00000100002a9f0000000000198b65") == id)
        let long = OffsetMessageID(storeHost: try #require(SocketAddress("[2001:db8::1]:10911")), commitLogOffset: -1)
        #expect(long.description == "20010DB8000000000000000000000001" + "00002A9F" + "FFFFFFFFFFFFFFFF")
        #expect(try OffsetMessageID(long.description) == long)
        var output = ByteBuffer()
        id.append(to: &output)
        #expect(String(decoding: output.copyBytes(), as: UTF8.self) == id.description)
        for text in ["", "7F", String(repeating: "0", count: 33), String(repeating: "G", count: 32), "7F000001FFFFFFFF0000000000198B65"] {
            #expect(throws: MalformedBytes.self) { try OffsetMessageID(text) }
        }
    }

    @Test func makesUniqueKeys() throws {
        let generator = UniqueKeyGenerator(host: .ipv4(0x7F00_0001), processID: 0x121985, instance: 0x5FFD_2B27)
        // The key and the time of a captured message.
        #expect(generator.next(wallMilliseconds: 1_795_218_622_468) == "7F00000119855FFD2B2766F660040000")
        #expect(generator.next(wallMilliseconds: 1_795_218_622_468) == "7F00000119855FFD2B2766F660040001")
        // The clock was set back: into the month, and a little before it.
        #expect(generator.next(wallMilliseconds: 1_795_218_622_467).hasSuffix("66F660030002"))
        #expect(generator.next(wallMilliseconds: 1_793_491_200_000 - 5).hasSuffix("000000000003"))
        // The next month, its first millisecond.
        #expect(generator.next(wallMilliseconds: 1_796_083_200_000).hasSuffix("000000000004"))
        var output = ByteBuffer()
        generator.appendNext(wallMilliseconds: 1_796_083_200_001, to: &output)
        #expect(String(decoding: output.copyBytes(), as: UTF8.self).hasSuffix("000000010005"))
        let ipv6 = UniqueKeyGenerator(host: .ipv6(0x2001_0DB8 << 32, 1), processID: 1, instance: 2)
        #expect(ipv6.next(wallMilliseconds: 0) == "20010DB8000000000000000000000001" + "0001" + "00000002" + "00000000" + "0000")
    }

    @Test func startsMonthsByLocalTime() {
        // In UTC+8, November 2026 begins on October 31 at 16:00 UTC.
        let generator = UniqueKeyGenerator(host: .ipv4(0), processID: 0, instance: 0, utcOffsetMilliseconds: 8 * 3_600_000)
        #expect(generator.next(wallMilliseconds: 1_793_491_200_000 - 8 * 3_600_000).hasSuffix("000000000000"))
        #expect(generator.next(wallMilliseconds: 1_793_491_200_000).hasSuffix("01B774000001"))
    }

    @Test func neverRepeatsAUniqueKey() async {
        let generator = UniqueKeyGenerator(host: .ipv4(1), processID: 2, instance: 3)
        let keys = await withTaskGroup(of: [String].self) { group in
            for _ in 0..<4 {
                group.addTask { (0..<5_000).map { _ in generator.next(wallMilliseconds: 1_795_218_731_086) } }
            }
            return await group.reduce(into: Set<String>()) { $0.formUnion($1) }
        }
        #expect(keys.count == 20_000)
    }

    // MARK: Batches

    @Test func readsAndWritesBatches() throws {
        let bytes = try Fixtures.bytes("batch-request.bin")
        let messages = try MessageBatch.decode(bytes, topic: "VecBatch")
        #expect(messages.map(\.tag) == (0..<5).map { "TagB\($0)" })
        #expect(messages.map(\.keys) == (0..<5).map { ["bk\($0)"] })
        #expect(try MessageBatch.encode(messages) == bytes)
        for length in 1..<109 {
            #expect(throws: MalformedBytes.self) { try MessageBatch.decode(Array(bytes[..<length]), topic: "t") }
        }
        var hostile = bytes
        hostile.replaceSubrange(16..<20, with: [0x7F, 0xFF, 0xFF, 0xFF])
        #expect(throws: MalformedBytes.self) { try MessageBatch.decode(hostile, topic: "t") }
        hostile.replaceSubrange(16..<20, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(throws: MalformedBytes.self) { try MessageBatch.decode(hostile, topic: "t") }
    }

    @Test func refusesBatchesWhosePropertiesDoNotFit() {
        let message = Message(topic: "t", properties: ["a": String(repeating: "x", count: 40_000)], body: [1])
        #expect(throws: MalformedBytes.self) { try MessageBatch.encode([message]) }
    }

    // MARK: Names

    @Test func checksNames() throws {
        try TopicValidator.check(topic: "%RETRY%a-b_c|D9")
        try TopicValidator.check(topic: String(repeating: "t", count: 127))
        try TopicValidator.check(group: String(repeating: "g", count: 255))
        func problem(_ check: () throws(InvalidName) -> Void) -> InvalidName.Problem? {
            do throws(InvalidName) {
                try check()
                return nil
            } catch {
                #expect(!error.description.isEmpty)
                return error.problem
            }
        }
        #expect(problem { () throws(InvalidName) in try TopicValidator.check(topic: "") } == .blank)
        #expect(problem { () throws(InvalidName) in try TopicValidator.check(topic: " \t") } == .blank)
        #expect(problem { () throws(InvalidName) in try TopicValidator.check(topic: "a b") } == .illegalCharacter)
        #expect(problem { () throws(InvalidName) in try TopicValidator.check(topic: "中") } == .illegalCharacter)
        #expect(problem { () throws(InvalidName) in try TopicValidator.check(topic: String(repeating: "t", count: 128)) } == .tooLong)
        #expect(problem { () throws(InvalidName) in try TopicValidator.check(group: String(repeating: "g", count: 256)) } == .tooLong)
        #expect(problem { () throws(InvalidName) in try TopicValidator.checkSendable(topic: "SCHEDULE_TOPIC_XXXX") } == .reserved)
        #expect(problem { () throws(InvalidName) in try TopicValidator.checkSendable(topic: "BenchmarkTest") } == nil)
        #expect(problem { () throws(InvalidName) in try TopicValidator.checkNotSystem(topic: "TBW102") } == .reserved)
        #expect(problem { () throws(InvalidName) in try TopicValidator.checkNotSystem(topic: "rmq_sys_x") } == .reserved)
    }
}
