import Testing

@testable import RocketMQBroker

/// What expressions make of messages. The cases of the reference's own tests come first; then three-valued logic, numbers and truth
/// values, where the reference drops messages that anybody would expect.
struct FilteringEvaluationTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var expression: String
        var properties: [String: String]
        var expected: Truth

        init(_ expression: String, _ properties: [String: String], _ expected: Truth) {
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
            Case("a between up and low", ["a": "3.14", "up": "up", "low": "low"], .unknown),
            Case("key is not null and key between 0 and 100", ["key": "con"], .unknown),
            Case("a between 0 and 100", ["a": "abc"], .unknown), Case("a=b", ["a": "3.14", "b": "3.14"], .yes),
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

    @Test("Every text begins with, ends with and contains the empty one; what is missing or no text is unknown")
    func searchInVain() throws {
        for word in ["contains", "startswith", "endswith"] {
            #expect(try verdict("value \(word) ''", ["value": "axb"]) == .yes)
            #expect(try verdict("value not \(word) ''", ["value": "axb"]) == .no)
            for negation in ["", "not "] {
                #expect(try verdict("value \(negation)\(word) 'x'", [:]) == .unknown)
                #expect(try verdict("NOT (value \(negation)\(word) '')", [:]) == .unknown)
                #expect(try verdict("1.23 \(negation)\(word) '2'", [:]) == .unknown)
                #expect(try verdict("TRUE \(negation)\(word) 'x'", [:]) == .unknown)
                #expect(try verdict("(value = 'x') \(negation)\(word) 'x'", ["value": "x"]) == .unknown)
            }
        }
    }

    @Test(
        "Whatever is asked of a missing property is unknown, on either side, also what two missing ones have to do with one another",
        arguments: [
            "a = 1", "a <> 1", "1 = a", "1 <> a", "a > 1", "1 >= a", "a = 'x'", "a <> 'x'", "'x' = a", "'x' <> a", "a = TRUE", "a <> TRUE",
            "FALSE = a", "a", "NOT a", "NOT (a = 1)", "a IN ('x')", "a NOT IN ('x')", "a BETWEEN 1 AND 2", "a NOT BETWEEN 1 AND 2",
            "1 BETWEEN a AND 2", "a CONTAINS 'x'", "a NOT CONTAINS 'x'", "NOT (a STARTSWITH 'x')", "a = b", "a <> b", "b = a", "a < b",
            "a = c", "a <> c", "a >= c", "a = a", "(a > 1) = (b > 1)", "(a > 1) = (c > 1)", "(a > 1) <> (b > 1)", "(b > 1) = a",
            "a = (b > 1)", "(a = 1) = TRUE", "NULL", "NOT NULL", "a = b AND TRUE", "a = b OR FALSE",
        ])
    func missing(_ expression: String) throws {
        #expect(try verdict(expression, ["b": "7"]) == .unknown)
        // An empty value is no value: records cannot tell them apart.
        #expect(try verdict(expression, ["b": "7", "a": "", "c": ""]) == .unknown)
    }

    @Test("AND, OR and NOT go by Kleene's tables")
    func kleene() throws {
        let texts: [(String, Bool?)] = [("(b = 7)", true), ("(b = 8)", false), ("(a = 7)", nil)]
        func truth(_ value: Bool?) -> Truth { value.map { Truth($0) } ?? .unknown }
        for (left, first) in texts {
            #expect(try verdict("NOT \(left)", ["b": "7"]) == truth(first.map { !$0 }))
            #expect(try verdict("\(left) IS NULL", ["b": "7"]) == truth(first == nil))
            #expect(try verdict("\(left) IS NOT NULL", ["b": "7"]) == truth(first != nil))
            for (right, second) in texts {
                let and = first == false || second == false ? false : first == nil || second == nil ? nil : true
                let or = first == true || second == true ? true : first == nil || second == nil ? nil : false
                #expect(try verdict("\(left) AND \(right)", ["b": "7"]) == truth(and))
                #expect(try verdict("\(left) OR \(right)", ["b": "7"]) == truth(or))
            }
        }
    }

    @Test(
        "Numbers are compared as numbers, however either side is written",
        arguments: [
            // What reads properties as 32 bits by the literal's form finds none of these.
            Case("ts > 0", ["ts": "1763749664123"], .yes), Case("ts BETWEEN 1 AND 1763749664123", ["ts": "1763749664123"], .yes),
            Case("price > 2", ["price": "2.50"], .yes), Case("price = 2", ["price": "2.00"], .yes),
            Case("price <> 2", ["price": "2.50"], .yes), Case("price = 2.5", ["price": "2.50"], .yes),
            Case("2 < price", ["price": "2.50"], .yes), Case("price BETWEEN 2 AND 3", ["price": "2.50"], .yes),
            Case("price NOT BETWEEN 2 AND 3", ["price": "3.01"], .yes), Case("a = 3", ["a": "3"], .yes), Case("a = 3", ["a": "+3"], .yes),
            Case("a = 3", ["a": "003"], .yes), Case("a = 3", ["a": " 3 "], .yes), Case("a = 3", ["a": "3."], .yes),
            Case("a = 3", ["a": "30e-1"], .yes), Case("a = 3L", ["a": "3.0"], .yes), Case("a = 1500", ["a": "1.5E+3"], .yes),
            Case("a > -5", ["a": "-4.9"], .yes), Case("a = - 5", ["a": "-5"], .yes), Case("a < - -5", ["a": "4"], .yes),
            Case("a = .5", ["a": "0.50"], .yes), Case("a = 5.", ["a": "5"], .yes), Case("a > 3.1E10", ["a": "31000000001"], .yes),
            Case("a > 0.3", ["a": "0.30000000000000004"], .yes), Case("a = 0.0", ["a": "-0.0"], .yes), Case("a = 0", ["a": "-0"], .yes),
            Case("3 < 3.5", [:], .yes), Case("3 = 3.0", [:], .yes), Case("2147483648 > 3", [:], .yes), Case("'5' = 5.0", [:], .yes),
            // Two properties: larger by their numbers, equal by their texts.
            Case("a > b", ["a": "1e2", "b": "99"], .yes), Case("a = b", ["a": "1.0", "b": "1"], .no),
            Case("a <> b", ["a": "1.0", "b": "1"], .yes), Case("a >= b", ["a": "1.0", "b": "1"], .yes),
        ])
    func numbers(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "Whole numbers of 64 bits and doubles are compared without loss",
        arguments: [
            Case("a > 9007199254740992.0", ["a": "9007199254740993"], .yes), Case("a = 9007199254740992.0", ["a": "9007199254740993"], .no),
            Case("a = 9007199254740992.0", ["a": "9007199254740992"], .yes), Case("a = 9007199254740993", ["a": "9007199254740993"], .yes),
            Case("a < 9007199254740993", ["a": "9007199254740992.0"], .yes),
            Case("a > -9007199254740993", ["a": "-9007199254740992.0"], .yes),
            Case("a = 9223372036854775807", ["a": "9223372036854775807"], .yes),
            Case("a > 9223372036854775807", ["a": "9223372036854775808"], .yes),
            Case("a < 9223372036854775807", ["a": "9223372036854775806"], .yes),
            Case("a < 9.223372036854775807E18", ["a": "9223372036854775807"], .yes),
            Case("a = -9223372036854775808", ["a": "-9223372036854775808"], .yes),
            Case("a > -9223372036854775808", ["a": "-9223372036854775807"], .yes),
            Case("a < -9223372036854775808", ["a": "-9223372036854777856"], .yes),
            Case("a = -9223372036854775808L", ["a": "-9.223372036854775808e18"], .yes), Case("a > 1E308", ["a": "1e400"], .yes),
            Case("a > 9223372036854775807", ["a": "18446744073709551616"], .yes),
            Case("a = 1.8446744073709551616E19", ["a": "18446744073709551616"], .yes),
            Case("a > 0", ["a": "0.5"], .yes), Case("a > -1", ["a": "-0.5"], .yes), Case("a < 0", ["a": "-0.5"], .yes),
        ])
    func exactly(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "Text that is no number, compared with one, is unknown: neither the comparison nor its negation lets the message through",
        arguments: [
            "x", "-", "+", ".", "1e", "e5", "1 2", "1,5", "3L", "3f", "3d", "0x10", "1_000", "--1", "+-1", "1.2.3", "NaN", "nan",
            "Infinity", "-Infinity",
            "inf", "infinity", "true", "１２", "1e5.0", String(repeating: "1", count: 400), "6.5f", "0.\(String(repeating: "5", count: 200))",
        ])
    func noNumber(_ text: String) throws {
        for test in [
            "a = 3", "a <> 3", "a > 3", "a <= 3.5", "3 < a", "a BETWEEN 0 AND 5", "a NOT BETWEEN 0 AND 5", "a > b", "b >= a", "a = 1E9",
        ] {
            #expect(try verdict(test, ["a": text, "b": "1"]) == .unknown)
            #expect(try verdict("NOT (\(test))", ["a": text, "b": "1"]) == .unknown)
            // It spoils nothing else, whichever comes first.
            #expect(try verdict("\(test) OR b = 1", ["a": text, "b": "1"]) == .yes)
            #expect(try verdict("b = 1 OR \(test)", ["a": text, "b": "1"]) == .yes)
            #expect(try verdict("\(test) AND b = 2", ["a": text, "b": "1"]) == .no)
        }
        // As texts they are what they are.
        #expect(try verdict("a = '\(text)' AND a IN ('\(text)')", ["a": text]) == .yes)
    }

    @Test(
        "A property alone is true for true, false for false, in any case; other texts are no truth values",
        arguments: [
            Case("a", ["a": "true"], .yes), Case("a", ["a": "TrUe"], .yes), Case("a", ["a": "false"], .no), Case("a", ["a": "FALSE"], .no),
            Case("a", ["a": "1"], .unknown), Case("a", ["a": "yes"], .unknown), Case("a", ["a": "truest"], .unknown),
            Case("NOT a", ["a": "true"], .no), Case("NOT a", ["a": "false"], .yes), Case("NOT a", ["a": "no"], .unknown),
            Case("a AND b", ["a": "true", "b": "TRUE"], .yes), Case("a OR b", ["a": "x", "b": "true"], .yes),
            Case("(a)", ["a": "true"], .yes), Case("a AND b > 5", ["a": "true", "b": "6"], .yes), Case("TRUE", [:], .yes),
            Case("FALSE", [:], .no),
        ])
    func alone(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

    @Test(
        "Compared with TRUE and FALSE, every text but true counts as false, as in the reference",
        arguments: [
            Case("a = TRUE", ["a": "TrUe"], .yes), Case("a = FALSE", ["a": "no"], .yes), Case("a = TRUE", ["a": "1"], .no),
            Case("a <> TRUE", ["a": "0"], .yes), Case("a <> FALSE", ["a": "true"], .yes), Case("a = FALSE", ["a": "false"], .yes),
            Case("TRUE = a", ["a": "true"], .yes), Case("TRUE <> a", ["a": "true"], .no),
            Case("(b > 1) = a", ["a": "true", "b": "2"], .yes),
            Case("a = (b > 1)", ["a": "false", "b": "1"], .yes), Case("TRUE = FALSE", [:], .no), Case("a = 1 = TRUE", ["a": "1"], .yes),
            Case("NOT (NOT (a = 1))", ["a": "1"], .yes), Case("a = 'true'", ["a": "TRUE"], .no),
            // No number is true or false.
            Case("(b > 1) = 1", ["b": "2"], .unknown), Case("(b > 1) <> 1", ["b": "2"], .unknown), Case("1 = TRUE", [:], .unknown),
        ])
    func truths(_ known: Case) throws { #expect(try verdict(known.expression, known.properties) == known.expected) }

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
