import RocketMQBase

/// Comparisons of values: numbers by size, texts by what they are or hold.
extension ExpressionParser {
    mutating func comparison() throws(ExpressionError) -> Part {
        let start = token
        var left = try unary()
        while true {
            let sign = token
            var isNegated = false
            if sign.kind == .keyword(.not) {
                try refuseNegation(left)
                try advance()
                isNegated = true
            }
            switch token.kind {
            case .symbol(let symbol) where !isNegated:
                guard let order = Self.order(symbol) else { return left }
                try refuseNegation(left)
                try advance()
                let value = try comparable(left, start)
                let right = try comparableOperand()
                try countCondition(sign)
                code.append(.order(order, value, right))
            case .keyword(.between):
                try refuseNegation(left)
                try advance()
                try between(try comparable(left, start), isNegated: isNegated, sign)
            case .keyword(.inWord):
                try refuseNegation(left)
                try advance()
                try isOneOf(left, start, isNegated: isNegated, sign)
            case .keyword(let keyword) where Self.search(keyword) != nil:
                try refuseNegation(left)
                try advance()
                if let search = Self.search(keyword) { try self.search(search, left, isNegated: isNegated, sign) }
            default:
                guard !isNegated else { throw expected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH after NOT") }
                return left
            }
            left = .condition
        }
    }

    private static func order(_ symbol: ExpressionSymbol) -> ExpressionInstruction.Order? {
        switch symbol {
        case .less: .less
        case .lessOrEqual: .lessOrEqual
        case .greater: .greater
        case .greaterOrEqual: .greaterOrEqual
        default: nil
        }
    }

    private static func search(_ keyword: ExpressionKeyword) -> ExpressionInstruction.Search? {
        switch keyword {
        case .contains: .contains
        case .startsWith: .startsWith
        case .endsWith: .endsWith
        default: nil
        }
    }

    /// Only numbers, and properties that hold some, are larger or smaller.
    private func comparable(_ part: Part, _ start: ExpressionToken) throws(ExpressionError) -> ExpressionOperand {
        switch part {
        case .operand(let operand):
            switch operand {
            case .property, .number: return operand
            case .text:
                throw lexer.error(
                    at: start.range.lowerBound, "strings are compared with = and <> alone: expected a number or a property")
            case .truth, .null: break
            }
        case .condition, .negation: break
        }
        throw lexer.error(at: start.range.lowerBound, "conditions are neither larger nor smaller: expected a number or a property")
    }

    private mutating func comparableOperand() throws(ExpressionError) -> ExpressionOperand {
        let start = token
        return try comparable(try unary(), start)
    }

    private mutating func between(_ value: ExpressionOperand, isNegated: Bool, _ sign: ExpressionToken) throws(ExpressionError) {
        let lowStart = token
        let low = try comparableOperand()
        guard try take(.and) else { throw expected("AND and the upper bound") }
        let high = try comparableOperand()
        if !isNegated, case .number(let low) = low, case .number(let high) = high, PropertyNumber.order(low, high) > 0 {
            throw lexer.error(at: lowStart.range.lowerBound, "nothing is between these: the lower bound comes first")
        }
        try countCondition(sign)
        try countCondition(sign)
        code.append(.order(isNegated ? .less : .greaterOrEqual, value, low))
        let target = code.count + 4
        code.append(isNegated ? .skipIfYes(target: target) : .skipIfNo(target: target))
        try beginPutAside()
        code.append(.order(isNegated ? .greater : .lessOrEqual, value, high))
        endPutAside()
        code.append(isNegated ? .or : .and)
    }

    private mutating func isOneOf(
        _ left: Part, _ start: ExpressionToken, isNegated: Bool, _ sign: ExpressionToken
    ) throws(ExpressionError) {
        guard case .operand(.property(let property)) = left else {
            throw lexer.error(at: start.range.lowerBound, "expected a property before IN")
        }
        guard token.kind == .symbol(.open) else { throw expected("( and a list of strings") }
        var texts: [TextPlace] = []
        repeat {
            try advance()
            guard token.kind == .string else { throw expected("a string in quotes") }
            texts.append(addString(token))
            try advance()
        } while token.kind == .symbol(.comma)
        guard token.kind == .symbol(.close) else { throw expected(", or )") }
        try advance()
        try countCondition(sign)
        let bytes = constants
        texts.sort { bytes.span.bytes.extracting($0.range).order(bytes.span.bytes.extracting($1.range)) < 0 }
        code.append(.isOneOf(property: property, list: lists.count..<(lists.count + texts.count)))
        lists += texts
        if isNegated { code.append(.not) }
    }

    private mutating func search(
        _ search: ExpressionInstruction.Search, _ left: Part, isNegated: Bool, _ sign: ExpressionToken
    ) throws(ExpressionError) {
        guard token.kind == .string else { throw expected("a string in quotes") }
        let text = addString(token)
        try advance()
        try countCondition(sign)
        guard case .operand(let operand) = left else {
            // Whatever the condition is, it is no text.
            code.append(.constant(.unknown))
            return
        }
        if search == .contains {
            guard searched.count < ExpressionLimits.searches else {
                throw lexer.error(
                    at: sign.range.lowerBound, "the expression has more than \(ExpressionLimits.searches) conditions with CONTAINS")
            }
            searched.append(text)
        }
        code.append(.search(search, in: operand, for: text, isNegated: isNegated))
    }
}
