import Testing

@testable import RocketMQBroker

/// What expressions make of messages. The outcomes are those of the reference, whose own cases come first.
struct FilteringEvaluationTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var expression: String
        var properties: [String: String]
        var expected: Verdict

        init(_ expression: String, _ properties: [String: String], _ expected: Verdict) {
            (self.expression, self.properties, self.expected) = (expression, properties, expected)
        }
        var testDescription: String { "\(expression) \(properties)" }
    }

    private static let all = "a=3 and b<>4 And c>5 AND d<=4"
    private static let any = "a=3 or b<>4 Or c>5 OR d<=4"

    @Test(
        "The cases of the reference's own tests",
        arguments: [
            Case("TAGS is not null and TAGS='''''tag'''''", ["TAGS": "''tag''"], .yes),
            Case(all, ["a": "3", "b": "5", "c": "6", "d": "1"], .yes), Case(all, ["a": "4", "b": "5", "c": "6", "d": "1"], .no),
            Case(any, ["a": "3"], .yes), Case(any, ["a": "4", "b": "5"], .yes), Case(any, ["a": "4", "b": "4", "c": "6"], .yes),
            Case(any, ["a": "4", "b": "4", "c": "3", "d": "2"], .yes), Case(any, ["a": "4", "b": "4", "c": "3", "d": "10"], .no),
            Case("a in ('3', '4', '5')", ["a": "3"], .yes), Case("a in ('3', '4', '5')", ["a": "5"], .yes),
            Case("a in ('3', '4', '5')", ["a": "8"], .no), Case("a not in ('3', '4', '5')", ["a": "8"], .yes),
            Case("a not in ('3', '4', '5')", ["a": "4"], .no), Case("a between 2 and 10", ["a": "2"], .yes),
            Case("a between 2 and 10", ["a": "10"], .yes), Case("a between 2 and 10", ["a": "3"], .yes),
            Case("a between 2 and 10", ["a": "1"], .no), Case("a between 2 and 10", ["a": "11"], .no),
            Case("a not between 2 and 10", ["a": "1"], .yes), Case("a not between 2 and 10", ["a": "11"], .yes),
            Case("a not between 2 and 10", ["a": "2"], .no), Case("a not between 2 and 10", ["a": "10"], .no),
            Case("a is null", ["abc": "2"], .yes), Case("a is null", ["a": "2"], .no), Case("a is not null", ["a": "2"], .yes),
            Case("a is not null", ["abc": "2"], .no), Case("a is not null and a='hello'", ["a": "hello"], .yes),
            Case("a is not null and a='hello'", [:], .no), Case("a=TRUE OR b=FALSE", ["a": "true", "b": "false"], .yes),
            Case("a=TRUE OR b=FALSE", ["a": "false", "b": "true"], .no), Case("a is null OR a='hello'", [:], .yes),
            Case("a is null OR a='hello'", ["a": "hello"], .yes), Case("a is null OR a='hello'", ["a": "abc"], .no),
            Case("a > b", ["a": "10", "b": "20"], .no), Case("a > b", ["a": "20", "b": "10"], .yes),
            Case("a > 3.14", ["a": "3.1415"], .yes), Case("a > 3.1E10", ["a": "3.1415E10"], .yes),
            Case("a between up and low", ["a": "3.14"], .unknown),
            Case("a between up and low", ["a": "3.14", "up": "up", "low": "low"], .notComparable),
            Case("key is not null and key between 0 and 100", ["key": "con"], .notComparable),
            Case("a between 0 and 100", ["a": "abc"], .notComparable), Case("a=b", ["a": "3.14", "b": "3.14"], .yes),
            Case("a<>b", ["a": "3.14", "b": "3.14"], .no), Case("a<>b", ["a": "3.14", "b": "3.141"], .yes),
            Case("a not in ('4', '4', '5') and b between 3 and 10 and c not contains 'axbc'", ["a": "3", "b": "3", "c": "axbdc"], .yes),
            Case("a not in ('4', '4', '5') and b between 3 and 10 and c not startswith 'axbc'", ["a": "3", "b": "3", "c": "axbdc"], .yes),
            Case("a not in ('4', '4', '5') and b between 3 and 10 and c not endswith 'axbc'", ["a": "3", "b": "3", "c": "axbdc"], .yes),
        ])
    func reference(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "Searching for text, as the reference's tests have it",
        arguments: [
            ("value", "axb", "x", "ax", "xb", true), ("value", "abb", "x", "x", "x", false), ("'axb'", nil, "x", "ax", "xb", true),
            ("'axb'", nil, "u", "u", "u", false), ("' '", nil, " ", " ", " ", true), ("'axb'", nil, ".", ".", ".", false),
            ("'s'", nil, "\\", "\\", "\\", false), ("value", "aaaab", "aab", "aa", "ab", true),
            ("value", "ababac", "abac", "abab", "bac", true),
        ] as [(String, String?, String, String, String, Bool)])
    func search(_ operand: String, _ value: String?, _ within: String, _ first: String, _ last: String, _ isThere: Bool) throws {
        let properties = value.map { ["value": $0] } ?? ["whatever": "whatever"]
        for (word, text) in [("contains", within), ("startswith", first), ("ENDSWITH", last)] {
            #expect(try verdict("\(operand) \(word) '\(text)'", properties) == (isThere ? .yes : .no))
            #expect(try verdict("\(operand) not \(word) '\(text)'", properties) == (isThere ? .no : .yes))
        }
    }

    @Test("Nothing is in what is missing or no text, the empty text is in nothing, and NOT changes neither")
    func searchInVain() throws {
        for word in ["contains", "startswith", "endswith", "not contains", "not startswith", "not endswith"] {
            #expect(try verdict("value \(word) 'x'", [:]) == .no)
            #expect(try verdict("value \(word) ''", ["value": "axb"]) == .no)
            #expect(try verdict("1.23 \(word) 'x'", [:]) == .no)
            #expect(try verdict("TRUE \(word) 'x'", [:]) == .no)
            #expect(try verdict("(value = 'x') \(word) 'x'", ["value": "x"]) == .no)
        }
    }

    @Test(
        "What is missing is neither equal nor different; only AND with what is false and OR with what is true decide",
        arguments: [
            Case("a = 1", [:], .unknown), Case("a <> 1", [:], .unknown), Case("a > 1", [:], .unknown), Case("a < b", ["a": "1"], .unknown),
            Case("NOT (a = 1)", [:], .unknown), Case("a IN ('x')", [:], .unknown), Case("a NOT IN ('x')", [:], .unknown),
            Case("a BETWEEN 1 AND 2", [:], .unknown), Case("a = 1 AND TRUE", [:], .unknown), Case("a = 1 AND FALSE", [:], .no),
            Case("FALSE AND a = 1", [:], .no), Case("TRUE AND a = 1", [:], .unknown), Case("a = 1 OR TRUE", [:], .yes),
            Case("TRUE OR a = 1", [:], .yes), Case("a = 1 OR FALSE", [:], .unknown), Case("FALSE OR a = 1", [:], .unknown),
            Case("(a = 1) IS NULL", [:], .yes), Case("(a = 1) IS NOT NULL", [:], .no), Case("NULL", [:], .unknown),
            Case("NULL OR TRUE", [:], .yes), Case("NULL IS NULL", [:], .yes), Case("1 IS NULL", [:], .no),
            // As the reference: both missing are equal, and what is not missing on the left differs.
            Case("a = b", [:], .yes), Case("a <> b", [:], .no), Case("a = b", ["a": "1"], .no), Case("a = b", ["b": "1"], .unknown),
            Case("1 = a", [:], .no), Case("1 <> a", [:], .yes), Case("(a > 1) = (b > 1)", [:], .yes),
            Case("(a > 1) = (b > 1)", ["a": "2"], .no), Case("(a > 1) = (b > 1)", ["b": "2"], .unknown),
            // An empty value is no value: records cannot tell them apart.
            Case("a IS NULL", ["a": ""], .yes),
        ])
    func missing(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "The number in the expression says how the property's text is read",
        arguments: [
            Case("a = 3", ["a": "3"], .yes), Case("a = 3", ["a": "+3"], .yes), Case("a = 3", ["a": "003"], .yes),
            Case("a = 3", ["a": "3.0"], .notComparable), Case("a = 3", ["a": " 3"], .notComparable),
            Case("a = 3", ["a": "3L"], .notComparable),
            Case("a = 3", ["a": "-"], .notComparable), Case("a > 3", ["a": "2147483647"], .yes),
            // A small whole number wants one of 32 bits.
            Case("a > 3", ["a": "2147483648"], .notComparable), Case("a > 2147483648", ["a": "2147483649"], .yes),
            Case("a < -2147483648", ["a": "-9223372036854775808"], .yes),
            Case("a > 2147483648", ["a": "9223372036854775808"], .notComparable),
            Case("a > 3.0", ["a": "3.5"], .yes), Case("a = 3.0", ["a": "3"], .yes), Case("a = 3.0", ["a": " 3 "], .yes),
            Case("a = 3.0", ["a": "3f"], .yes), Case("a = 3.0", ["a": "30e-1"], .yes), Case("a = .5", ["a": ".5"], .yes),
            Case("a > 3.0", ["a": "Infinity"], .yes), Case("a > 3.0", ["a": "NaN"], .yes), Case("a < 3.0", ["a": "-Infinity"], .yes),
            Case("a > 3.0", ["a": "1e"], .notComparable), Case("a > 3.0", ["a": "."], .notComparable),
            Case("a > 3.0", ["a": "1 2"], .notComparable),
            Case("a > 9007199254740992.0", ["a": "9007199254740993"], .no), Case("a > 9007199254740992.0", ["a": "9007199254740994"], .yes),
            Case("a > 0.3", ["a": "0.30000000000000004"], .yes), Case("a = 0.0", ["a": "-0.0"], .no),
            Case("3 < 3.5", [:], .yes), Case("3 = 3.0", [:], .yes), Case("2147483648 > 3", [:], .yes), Case("3 < a", ["a": "4"], .yes),
            Case("a > b", ["a": "1e2", "b": "99"], .yes), Case("a > b", ["a": "x", "b": "99"], .notComparable),
            Case("a = b", ["a": "1.0", "b": "1"], .no),
        ])
    func numbers(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "Truth values: TRUE is text `true` in any case, a property by itself is none",
        arguments: [
            Case("a = TRUE", ["a": "TrUe"], .yes), Case("a = FALSE", ["a": "no"], .yes), Case("a = TRUE", ["a": "1"], .no),
            Case("TRUE = a", ["a": "true"], .yes), Case("TRUE <> a", ["a": "true"], .no), Case("a", ["a": "true"], .no),
            Case("NOT a", ["a": "true"], .yes), Case("a", [:], .unknown), Case("(b > 1) = a", ["a": "true", "b": "2"], .yes),
            Case("a = (b > 1)", ["a": "false", "b": "1"], .yes), Case("(b > 1) = 1", ["b": "2"], .no), Case("TRUE = FALSE", [:], .no),
            Case("a = 1 = TRUE", ["a": "1"], .yes), Case("NOT (NOT (a = 1))", ["a": "1"], .yes),
        ])
    func truths(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "What cannot be compared spoils the whole expression, unless it is not looked at",
        arguments: [
            Case("a > 5 OR TRUE", ["a": "x"], .notComparable), Case("TRUE OR a > 5", ["a": "x"], .yes),
            Case("FALSE AND a > 5", ["a": "x"], .no), Case("b = 1 AND a > 5", ["a": "x"], .notComparable),
            Case("a NOT BETWEEN 1 AND 5", ["a": "x"], .notComparable), Case("NOT (a > 5)", ["a": "x"], .notComparable),
        ])
    func spoiled(_ known: Case) throws {
        #expect(try verdict(known.expression, known.properties) == known.expected)
        let isMatch = try PropertyExpression.compile(known.expression).matches(properties: encoded(known.properties).span.bytes)
        #expect(isMatch == (known.expected == .yes))
    }

    @Test("AND binds closer than OR, comparisons closer than both")
    func precedence() throws {
        let properties = ["n": "7", "TAGS": "odd"]
        #expect(try verdict("n > 6 OR TAGS = 'even' AND n < 3", properties) == .yes)
        #expect(try verdict("(n > 6 OR TAGS = 'even') AND n < 3", properties) == .no)
        #expect(try verdict("n BETWEEN 1 AND 8 AND TAGS = 'odd'", properties) == .yes)
    }

    @Test("Names are told apart by case, the last value of a name counts, and damaged properties are none")
    func names() throws {
        let expression = try PropertyExpression.compile("Color = 'red' AND color = 'blue'")
        #expect(expression.verdict(Array("color\u{1}blue\u{2}Color\u{1}red\u{2}".utf8)) == .yes)
        #expect(expression.verdict(Array("color\u{1}red\u{2}Color\u{1}red\u{2}color\u{1}blue".utf8)) == .yes)
        #expect(expression.verdict(Array("color\u{1}blue\u{2}Color\u{1}red\u{2}color\u{1}red\u{2}".utf8)) == .no)
        for damaged in ["", "\u{1}", "\u{2}", "color", "\u{1}\u{2}\u{1}", "Color\u{2}color\u{1}"] {
            #expect(expression.verdict(Array(damaged.utf8)) == .unknown)
        }
    }
}
