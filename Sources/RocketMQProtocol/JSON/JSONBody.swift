import RocketMQBase

/// A body of a request or answer, or a file of the store's `config` folder, that is one JSON value.
public protocol JSONBody: Sendable, Equatable {
    /// Reads the body. Members that are missing take the reference's default, unknown ones are passed over.
    init(json: JSONValue) throws(MalformedBytes)
    /// The body as JSON, members in the order in which the reference writes them.
    var json: JSONValue { get }
}

extension JSONBody {
    public init(decoding bytes: RawSpan) throws(MalformedBytes) {
        try self.init(json: JSONValue(parsing: bytes))
    }

    public init(decoding bytes: [UInt8]) throws(MalformedBytes) {
        try self.init(json: JSONValue(parsing: bytes))
    }

    /// The compact text, as it travels.
    public func encoded() -> [UInt8] { json.encoded() }

    /// Appends the compact text.
    public func encode(into output: inout ByteBuffer) { json.write(to: &output) }

    /// The text with a member a line, as it stands in files.
    public func encodedIndented() -> [UInt8] {
        var output = ByteBuffer(capacity: 1024)
        json.writeIndented(to: &output)
        return output.copyBytes()
    }
}

/// Reads the members of one object into typed values, and says which member of what is wrong.
struct JSONFields {
    let object: JSONObject
    let owner: StaticString

    init(_ json: JSONValue, of owner: StaticString) throws(MalformedBytes) {
        guard case .object(let object) = json else { throw MalformedBytes("\(owner) is \(json.kind), not an object") }
        self.object = object
        self.owner = owner
    }

    /// The member called `name`, `nil` when it is missing or null.
    func value(_ name: String) -> JSONValue? {
        guard let value = object[name], !value.isNull else { return nil }
        return value
    }

    func optionalText(_ name: String) throws(MalformedBytes) -> String? {
        guard let value = value(name) else { return nil }
        guard let text = value.string else { throw wrong(name, value, expected: "text") }
        return text
    }

    /// A member without which the body means nothing.
    func requiredText(_ name: String) throws(MalformedBytes) -> String {
        guard let text = try optionalText(name) else { throw MalformedBytes("\(owner) has no \(name)") }
        return text
    }

    func optionalInteger<Number: FixedWidthInteger>(_ name: String) throws(MalformedBytes) -> Number? {
        guard let value = value(name) else { return nil }
        guard let integer = value.int64 else { throw wrong(name, value, expected: "a whole number") }
        guard let number = Number(exactly: integer) else {
            throw MalformedBytes("\(name) of \(owner) is \(integer), outside \(Number.min)...\(Number.max)")
        }
        return number
    }

    func integer<Number: FixedWidthInteger>(_ name: String, default missing: Number = 0) throws(MalformedBytes) -> Number {
        try optionalInteger(name) ?? missing
    }

    func double(_ name: String) throws(MalformedBytes) -> Double {
        guard let value = value(name) else { return 0 }
        guard let number = value.double else { throw wrong(name, value, expected: "a number") }
        return number
    }

    func bool(_ name: String, default missing: Bool = false) throws(MalformedBytes) -> Bool {
        guard let value = value(name) else { return missing }
        guard let truth = value.bool else { throw wrong(name, value, expected: "true or false") }
        return truth
    }

    /// The elements of an array, none when it is missing.
    func elements(_ name: String) throws(MalformedBytes) -> [JSONValue] {
        guard let value = value(name) else { return [] }
        guard case .array(let elements) = value else { throw wrong(name, value, expected: "an array") }
        return elements
    }

    /// The members of an object that serves as a map, none when it is missing.
    func members(_ name: String) throws(MalformedBytes) -> [JSONObject.Member] {
        guard let value = value(name) else { return [] }
        guard case .object(let object) = value else { throw wrong(name, value, expected: "an object") }
        return object.members
    }

    func bodies<Body: JSONBody>(_ name: String, as type: Body.Type = Body.self) throws(MalformedBytes) -> [Body] {
        var bodies: [Body] = []
        for element in try elements(name) { bodies.append(try Body(json: element)) }
        return bodies
    }

    func optionalBody<Body: JSONBody>(_ name: String, as type: Body.Type = Body.self) throws(MalformedBytes) -> Body? {
        guard let value = value(name) else { return nil }
        return try Body(json: value)
    }

    func texts(_ name: String) throws(MalformedBytes) -> [String] {
        var texts: [String] = []
        for element in try elements(name) {
            guard let text = element.string else { throw wrong(name, element, expected: "text") }
            texts.append(text)
        }
        return texts
    }

    /// A map from text to bodies.
    func table<Body: JSONBody>(_ name: String, of type: Body.Type = Body.self) throws(MalformedBytes) -> [String: Body] {
        var table: [String: Body] = [:]
        for member in try members(name) {
            guard let key = member.key.string else { throw wrong(name, member.key, expected: "text") }
            table[key] = try Body(json: member.value)
        }
        return table
    }

    /// A map from text to text.
    func textTable(_ name: String) throws(MalformedBytes) -> [String: String] {
        var table: [String: String] = [:]
        for member in try members(name) {
            guard let key = member.key.string else { throw wrong(name, member.key, expected: "text") }
            // Values that are objects are kept as their text: a table of text loses nothing by it.
            if !member.value.isNull { table[key] = member.value.string ?? member.value.description }
        }
        return table
    }

    /// A map from message queues to bodies.
    func queueTable<Body: JSONBody>(_ name: String, of type: Body.Type = Body.self) throws(MalformedBytes) -> [MessageQueue: Body] {
        var table: [MessageQueue: Body] = [:]
        for member in try members(name) { table[try MessageQueue(key: member.key)] = try Body(json: member.value) }
        return table
    }

    /// A map from message queues to offsets.
    func queueOffsets(_ name: String) throws(MalformedBytes) -> [MessageQueue: Int64] {
        try JSONFields.queueOffsets(members(name), owner)
    }

    static func queueOffsets(_ members: [JSONObject.Member], _ owner: StaticString) throws(MalformedBytes) -> [MessageQueue: Int64] {
        var table: [MessageQueue: Int64] = [:]
        for member in members {
            guard let offset = member.value.int64 else { throw MalformedBytes("an offset of \(owner) is \(member.value.kind)") }
            table[try MessageQueue(key: member.key)] = offset
        }
        return table
    }

    /// A map from whole numbers to offsets, keys quoted or bare.
    static func numberedOffsets(_ json: JSONValue, _ owner: StaticString) throws(MalformedBytes) -> [Int32: Int64] {
        guard let object = json.object else { throw MalformedBytes("the offsets of \(owner) are \(json.kind), not an object") }
        var table: [Int32: Int64] = [:]
        for member in object.members {
            guard let wide = member.key.int64, let key = Int32(exactly: wide), let offset = member.value.int64 else {
                throw MalformedBytes("\(owner) has an entry that is no pair of a number and an offset")
            }
            table[key] = offset
        }
        return table
    }

    func wrong(_ name: String, _ value: JSONValue, expected: StaticString) -> MalformedBytes {
        MalformedBytes("\(name) of \(owner) is \(value.kind), expected \(expected)")
    }
}

// Maps are written in the order of their keys, so that equal bodies are equal bytes.
extension JSONValue {
    static func table(_ table: [String: some JSONBody]) -> JSONValue {
        .object(JSONObject(table.sorted { $0.key < $1.key }.map { JSONObject.Member(key: .string($0.key), value: $0.value.json) }))
    }

    static func textTable(_ table: [String: String]) -> JSONValue {
        .object(JSONObject(table.sorted { $0.key < $1.key }.map { JSONObject.Member(key: .string($0.key), value: .string($0.value)) }))
    }

    static func queueTable(_ table: [MessageQueue: some JSONBody]) -> JSONValue {
        .object(JSONObject(table.sorted { $0.key < $1.key }.map { JSONObject.Member(key: $0.key.json, value: $0.value.json) }))
    }

    static func queueOffsets(_ table: [MessageQueue: Int64]) -> JSONValue {
        .object(JSONObject(table.sorted { $0.key < $1.key }.map { JSONObject.Member(key: $0.key.json, value: .integer($0.value)) }))
    }

    static func numberedOffsets(_ table: [Int32: Int64]) -> JSONValue {
        let members = table.sorted { $0.key < $1.key }.map {
            JSONObject.Member(key: .string("\($0.key)"), value: .integer($0.value))
        }
        return .object(JSONObject(members))
    }

    static func bodies(_ bodies: [some JSONBody]) -> JSONValue { .array(bodies.map(\.json)) }
    static func texts(_ texts: some Sequence<String>) -> JSONValue { .array(texts.map { .string($0) }) }
    static func integer(_ value: Int32) -> JSONValue { .integer(Int64(value)) }
}

/// An enumeration that Java and Go clients send by name and C++ clients by its ordinal.
public protocol NamedOrdinal: RawRepresentable<String>, CaseIterable, Sendable {}

extension NamedOrdinal {
    /// The case that the name or ordinal stands for.
    public init(json: JSONValue) throws(MalformedBytes) {
        if case .string(let name) = json, let value = Self(rawValue: name) {
            self = value
        } else if let ordinal = json.int64, ordinal >= 0, ordinal < Int64(Self.allCases.count) {
            self = Self.allCases[Self.allCases.index(Self.allCases.startIndex, offsetBy: Int(ordinal))]
        } else {
            let given = json.string.map { String($0.prefix(64)) } ?? "\(json.kind)"
            throw MalformedBytes("\(given) is none of \(Self.allCases.map(\.rawValue).joined(separator: ", "))")
        }
    }

    public var json: JSONValue { .string(rawValue) }
}

extension JSONFields {
    func named<Value: NamedOrdinal>(_ name: String, default missing: Value) throws(MalformedBytes) -> Value {
        guard let value = value(name) else { return missing }
        return try Value(json: value)
    }
}
