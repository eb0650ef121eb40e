/// A value of the JSON dialect that Apache RocketMQ's JSON library reads and writes: standard JSON, plus maps whose keys
/// are numbers (`{0:"10.0.0.1:10911"}`) or objects (`{{"brokerName":"a","queueId":0,"topic":"t"}:5}`).
public enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    /// The whole number that this is, or that its text spells; fractions are cut off. `nil` when it is neither.
    public var int64: Int64? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int64(exactly: value.rounded(.towardZero))
        case .string(let text): Int64(text)
        case .bool(let value): value ? 1 : 0
        case .null, .array, .object: nil
        }
    }

    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        case .string(let text): Double(text)
        case .null, .bool, .array, .object: nil
        }
    }

    /// The text that this is, or the text of a number or truth value: clients in C++ send one for the other.
    public var string: String? {
        switch self {
        case .string(let text): text
        case .integer(let value): String(value)
        case .number(let value): "\(value)"
        case .bool(let value): value ? "true" : "false"
        case .null, .array, .object: nil
        }
    }

    public var bool: Bool? {
        switch self {
        case .bool(let value): value
        case .integer(let value): value != 0
        case .string(let text):
            switch text.lowercased() {
            case "true", "1": true
            case "false", "0": false
            default: nil
            }
        case .null, .number, .array, .object: nil
        }
    }

    public var array: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    public var object: JSONObject? {
        if case .object(let object) = self { object } else { nil }
    }

    public var isNull: Bool { self == .null }

    /// The member called `name` of an object; `nil` when there is none or this is no object.
    public subscript(name: String) -> JSONValue? { object?[name] }

    /// What kind of value this is, for messages about a value of the wrong kind.
    var kind: StaticString {
        switch self {
        case .null: "null"
        case .bool: "a truth value"
        case .integer, .number: "a number"
        case .string: "text"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral, ExpressibleByFloatLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(nilLiteral: ()) { self = .null }
    public init(dictionaryLiteral elements: (JSONValue, JSONValue)...) {
        self = .object(JSONObject(elements.map { JSONObject.Member(key: $0.0, value: $0.1) }))
    }
}

/// The members of a JSON object in the order in which they were written. Keys are text in standard JSON, and any value in
/// the reference's dialect.
public struct JSONObject: Sendable, Equatable {
    public struct Member: Sendable, Equatable {
        public var key: JSONValue
        public var value: JSONValue

        public init(key: JSONValue, value: JSONValue) {
            self.key = key
            self.value = value
        }
    }

    public var members: [Member]

    public init(_ members: [Member] = []) { self.members = members }

    public var count: Int { members.count }
    public var isEmpty: Bool { members.isEmpty }

    /// The value of `name`; of the last one where a name stands twice, as in the reference. Setting appends or replaces,
    /// setting `nil` removes. Takes time in proportion to the members.
    public subscript(name: String) -> JSONValue? {
        get { members.last { $0.key == .string(name) }?.value }
        set {
            guard let newValue else { return members.removeAll { $0.key == .string(name) } }
            if let index = members.lastIndex(where: { $0.key == .string(name) }) {
                members[index].value = newValue
            } else {
                members.append(Member(key: .string(name), value: newValue))
            }
        }
    }

    /// Appends a member without looking for one of the same name.
    public mutating func append(_ name: String, _ value: JSONValue) {
        members.append(Member(key: .string(name), value: value))
    }

    /// Appends a member unless there is no value: the reference leaves out what is null.
    public mutating func append(_ name: String, _ value: JSONValue?) {
        if let value { append(name, value) }
    }
}
