import RocketMQBase
import RocketMQProtocol

/// Why messages become dead letters, for people.
enum DeadLetterReason {
    static let givenUp = "the consumer gave it up (delay level -1)"

    /// - Parameters:
    ///   - retries: that were made.
    ///   - most: that the group or its consumer wants.
    static func triedTooOften(_ retries: Int32, _ most: Int32) -> String {
        "it was delivered \(Int64(max(0, retries)) + 1) times without success, \(most) retries are the most"
    }
}

extension MessageProperties {
    /// What the properties of a record may take up, with room for what brokers add.
    private static let mostBytes = Int(Int16.max) - 512

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
        if marked.encoded().count <= Self.mostBytes { self = marked }
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
