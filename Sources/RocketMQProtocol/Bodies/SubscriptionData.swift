import RocketMQBase

/// The languages that a subscription's expression may be in.
public enum ExpressionType {
    public static let tag = "TAG"
    public static let sql92 = "SQL92"
}

/// Which messages of a topic a consumer group wants.
public struct SubscriptionData: Hashable, Sendable, JSONBody {
    public var topic: String
    /// The expression: tags with `||` between them, `*` for all, or SQL92.
    public var subString: String
    /// The tags of a tag expression; empty means every message.
    public var tagsSet: Set<String>
    /// Java's hash codes of the tags, by which the broker filters.
    public var codeSet: Set<Int32>
    /// Milliseconds since 1970 at which the expression was given; the broker keeps the latest.
    public var subVersion: Int64
    /// `TAG` or `SQL92`.
    public var expressionType: String
    /// Filtering by a class on a filter server, which no release since 4.3 does.
    public var classFilterMode: Bool

    /// The expression for every message.
    public static let all = "*"

    public init(
        topic: String, subString: String, tagsSet: Set<String> = [], codeSet: Set<Int32> = [], subVersion: Int64 = 0,
        expressionType: String = ExpressionType.tag, classFilterMode: Bool = false
    ) {
        self.topic = topic
        self.subString = subString
        self.tagsSet = tagsSet
        self.codeSet = codeSet
        self.subVersion = subVersion
        self.expressionType = expressionType
        self.classFilterMode = classFilterMode
    }

    /// Reads an expression. No type or `TAG` means tags: no text, an empty one and `*` mean every message. Another type
    /// needs text, which the broker compiles.
    ///
    /// Throws when the expression names nothing (`||`) or is missing.
    public init(topic: String, expression: String?, type: String? = nil, subVersion: Int64 = 0) throws(InvalidExpression) {
        self.init(topic: topic, subString: expression ?? "", subVersion: subVersion)
        if let type, type != ExpressionType.tag, !type.isEmpty {
            guard !subString.isEmpty else { throw InvalidExpression("an expression of type \(type) must not be empty") }
            expressionType = type
            return
        }
        guard !subString.isEmpty, subString != SubscriptionData.all else {
            subString = SubscriptionData.all
            return
        }
        let tags = SubscriptionData.tags(in: subString)
        guard !tags.isEmpty else {
            throw InvalidExpression("the expression \"\(subString)\" names no tag: write * or tags with || between them")
        }
        tagsSet = Set(tags)
        codeSet = Set(tags.map { JavaHash.hash($0) })
    }

    /// The tags of `a || b`, without the blanks around them.
    static func tags(in expression: String) -> [String] {
        var tags: [String] = []
        var tag: [UInt8] = []
        let bytes = Array(expression.utf8)
        var index = 0
        func finish(_ tag: [UInt8]) {
            // What Java trims: everything up to the blank.
            guard let first = tag.firstIndex(where: { $0 > 0x20 }), let last = tag.lastIndex(where: { $0 > 0x20 }) else { return }
            tags.append(String(decoding: tag[first...last], as: UTF8.self))
        }
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "|"), index + 1 < bytes.count, bytes[index + 1] == UInt8(ascii: "|") {
                finish(tag)
                tag.removeAll(keepingCapacity: true)
                index += 2
            } else {
                tag.append(bytes[index])
                index += 1
            }
        }
        finish(tag)
        return tags
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "subscription")
        topic = try fields.requiredText("topic")
        subString = try fields.optionalText("subString") ?? SubscriptionData.all
        tagsSet = Set(try fields.texts("tagsSet"))
        codeSet = []
        for code in try fields.elements("codeSet") {
            guard let hash = code.int64 else { throw fields.wrong("codeSet", code, expected: "a whole number") }
            codeSet.insert(Int32(truncatingIfNeeded: hash))
        }
        subVersion = try fields.integer("subVersion")
        expressionType = try fields.optionalText("expressionType") ?? ExpressionType.tag
        classFilterMode = try fields.bool("classFilterMode")
    }

    public var json: JSONValue {
        [
            "classFilterMode": .bool(classFilterMode), "codeSet": .array(codeSet.sorted().map { .integer($0) }),
            "expressionType": .string(expressionType), "subString": .string(subString), "subVersion": .integer(subVersion),
            "tagsSet": .texts(tagsSet.sorted()), "topic": .string(topic),
        ]
    }

    /// Whether the expression is of tags, and not one that the broker has to compile.
    public var isTagExpression: Bool { expressionType.isEmpty || expressionType == ExpressionType.tag }
    /// Whether every message is wanted.
    public var wantsAll: Bool { isTagExpression && (subString == SubscriptionData.all || tagsSet.isEmpty && codeSet.isEmpty) }
}

/// A subscription's expression that cannot mean anything.
public struct InvalidExpression: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
