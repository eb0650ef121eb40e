import RocketMQBase
import RocketMQProtocol

/// Why a message becomes a dead letter, for people.
struct DeadLetterReason {
    var text: String
    /// For properties that have no room for all of it.
    var short: String

    static let givenUp = Self(text: "the consumer gave it up (delay level -1)", short: "given up")

    /// - Parameter bytes: that the properties of a retry would have.
    static func noRoom(_ bytes: Int) -> Self {
        Self(text: "a retry of it would need \(bytes) bytes of properties, \(Int16.max) are the most", short: "no room")
    }

    /// - Parameters:
    ///   - retries: that were made.
    ///   - most: that the group or its consumer wants.
    static func triedTooOften(_ retries: Int32, _ most: Int32) -> Self {
        let deliveries = Int64(max(0, retries)) + 1
        return Self(
            text: "it was delivered \(deliveries) times without success, \(most) retries are the most", short: "tried \(deliveries)x")
    }
}

extension MessageProperties {
    /// As `mostBytes`, with room for what brokers add to a retry or a dead letter: topics, ids, a delay.
    static let mostBytesWithRoom = mostBytes - 512

    /// Says of a message where it came from before it became a dead letter, and why it is one: in the properties that 5.x has for
    /// that, and in less and less of them where there is little room. Dispensable ones make room.
    /// - Parameters:
    ///   - topic: where the message was, unless it says itself where it was first.
    ///   - messageID: of its record there, unless it has ids of its own.
    ///   - more: bytes that have to fit beside the properties.
    mutating func markDeadLetter(topic: String, messageID: String?, reason: DeadLetterReason, besides more: Int = 0) {
        let id = self[PropertyName.uniqueKey] ?? self[PropertyName.originMessageID] ?? messageID
        var short = self
        short[PropertyName.deadLetterReason] = reason.short
        var placed = short
        placed[PropertyName.deadLetterOriginTopic] = self[PropertyName.retryTopic] ?? topic
        var identified = placed
        identified[PropertyName.deadLetterOriginMessageID] = id
        var full = self
        full[PropertyName.deadLetterOriginTopic] = self[PropertyName.retryTopic] ?? topic
        full[PropertyName.deadLetterOriginMessageID] = id
        full[PropertyName.deadLetterReason] = reason.text
        // `RETRY_TOPIC` and `UNIQ_KEY` say the same as two of them, where they are there.
        let marks = [full, identified, self[PropertyName.retryTopic] == nil ? placed : short]
        if let mark = marks.first(where: { $0.fit(with: more) }) { return self = mark }
        for var mark in [identified, marks[2], self] where mark.makeRoom(for: more) { return self = mark }
        // The message fits as it was sent.
        self[PropertyName.retryTopic] = nil
        _ = makeRoom(for: more)
    }
}

extension ByteBuffer {
    /// As for `MessageProperties`, of the properties here as they are stored; `topic` is the retry topic they were sent to.
    mutating func markDeadLetter(of topic: String, _ request: SendRequest, besides more: Int) {
        var properties = withBytes { MessageProperties(decoding: $0) }
        properties.markDeadLetter(
            topic: topic, messageID: nil,
            reason: .triedTooOften(request.reconsumeTimes, request.maxReconsumeTimes ?? request.reconsumeTimes), besides: more)
        removeAll()
        properties.encode(into: &self)
    }
}
