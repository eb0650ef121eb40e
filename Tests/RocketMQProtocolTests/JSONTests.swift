import Glibc
import RocketMQBase
import RocketMQProtocol
import Testing

@Suite struct JSONTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: Array(text.utf8)) }

    private func failure(_ text: String) -> String? {
        do {
            _ = try parse(text)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func readsStandardJSON() throws {
        let value = try parse(#" { "a" : [1, -2.5e3, true, false, null, ""], "b":{}, "c":[] } "# + "\r\n")
        #expect(value == ["a": [1, .number(-2500), true, false, .null, ""], "b": [:], "c": []])
    }

    @Test func readsMapsWhoseKeysAreNumbersOrObjects() throws {
        let value = try parse(#"{0:"x",-1:"y",{"brokerName":"a","queueId":0,"topic":"t"}:{"n":1}}"#)
        let members = try #require(value.object?.members)
        #expect(members.map(\.key.int64) == [0, -1, nil])
        #expect(try MessageQueue(json: members[2].key) == MessageQueue(topic: "t", brokerName: "a", queueID: 0))
        #expect(value.description == #"{0:"x",-1:"y",{"brokerName":"a","queueId":0,"topic":"t"}:{"n":1}}"#)
    }

    @Test func readsBareAndSingleQuotedKeys() throws {
        #expect(try parse(#"{name:'it"s',$x_1.y-z:1}"#) == ["name": #"it"s"#, "$x_1.y-z": 1])
    }

    @Test func escapesBothWays() throws {
        let text = "quote \" back \\ slash / tab \t line \n return \r bell \u{7} 中 😀"
        let value = JSONValue.string(text)
        #expect(try JSONValue(parsing: value.encoded()) == value)
        #expect(try parse(#""\u4e2d\/\b\f\ud83d\ude00""#) == .string("中/\u{8}\u{c}😀"))
    }

    @Test func keepsNumbersExact() throws {
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("-9223372036854775808") == .integer(.min))
        #expect(try parse("9223372036854775808") == .number(9_223_372_036_854_775_808))
        #expect(try parse("0.016666666666666666").description == "0.016666666666666666")
        #expect(JSONValue.number(2).description == "2.0")
        #expect(JSONValue.number(.nan).description == "null")
    }

    @Test func takesOneTypeForAnotherWhereClientsConfuseThem() {
        #expect(JSONValue.string("-7").int64 == -7)
        #expect(JSONValue.number(7.9).int64 == 7)
        #expect(JSONValue.number(1e300).int64 == nil)
        #expect(JSONValue.number(.infinity).int64 == nil)
        #expect(JSONValue.integer(7).string == "7")
        #expect(JSONValue.string("TRUE").bool == true)
        #expect(JSONValue.integer(0).bool == false)
        #expect(JSONValue.string("perhaps").bool == nil)
        #expect(JSONValue.array([]).string == nil)
    }

    @Test(arguments: [
        ("", 0), ("{", 1), ("[1,", 3), ("[1 2]", 3), (#"{"a" 1}"#, 5), (#"{"a":1"#, 6), ("tru", 0), ("nulL", 0), (#""abc"#, 0),
        (#""ab\"#, 0), ("1 1", 2), ("{,}", 1), ("-", 1), ("1.2.3", 0), ("--1", 0), ("1e999", 0), (#"{"a":1,}"#, 7), ("\u{0}", 0),
    ])
    func refusesMalformedTextAndSaysWhere(text: String, position: Int) throws {
        let message = try #require(failure(text))
        #expect(message.contains("byte \(position)"), "\(message)")
    }

    @Test func refusesUnknownEscapes() throws {
        #expect(try #require(failure(#"["\q"]"#)).contains("escape"))
        #expect(failure(#"["\u12"]"#) != nil)
        #expect(failure(#"["\u12g4"]"#) != nil)
    }

    @Test func limitsNesting() throws {
        let deepest = JSONValue.deepestNesting
        #expect(failure(String(repeating: "[", count: deepest) + String(repeating: "]", count: deepest)) == nil)
        for opening in ["[", "{", #"{"a":"#, "{{"] {
            let message = try #require(failure(String(repeating: opening, count: 100_000)))
            #expect(message.contains("nested") || message.contains("key"), "\(message)")
        }
    }

    @Test func readsLargeTextsInTimeThatGrowsWithThem() throws {
        // Processor time of this thread: what else the machine does has no part in it.
        func now() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
        }
        func time(_ count: Int) throws -> Int64 {
            let text = Array(("[" + String(repeating: #"{"key":"value\n",5:[1,2,3]},"#, count: count) + "0]").utf8)
            return try (0..<5).map { _ in
                let start = now()
                _ = try JSONValue(parsing: text)
                return now() - start
            }.min() ?? 0
        }
        _ = try time(1_000)
        let small = try time(2_000)
        let large = try time(16_000)
        #expect(large < small * 40, "eight times the text took \(large / small) times as long")
    }

    @Test func keepsTheLastOfEqualNames() throws {
        #expect(try parse(#"{"a":1,"a":2}"#)["a"] == 2)
        var object = JSONObject()
        object["a"] = 1
        object["a"] = 2
        object["b"] = 3
        object["b"] = nil
        #expect(object.members.count == 1 && object["a"] == 2)
    }

    @Test func writesFilesWithAMemberALine() throws {
        let value: JSONValue = ["a": [1, 2], "b": [:], "c": ["d": true]]
        var output = ByteBuffer()
        value.writeIndented(to: &output)
        #expect(
            String(decoding: output.copyBytes(), as: UTF8.self)
                == "{\n\t\"a\":[\n\t\t1,\n\t\t2\n\t],\n\t\"b\":{},\n\t\"c\":{\n\t\t\"d\":true\n\t}\n}")
        #expect(try JSONValue(parsing: output.copyBytes()) == value)
    }
}
