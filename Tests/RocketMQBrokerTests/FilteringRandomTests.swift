import RocketMQBase
import Testing

@testable import RocketMQBroker

/// Random expressions on random messages, against an evaluator that walks a tree of what was generated and does everything
/// the simple way, with `String`, `Int` and `Double`.
struct FilteringRandomTests {
    @Test("Compiled expressions say what a walk of their tree says", arguments: 1...8)
    func random(_ seed: UInt64) throws {
        var generator = ExpressionGenerator(random: RandomSource(seed: seed))
        var seen: [Verdict: Int] = [:]
        for _ in 0..<2500 {
            let tree = generator.condition(depth: 4)
            let text = generator.text(tree)
            let expression = try PropertyExpression.compile(text)
            for _ in 0..<4 {
                let properties = generator.properties()
                let expected = tree.verdict(properties)
                #expect(expression.verdict(encoded(properties)) == expected, "\(text) with \(properties)")
                seen[expected, default: 0] += 1
            }
        }
        for verdict in [Verdict.yes, .no, .unknown, .notComparable] {
            #expect(seen[verdict, default: 0] > 100, "too few of \(verdict) to have tried much")
        }
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
    case isTrue(String, Bool)
    case constant(Bool)
    case not(Tree)
    case and(Tree, Tree)
    case or(Tree, Tree)
    case same(Tree, Tree)

    private struct NotComparable: Error {}

    func verdict(_ properties: [String: String]) -> Verdict {
        do {
            let truth = try evaluate(properties.filter { !$0.value.isEmpty })
            return truth.map { $0 ? .yes : .no } ?? .unknown
        } catch {
            return .notComparable
        }
    }

    private func evaluate(_ properties: [String: String]) throws -> Bool? {
        switch self {
        case .constant(let value): return value
        case .not(let tree): return try tree.evaluate(properties).map { !$0 }
        case .and(let left, let right):
            let first = try left.evaluate(properties)
            if first == false { return false }
            let second = try right.evaluate(properties)
            return second == false ? false : first == nil || second == nil ? nil : true
        case .or(let left, let right):
            let first = try left.evaluate(properties)
            if first == true { return true }
            let second = try right.evaluate(properties)
            return second == true ? true : first == nil || second == nil ? nil : false
        case .same(let left, let right):
            let (first, second) = (try left.evaluate(properties), try right.evaluate(properties))
            if let first { return first == second }
            return second == nil ? true : nil
        case .isNull(let name, let isNegated): return (properties[name] == nil) != isNegated
        case .isTrue(let name, let wanted): return properties[name].map { ($0.lowercased() == "true") == wanted }
        case .isIn(let name, let list, let isNegated): return properties[name].map { list.contains($0) != isNegated }
        case .search(let name, let word, let text, let isNegated):
            guard let value = properties[name], !text.isEmpty else { return false }
            let isThere = word == "CONTAINS" ? value.contains(text) : word == "STARTSWITH" ? value.hasPrefix(text) : value.hasSuffix(text)
            return isThere != isNegated
        case .between(let name, let low, let high, let isNegated):
            let value = Operand.property(name)
            return try isNegated
                ? Tree.or(.compare(value, "<", low), .compare(value, ">", high)).evaluate(properties)
                : Tree.and(.compare(value, ">=", low), .compare(value, "<=", high)).evaluate(properties)
        case .compare(let left, let sign, let right): return try Self.compare(left, sign, right, properties)
        }
    }

    private static func compare(_ left: Operand, _ sign: String, _ right: Operand, _ properties: [String: String]) throws -> Bool? {
        let (first, second) = (resolved(left, properties), resolved(right, properties))
        if sign == "=" || sign == "<>" {
            if first == nil || second == nil {
                let isEqual: Bool? = first == nil && second == nil ? true : first == nil ? nil : false
                return isEqual.map { $0 == (sign == "=") }
            }
            if case .text(let first)? = first, case .text(let second)? = second { return (first == second) == (sign == "=") }
        }
        guard let first, let second else { return nil }
        let order = try order(first, second)
        switch sign {
        case "=": return order == 0
        case "<>": return order != 0
        case "<": return order < 0
        case "<=": return order <= 0
        case ">": return order > 0
        default: return order >= 0
        }
    }

    /// Properties become texts.
    private static func resolved(_ operand: Operand, _ properties: [String: String]) -> Operand? {
        guard case .property(let name) = operand else { return operand }
        return properties[name].map { .text($0) }
    }

    private static func order(_ left: Operand, _ right: Operand) throws -> Int {
        switch (left, right) {
        case (.whole(let left), .whole(let right)): return left < right ? -1 : left == right ? 0 : 1
        case (.whole(let limit), .text(let text)): return try order(limit, whole(text, limit))
        case (.text(let text), .whole(let limit)): return try order(whole(text, limit), limit)
        default:
            let (first, second) = (try fraction(left), try fraction(right))
            return first < second ? -1 : first == second ? 0 : 1
        }
    }

    private static func order(_ left: Int64, _ right: Int64) -> Int { left < right ? -1 : left == right ? 0 : 1 }

    private static func whole(_ text: String, _ limit: Int64) throws -> Int64 {
        if let value = Int64(text), Int32(exactly: limit) == nil || Int32(exactly: value) != nil { return value }
        throw NotComparable()
    }

    private static func fraction(_ operand: Operand) throws -> Double {
        switch operand {
        case .whole(let value): return Double(value)
        case .fraction(let value): return value
        case .text(let text), .property(let text):
            guard let value = Double(text) else { throw NotComparable() }
            return value
        }
    }
}

private struct ExpressionGenerator {
    var random: RandomSource

    private static let names = ["a", "b", "c", "TAGS", "order_id"]
    private static let values = [
        "", "1", "2", "3", "-7", "10", "2.5", "1e2", "0.30000000000000004", "4000000000", "x", "xy", "xyx", "true", "FALSE", "it's",
        "größe",
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
        oneIn(2) ? .whole(pick([-7, 0, 1, 2, 3, 10, 4_000_000_000, .max])) : .fraction(pick([0.5, 1, 2.5, 100, -7, 0.3]))
    }

    mutating func condition(depth: Int) -> Tree {
        if depth > 0, !oneIn(4) {
            switch below(7) {
            case 0...2: return .and(condition(depth: depth - 1), condition(depth: depth - 1))
            case 3...4: return .or(condition(depth: depth - 1), condition(depth: depth - 1))
            case 5: return .not(condition(depth: depth - 1))
            default: return .same(condition(depth: depth - 1), condition(depth: depth - 1))
            }
        }
        let name = pick(Self.names)
        let isNegated = oneIn(2)
        switch below(10) {
        case 0: return .compare(.property(name), pick(["=", "<>"]), oneIn(2) ? .text(pick(Self.values)) : .property(pick(Self.names)))
        case 1...2: return .compare(.property(name), pick(["=", "<>", "<", "<=", ">", ">="]), number())
        case 3: return .compare(number(), pick(["=", "<>", "<", "<=", ">", ">="]), .property(name))
        case 4: return .between(name, .whole(Int64(below(4))), .whole(Int64(4 + below(8))), isNegated: isNegated)
        case 5: return .isIn(name, (0...below(12)).map { _ in pick(Self.values) }, isNegated: isNegated)
        case 6: return .isNull(name, isNegated: isNegated)
        case 7...8: return .search(name, pick(["CONTAINS", "STARTSWITH", "ENDSWITH"]), pick(Self.values), isNegated: isNegated)
        default: return oneIn(3) ? .constant(isNegated) : .isTrue(name, isNegated)
        }
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
        case .and, .or, .not, .same: "(" + text(tree) + ")"
        default: oneIn(3) ? "(" + text(tree) + ")" : text(tree)
        }
    }

    mutating func text(_ tree: Tree) -> String {
        switch tree {
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
