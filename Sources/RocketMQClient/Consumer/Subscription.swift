import RocketMQProtocol

/// Which messages of a topic are wanted. Brokers leave the others out, so they cost the consumer nothing.
public struct MessageFilter: Sendable, Hashable {
    let expression: String
    let type: String

    private init(_ expression: String, _ type: String) {
        self.expression = expression
        self.type = type
    }

    /// Every message of the topic.
    public static let all = MessageFilter(SubscriptionData.all, ExpressionType.tag)

    /// Messages with one of the tags.
    public static func tags(_ tags: String...) -> MessageFilter { .tags(tags) }
    /// Messages with any of these tags. None: every message.
    public static func tags(_ tags: [String]) -> MessageFilter { MessageFilter(tags.joined(separator: " || "), ExpressionType.tag) }

    /// As the Java client writes tags: `TagA || TagB`, or `*`.
    public static func expression(_ text: String) -> MessageFilter { MessageFilter(text, ExpressionType.tag) }

    /// By properties: `amount > 10 AND region = 'EU'`. The broker must allow it (`enablePropertyFilter=true`).
    public static func sql(_ text: String) -> MessageFilter { MessageFilter(text, ExpressionType.sql92) }
}

/// A topic and what is wanted of it.
public struct Subscription: Sendable, Hashable {
    /// As the user names it, without a namespace.
    public var topic: String
    /// Which of its messages are wanted.
    public var filter: MessageFilter

    public init(_ topic: String, filter: MessageFilter = .all) {
        self.topic = topic
        self.filter = filter
    }

    /// As brokers are told of it; `version` in milliseconds since 1970.
    func data(version: Int64, in namespace: Namespace = Namespace(nil)) throws(MQError) -> SubscriptionData {
        let topic = namespace.wrap(topic)
        let context = MQError.Context(topic: topic)
        do throws(InvalidName) { try TopicValidator.check(topic: topic) } catch {
            throw MQError(.invalidSubscription, "cannot subscribe: \(error.description)", advice: "correct the topic", context)
        }
        do throws(InvalidExpression) {
            return try SubscriptionData(topic: topic, expression: filter.expression, type: filter.type, subVersion: version)
        } catch {
            throw MQError(.invalidSubscription, "cannot subscribe", advice: error.description, context, underlying: error)
        }
    }
}
