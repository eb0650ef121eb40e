import RocketMQProtocol

/// Divides messages into batches that a broker takes: each within `maximumSize` bytes and of one topic, in the order given.
///
/// ```swift
/// for batch in MessageBatchSplitter(messages) { try await producer.send(contentsOf: batch) }
/// ```
public struct MessageBatchSplitter: Sequence, Sendable {
    private let messages: [Message]
    private let maximumSize: Int

    /// `maximumSize` in bytes: at most the producer's and the broker's `maxMessageSize`. Smaller batches share the connection
    /// better. A message that is larger by itself makes a batch of its own, which the producer refuses.
    public init(_ messages: [Message], maximumSize: Int = 1024 * 1024) {
        self.messages = messages
        self.maximumSize = maximumSize
    }

    public func makeIterator() -> Iterator { Iterator(messages: messages, maximumSize: maximumSize) }

    public struct Iterator: IteratorProtocol {
        let messages: [Message]
        let maximumSize: Int
        private var position = 0

        init(messages: [Message], maximumSize: Int) {
            self.messages = messages
            self.maximumSize = maximumSize
        }

        public mutating func next() -> [Message]? {
            guard position < messages.count else { return nil }
            let start = position
            var size = 0
            while position < messages.count, messages[position].topic == messages[start].topic {
                size += Self.encodedSize(messages[position])
                if size > maximumSize, position > start { break }
                position += 1
            }
            return Array(messages[start..<position])
        }

        /// Bytes of the message in a batch, with an id and the flag that the producer adds.
        private static func encodedSize(_ message: Message) -> Int {
            let properties = message.properties.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 2 }
            return 22 + message.body.count + properties + 80
        }
    }
}
