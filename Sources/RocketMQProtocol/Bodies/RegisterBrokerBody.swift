import RocketMQBase

/// What a broker tells a nameserver about itself: the body of 103, plain JSON or a compressed binary layout, as the header's
/// `compressed` says.
public struct RegisterBrokerBody: Equatable, Sendable, JSONBody {
    public var topicConfigSerializeWrapper: TopicConfigSerializeWrapper
    public var filterServerList: [String]

    /// Bytes that a compressed registration may grow to: some 200,000 topics.
    public static let largestDecompressed = 64 * 1024 * 1024

    public init(topicConfigSerializeWrapper: TopicConfigSerializeWrapper, filterServerList: [String] = []) {
        self.topicConfigSerializeWrapper = topicConfigSerializeWrapper
        self.filterServerList = filterServerList
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "broker registration")
        topicConfigSerializeWrapper = try fields.optionalBody("topicConfigSerializeWrapper") ?? TopicConfigSerializeWrapper()
        filterServerList = try fields.texts("filterServerList")
    }

    public var json: JSONValue {
        ["filterServerList": .texts(filterServerList), "topicConfigSerializeWrapper": topicConfigSerializeWrapper.json]
    }

    /// Reads the form that the request's header announces.
    public init(decoding bytes: RawSpan, compressed: Bool) throws(MalformedBytes) {
        guard compressed else {
            try self.init(decoding: bytes)
            return
        }
        let plain: [UInt8]
        do throws(CompressionError) {
            plain = try CompressionType.zlib.decompress(bytes, limit: RegisterBrokerBody.largestDecompressed)
        } catch {
            throw MalformedBytes("broker registration: \(error)")
        }
        try self.init(layout: plain.span.bytes)
    }

    public init(decoding bytes: [UInt8], compressed: Bool) throws(MalformedBytes) {
        let span = bytes.span.bytes
        try self.init(decoding: span, compressed: compressed)
    }

    /// zlib over: data version, number of topics, topics, filter servers; each but the number an int32 length and text.
    /// 5.x appends queue mappings, which are passed over.
    private init(layout bytes: RawSpan) throws(MalformedBytes) {
        var reader = ByteReader(bytes)
        func part(_ reader: inout ByteReader, _ what: String) throws(MalformedBytes) -> Range<Int> {
            let length = try reader.integer(Int32.self, "length of \(what)")
            return try reader.skip(Int(length), what)
        }
        let version = try DataVersion(decoding: bytes.extracting(part(&reader, "data version")))
        let count = try reader.integer(Int32.self, "number of topics")
        guard count >= 0, Int(count) <= reader.remaining / 4 else {
            throw MalformedBytes("broker registration announces \(count) topics in \(reader.remaining) bytes")
        }
        var topics: [String: TopicConfig] = [:]
        for _ in 0..<count {
            let topic = try TopicConfig(spaced: bytes.string(part(&reader, "topic configuration")))
            topics[topic.topicName] = topic
        }
        let servers = try JSONValue(parsing: bytes.extracting(part(&reader, "filter servers")))
        let wrapper: JSONValue = ["filterServerList": servers]
        self.init(
            topicConfigSerializeWrapper: TopicConfigSerializeWrapper(topicConfigTable: topics, dataVersion: version),
            filterServerList: try JSONFields(wrapper, of: "broker registration").texts("filterServerList"))
    }

    /// The compressed form. The flag `order` and the system flag of topics have no place in it, as in the reference.
    public func encodedCompressed() throws(CompressionError) -> [UInt8] {
        var plain = ByteBuffer(capacity: 4096)
        func append(_ text: [UInt8], _ plain: inout ByteBuffer) {
            plain.append(bigEndian: Int32(text.count))
            plain.append(text)
        }
        append(topicConfigSerializeWrapper.dataVersion.encoded(), &plain)
        let topics = topicConfigSerializeWrapper.topicConfigTable.sorted { $0.key < $1.key }
        plain.append(bigEndian: Int32(topics.count))
        for (_, topic) in topics { append(Array(topic.spaced.utf8), &plain) }
        append(JSONValue.texts(filterServerList).encoded(), &plain)
        return try plain.withBytes { bytes throws(CompressionError) in try CompressionType.zlib.compress(bytes, level: 9) }
    }
}
