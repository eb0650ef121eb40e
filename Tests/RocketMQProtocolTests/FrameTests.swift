import RocketMQBase
import RocketMQProtocol
import Testing

/// Headers as peers may write them.
@Suite struct FrameTests {
    static func frame(json header: String, body: [UInt8] = []) -> [UInt8] { frame(header: Array(header.utf8), form: 0, body: body) }

    static func frame(header: [UInt8], form: UInt8, body: [UInt8] = []) -> [UInt8] {
        let count = header.count
        return [form, UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
            + header + body
    }

    static func read(_ json: String) throws(MalformedBytes) -> RemotingCommand {
        let bytes = frame(json: json)
        return try RemotingCommand(frame: bytes.span.bytes)
    }

    @Test(
        "Escapes of all kinds, in values, remark and names",
        arguments: [
            (#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"), (#"\u0041\u00e4\u20AC\u20ac"#, "Aä€€"), (#"\u0001\u0002"#, "\u{1}\u{2}"),
            (#"a\u0002b\u0009c\u000ad"#, "a\u{2}b\tc\nd"), (#"\ud83d\ude00"#, "😀"), (#"\uD83D\uDE00x"#, "😀x"), (#"x\ud83d"#, "x\u{FFFD}"),
            (#"\ud83dx"#, "\u{FFFD}x"), (#"\ude00x"#, "\u{FFFD}x"), (#"\ud83d\u0041"#, "\u{FFFD}A"), (#"\ud83d\ud83d\ude00"#, "\u{FFFD}😀"),
            (#"😀 plain ä"#, "😀 plain ä"), (#"a'b\'c"#, "a'b'c"), ("", ""), (#"\\u0041"#, #"\u0041"#), (#"\\\\"#, #"\\"#),
            (#"12345678\n"#, "12345678\n"), (#"1234567\n"#, "1234567\n"),
            (#"123456789abcdef\"0123456789abcdef"#, #"123456789abcdef"0123456789abcdef"#),
        ])
    func escapes(_ escaped: String, _ text: String) throws {
        for name in ["a", "name", "aNameOfMoreThanEightBytes"] {
            let command = try Self.read(#"{"code":1,"extFields":{"\#(name)":"\#(escaped)","z":"end"},"remark":"\#(escaped)","opaque":7}"#)
            #expect(command.fields == [name: text, "z": "end"])
            #expect(command.remark == text)
            #expect(command.opaque == 7)
        }
        let named = try Self.read(#"{"code":1,"extFields":{"n\#(escaped)":"v"}}"#)
        #expect(named.fields == ["n" + text: "v"])
    }

    @Test(
        "Fields that are not strings, and members that nobody knows",
        arguments: [
            (#""k":5"#, ["k": "5"]), (#""k":-5"#, ["k": "-5"]), (#""k":1.5e3"#, ["k": "1.5e3"]), (#""k":true"#, ["k": "true"]),
            (#""k":false"#, ["k": "false"]), (#""k":null"#, [:]), (#""k":null,"l":"1""#, ["l": "1"]), (#""a":null,"b":"1""#, ["b": "1"]),
            (#""k":{"x":"}"}"#, ["k": #"{"x":"}"}"#]), (#""k":["]",1]"#, ["k": #"["]",1]"#]), ("", [:]),
            (#""":"empty name""#, ["": "empty name"]),
        ])
    func otherValues(_ text: String, _ fields: [String: String]) throws {
        for rest in [
            "", #","unknown":{"deep":[1,{"x":"\"}"}],"y":null}"#, #","unknown":[[],[{}]]"#, #","unknown":1.25"#, #","unknown":"x""#,
        ] {
            let command = try Self.read(#"{"code":3\#(rest),"extFields":{\#(text)}\#(rest),"opaque":9}"#)
            #expect(command.fields == fields)
            #expect(command.code == 3)
            #expect(command.opaque == 9)
        }
    }

    @Test("White space anywhere, members in any order, numbers as strings")
    func spacing() throws {
        let text =
            "\t{ \"version\" :\n409 , \"extFields\" : { \"a\" : \"x\" , \"topic\"\r: \"y\" } , \"opaque\":\"-5\" ,\"flag\": 3 ,\"language\" : \"GO\" , \"code\": \"310\" } \n"
        let command = try Self.read(text)
        #expect(command.fields == ["a": "x", "topic": "y"])
        #expect(command.code == 310)
        #expect(command.opaque == -5)
        #expect(command.flag == 3)
        #expect(command.isResponse && command.isOneway)
        #expect(command.version == 409)
        #expect(command.language == .go)
        #expect(try Self.read("{}") == RemotingCommand(code: 0, version: 0))
        #expect(try Self.read(#"{"extFields":null,"remark":null,"code":1}"#) == RemotingCommand(code: 1, version: 0))
        #expect(try Self.read(#"{"code":2147483647,"opaque":-2147483648,"language":"KLINGON"}"#).opaque == .min)
    }

    @Test(
        "What is not a header is refused",
        arguments: [
            "", " ", "{", "}", "[]", "null", "{\"code\":1", "{\"code\":1,", "{\"code\"}", "{code:1}", "{\"code\":1}x", "{\"code\":1}{}",
            "{\"code\":abc}",
            "{\"code\":2147483648}", "{\"code\":1.5}", "{\"code\":\"\"}", "{\"code\":--1}", "{\"code\":}", "{\"extFields\":5}",
            "{\"extFields\":\"x\"}",
            "{\"extFields\":{\"a\"}}", "{\"extFields\":{\"a\":}}", "{\"extFields\":{\"a\":\"x}", "{\"extFields\":{\"a\":\"x\"",
            "{\"extFields\":{\"a\":\"\\x\"}}",
            "{\"extFields\":{\"a\":\"\\u12\"}}", "{\"extFields\":{\"a\":\"\\u12G4\"}}", "{\"extFields\":{\"a\":\"\\",
            "{\"extFields\":{\"a\":\"x\",}}", "{\"x\":[[}",
            "{\"x\":nul}", "{\"remark\":\"\\q\"}",
            "{\"extFields\":{\"a\":\"x\"\"b\":\"y\"}}", "{\"code\":1 \"flag\":2}", "{\"x\":\u{0}}",
            "{\"x\":" + String(repeating: "[", count: 100) + String(repeating: "]", count: 100) + "}",
        ])
    func malformed(_ text: String) {
        #expect(throws: MalformedBytes.self) { try Self.read(text) }
    }

    @Test("Binary headers whose lengths lie are refused")
    func malformedBinary() throws {
        var command = RemotingCommand(
            code: 310, opaque: 3, remark: "why", fields: ["a": "1", "bb": "22"], body: [1, 2], serialization: .binary)
        var output = ByteBuffer()
        command.encode(into: &output)
        let good = Array(output.copyBytes().dropFirst(4))
        #expect(try decodeFrame(good) == command)
        // Every length in turn: of the header, the remark, the fields, a name, a value.
        for (place, width) in [(1, 3), (17, 4), (24, 4), (28, 2), (31, 4)] {
            for value in [-1, Int(Int32.min), Int(Int32.max), 0x7FFF, 1_000] {
                var bad = good
                for index in 0..<width { bad[place + index] = UInt8(truncatingIfNeeded: value >> (8 * (width - 1 - index))) }
                #expect(throws: MalformedBytes.self, "\(value) at \(place)") { try decodeFrame(bad) }
            }
        }
        for count in 0..<(good.count - 2) {
            #expect(throws: MalformedBytes.self) { try decodeFrame(Array(good[..<count])) }
        }
        for form in UInt8(2)...255 {
            #expect(throws: MalformedBytes.self) { try decodeFrame([form] + good.dropFirst()) }
        }
        command.remark = nil
        command.fields = [:]
        output.removeAll()
        command.encode(into: &output)
        #expect(try decodeFrame(Array(output.copyBytes().dropFirst(4))) == command)
    }

    @Test("What the builder writes is read back, in both forms, behind other output", arguments: [Serialization.json, .binary])
    func builder(_ form: Serialization) throws {
        var output = ByteBuffer(capacity: 16)
        output.append("already there")
        let start = output.count
        let text = "quote \" backslash \\ control \u{1}\u{2}\u{1F}\n€ 😀"
        let bytes = Array(text.utf8)
        var builder = FrameBuilder(
            &output, response: .success, to: AnswerTo(opaque: -77, serialization: form), remark: "because \"x\"")
        builder.field("number", decimal: .min, into: &output)
        builder.field("zero", decimal: 0, into: &output)
        builder.field("max", decimal: .max, into: &output)
        builder.field("plain", plain: "0", into: &output)
        builder.field("bytes", bytes: bytes.span.bytes, into: &output)
        builder.field("text", text: text, into: &output)
        builder.fields(PreparedFields([("MSG_REGION", "\u{1}r"), ("TRACE_ON", "true")]), into: &output)
        builder.field(name: "run \"time\"", value: text, into: &output)
        builder.endHeader(into: &output)
        output.append([9, 8, 7])
        builder.endFrame(into: &output)
        let frame = Array(output.copyBytes().dropFirst(start + 4))
        let length = output.withBytes { $0.bigEndian(UInt32.self, at: start) }
        #expect(Int(length) == frame.count)
        let command = try RemotingCommand(frame: frame.span.bytes)
        #expect(
            command
                == RemotingCommand(
                    code: 0, opaque: -77, flag: 1, remark: "because \"x\"",
                    fields: [
                        "number": "-9223372036854775808", "zero": "0", "max": "9223372036854775807", "plain": "0", "bytes": text,
                        "text": text,
                        "MSG_REGION": "\u{1}r", "TRACE_ON": "true", "run \"time\"": text,
                    ], body: [9, 8, 7], serialization: form))
    }

    @Test("A header of only prepared fields, and one of none")
    func preparedOnly() throws {
        for form in [Serialization.json, .binary] {
            for prepared in [PreparedFields([("a", "1")]), PreparedFields([])] {
                var output = ByteBuffer()
                var builder = FrameBuilder(&output, response: .noMessage, to: AnswerTo(opaque: 1, serialization: form))
                builder.fields(prepared, into: &output)
                builder.field("b", decimal: 2, into: &output)
                builder.endHeader(into: &output)
                builder.endFrame(into: &output)
                let command = try decodeFrame(Array(output.copyBytes().dropFirst(4)))
                #expect(command.fields["b"] == "2")
                #expect(command.responseCode == .noMessage)
            }
        }
    }

    @Test("Many fields, and long ones, then few again in the same table")
    func tableIsReused() throws {
        var table = HeaderTable()
        for count in [0, 1, 31, 32, 33, 1_000, 2] {
            let fields = Dictionary(uniqueKeysWithValues: (0..<count).map { ("field\($0)", String(repeating: "\"v\\", count: $0 % 50)) })
            let command = RemotingCommand(code: 1, remark: count % 2 == 0 ? "r" : nil, fields: fields, body: [1])
            var output = ByteBuffer()
            command.encode(into: &output)
            let frame = Array(output.copyBytes().dropFirst(4))
            try table.scan(frame.span.bytes)
            #expect(table.count == count)
            #expect(RemotingCommand(table, frame: frame.span.bytes) == command)
        }
    }

    @Test(
        "Numbers are read to their limits and not beyond",
        arguments: [
            ("0", Int64(0)), ("9", 9), ("-1", -1), ("+1", 1), ("9223372036854775807", .max), ("-9223372036854775808", .min), ("007", 7),
            ("9223372036854775808", nil), ("-9223372036854775809", nil), ("", nil), ("-", nil), ("+", nil), (" 1", nil), ("1 ", nil),
            ("0x1", nil),
            ("1e3", nil), ("00000000000000000000001", nil), ("a", nil), ("/", nil), (":", nil),
        ])
    func decimals(_ text: String, _ number: Int64?) throws {
        let bytes = Array(text.utf8)
        #expect(DecimalText.integer(bytes.span.bytes) == number)
        let frame = Self.frame(json: #"{"extFields":{"a":"\#(text)"}}"#)
        var table = HeaderTable()
        try table.scan(frame.span.bytes)
        #expect(table.integer(0, in: frame.span.bytes) == number)
    }
}

/// The general form of a frame without its length word.
func decodeFrame(_ bytes: [UInt8]) throws(MalformedBytes) -> RemotingCommand { try RemotingCommand(frame: bytes.span.bytes) }
