import RocketMQBase

/// The properties of a message: names and values in the order in which they were set, each name once.
public struct MessageProperties: Sendable, Hashable {
    public struct Entry: Sendable, Hashable {
        public let name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public private(set) var entries: [Entry]

    public init() { entries = [] }

    public var count: Int { entries.count }
    public var isEmpty: Bool { entries.isEmpty }

    /// The value of `name`. Setting `nil` removes the property.
    public subscript(name: String) -> String? {
        get { entries.first { $0.name == name }?.value }
        set {
            let index = entries.firstIndex { $0.name == name }
            switch (index, newValue) {
            case (let index?, let value?): entries[index].value = value
            case (let index?, nil): entries.remove(at: index)
            case (nil, let value?): entries.append(Entry(name: name, value: value))
            case (nil, nil): break
            }
        }
    }

    /// The value of one of the names in `PropertyName`.
    public subscript(name: StaticString) -> String? {
        get { entries.first { $0.name.hasBytes(of: name) }?.value }
        set { self[name.description] = newValue }
    }

    // MARK: Encoding

    /// Reads the encoded form. An entry without a key or with an empty value is dropped, and the last value of a name
    /// counts, as in the reference.
    public init(decoding bytes: RawSpan) {
        entries = []
        var scanner = PropertyScanner(bytes)
        // The names seen so far; only many properties are worth a table of them.
        var places: [String: Int]?
        while let (name, value) = scanner.next() {
            let entry = Entry(name: bytes.string(name), value: bytes.string(value))
            if places == nil, entries.count >= 16 {
                places = Dictionary(entries.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { _, last in last })
            }
            let place = places.map { $0[entry.name] } ?? entries.firstIndex { $0.name == entry.name }
            if let place {
                entries[place].value = entry.value
            } else {
                places?[entry.name] = entries.count
                entries.append(entry)
            }
        }
    }

    public init(decoding bytes: [UInt8]) { self.init(decoding: bytes.span.bytes) }

    public init(decoding text: String) { self.init(decoding: Array(text.utf8)) }

    /// Appends the encoded form, without a separator after the last entry. Values that are empty are left out, since no
    /// reader would find them.
    public func encode(into output: inout ByteBuffer) {
        var isFirst = true
        for entry in entries where !entry.value.isEmpty && !entry.name.isEmpty {
            if !isFirst { output.append(PropertyScanner.entrySeparator) }
            isFirst = false
            output.append(utf8: entry.name)
            output.append(PropertyScanner.nameValueSeparator)
            output.append(utf8: entry.value)
        }
    }

    public func encoded() -> [UInt8] {
        var output = ByteBuffer(capacity: 256)
        encode(into: &output)
        return output.copyBytes()
    }

    /// The encoded form as text: the ext field `properties` (`i`) of a send request.
    public var encodedText: String { String(decoding: encoded(), as: UTF8.self) }

    /// The properties that cannot be encoded, because a name or value holds one of the separators.
    public var unencodable: [String] {
        entries.filter { entry in
            entry.name.isEmpty || (entry.name + entry.value).utf8.contains { $0 == 1 || $0 == 2 }
        }.map(\.name)
    }

    // MARK: Scanning

    /// Where the value of `name` lies within encoded properties; the last one where a name stands twice.
    public static func range(of name: StaticString, in bytes: RawSpan) -> Range<Int>? {
        var scanner = PropertyScanner(bytes)
        var found: Range<Int>?
        while let (candidate, value) = scanner.next() {
            if bytes.equals(candidate, name) { found = value }
        }
        return found
    }

    /// The value of `name` within encoded properties.
    public static func value(of name: StaticString, in bytes: RawSpan) -> String? {
        range(of: name, in: bytes).map { bytes.string($0) }
    }

    /// Appends one entry to encoded properties that start at `start` of the buffer's readable bytes.
    public static func append(_ name: StaticString, _ value: RawSpan, to output: inout ByteBuffer, startingAt start: Int) {
        if output.count > start, output.withBytes({ $0.byte(at: $0.byteCount - 1) }) != PropertyScanner.entrySeparator {
            output.append(PropertyScanner.entrySeparator)
        }
        output.append(name)
        output.append(PropertyScanner.nameValueSeparator)
        output.append(value)
    }
}

extension MessageProperties: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, String)...) {
        entries = []
        for (name, value) in elements { self[name] = value }
    }
}

extension MessageProperties: Sequence {
    public func makeIterator() -> IndexingIterator<[Entry]> { entries.makeIterator() }
}

extension MessageProperties: CustomStringConvertible {
    public var description: String { "{" + entries.map { "\($0.name)=\($0.value)" }.joined(separator: ", ") + "}" }
}

extension String {
    /// Whether this is the text of `name`, found out without making a `String` of it.
    fileprivate func hasBytes(of name: StaticString) -> Bool {
        name.withUTF8Buffer { $0.elementsEqual(utf8) }
    }
}
