import Testing

@testable import RocketMQBroker

/// Which expressions are accepted, and what is said of the others. The valid and invalid ones of the reference's tests are
/// among them.
struct FilteringParserTests {
    @Test(
        "Expressions that the reference accepts are accepted",
        arguments: [
            "a=3 and b<>4 And c>5 AND d<=4", "a=3  and    b<>4 And c>5 AND d<=4", "a=3 or b<>4 Or c>5 OR d<=4",
            "a in ('3', '4', '5')", "(a not in ('6', '4', '5')) or (b in ('3', '4', '5'))",
            "(a between 2 and 10) AND (b not between 6 and 9)", "a is null", "a is not null", "a <= now",
            "a=3 and b contains 'xxx' and c not contains 'xxx'", "TAGS is not null and TAGS='''''tag'''''", "a", "TRUE", "NULL",
            "NOT (a = 3)",
            "NOT a", "a = TRUE OR (b = 1) = FALSE", "a > -9223372036854775807", "a > .5", "a > 5.", "a > 5E10", "a > 5.e-3", "a > 12L",
            "a = 3 -- for now\n AND b = 4", "a /* first */ = /**/ 3 /* * */", "a > 3and b < 4", "$x = 1 AND _y1 <> 'z'",
            "(((a))) = +3", "NOT NOT (a = 1)", "a NOT BETWEEN 10 AND 2", "a > -9223372036854775808", "a CONTAINS ''", "b AND NOT c",
            "contains CONTAINS 'x'", "endswith = 3", "a = 0.0",
        ])
    func valid(_ expression: String) { #expect(refusal(expression) == nil) }

    @Test(
        "Others are refused, with the place and the reason",
        arguments: [
            ("", 1, "empty"), ("  -- nothing", 1, "empty"),
            ("a and between 2 and 10", 7, "expected a property, a value or (, found between"),
            (" a between 10 and 0", 12, "the lower bound comes first"),
            ("a > 100000000000000000000000", 5, "too large: whole numbers go from -9223372036854775808 to 9223372036854775807"),
            ("a > 9223372036854775808", 5, "too large"), ("a > -9223372036854775809", 6, "too large"),
            ("a > - (9223372036854775808)", 8, "too large"), ("a > 1E309", 5, "too large"), ("a > 1E-400", 5, "too small"),
            ("a > 007", 5, "does not begin with 0"), ("a > 5d AND b = 2", 6, "found d"), ("a > 0x10", 6, "found x10"),
            ("a >> 1", 4, "expected a property, a value or (, found >"),
            ("a = 3 b = 4", 7, "expected AND, OR or the expression's end, found b"), ("a = 3)", 6, "found )"),
            ("(a = 3", 7, "expected AND, OR or ), the expression ends"), ("a = ", 5, "the expression ends"), ("a ! 3", 3, "\"!\""),
            ("a != 3", 3, "write <>"), ("a == 3", 4, "found ="), ("a = 'x", 5, "no end"), ("a = \"x\"", 5, "single quotes"),
            ("a = 3 /* x", 7, "no end"), ("a && b", 3, "write AND"), ("a || b", 3, "write OR"), ("größe > 3", 3, "\"ö\""),
            ("'größe' > 3", 1, "strings are compared"), ("b = 'größe' AND 5", 17, "this is a value"),
            ("a > 'x'", 5, "strings are compared"),
            ("a > TRUE", 5, "neither larger nor smaller"), ("(a = 1) > 3", 1, "neither larger nor smaller"),
            ("a > 3 > 4", 1, "neither larger nor smaller"), ("a = NULL", 5, "IS NULL"), ("NULL <> a", 1, "IS NULL"),
            ("a IN (1, 2)", 7, "expected a string in quotes, found 1"), ("a IN ()", 7, "expected a string"), ("a IN 'x'", 6, "expected ("),
            ("a IN ('x' 'y')", 11, "expected , or )"), ("'x' IN ('x')", 1, "expected a property before IN"),
            ("a NOT 3", 7, "after NOT"), ("a IS 3", 6, "expected NULL or NOT NULL"), ("a IS NOT 3", 10, "expected NULL, found 3"),
            ("a BETWEEN 1 OR 3", 13, "expected AND and the upper bound"), ("a contains x", 12, "expected a string in quotes, found x"),
            ("a not contains 123", 16, "expected a string in quotes"), ("'axb' contains ", 16, "the expression ends"),
            ("'x'", 1, "this is a value"), ("5 OR a = 1", 1, "this is a value"), ("a = 1 AND 5", 11, "this is a value"),
            ("-a = 3", 1, "expected a number after -"), ("NOT a = 3", 7, "put parentheses around the comparison"),
            ("NOT a IN ('x')", 7, "put parentheses"), ("NOT a IS NULL", 7, "put parentheses"), ("TRUE = 3", 8, "expected TRUE or FALSE"),
        ])
    func invalid(_ expression: String, _ character: Int, _ reason: String) throws {
        let error = try #require(refusal(expression))
        #expect(error.character == character, "\(error)")
        #expect(error.reason.contains(reason), "\(error)")
        #expect(error.description.hasPrefix("at character \(character): "))
    }

    @Test("Text that is too long is refused before it is looked at")
    func tooLong() throws {
        let digits = String(repeating: "1", count: 104_449)
        let error = try #require(refusal("a > \(digits).\(digits)"))
        #expect(error.reason.contains("at most 32768"))
        #expect(refusal("a = '\(String(repeating: "x", count: 32_000))'") == nil)
        #expect(refusal("a > 1.\(String(repeating: "1", count: 2000))")?.reason.contains("digits") == true)
    }

    @Test("However deep an expression is nested, it is refused and nothing overflows")
    func tooDeep() throws {
        let deep = 10_000
        for (before, after) in [
            ("(", ")"), ("NOT ", ""), ("+", ""), ("- ", ""), ("(NOT ", ")"), ("TRUE = (", ")"), ("a OR (b AND (", "))"),
        ] {
            let expression = String(repeating: before, count: deep / 8) + "a = 1" + String(repeating: after, count: deep / 8)
            let error = try #require(refusal(expression), "\(before)")
            #expect(error.reason.contains("nested more than 64 levels"), "\(error)")
        }
        let fine = String(repeating: "(", count: 64) + "a = 1" + String(repeating: ")", count: 64)
        #expect(try verdict(fine, ["a": "1"]) == .yes)
    }

    @Test("Results put aside at every level are all kept, or the expression is refused")
    func putAside() throws {
        // Each level puts two aside: an OR's left side and an AND's.
        func nested(_ levels: Int, innermost: String) -> String {
            String(repeating: "FALSE OR TRUE AND (", count: levels) + innermost + String(repeating: ")", count: levels)
        }
        #expect(try verdict(nested(32, innermost: "a = 1"), ["a": "1"]) == .yes)
        #expect(try verdict(nested(32, innermost: "a = 1"), ["a": "2"]) == .no)
        #expect(try verdict(nested(32, innermost: "a = 1"), [:]) == .unknown)
        #expect(refusal(nested(33, innermost: "a = 1"))?.reason.contains("nested") == true)
    }

    @Test("Conditions, properties and listed values are counted")
    func counts() throws {
        let many = (0..<512).map { "a = '\($0)'" }
        #expect(try verdict(many.joined(separator: " OR "), ["a": "511"]) == .yes)
        #expect(refusal((many + ["b = 1"]).joined(separator: " OR "))?.reason.contains("more than 512 conditions") == true)
        let names = (0..<64).map { "p\($0) = '1'" }
        #expect(try verdict(names.joined(separator: " AND "), Dictionary(uniqueKeysWithValues: (0..<64).map { ("p\($0)", "1") })) == .yes)
        #expect(refusal((names + ["p64 = '1'"]).joined(separator: " AND "))?.reason.contains("more than 64 properties") == true)
        let searches = (0..<64).map { "a CONTAINS '\($0)'" }
        #expect(try verdict(searches.joined(separator: " AND "), ["a": searches.joined()]) == .yes)
        #expect(refusal((searches + ["a CONTAINS 'x'"]).joined(separator: " OR "))?.reason.contains("CONTAINS") == true)
        let listed = "a IN (" + (0..<2000).map { "'\($0)'" }.joined(separator: ",") + ")"
        #expect(try verdict(listed, ["a": "1999"]) == .yes)
        #expect(try verdict(listed, ["a": "2000"]) == .no)
    }
}
