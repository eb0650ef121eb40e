/// What is known of a condition: as in SQL a comparison with what a message does not say is neither true nor false.
enum Truth: UInt8, Sendable {
    case no, yes, unknown

    init(_ isTrue: Bool) { self = isTrue ? .yes : .no }

    @inline(__always)
    var negated: Truth {
        switch self {
        case .no: .yes
        case .yes: .no
        case .unknown: .unknown
        }
    }
}

/// Where a piece of text lies in other bytes.
struct TextPlace: Equatable, Sendable {
    var start: Int32
    var end: Int32

    init(_ range: Range<Int>) { (start, end) = (Int32(range.lowerBound), Int32(range.upperBound)) }
    private init() { (start, end) = (-1, -1) }

    static let missing = TextPlace()
    var isMissing: Bool { start < 0 }
    var count: Int { Int(end - start) }
    @inline(__always)
    var range: Range<Int> { Int(start)..<Int(end) }
}

/// What stands beside a comparison.
enum ExpressionOperand: Equatable, Sendable {
    /// The property of this index among those that the expression names.
    case property(Int)
    /// Text among the expression's constants.
    case text(TextPlace)
    case number(PropertyNumber)
    case truth(Bool)
    case null

    var isConstant: Bool { if case .property = self { false } else { true } }
}

/// A step of a compiled expression. Steps work on one register that holds the condition evaluated last, and on a stack of
/// conditions put aside.
enum ExpressionInstruction: Sendable {
    enum Order: Sendable { case less, lessOrEqual, greater, greaterOrEqual }
    enum Search: Sendable { case contains, startsWith, endsWith }

    // Tests: they set the register.
    case constant(Truth)
    /// A property that stands for a condition.
    case propertyAsCondition(Int)
    case order(Order, ExpressionOperand, ExpressionOperand)
    case equal(ExpressionOperand, ExpressionOperand)
    case isNull(ExpressionOperand)
    /// Whether the property is one of the texts with these indices, which are sorted.
    case isOneOf(property: Int, list: Range<Int>)
    /// Whether a text is within another.
    case search(Search, in: ExpressionOperand, for: TextPlace, isNegated: Bool)

    // On the register, and a condition put aside.
    case not
    case conditionIsUnknown
    /// The register with an operand that stands right or left of it.
    case conditionEqual(ExpressionOperand)
    case equalCondition(ExpressionOperand)
    /// The condition put aside with the register.
    case equalConditions
    case putAside
    case and
    case or
    /// The result is known without the part up to `target`.
    case skipIfNo(target: Int)
    case skipIfYes(target: Int)
}
