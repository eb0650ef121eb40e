import RocketMQBase

/// A message that was received: what the producer sent, and what the broker says of it.
public struct MessageExt: MessageContent, Equatable {
    public var topic: String
    public var flag: Int32
    public var properties: MessageProperties
    /// The body as the producer gave it, decompressed; as it is stored when it cannot be decompressed.
    public var body: [UInt8]
    /// The body as it is stored. Shares the memory of `body` unless that was decompressed.
    public var storedBody: [UInt8]
    /// Why the body could not be decompressed; the message is delivered all the same, so that it does not block its queue.
    public var decompressionError: CompressionError?

    /// The broker that the message was read from, where the reader knows it.
    public var brokerName: String?
    public var queueID: Int32
    /// The message's place in its queue.
    public var queueOffset: Int64
    /// The message's place in the commit log.
    public var commitLogOffset: Int64
    /// Bytes of the record.
    public var storeSize: Int
    public var systemFlag: MessageSystemFlag
    /// Milliseconds since 1970, by the producer's clock.
    public var bornTimestamp: Int64
    /// The producer's address.
    public var bornHost: SocketAddress
    /// Milliseconds since 1970, by the broker's clock.
    public var storeTimestamp: Int64
    /// The broker's address.
    public var storeHost: SocketAddress
    /// CRC-32 of the stored body, top bit cleared.
    public var bodyCRC: Int32
    /// How often the group failed to consume the message.
    public var reconsumeTimes: Int32
    public var preparedTransactionOffset: Int64

    public init(
        topic: String, flag: Int32 = 0, properties: MessageProperties = [:], body: [UInt8], storedBody: [UInt8]? = nil,
        decompressionError: CompressionError? = nil, brokerName: String? = nil, bodyCRC: Int32, storeSize: Int,
        fields: MessageRecordFields
    ) {
        self.topic = topic
        self.flag = flag
        self.properties = properties
        self.body = body
        self.storedBody = storedBody ?? body
        self.decompressionError = decompressionError
        self.brokerName = brokerName
        queueID = fields.queueID
        queueOffset = fields.queueOffset
        commitLogOffset = fields.physicalOffset
        self.storeSize = storeSize
        systemFlag = fields.systemFlag
        bornTimestamp = fields.bornTimestamp
        bornHost = fields.bornHost
        storeTimestamp = fields.storeTimestamp
        storeHost = fields.storeHost
        self.bodyCRC = bodyCRC
        reconsumeTimes = fields.reconsumeTimes
        preparedTransactionOffset = fields.preparedTransactionOffset
    }

    /// The id that the producer's client made, or the broker's where there is none.
    public var messageID: String { uniqueKey ?? offsetMessageID }

    /// The broker's id, by which it finds the message again.
    public var offsetMessageID: String {
        OffsetMessageID(storeHost: storeHost, commitLogOffset: commitLogOffset).description
    }

    /// The queue that the message was read from; `nil` where the broker is not known.
    public var messageQueue: MessageQueue? {
        brokerName.map { MessageQueue(topic: topic, brokerName: $0, queueID: queueID) }
    }

    /// The id of the transaction that the message takes part in.
    public var transactionID: String? { properties[PropertyName.transactionID] ?? uniqueKey }

    /// The message as it would be sent again.
    public var message: Message {
        Message(topic: topic, flag: flag, properties: properties, body: body)
    }

    /// The record's fields of fixed size.
    public var recordFields: MessageRecordFields {
        MessageRecordFields(
            queueID: queueID, flag: flag, queueOffset: queueOffset, physicalOffset: commitLogOffset, systemFlag: systemFlag,
            bornTimestamp: bornTimestamp, bornHost: bornHost, storeTimestamp: storeTimestamp, storeHost: storeHost,
            reconsumeTimes: reconsumeTimes, preparedTransactionOffset: preparedTransactionOffset)
    }
}

extension MessageExt {
    /// Bytes that a body may grow to when it is decompressed, unless told otherwise.
    public static let defaultDecompressedLimit = 64 * 1024 * 1024

    /// The message of a record that was found in `bytes`.
    public init(
        _ record: MessageRecord, in bytes: RawSpan, brokerName: String? = nil,
        decompressedLimit: Int = defaultDecompressedLimit
    ) {
        let stored = bytes.array(record.body)
        var body = stored
        var problem: CompressionError?
        if record.fields.systemFlag.contains(.compressed), !stored.isEmpty {
            do throws(CompressionError) {
                guard let type = record.fields.systemFlag.compression else {
                    throw CompressionError(.failed, .zlib, "system flag \(record.fields.systemFlag.rawValue) names no compression")
                }
                body = try type.decompress(stored, limit: decompressedLimit)
            } catch {
                problem = error
            }
        }
        self.init(
            topic: bytes.string(record.topic), flag: record.fields.flag,
            properties: MessageProperties(decoding: bytes.extracting(record.properties)), body: body, storedBody: stored,
            decompressionError: problem, brokerName: brokerName, bodyCRC: record.bodyChecksum, storeSize: record.size,
            fields: record.fields)
    }

    /// Reads records that stand one after another: the body of an answer to a pull, query or view.
    ///
    /// Throws when anything but whole records stands there. A body that cannot be decompressed, or would grow beyond
    /// `decompressedLimit` bytes, is delivered as it is stored, with `decompressionError`.
    public static func decodeAll(
        _ bytes: [UInt8], brokerName: String? = nil, decompressedLimit: Int = defaultDecompressedLimit
    ) throws(MalformedBytes) -> [MessageExt] {
        try decodeAll(bytes.span.bytes, brokerName: brokerName, decompressedLimit: decompressedLimit)
    }

    public static func decodeAll(
        _ bytes: RawSpan, brokerName: String? = nil, decompressedLimit: Int = defaultDecompressedLimit
    ) throws(MalformedBytes) -> [MessageExt] {
        var messages: [MessageExt] = []
        var position = 0
        while position < bytes.byteCount {
            let record = try MessageRecord.parse(bytes, at: position)
            messages.append(MessageExt(record, in: bytes, brokerName: brokerName, decompressedLimit: decompressedLimit))
            position = record.range.upperBound
        }
        return messages
    }

    /// Appends the message's record, its body as it is stored: what a broker sends with 39 and 309.
    ///
    /// Throws when a part is too long for a record.
    public func encodeRecord(into output: inout ByteBuffer) throws(MalformedBytes) {
        let topicBytes = Array(topic.utf8)
        let propertyBytes = properties.encoded()
        guard topicBytes.count <= TopicValidator.longestTopic else {
            throw MalformedBytes("topic of \(topicBytes.count) bytes does not fit a record")
        }
        guard propertyBytes.count <= Int(Int16.max) else {
            throw MalformedBytes("properties of \(propertyBytes.count) bytes do not fit a record, at most \(Int16.max) do")
        }
        guard storedBody.count <= MessageRecord.largestBody else {
            throw MalformedBytes("body of \(storedBody.count) bytes does not fit a record")
        }
        MessageRecord.encode(
            recordFields, body: storedBody.span.bytes, topic: topicBytes.span.bytes, properties: propertyBytes.span.bytes,
            into: &output)
    }
}
