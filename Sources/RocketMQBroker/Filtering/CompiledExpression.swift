import RocketMQBase
import RocketMQProtocol

/// Conditions on the properties of messages, as consumers write them to subscribe by SQL92.
///
/// The grammar is that of the reference, what an expression says of a message is SQL's three-valued logic, and a message passes
/// when all of it is true:
/// - Every test of a property that the message lacks is unknown, but IS NULL. An empty value is none.
/// - Numbers are compared as numbers, however they are written. Text that is no number, compared with one, is unknown.
/// - Two texts (properties or strings) are equal when their bytes are; which of two properties is larger goes by their numbers.
/// - A property alone is true for the text `true` in any case, false for `false`, unknown otherwise. Beside `=` and `<>` every
///   other text counts as FALSE, as in the reference.
/// - A test of what cannot be one (is a number true? does a condition contain 'x'?) is unknown.
///
/// The grammar differs from the reference's in this:
/// - What the reference ignores or what can never match is refused: anything after a whole expression (`a = 1 b = 2`),
///   `NOT a = 1`, which it takes for `(NOT a) = 1`, negatives of anything but numbers, `BETWEEN 5 AND -5`, `007`.
/// - What it accepts by halves is whole: `a > 0.0`, `-9223372036854775808`, `TRUE = a`, `--` up to the text's end, properties named
///   `contains`, `startswith` and `endswith` as before 5.x.
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

    /// Whether a message has the properties that the expression asks for. When that is unknown it has not.
    ///
    /// - Parameter properties: as records hold them, `name\u{1}value\u{2}…`.
    func matches(properties: RawSpan) -> Bool { truth(properties: properties) == .yes }

    func truth(properties: RawSpan) -> Truth {
        let message = MessageOperands(properties, self)
        var register = Truth.unknown
        var stack = TruthStack()
        var index = 0
        while index < instructions.count {
            switch instructions[index] {
            case .constant(let truth): register = truth
            case .propertyAsCondition(let property): register = message.truth(property)
            case .order(let order, let left, let right): register = message.order(order, left, right)
            case .equal(let left, let right): register = message.equal(message.value(left), message.value(right))
            case .isNull(let operand): register = Truth(message.value(operand).isNull)
            case .isOneOf(let property, let list): register = message.isOneOf(property, lists, list)
            case .search(let search, let operand, let text, let isNegated):
                register = message.search(search, operand, text, borders, isNegated: isNegated)
            case .not: register = register.negated
            case .conditionIsUnknown: register = Truth(register == .unknown)
            case .conditionEqual(let right): register = message.equal(.init(register), message.value(right))
            case .equalCondition(let left): register = message.equal(message.value(left), .init(register))
            case .equalConditions: register = message.equal(.init(stack.pop()), .init(register))
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

    @inline(__always)
    func order(_ order: ExpressionInstruction.Order, _ left: ExpressionOperand, _ right: ExpressionOperand) -> Truth {
        guard let left = number(value(left)), let right = number(value(right)) else { return .unknown }
        let sign = PropertyNumber.order(left, right)
        return switch order {
        case .less: Truth(sign < 0)
        case .lessOrEqual: Truth(sign <= 0)
        case .greater: Truth(sign > 0)
        case .greaterOrEqual: Truth(sign >= 0)
        }
    }

    @inline(__always)
    private func number(_ value: OperandValue) -> PropertyNumber? {
        if case .number(let number) = value { return number }
        guard let text = text(value) else { return nil }
        return PropertyNumber.read(text)
    }

    func equal(_ left: OperandValue, _ right: OperandValue) -> Truth {
        switch (left, right) {
        case (.null, _), (_, .null), (.truth, .number), (.number, .truth): return .unknown
        case (.truth(let left), .truth(let right)): return Truth(left == right)
        case (.truth(let truth), let value), (let value, .truth(let truth)): return Truth((self.truth(value) == .yes) == truth)
        case (.number, _), (_, .number):
            guard let left = number(left), let right = number(right) else { return .unknown }
            return Truth(PropertyNumber.order(left, right) == 0)
        default:
            guard let left = text(left), let right = text(right) else { return .unknown }
            return Truth(left.equals(right))
        }
    }

    /// What a property says that stands where a condition is expected.
    func truth(_ property: Int) -> Truth { truth(value(.property(property))) }

    private func truth(_ value: OperandValue) -> Truth {
        guard let text = text(value) else { return .unknown }
        return text.isLetters("TRUE") ? .yes : text.isLetters("FALSE") ? .no : .unknown
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
    ) -> Truth {
        guard let text = text(value(operand)) else { return .unknown }
        let sought = constants.extracting(pattern.range)
        let isThere: Bool
        switch search {
        case .startsWith: isThere = text.byteCount >= sought.byteCount && text.extracting(first: sought.byteCount).equals(sought)
        case .endsWith: isThere = text.byteCount >= sought.byteCount && text.extracting(last: sought.byteCount).equals(sought)
        case .contains: isThere = contains(text, sought, borders[pattern.range])
        }
        return Truth(isThere != isNegated)
    }

    /// Looks at each byte of the text once: where the sought text breaks off, its longest beginning that ends there is
    /// carried on with.
    private func contains(_ text: RawSpan, _ sought: RawSpan, _ borders: ArraySlice<UInt16>) -> Bool {
        guard sought.byteCount > 0 else { return true }
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
    /// Whether the bytes are this word of capital letters, in any case.
    func isLetters(_ word: StaticString) -> Bool {
        guard byteCount == word.utf8CodeUnitCount else { return false }
        var index = 0
        while index < byteCount {
            // Small letters differ from capitals in this bit.
            guard byte(at: index) & 0xDF == word.utf8Start[index] else { return false }
            index += 1
        }
        return true
    }

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
