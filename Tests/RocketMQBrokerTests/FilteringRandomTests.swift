import RocketMQBase
import Testing

@testable import RocketMQBroker

/// Random expressions on random messages, against a model that walks a tree of what was generated and does everything the simple
/// way: `Bool?` for truth, `String` for texts, whole numbers and fractions side by side.
struct FilteringRandomTests {
    @Test("Compiled expressions say what three-valued logic says of their tree", arguments: 1...8)
    func random(_ seed: UInt64) throws {
        var generator = ExpressionGenerator(random: RandomSource(seed: seed))
        var seen: [Truth: Int] = [:]
        for _ in 0..<2500 {
            let tree = generator.condition(depth: 4)
            let text = generator.text(tree)
            let expression = try PropertyExpression.compile(text)
            for _ in 0..<4 {
                let properties = generator.properties()
                let expected = tree.truth(properties.filter { !$0.value.isEmpty }).map { $0 ? Truth.yes : .no } ?? .unknown
                let bytes = encoded(properties)
                #expect(expression.verdict(bytes) == expected, "\(text) with \(properties)")
                #expect(expression.matches(properties: bytes.span.bytes) == (expected == .yes), "\(text) with \(properties)")
                seen[expected, default: 0] += 1
            }
        }
        for truth in [Truth.yes, .no, .unknown] { #expect(seen[truth, default: 0] > 1000, "too few of \(truth) to have tried much") }
    }

    @Test("Whatever is cut from or put into an expression, compiling ends with an expression or a place within it")
    func damaged() {
        var generator = ExpressionGenerator(random: RandomSource(seed: 99))
        for _ in 0..<5000 {
            let tree = generator.condition(depth: 3)
            var bytes = Array(generator.text(tree).utf8)
            for _ in 0..<3 where !bytes.isEmpty {
                let place = generator.below(bytes.count)
                if generator.below(2) == 0 { bytes.remove(at: place) } else { bytes.insert(UInt8(generator.below(256)), at: place) }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            if let error = refusal(text) {
                #expect(error.character >= 1 && error.character <= text.unicodeScalars.count + 1, "\(error) in \(text)")
            }
        }
    }
}

private indirect enum Tree {
    enum Operand {
        case property(String), text(String), whole(Int64), fraction(Double)
    }

    case compare(Operand, String, Operand)
    case between(String, Operand, Operand, isNegated: Bool)
    case isIn(String, [String], isNegated: Bool)
    case isNull(String, isNegated: Bool)
    case search(String, String, String, isNegated: Bool)
    case alone(String)
    case isTrue(String, Bool)
    case constant(Bool)
    case isUnknown(Tree, isNegated: Bool)
    case not(Tree)
    case and(Tree, Tree)
    case or(Tree, Tree)
    case same(Tree, Tree)
    case sameAsProperty(Tree, String)

    /// What is true of a message with these properties, if it can be said.
    func truth(_ properties: [String: String]) -> Bool? {
        switch self {
        case .constant(let value): return value
        case .not(let tree): return tree.truth(properties).map { !$0 }
        case .and(let left, let right):
            let both = [left.truth(properties), right.truth(properties)]
            return both.contains(false) ? false : both.contains(nil) ? nil : true
        case .or(let left, let right):
            let both = [left.truth(properties), right.truth(properties)]
            return both.contains(true) ? true : both.contains(nil) ? nil : false
        case .same(let left, let right):
            guard let left = left.truth(properties), let right = right.truth(properties) else { return nil }
            return left == right
        case .sameAsProperty(let tree, let name):
            guard let truth = tree.truth(properties), let text = properties[name] else { return nil }
            return truth == (text.lowercased() == "true")
        case .isUnknown(let tree, let isNegated): return (tree.truth(properties) == nil) != isNegated
        case .isNull(let name, let isNegated): return (properties[name] == nil) != isNegated
        case .alone(let name): return properties[name].flatMap { ["true": true, "false": false][$0.lowercased()] }
        case .isTrue(let name, let wanted): return properties[name].map { ($0.lowercased() == "true") == wanted }
        case .isIn(let name, let list, let isNegated): return properties[name].map { list.contains($0) != isNegated }
        case .search(let name, let word, let text, let isNegated):
            guard let value = properties[name] else { return nil }
            let isThere = word == "CONTAINS" ? value.contains(text) : word == "STARTSWITH" ? value.hasPrefix(text) : value.hasSuffix(text)
            return (isThere || text.isEmpty) != isNegated
        case .between(let name, let low, let high, let isNegated):
            let value = Operand.property(name)
            let within = Tree.and(.compare(low, "<=", value), .compare(value, "<=", high)).truth(properties)
            return within.map { $0 != isNegated }
        case .compare(let left, let sign, let right): return Self.compare(left, sign, right, properties)
        }
    }

    private static func compare(_ left: Operand, _ sign: String, _ right: Operand, _ properties: [String: String]) -> Bool? {
        guard let left = value(left, properties), let right = value(right, properties) else { return nil }
        if sign == "=" || sign == "<>", let left = left.text, let right = right.text { return (left == right) == (sign == "=") }
        guard let left = left.number, let right = right.number else { return nil }
        let (isLess, isMore) = (left < right, right < left)
        switch sign {
        case "=": return !isLess && !isMore
        case "<>": return isLess || isMore
        case "<": return isLess
        case "<=": return !isMore
        case ">": return isMore
        default: return !isLess
        }
    }

    private static func value(_ operand: Operand, _ properties: [String: String]) -> (text: String?, number: Number?)? {
        switch operand {
        case .property(let name): properties[name].map { ($0, Number($0)) }
        case .text(let text): (text, Number(text))
        case .whole(let value): (nil, Number(whole: value))
        case .fraction(let value): (nil, Number(fraction: value))
        }
    }
}

/// A number as what is whole of it, rounded down, and the rest.
private struct Number: Comparable {
    var whole: Int128
    var rest: Double

    init(whole: Int64) { (self.whole, rest) = (Int128(whole), 0) }

    init(fraction: Double) {
        whole = Int128(fraction.rounded(.down))
        rest = fraction - fraction.rounded(.down)
    }

    init?(_ text: String) {
        let trimmed = String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        if let whole = Int64(trimmed) {
            self = Number(whole: whole)
            return
        }
        // No hexadecimal form, nothing infinite.
        guard trimmed.allSatisfy({ "+-.eE0123456789".contains($0) }), let fraction = Double(trimmed) else { return nil }
        self = Number(fraction: fraction)
    }

    static func < (left: Number, right: Number) -> Bool { (left.whole, left.rest) < (right.whole, right.rest) }
}

private struct ExpressionGenerator {
    var random: RandomSource

    private static let names = ["a", "b", "c", "TAGS", "order_id"]
    private static let values = [
        "", "1", "2", "3", "-7", "10", "2.5", "2.50", " 3", "-0.0", "1e2", "0.30000000000000004", "4000000000", "9007199254740993",
        "9007199254740992.0", "9223372036854775808", "x", "xy", "xyx", "true", "True", "FALSE", "false", "NaN", "Infinity", "0x10", "3f",
        "it's", "größe",
    ]

    mutating func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
    private mutating func pick<Element>(_ choices: [Element]) -> Element { choices[below(choices.count)] }
    private mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }

    mutating func properties() -> [String: String] {
        var properties: [String: String] = ["UNIQ_KEY": "7F00000100002A9F"]
        for name in Self.names where !oneIn(4) { properties[name] = pick(Self.values) }
        return properties
    }

    private mutating func number() -> Tree.Operand {
        oneIn(2)
            ? .whole(pick([-7, 0, 1, 2, 3, 10, 4_000_000_000, 9_007_199_254_740_993, .max, .min]))
            : .fraction(pick([0.5, 1, 2.5, 100, -7, 0.3, 0x1p53, 0x1p63, -0x1p63]))
    }

    mutating func condition(depth: Int) -> Tree {
        if depth > 0, !oneIn(4) {
            switch below(9) {
            case 0...2: return .and(condition(depth: depth - 1), condition(depth: depth - 1))
            case 3...4: return .or(condition(depth: depth - 1), condition(depth: depth - 1))
            case 5: return .not(condition(depth: depth - 1))
            case 6: return .isUnknown(tested(depth: depth - 1), isNegated: oneIn(2))
            case 7: return .sameAsProperty(tested(depth: depth - 1), pick(Self.names))
            default: return .same(tested(depth: depth - 1), tested(depth: depth - 1))
            }
        }
        let name = pick(Self.names)
        let isNegated = oneIn(2)
        switch below(12) {
        case 0: return .compare(.property(name), pick(["=", "<>"]), oneIn(2) ? .text(pick(Self.values)) : .property(pick(Self.names)))
        case 1...2: return .compare(.property(name), pick(["=", "<>", "<", "<=", ">", ">="]), number())
        case 3: return .compare(number(), pick(["=", "<>", "<", "<=", ">", ">="]), .property(name))
        case 4: return .between(name, .whole(Int64(below(4))), .whole(Int64(4 + below(8))), isNegated: isNegated)
        case 5: return .isIn(name, (0...below(12)).map { _ in pick(Self.values) }, isNegated: isNegated)
        case 6: return .isNull(name, isNegated: isNegated)
        case 7...8: return .search(name, pick(["CONTAINS", "STARTSWITH", "ENDSWITH"]), pick(Self.values), isNegated: isNegated)
        case 9: return .alone(name)
        case 10: return .compare(.property(name), pick(["<", "<=", ">", ">="]), .property(pick(Self.names)))
        default: return oneIn(3) ? .constant(isNegated) : .isTrue(name, isNegated)
        }
    }

    /// A condition to be compared or looked at, where a property alone would be its text.
    private mutating func tested(depth: Int) -> Tree {
        let tree = condition(depth: depth)
        if case .alone = tree { return .not(tree) }
        return tree
    }

    // MARK: Writing down

    private mutating func word(_ word: String) -> String { oneIn(2) ? word.lowercased() : word }
    private mutating func blank() -> String { pick([" ", " ", " ", "\n", "\t ", " /* so */ ", " -- so\n"]) }
    private func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }

    private func text(_ operand: Tree.Operand) -> String {
        switch operand {
        case .property(let name): name
        case .text(let text): quoted(text)
        case .whole(let value): "\(value)"
        case .fraction(let value): "\(value)"
        }
    }

    /// Parentheses around what binds no closer than its surroundings, and sometimes around the rest.
    private mutating func inner(_ tree: Tree) -> String {
        switch tree {
        case .and, .or, .not, .same, .sameAsProperty, .isUnknown: "(" + text(tree) + ")"
        default: oneIn(3) ? "(" + text(tree) + ")" : text(tree)
        }
    }

    mutating func text(_ tree: Tree) -> String {
        switch tree {
        case .alone(let name): return name
        case .isUnknown(let tree, let isNegated): return "(\(text(tree))) IS " + (isNegated ? word("NOT") + " " : "") + word("NULL")
        case .sameAsProperty(let tree, let name): return oneIn(2) ? "(\(text(tree))) = \(name)" : "\(name) = (\(text(tree)))"
        case .constant(let value): return word(value ? "TRUE" : "FALSE")
        case .not(let tree): return word("NOT") + blank() + "(" + text(tree) + ")"
        case .and(let left, let right):
            // AND binds closer than OR.
            if case .or = left { return "(\(text(left))) AND \(inner(right))" }
            return text(left) + blank() + word("AND") + blank() + inner(right)
        case .or(let left, let right): return text(left) + blank() + word("OR") + blank() + (oneIn(2) ? inner(right) : conjunction(right))
        case .same(let left, let right): return "(\(text(left)))" + blank() + "=" + blank() + "(\(text(right)))"
        case .compare(let left, let sign, let right): return "\(text(left)) \(sign) \(text(right))"
        case .between(let name, let low, let high, let isNegated):
            return name + blank() + (isNegated ? word("NOT") + " " : "") + word("BETWEEN") + blank() + text(low) + blank() + word("AND")
                + blank() + text(high)
        case .isIn(let name, let list, let isNegated):
            return name + blank() + (isNegated ? word("NOT") + " " : "") + word("IN") + "(" + list.map(quoted).joined(separator: " , ")
                + ")"
        case .isNull(let name, let isNegated):
            return name + " " + word("IS") + blank() + (isNegated ? word("NOT") + " " : "") + word("NULL")
        case .search(let name, let search, let text, let isNegated):
            return name + blank() + (isNegated ? word("NOT") + " " : "") + word(search) + blank() + quoted(text)
        case .isTrue(let name, let wanted): return name + "=" + word(wanted ? "TRUE" : "FALSE")
        }
    }

    /// What may stand right of OR without parentheses.
    private mutating func conjunction(_ tree: Tree) -> String {
        if case .or = tree { return "(" + text(tree) + ")" }
        return text(tree)
    }
}
