import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What an expression says of a message.
enum Verdict: String, CustomTestStringConvertible {
    case yes, no, unknown
    /// A property cannot be compared in the way asked for; the message does not match.
    case notComparable

    var testDescription: String { rawValue }
}

extension CompiledExpression {
    func verdict(_ properties: [UInt8]) -> Verdict {
        do throws(NotComparable) {
            switch try truth(properties: properties.span.bytes) {
            case .yes: return .yes
            case .no: return .no
            case .unknown: return .unknown
            }
        } catch {
            return .notComparable
        }
    }
}

func verdict(_ expression: String, _ properties: [String: String]) throws -> Verdict {
    try PropertyExpression.compile(expression).verdict(encoded(properties))
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
