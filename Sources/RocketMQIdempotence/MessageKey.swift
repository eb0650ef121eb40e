import RocketMQClient
import RocketMQProtocol

/// Which messages count as the same.
public struct MessageKey: Sendable {
    /// The key of a message; `nil` when it has none and is always consumed.
    public let of: @Sendable (MessageExt) -> String?

    /// A key of the user's; nil means that the message has none and is processed without a mark.
    public init(_ of: @escaping @Sendable (MessageExt) -> String?) { self.of = of }

    /// The id that the producer's client gave it (`UNIQ_KEY`), within its topic: the same when the client sent a message twice
    /// because it heard no answer, and in every delivery of the message; another topic's when a program sends a message on with all
    /// its properties. Without one, the broker's id of the first copy.
    public static let uniqueKey = MessageKey { message in
        let id = message.uniqueKey ?? message.properties[PropertyName.originMessageID] ?? message.offsetMessageID
        return "\(message.topic)/\(id)"
    }

    /// The first of the keys that the user gave it (`KEYS`), within its topic: also the same when the producer's program made the
    /// message a second time.
    public static let userKey = MessageKey { message in message.keys.first.map { "\(message.topic)/\($0)" } }

    /// A property of the user's, within its topic.
    public static func property(_ name: String) -> MessageKey {
        MessageKey { message in message.properties[name].map { "\(message.topic)/\($0)" } }
    }
}
