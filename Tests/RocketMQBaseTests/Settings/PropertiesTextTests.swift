import RocketMQBase
import Testing

@Suite struct PropertiesTextTests {
    private func pairs(_ text: String) throws -> [String] {
        try PropertiesText(text, source: "f").entries.map { "\($0.key)|\($0.value)" }
    }

    @Test(arguments: [
        ("a=1", ["a|1"]),
        ("a = 1", ["a|1"]),
        ("a:1", ["a|1"]),
        ("a : 1", ["a|1"]),
        ("a 1", ["a|1"]),
        ("a\t1", ["a|1"]),
        ("  a=1", ["a|1"]),
        ("a==1", ["a|=1"]),
        ("a = = 1", ["a|= 1"]),
        ("a=", ["a|"]),
        ("a", ["a|"]),
        ("=1", ["|1"]),
        ("a=1 ", ["a|1 "]),
        ("a=b c=d", ["a|b c=d"]),
        ("#a=1\n!b=2\n  # c=3\nd=4", ["d|4"]),
        ("a=1\r\nb=2\rc=3\n\n\nd=4", ["a|1", "b|2", "c|3", "d|4"]),
        ("a=x#y", ["a|x#y"]),
        (#"a\=b=c"#, ["a=b|c"]),
        (#"a\ b\:=c"#, ["a b:|c"]),
        (#"a=C:\\dir"#, [#"a|C:\dir"#]),
        (#"a=\q\"x"#, [#"a|q"x"#]),
        (#"a=\t\n\r\f."#, ["a|\t\n\r\u{0C}."]),
        (#"a=\u0041\u00e9\u4E2d"#, ["a|Aé中"]),
        (#"a=\uD83D\uDE00!"#, ["a|😀!"]),
        ("", []),
        ("\n \n\t\n", []),
    ])
    func `reads what Java reads`(text: String, expected: [String]) throws {
        #expect(try pairs(text) == expected)
    }

    @Test func `a backslash at the end goes on in the next line`() throws {
        let text = "namesrvAddr=10.0.0.1:9876;\\\n    10.0.0.2:9876\nb=1\\\\\nc=2\n# comment \\\nd=3\ne=4\\\n#5\nf=6\\"
        let entries = try PropertiesText(text, source: "f").entries
        #expect(
            entries.map { "\($0.key)|\($0.value)" } == ["namesrvAddr|10.0.0.1:9876;10.0.0.2:9876", #"b|1\"#, "c|2", "d|3", "e|4#5", "f|6"])
        #expect(entries.map(\.lines) == [1...2, 3...3, 4...4, 6...6, 7...8, 9...9])
    }

    @Test(arguments: [#"a=\u12"#, #"a=\u12G4"#, #"a=\u"#, #"\u+123=1"#, #"a=\u 123"#])
    func `a malformed escape is named with file and line`(line: String) {
        #expect {
            try PropertiesText("# first\n\n\(line)\n", source: "conf/broker.conf")
        } throws: { error in
            "\(error)" == #"conf/broker.conf:3: \u needs four hexadecimal digits after it"#
        }
    }

    @Test func `bytes are UTF-8, or ISO-8859-1 when they are not`() throws {
        #expect(try PropertiesText(Array("a=é".utf8), source: "f").entries.first?.value == "é")
        #expect(try PropertiesText([UInt8(ascii: "a"), UInt8(ascii: "="), 0xE9], source: "f").entries.first?.value == "é")
        #expect(try PropertiesText([0xEF, 0xBB, 0xBF] + Array("a=1".utf8), source: "f").entries.first?.key == "a")
    }

    @Test(arguments: ["", " leading", "trailing ", "a=b", "#x", #"C:\dir\u0041"#, "two\nlines\r\n", "中é😀", "\t", "a\u{0C}b\u{7F}"])
    func `what is written reads back the same`(value: String) throws {
        let line = PropertiesText.line(key: "k e:y=#" + value.filter { $0 != "\n" }, value: value)
        #expect(line.utf8.allSatisfy { (0x20..<0x7F).contains($0) })
        let entries = try PropertiesText("# c\n" + line + "\nlast=1", source: "f").entries
        #expect(entries.map(\.value) == [value, "1"])
        #expect(entries.first?.key == "k e:y=#" + value.filter { $0 != "\n" })
    }

    @Test func `replacing values keeps comments and order`() throws {
        let text = try PropertiesText("# mine\na=1\nb=1;\\\n  2\n\n# end\nc=3", source: "f")
        #expect(text.replacing([("b", "x y"), ("new", "9"), ("c", "4")]) == "# mine\na=1\nb=x y\n\n# end\nc=4\nnew=9\n")
        #expect(try PropertiesText("", source: "f").replacing([("a", "1")]) == "a=1\n")
        #expect(try PropertiesText("a=1\na=2\n", source: "f").replacing([("a", "3")]) == "a=1\na=3\n")
    }

    @Test func `random bytes never trap`() {
        var random = RandomSource(seed: 42)
        let alphabet: [UInt8] = Array(#"ab=: #!\u0041\nD8é"#.utf8) + [10, 13, 9, 12, 0, 0xFF, 0xC3]
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            guard let text = try? PropertiesText(bytes, source: "f") else { continue }
            for entry in text.entries { #expect(entry.lines.lowerBound >= 1) }
            _ = text.replacing([("a", "1")])
        }
    }
}
