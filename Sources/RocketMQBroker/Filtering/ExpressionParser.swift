import RocketMQBase

/// Reads an expression and compiles it in one go. The grammar, loosest first:
///
///     or          and { OR and }
///     and         equality { AND equality }
///     equality    comparison { ( = | <> ) comparison | IS [NOT] NULL }
///     comparison  unary { ( < | <= | > | >= ) unary | [NOT] BETWEEN unary AND unary | [NOT] IN ( string, … )
///                 | [NOT] ( CONTAINS | STARTSWITH | ENDSWITH ) string }
///     unary       { + | - | NOT } ( string | number | TRUE | FALSE | NULL | property | ( or ) )
struct ExpressionParser {
    /// What was just read.
    enum Part {
        /// Nothing was compiled for it yet.
        case operand(ExpressionOperand)
        /// Its instructions leave it in the register.
        case condition
        /// A condition after a NOT that has no parentheses around it.
        case negation

        var isCondition: Bool { if case .operand = self { false } else { true } }
    }

    var lexer: ExpressionLexer
    var token: ExpressionToken
    var code: [ExpressionInstruction] = []
    var lists: [TextPlace] = []
    var constants: [UInt8] = []
    var searched: [TextPlace] = []
    private var names: [TextPlace] = []
    private var nesting = 0
    private var putAside = 0
    private var conditions = 0

    init(_ text: [UInt8]) throws(ExpressionError) {
        lexer = ExpressionLexer(text)
        guard text.count <= ExpressionLimits.text else {
            throw ExpressionError(
                character: 1, reason: "the expression has \(text.count) bytes, at most \(ExpressionLimits.text) are allowed")
        }
        token = try lexer.next()
    }

    mutating func compile() throws(ExpressionError) -> CompiledExpression {
        let start = token
        guard token.kind != .end else { throw lexer.error(at: 0, "the expression is empty") }
        let part = try or()
        guard token.kind == .end else { throw expected("AND, OR or the expression's end") }
        try makeCondition(part, at: start)
        return CompiledExpression(instructions: code, names: names, lists: lists, constants: constants, borders: borders())
    }

    // MARK: Conditions

    private mutating func or() throws(ExpressionError) -> Part {
        var start = token
        var left = try and()
        while try take(.or) {
            try makeCondition(left, at: start)
            let skip = code.count
            code.append(.skipIfYes(target: skip))
            try beginPutAside()
            start = token
            try makeCondition(try and(), at: start)
            endPutAside()
            code.append(.or)
            code[skip] = .skipIfYes(target: code.count)
            left = .condition
        }
        return left
    }

    private mutating func and() throws(ExpressionError) -> Part {
        var start = token
        var left = try equality()
        while try take(.and) {
            try makeCondition(left, at: start)
            let skip = code.count
            code.append(.skipIfNo(target: skip))
            try beginPutAside()
            start = token
            try makeCondition(try equality(), at: start)
            endPutAside()
            code.append(.and)
            code[skip] = .skipIfNo(target: code.count)
            left = .condition
        }
        return left
    }

    private mutating func equality() throws(ExpressionError) -> Part {
        let start = token
        var left = try comparison()
        while true {
            let sign = token
            switch sign.kind {
            case .symbol(.equal), .symbol(.notEqual):
                try refuseNegation(left)
                try advance()
                left = try equal(left, start, sign)
                if sign.kind == .symbol(.notEqual) { code.append(.not) }
            case .keyword(.isWord):
                try refuseNegation(left)
                try advance()
                let isNegated = try take(.not)
                guard try take(.null) else { throw expected(isNegated ? "NULL" : "NULL or NOT NULL") }
                try countCondition(sign)
                if case .operand(let operand) = left { code.append(.isNull(operand)) } else { code.append(.conditionIsUnknown) }
                if isNegated { code.append(.not) }
                left = .condition
            default: return left
            }
        }
    }

    /// Goes on after `left =`.
    private mutating func equal(_ left: Part, _ start: ExpressionToken, _ sign: ExpressionToken) throws(ExpressionError) -> Part {
        try countCondition(sign)
        let rightStart = token
        if case .operand(let operand) = left {
            try refuseNull(operand, start)
            switch try comparison() {
            case .operand(let right):
                try refuseNull(right, rightStart)
                if case .truth = operand, right.isConstant {
                    guard case .truth = right else { throw lexer.error(at: rightStart.range.lowerBound, "expected TRUE or FALSE") }
                }
                code.append(.equal(operand, right))
            case .condition, .negation: code.append(.equalCondition(operand))
            }
            return .condition
        }
        try beginPutAside()
        let right = try comparison()
        endPutAside()
        if case .operand(let right) = right {
            try refuseNull(right, rightStart)
            // Nothing was compiled for it: the condition is still in the register.
            code.removeLast()
            code.append(.conditionEqual(right))
        } else {
            code.append(.equalConditions)
        }
        return .condition
    }

    private func refuseNull(_ operand: ExpressionOperand, _ start: ExpressionToken) throws(ExpressionError) {
        if operand == .null { throw lexer.error(at: start.range.lowerBound, "nothing equals NULL: write IS NULL or IS NOT NULL") }
    }

    /// `NOT a = 1` would mean `(NOT a) = 1`, which nobody means.
    func refuseNegation(_ part: Part) throws(ExpressionError) {
        guard case .negation = part else { return }
        throw lexer.error(
            at: token.range.lowerBound, "NOT applies to what stands next to it alone: put parentheses around the comparison, NOT (…)")
    }

    /// Compiles a part that stands where a condition must.
    mutating func makeCondition(_ part: Part, at start: ExpressionToken) throws(ExpressionError) {
        guard case .operand(let operand) = part else { return }
        try countCondition(start)
        switch operand {
        case .property(let index): code.append(.propertyAsCondition(index))
        case .truth(let isTrue): code.append(.constant(Truth(isTrue)))
        case .null: code.append(.constant(.unknown))
        case .text, .number:
            throw lexer.error(at: start.range.lowerBound, "expected a condition, this is a value: compare it with something")
        }
    }

    // MARK: Values

    mutating func unary() throws(ExpressionError) -> Part {
        let start = token
        switch token.kind {
        case .symbol(.plus):
            try descend()
            defer { nesting -= 1 }
            return try unary()
        case .symbol(.minus):
            try descend()
            defer { nesting -= 1 }
            return .operand(try negative(try unary(), start))
        case .keyword(.not):
            try descend()
            defer { nesting -= 1 }
            let operandStart = token
            try makeCondition(try unary(), at: operandStart)
            code.append(.not)
            return .negation
        default: return try primary()
        }
    }

    private func negative(_ part: Part, _ start: ExpressionToken) throws(ExpressionError) -> ExpressionOperand {
        guard case .operand(.number(let number)) = part else {
            throw lexer.error(at: start.range.lowerBound, "expected a number after -: properties and conditions have no negative")
        }
        return .number(number.negated)
    }

    private mutating func primary() throws(ExpressionError) -> Part {
        let start = token
        switch start.kind {
        case .string:
            try advance()
            return .operand(.text(addString(start)))
        case .number(let number):
            try advance()
            return .operand(.number(number))
        case .keyword(.trueWord), .keyword(.falseWord):
            try advance()
            return .operand(.truth(start.kind == .keyword(.trueWord)))
        case .keyword(.null):
            try advance()
            return .operand(.null)
        case .name, .keyword(.contains), .keyword(.startsWith), .keyword(.endsWith):
            try advance()
            return .operand(.property(try addName(start)))
        case .symbol(.open):
            try descend()
            defer { nesting -= 1 }
            let part = try or()
            guard token.kind == .symbol(.close) else { throw expected("AND, OR or )") }
            try advance()
            if case .operand = part { return part }
            return .condition
        default: throw expected("a property, a value or (")
        }
    }

    private mutating func addName(_ token: ExpressionToken) throws(ExpressionError) -> Int {
        let name = lexer.text[token.range]
        if let known = names.firstIndex(where: { constants[$0.range] == name }) { return known }
        guard names.count < ExpressionLimits.properties else {
            throw lexer.error(at: token.range.lowerBound, "the expression looks at more than \(ExpressionLimits.properties) properties")
        }
        names.append(add(name))
        return names.count - 1
    }

    /// The text of a string, its quotes taken off.
    mutating func addString(_ token: ExpressionToken) -> TextPlace {
        let quoted = lexer.text[token.range].dropFirst().dropLast()
        var text: [UInt8] = []
        text.reserveCapacity(quoted.count)
        var index = quoted.startIndex
        while index < quoted.endIndex {
            text.append(quoted[index])
            index += quoted[index] == UInt8(ascii: "'") ? 2 : 1
        }
        return add(text[...])
    }

    private mutating func add(_ text: ArraySlice<UInt8>) -> TextPlace {
        let start = constants.count
        constants += text
        return TextPlace(start..<constants.count)
    }

    // MARK: Tokens and limits

    mutating func advance() throws(ExpressionError) { token = try lexer.next() }

    /// Goes past the keyword if it is next.
    mutating func take(_ keyword: ExpressionKeyword) throws(ExpressionError) -> Bool {
        guard token.kind == .keyword(keyword) else { return false }
        try advance()
        return true
    }

    func expected(_ what: String) -> ExpressionError {
        let text = String(decoding: lexer.text[token.range].prefix(40), as: UTF8.self)
        let found = token.kind == .end ? "the expression ends" : "found \(text)"
        return lexer.error(at: token.range.lowerBound, "expected \(what), \(found)")
    }

    /// Goes past a sign or a parenthesis into what it applies to.
    private mutating func descend() throws(ExpressionError) {
        guard nesting < ExpressionLimits.nesting else { throw tooDeep() }
        nesting += 1
        try advance()
    }

    private func tooDeep() -> ExpressionError {
        lexer.error(at: token.range.lowerBound, "the expression is nested more than \(ExpressionLimits.nesting) levels deep")
    }

    mutating func beginPutAside() throws(ExpressionError) {
        guard putAside < ExpressionLimits.nesting else { throw tooDeep() }
        putAside += 1
        code.append(.putAside)
    }

    mutating func endPutAside() { putAside -= 1 }

    mutating func countCondition(_ token: ExpressionToken) throws(ExpressionError) {
        guard conditions < ExpressionLimits.conditions else {
            throw lexer.error(at: token.range.lowerBound, "the expression has more than \(ExpressionLimits.conditions) conditions")
        }
        conditions += 1
    }

    /// For each text that is searched for, how much of its beginning ends at each of its bytes too.
    private func borders() -> [UInt16] {
        guard !searched.isEmpty else { return [] }
        var borders = [UInt16](repeating: 0, count: constants.count)
        for place in searched where place.count > 1 {
            let start = Int(place.start)
            var border = 0
            for index in 1..<place.count {
                let byte = constants[start + index]
                while border > 0, constants[start + border] != byte { border = Int(borders[start + border - 1]) }
                if constants[start + border] == byte { border += 1 }
                borders[start + index] = UInt16(border)
            }
        }
        return borders
    }
}
