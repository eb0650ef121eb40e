import RocketMQBase
import RocketMQProtocol

/// A message as it goes to a broker: checked, named, compressed. Made where the caller is, so that the event loop only
/// has to choose a queue and write.
final class SendRequest: Sendable {
    enum Target: Sendable {
        /// Queues in turn; another broker's after a failure.
        case any
        case queue(MessageQueue)
        case selector(any MessageQueueSelector)
    }

    /// For a batch its first message.
    let message: Message
    let target: Target
    /// As it is sent.
    let body: [UInt8]
    let systemFlag: MessageSystemFlag
    let properties: String
    /// For the result.
    let messageID: String
    let isBatch: Bool
    /// To be carried to the client that made a request (325).
    let isReply: Bool

    /// Checks and prepares one message. Throws `.invalidMessage` with what to change.
    init(
        _ message: Message, _ target: Target, _ configuration: ProducerConfiguration, _ runtime: ClientRuntime,
        transaction: MessageSystemFlag.Transaction = .none
    ) throws(MQError) {
        let message = runtime.namespace.wrap(message)
        try Self.check(message, configuration)
        let id = message.uniqueKey
        let messageID = id ?? runtime.uniqueKeys.next(wallMilliseconds: runtime.loop.clock.wallMilliseconds)
        var encoded = ByteBuffer(capacity: 256)
        message.properties.encode(into: &encoded)
        if id == nil { Self.add(PropertyName.uniqueKey, messageID, to: &encoded) }
        isReply = message.properties[PropertyName.messageType] == MessageUtil.replyType
        if !isReply, message.properties[PropertyName.waitStoreMessageOK] == nil {
            Self.add(PropertyName.waitStoreMessageOK, "true", to: &encoded)
        }
        guard encoded.count <= Int(Int16.max) else {
            throw Self.invalid(message, "its properties have \(encoded.count) bytes", "\(Int16.max) are the most; move data into the body")
        }
        properties = encoded.withBytes { $0.string(0..<$0.byteCount) }
        var flag: MessageSystemFlag
        (body, flag) = Self.compress(message.body, configuration, runtime)
        flag.transaction = transaction
        systemFlag = flag
        self.messageID = messageID
        self.message = message
        self.target = runtime.namespace.wrap(target)
        isBatch = false
    }

    /// Checks and prepares messages that go into one queue together.
    init(
        batch messages: [Message], _ target: Target, _ configuration: ProducerConfiguration, _ runtime: ClientRuntime
    ) throws(MQError) {
        guard let first = messages.first else {
            throw MQError(.invalidMessage, "the batch has no messages", advice: "send at least one")
        }
        var identified: [Message] = []
        identified.reserveCapacity(messages.count)
        for message in messages {
            var message = runtime.namespace.wrap(message)
            try Self.check(message, configuration)
            try Self.checkForBatch(message, runtime.namespace.wrap(first))
            if message.uniqueKey == nil {
                message.uniqueKey = runtime.uniqueKeys.next(wallMilliseconds: runtime.loop.clock.wallMilliseconds)
            }
            if message.properties[PropertyName.waitStoreMessageOK] == nil { message.waitStoreMessageOK = true }
            identified.append(message)
        }
        let body: [UInt8]
        do throws(MalformedBytes) { body = try MessageBatch.encode(identified) } catch {
            throw Self.invalid(first, "the batch cannot be encoded: \(error)", "properties have \(Int16.max) bytes at most")
        }
        guard body.count <= configuration.maxMessageSize else {
            throw Self.invalid(
                first, "the batch has \(body.count) bytes",
                "\(configuration.maxMessageSize) are the most (maxMessageSize); divide it with MessageBatchSplitter")
        }
        self.body = body
        message = identified[0]
        self.target = runtime.namespace.wrap(target)
        systemFlag = []
        properties = first.waitStoreMessageOK ? "WAIT\u{1}true" : "WAIT\u{1}false"
        messageID = identified.map { $0.uniqueKey ?? "" }.joined(separator: ",")
        isBatch = true
        isReply = false
    }

    private static func add(_ name: StaticString, _ value: String, to output: inout ByteBuffer) {
        var value = value
        value.withUTF8 { MessageProperties.append(name, UnsafeRawBufferPointer($0).bytes, to: &output, startingAt: 0) }
    }

    private static func compress(
        _ body: [UInt8], _ configuration: ProducerConfiguration, _ runtime: ClientRuntime
    ) -> ([UInt8], MessageSystemFlag) {
        guard body.count >= configuration.compressMessageBodyOver else { return (body, []) }
        do throws(CompressionError) {
            var flag = MessageSystemFlag.compressed
            flag.compression = configuration.compressionType
            let compressed = try configuration.compressionType.compress(body, level: configuration.compressionLevel)
            return compressed.count < body.count ? (compressed, flag) : (body, [])
        } catch {
            // Sent as it is: larger, but there.
            runtime.log.log(.warning, limitedBy: "compression", "a body was not compressed: \(error)")
            return (body, [])
        }
    }

    // MARK: Checks

    private static func check(_ message: Message, _ configuration: ProducerConfiguration) throws(MQError) {
        do throws(InvalidName) {
            try TopicValidator.check(topic: message.topic)
            try TopicValidator.checkSendable(topic: message.topic)
        } catch {
            throw MQError(
                .invalidMessage, "the message cannot be sent: \(error.description)", advice: "choose another topic",
                .init(topic: message.topic), underlying: error)
        }
        guard !message.body.isEmpty else { throw invalid(message, "its body is empty", "give it at least one byte") }
        guard message.body.count <= configuration.maxMessageSize else {
            throw invalid(
                message, "its body has \(message.body.count) bytes",
                "\(configuration.maxMessageSize) are the most (maxMessageSize here and at the broker); "
                    + "keep large data elsewhere and send where it is")
        }
        let wrong = message.properties.unencodable
        guard wrong.isEmpty else {
            throw invalid(
                message, "its property \"\(wrong[0])\" cannot be encoded",
                "names must not be empty, and neither names nor values may hold the characters U+0001 and U+0002")
        }
    }

    private static func checkForBatch(_ message: Message, _ first: Message) throws(MQError) {
        guard message.topic == first.topic else {
            throw invalid(message, "a batch holds messages of topic \(first.topic)", "send one batch a topic")
        }
        guard message.delayLevel == 0, message.delay == nil, message.deliverAtMilliseconds == nil else {
            throw invalid(message, "a message of a batch has a delay", "send delayed messages one by one")
        }
        guard !message.topic.hasPrefix(SystemTopic.retryPrefix) else {
            throw invalid(message, "a batch cannot go to a retry topic", "send its messages one by one")
        }
        guard message.waitStoreMessageOK == first.waitStoreMessageOK else {
            throw invalid(message, "waitStoreMessageOK is not the same in all messages of the batch", "set it alike")
        }
    }

    private static func invalid(_ message: Message, _ what: String, _ advice: String) -> MQError {
        MQError(.invalidMessage, "the message cannot be sent: \(what)", advice: advice, .init(topic: message.topic))
    }
}

extension SendRequest {
    /// The request for a broker: 310, or 320 for a batch, or 325 for a reply.
    func command(
        to queue: MessageQueue, configuration: ProducerConfiguration, wallMilliseconds: Int64
    ) -> RemotingCommand {
        RemotingCommand.request(
            isBatch ? .sendBatchMessage : isReply ? .sendReplyMessageV2 : .sendMessageV2,
            [
                "a": configuration.group, "b": message.topic, "c": configuration.createTopicKey,
                "d": String(configuration.defaultTopicQueueCount), "e": String(queue.queueID), "f": String(systemFlag.rawValue),
                "g": String(wallMilliseconds), "h": String(message.flag), "i": properties, "j": "0", "k": "false",
                "m": isBatch ? "true" : "false", "n": queue.brokerName,
            ], body: body)
    }
}

extension Namespace {
    /// A message as it is sent: the topic in the namespace, which is noted in a property too, as by the Java client.
    func wrap(_ message: Message) -> Message {
        // A reply goes to a topic of the cluster.
        guard !isNone, message.properties[PropertyName.messageType] != MessageUtil.replyType else { return message }
        var message = message
        message.topic = wrap(message.topic)
        message.properties[PropertyName.instanceID] = name
        return message
    }

    func wrap(_ target: SendRequest.Target) -> SendRequest.Target {
        guard case .queue(let queue) = target else { return target }
        return .queue(wrap(queue))
    }
}
