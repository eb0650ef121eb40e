import RocketMQBase

/// Several messages in the body of one send (code 320, or 10 with `batch`): one after another int32 size, two int32 zeros,
/// int32 flag, int32 length and body, int16 length and properties. All have the topic of the request's header.
public enum MessageBatch {
    /// One message of a batch: where its parts are in the batch's bytes.
    public struct Entry: Sendable, Hashable {
        public var flag: Int32
        public var body: Range<Int>
        public var properties: Range<Int>
        /// Where the next entry begins.
        public var end: Int
    }

    /// Reads the entry at `start`, without allocating. What stands in the size and the zeros does not count, as in the
    /// reference.
    public static func entry(in bytes: RawSpan, at start: Int) throws(MalformedBytes) -> Entry {
        var reader = ByteReader(bytes, at: start)
        _ = try reader.skip(12, "head of a batched message")
        let flag = try reader.integer(Int32.self, "flag of a batched message")
        let bodyLength = try reader.integer(Int32.self, "body length of a batched message")
        let body = try reader.skip(Int(bodyLength), "body of a batched message")
        let propertiesLength = try reader.integer(Int16.self, "properties length of a batched message")
        let properties = try reader.skip(Int(propertiesLength), "properties of a batched message")
        return Entry(flag: flag, body: body, properties: properties, end: reader.position)
    }

    /// Reads all messages of a batch for `topic`.
    public static func decode(_ bytes: RawSpan, topic: String) throws(MalformedBytes) -> [Message] {
        var messages: [Message] = []
        var position = 0
        while position < bytes.byteCount {
            let entry = try entry(in: bytes, at: position)
            messages.append(
                Message(
                    topic: topic, flag: entry.flag, properties: MessageProperties(decoding: bytes.extracting(entry.properties)),
                    body: bytes.array(entry.body)))
            position = entry.end
        }
        return messages
    }

    public static func decode(_ bytes: [UInt8], topic: String) throws(MalformedBytes) -> [Message] {
        let span = bytes.span.bytes
        return try decode(span, topic: topic)
    }

    /// Appends one message. Throws when its properties are too long for the format, and appends nothing then.
    public static func append(_ message: some MessageContent, to output: inout ByteBuffer) throws(MalformedBytes) {
        let properties = message.properties.encoded()
        guard properties.count <= Int(Int16.max) else {
            throw MalformedBytes("properties of \(properties.count) bytes are too long, at most \(Int16.max) are allowed")
        }
        guard message.body.count <= MessageRecord.largestBody else {
            throw MalformedBytes("body of \(message.body.count) bytes is too long for a batch")
        }
        output.append(bigEndian: Int32(22 + message.body.count + properties.count))
        output.append(bigEndian: Int64(0))
        output.append(bigEndian: message.flag)
        output.append(bigEndian: Int32(message.body.count))
        output.append(message.body)
        output.append(bigEndian: Int16(properties.count))
        output.append(properties)
    }

    public static func encode(_ messages: [Message]) throws(MalformedBytes) -> [UInt8] {
        var output = ByteBuffer(capacity: 1024)
        for message in messages { try append(message, to: &output) }
        return output.copyBytes()
    }
}
