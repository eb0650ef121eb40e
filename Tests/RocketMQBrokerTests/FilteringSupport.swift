import RocketMQProtocol
import Testing

@testable import RocketMQBroker

extension Truth: CustomTestStringConvertible {
    public var testDescription: String { "\(self)" }
}

extension CompiledExpression {
    func verdict(_ properties: [UInt8]) -> Truth { truth(properties: properties.span.bytes) }
}

/// What an expression says of a message.
func verdict(_ expression: String, _ properties: [String: String]) throws -> Truth {
    let expression = try PropertyExpression.compile(expression)
    let bytes = encoded(properties)
    let truth = expression.verdict(bytes)
    // Only what is true passes.
    #expect(expression.matches(properties: bytes.span.bytes) == (truth == .yes))
    return truth
}

/// Properties as records hold them, in the order of their names.
func encoded(_ properties: [String: String]) -> [UInt8] {
    Array(properties.sorted { $0.key < $1.key }.map { "\($0.key)\u{1}\($0.value)\u{2}" }.joined().utf8)
}

/// The error that compiling ends with.
func refusal(_ expression: String) -> ExpressionError? {
    do throws(ExpressionError) {
        _ = try PropertyExpression.compile(expression)
        return nil
    } catch {
        return error
    }
}
