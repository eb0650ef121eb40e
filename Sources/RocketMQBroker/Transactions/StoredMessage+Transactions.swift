import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// What becomes of a half message's record.
extension StoredMessage {
    /// A message of the broker's own.
    init(topic: String, queueID: Int32, fields: MessageFields, body: [UInt8], properties: MessageProperties) {
        self.topic = topic
        self.queueID = queueID
        self.fields = fields
        self.body = body
        self.properties = properties
    }

    /// Beyond this a number of a queue is taken for damage.
    private static let largestQueueID: Int32 = 65_535

    /// Where the producer sent it (`REAL_TOPIC` and `REAL_QID`).
    func realPlace() throws(SendRefusal) -> (topic: String, queueID: Int32) {
        guard let topic = properties[PropertyName.realTopic], let queueID = properties[PropertyName.realQueueID].flatMap({ Int32($0) }),
            0...Self.largestQueueID ~= queueID
        else {
            throw SendRefusal(
                .systemError, "the half message does not say where it belongs: REAL_TOPIC and REAL_QID are missing or damaged")
        }
        return (topic, queueID)
    }

    /// The message that consumers get. It keeps the properties of its half message, as in the reference.
    ///
    /// - Parameter halfOffset: of the half message in the commit log.
    func committed(halfOffset: Int64) throws(SendRefusal) -> StoredMessage {
        var message = self
        (message.topic, message.queueID) = try realPlace()
        var flag = MessageSystemFlag(rawValue: fields.systemFlag)
        flag.transaction = .committed
        // As a half message it had to wait for its outcome in any case.
        if properties[PropertyName.expireAtMilliseconds] != nil { flag.insert(.expires) }
        message.fields.systemFlag = flag.rawValue
        message.fields.preparedTransactionOffset = halfOffset
        return message
    }

    /// The level that the producer wants the committed message to be delayed by; 0 for none.
    var delayLevel: Int { properties[PropertyName.delayTimeLevel].flatMap { Int($0) }.map { max(0, $0) } ?? 0 }

    /// A copy that takes the half message's place.
    func copied(checks: Int) -> StoredMessage {
        var message = self
        message.topic = SystemTopic.transactionHalf
        message.queueID = 0
        message.properties[PropertyName.transactionCheckTimes] = "\(checks)"
        return message
    }

    /// The record that says that the half message at this offset of its queue is decided.
    static func operation(deciding halfOffset: Int64, at storeTimestamp: Int64, by storeHost: SocketAddress) -> StoredMessage {
        let fields = MessageFields(
            bornTimestamp: storeTimestamp, bornHost: storeHost, storeTimestamp: storeTimestamp, storeHost: storeHost)
        return StoredMessage(
            topic: SystemTopic.transactionOperation, queueID: 0, fields: fields, body: Array("\(halfOffset)".utf8),
            properties: ["TAGS": operationTag])
    }

    static let operationTag = "d"

    /// The half messages that an operation record decides: one in 4.x, several with commas between in 5.x.
    static func decidedOffsets(_ body: RawSpan) -> [Int64] {
        body.string(0..<body.byteCount).split(separator: ",").compactMap { Int64($0) }
    }

    /// The body of a request that asks how the transaction ended: the record, under the topic that the producer knows.
    func checkBody(at place: Appended, storeHost: SocketAddress) throws(SendRefusal) -> [UInt8] {
        let real = try realPlace()
        let topic = Array(real.topic.utf8)
        let properties = properties.encoded()
        guard topic.count <= Int(UInt8.max), properties.count <= Int(Int16.max) else {
            throw SendRefusal(.systemError, "the half message cannot be sent to its producer: its topic or properties are too long")
        }
        let fields = MessageRecordFields(
            queueID: real.queueID, flag: fields.flag, queueOffset: place.queueOffset, physicalOffset: place.physicalOffset,
            systemFlag: MessageSystemFlag(rawValue: fields.systemFlag), bornTimestamp: fields.bornTimestamp, bornHost: fields.bornHost,
            storeTimestamp: fields.storeTimestamp, storeHost: storeHost, reconsumeTimes: fields.reconsumeTimes)
        var output = ByteBuffer(capacity: body.count + properties.count + 256)
        MessageRecord.encode(fields, body: body.span.bytes, topic: topic.span.bytes, properties: properties.span.bytes, into: &output)
        return output.copyBytes()
    }
}
