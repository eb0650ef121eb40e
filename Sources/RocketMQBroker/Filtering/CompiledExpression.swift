import RocketMQBase
import RocketMQProtocol

/// Conditions on the properties of messages, as consumers write them to subscribe by SQL92.
///
/// Expressions mean what they mean in the reference, its oddities included (`-0.0` is not `0.0`, `a > 10` does not compare
/// with 10.5, a property alone is never true). These differ:
/// - What the reference ignores or what can never match is refused: anything after a whole expression (`a = 1 b = 2`),
///   `NOT a = 1`, which it takes for `(NOT a) = 1`, negatives of anything but numbers, `BETWEEN 5 AND -5`, `007`.
/// - What it accepts by halves is whole: `a > 0.0`, `TRUE = a` (to it, an error in every message), `--` up to the text's end,
///   properties named `contains`, `startswith` and `endswith` as before 5.x.
/// - Numbers in properties have ASCII digits, no hexadecimal form and at most `PropertyNumber.longestText` bytes.
enum PropertyExpression {
    /// Compiles an expression such as `amount > 10 AND region IN ('EU', 'US')`.
    static func compile(_ text: String) throws(ExpressionError) -> CompiledExpression {
        var parser = try ExpressionParser(Array(text.utf8))
        return try parser.compile()
    }
}

/// An expression ready to be applied to messages. Applying it allocates nothing: text is compared and numbers are read in
/// place.
struct CompiledExpression: Sendable {
    let instructions: [ExpressionInstruction]
    /// Names of the properties that the expression looks at, within `constants`.
    let names: [TextPlace]
    /// The texts after IN, within `constants`; those of one list lie together, sorted by length and bytes.
    let lists: [TextPlace]
    /// All texts of the expression.
    let constants: [UInt8]
    /// By byte of `constants` within a text to be searched for: how much of the text's beginning ends there too. Empty when
    /// nothing is searched for.
    let borders: [UInt16]

    /// A property's text cannot be compared in the way that the expression asks for: `a > 5` where a is `x`. The message
    /// does not match then, whatever else the expression says.
    struct NotComparable: Error {}

    /// Whether a message has the properties that the expression asks for. When that is unknown it has not.
    ///
    /// - Parameter properties: as records hold them, `name\u{1}value\u{2}…`.
    func matches(properties: RawSpan) -> Bool {
        do throws(NotComparable) { return try truth(properties: properties) == .yes } catch { return false }
    }

    func truth(properties: RawSpan) throws(NotComparable) -> Truth {
        let message = MessageOperands(properties, self)
        var register = Truth.unknown
        var stack = TruthStack()
        var index = 0
        while index < instructions.count {
            switch instructions[index] {
            case .constant(let truth): register = truth
            case .propertyAsCondition(let property): register = message.isMissing(property) ? .unknown : .no
            case .order(let order, let left, let right): register = try message.order(order, left, right)
            case .equal(let left, let right): register = try message.equal(message.value(left), message.value(right))
            case .isNull(let operand): register = Truth(message.value(operand).isNull)
            case .isOneOf(let property, let list): register = message.isOneOf(property, lists, list)
            case .search(let search, let operand, let text, let isNegated):
                register = Truth(message.search(search, operand, text, borders, isNegated: isNegated))
            case .not: register = register.negated
            case .conditionIsUnknown: register = Truth(register == .unknown)
            case .conditionEqual(let right): register = try message.equal(.init(register), message.value(right))
            case .equalCondition(let left): register = try message.equal(message.value(left), .init(register))
            case .equalConditions: register = try message.equal(.init(stack.pop()), .init(register))
            case .putAside: stack.push(register)
            case .and:
                let left = stack.pop()
                if register == .yes { register = left }
            case .or:
                let left = stack.pop()
                if register == .no { register = left }
            case .skipIfNo(let target):
                if register == .no {
                    index = target
                    continue
                }
            case .skipIfYes(let target):
                if register == .yes {
                    index = target
                    continue
                }
            }
            index += 1
        }
        return register
    }
}

/// Conditions put aside, two bits each. The compiler lets no expression put more than 64 aside.
private struct TruthStack {
    private var bits: UInt128 = 0

    @inline(__always)
    mutating func push(_ truth: Truth) { bits = bits << 2 | UInt128(truth.rawValue) }

    @inline(__always)
    mutating func pop() -> Truth {
        defer { bits >>= 2 }
        return Truth(rawValue: UInt8(truncatingIfNeeded: bits & 3)) ?? .unknown
    }
}

/// What an operand is for one message.
private enum OperandValue {
    case null, truth(Bool), number(PropertyNumber)
    /// Text of the message, or of the expression.
    case property(TextPlace), constant(TextPlace)

    @inline(__always)
    init(_ condition: Truth) { self = condition == .unknown ? .null : .truth(condition == .yes) }

    var isNull: Bool { if case .null = self { true } else { false } }
}

/// The operands of an expression with the properties of one message.
private struct MessageOperands: ~Escapable {
    private let properties: RawSpan
    private let constants: RawSpan
    private var places = InlineArray<64, TextPlace>(repeating: .missing)

    /// Finds all properties that the expression names in one go. Of a name that stands twice the last value counts.
    @_lifetime(copy properties, borrow expression)
    init(_ properties: RawSpan, _ expression: borrowing CompiledExpression) {
        self.properties = properties
        constants = expression.constants.span.bytes
        let names = expression.names.span
        guard !names.isEmpty else { return }
        var scanner = PropertyScanner(properties)
        while let (name, value) = scanner.next() {
            for index in names.indices where names[index].count == name.count {
                guard constants.extracting(names[index].range).equals(properties.extracting(name)) else { continue }
                places[index] = TextPlace(value)
                break
            }
        }
    }

    @inline(__always)
    func isMissing(_ property: Int) -> Bool { places[property].isMissing }

    @inline(__always)
    func value(_ operand: ExpressionOperand) -> OperandValue {
        switch operand {
        case .property(let index): places[index].isMissing ? .null : .property(places[index])
        case .text(let place): .constant(place)
        case .number(let number): .number(number)
        case .truth(let isTrue): .truth(isTrue)
        case .null: .null
        }
    }

    @_lifetime(copy self)
    @inline(__always)
    private func text(_ value: OperandValue) -> RawSpan? {
        switch value {
        case .property(let place): properties.extracting(place.range)
        case .constant(let place): constants.extracting(place.range)
        default: nil
        }
    }

    // MARK: Comparing

    func order(
        _ order: ExpressionInstruction.Order, _ left: ExpressionOperand, _ right: ExpressionOperand
    ) throws(CompiledExpression.NotComparable) -> Truth {
        let (left, right) = (value(left), value(right))
        if left.isNull || right.isNull { return .unknown }
        let sign = try self.sign(left, right)
        return switch order {
        case .less: Truth(sign < 0)
        case .lessOrEqual: Truth(sign <= 0)
        case .greater: Truth(sign > 0)
        case .greaterOrEqual: Truth(sign >= 0)
        }
    }

    /// Texts are read as the number that they are compared with; of two texts both must be numbers.
    private func sign(_ left: OperandValue, _ right: OperandValue) throws(CompiledExpression.NotComparable) -> Int {
        switch (left, right) {
        case (.number(let left), .number(let right)): return PropertyNumber.order(left, right)
        case (.number(let left), _):
            guard let text = text(right), let right = left.read(text) else { throw CompiledExpression.NotComparable() }
            return PropertyNumber.order(left, right)
        case (_, .number(let right)):
            guard let text = text(left), let left = right.read(text) else { throw CompiledExpression.NotComparable() }
            return PropertyNumber.order(left, right)
        default:
            guard let left = text(left), let right = text(right), let left = PropertyNumber.double(left),
                let right = PropertyNumber.double(right)
            else { throw CompiledExpression.NotComparable() }
            return PropertyNumber.order(left, right)
        }
    }

    /// As in the reference two properties that are both missing are equal, and the left one decides when one is missing:
    /// `a = 1` is unknown without a, `1 = a` is false.
    func equal(_ left: OperandValue, _ right: OperandValue) throws(CompiledExpression.NotComparable) -> Truth {
        switch (left, right) {
        case (.null, .null): return .yes
        case (.null, _): return .unknown
        case (_, .null): return .no
        case (.truth(let left), .truth(let right)): return Truth(left == right)
        case (.truth, .number), (.number, .truth): return .no
        case (.truth(let truth), let value), (let value, .truth(let truth)): return Truth(isTrue(value) == truth)
        case (.number, _), (_, .number): return Truth(try sign(left, right) == 0)
        default:
            guard let left = text(left), let right = text(right) else { return .no }
            return Truth(left.equals(right))
        }
    }

    /// Only `true`, in any case, is true.
    private func isTrue(_ value: OperandValue) -> Bool {
        guard let text = text(value), text.byteCount == 4 else { return false }
        return text.byte(at: 0) & 0xDF == UInt8(ascii: "T") && text.byte(at: 1) & 0xDF == UInt8(ascii: "R")
            && text.byte(at: 2) & 0xDF == UInt8(ascii: "U") && text.byte(at: 3) & 0xDF == UInt8(ascii: "E")
    }

    // MARK: Texts

    func isOneOf(_ property: Int, _ lists: [TextPlace], _ list: Range<Int>) -> Truth {
        guard !places[property].isMissing else { return .unknown }
        let text = properties.extracting(places[property].range)
        var (low, high) = (list.lowerBound, list.upperBound)
        while low < high {
            let middle = low + (high - low) / 2
            let sign = text.order(constants.extracting(lists[middle].range))
            if sign == 0 { return .yes }
            if sign < 0 { high = middle } else { low = middle + 1 }
        }
        return .no
    }

    func search(
        _ search: ExpressionInstruction.Search, _ operand: ExpressionOperand, _ pattern: TextPlace, _ borders: [UInt16], isNegated: Bool
    ) -> Bool {
        guard let text = text(value(operand)) else { return false }
        let sought = constants.extracting(pattern.range)
        let isThere: Bool
        switch search {
        case .startsWith: isThere = text.byteCount >= sought.byteCount && text.extracting(first: sought.byteCount).equals(sought)
        case .endsWith: isThere = text.byteCount >= sought.byteCount && text.extracting(last: sought.byteCount).equals(sought)
        case .contains: isThere = contains(text, sought, borders[pattern.range])
        }
        return isThere != isNegated
    }

    /// Looks at each byte of the text once: where the sought text breaks off, its longest beginning that ends there is
    /// carried on with.
    private func contains(_ text: RawSpan, _ sought: RawSpan, _ borders: ArraySlice<UInt16>) -> Bool {
        var found = 0
        var index = 0
        while index < text.byteCount {
            let byte = text.byte(at: index)
            while found > 0, sought.byte(at: found) != byte { found = Int(borders[borders.startIndex + found - 1]) }
            if sought.byte(at: found) == byte { found += 1 }
            if found == sought.byteCount { return true }
            index += 1
        }
        return false
    }
}

extension RawSpan {
    /// Below 0, 0 or above 0, by length first and bytes then: the order of the texts after IN.
    func order(_ other: RawSpan) -> Int {
        if byteCount != other.byteCount { return byteCount < other.byteCount ? -1 : 1 }
        var index = 0
        while index < byteCount {
            let (own, others) = (byte(at: index), other.byte(at: index))
            if own != others { return own < others ? -1 : 1 }
            index += 1
        }
        return 0
    }
}
