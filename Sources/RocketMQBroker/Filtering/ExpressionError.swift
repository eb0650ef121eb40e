/// Why a property expression cannot be compiled, as its writer is told.
struct ExpressionError: Error, Equatable, CustomStringConvertible {
    /// Where the trouble begins, counted in characters from 1.
    var character: Int
    var reason: String

    var description: String { "at character \(character): \(reason)" }
}

/// What an expression may be at most. Expressions come from clients: compiling one and applying it to a message is bounded.
enum ExpressionLimits {
    /// Bytes of the text.
    static let text = 32 * 1024
    /// Comparisons and other tests; values listed after IN do not count.
    static let conditions = 512
    /// Those of the conditions that are CONTAINS: each looks through a whole text.
    static let searches = 64
    /// Different properties.
    static let properties = 64
    /// Parentheses and signs within one another, and results kept while a later part is evaluated.
    static let nesting = 64
}
