import RocketMQBase
import RocketMQProtocol

/// Why messages become dead letters, for people.
enum DeadLetterReason {
    static let givenUp = "the consumer gave it up (delay level -1)"

    /// - Parameter bytes: that the properties of a retry would have.
    static func noRoom(_ bytes: Int) -> String { "a retry of it would need \(bytes) bytes of properties, \(Int16.max) are the most" }

    /// - Parameters:
    ///   - retries: that were made.
    ///   - most: that the group or its consumer wants.
    static func triedTooOften(_ retries: Int32, _ most: Int32) -> String {
        "it was delivered \(Int64(max(0, retries)) + 1) times without success, \(most) retries are the most"
    }
}

extension MessageProperties {
    /// What the properties of a record may take up.
    static let mostBytes = Int(Int16.max)
    /// As above, with room for what brokers add to a retry or a dead letter: topics, ids, a delay.
    static let mostBytesWithRoom = mostBytes - 512

    /// What later deliveries can do without, what is missed least first: what brokers and clients noted on the way, where requests
    /// come from (for replies to them), and the id of the first copy.
    private static let dispensable: [StaticString] = [
        PropertyName.messageRegion, PropertyName.traceSwitch, PropertyName.consumeStartTimestamp, PropertyName.minOffset,
        PropertyName.maxOffset, PropertyName.producerGroup, PropertyName.cluster, PropertyName.originMessageID,
    ]

    /// Leaves out what is dispensable, one after the other, until the rest fits into a record; whether it does then.
    mutating func makeRoom() -> Bool {
        if encoded().count <= Self.mostBytes { return true }
        for name in Self.dispensable where self[name] != nil {
            self[name] = nil
            if encoded().count <= Self.mostBytes { return true }
        }
        return false
    }

    /// Says of a message where it came from before it became a dead letter, as far as there is room: in the properties that
    /// 5.x has for that.
    /// - Parameters:
    ///   - topic: where the message was, unless it says itself where it was first.
    ///   - messageID: of its record there, unless it has ids of its own.
    mutating func markDeadLetter(topic: String, messageID: String?, reason: String) {
        var marked = self
        marked[PropertyName.deadLetterOriginTopic] = self[PropertyName.retryTopic] ?? topic
        marked[PropertyName.deadLetterOriginMessageID] = self[PropertyName.uniqueKey] ?? self[PropertyName.originMessageID] ?? messageID
        marked[PropertyName.deadLetterReason] = reason
        if marked.encoded().count <= Self.mostBytesWithRoom { self = marked }
    }
}

extension ByteBuffer {
    /// As for `MessageProperties`, of the properties here as they are stored; `topic` is the retry topic they were sent to.
    mutating func markDeadLetter(of topic: String, _ request: SendRequest) {
        var properties = withBytes { MessageProperties(decoding: $0) }
        properties.markDeadLetter(
            topic: topic, messageID: nil,
            reason: DeadLetterReason.triedTooOften(request.reconsumeTimes, request.maxReconsumeTimes ?? request.reconsumeTimes))
        removeAll()
        properties.encode(into: &self)
    }
}
