import RocketMQBase

/// One queue of a topic on one broker.
///
/// Ordered by topic, then broker, then queue id: every client of a group allocates queues from the same order.
public struct MessageQueue: Hashable, Sendable, JSONBody {
    public var topic: String
    public var brokerName: String
    public var queueID: Int32

    public init(topic: String, brokerName: String, queueID: Int32) {
        self.topic = topic
        self.brokerName = brokerName
        self.queueID = queueID
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "message queue")
        topic = try fields.requiredText("topic")
        brokerName = try fields.requiredText("brokerName")
        queueID = try fields.integer("queueId")
    }

    /// Reads a queue that is the key of a map: an object, or the text of one.
    init(key: JSONValue) throws(MalformedBytes) {
        if case .string(let text) = key {
            try self.init(json: JSONValue(parsing: Array(text.utf8)))
        } else {
            try self.init(json: key)
        }
    }

    public var json: JSONValue {
        ["brokerName": .string(brokerName), "queueId": .integer(queueID), "topic": .string(topic)]
    }
}

extension MessageQueue: Comparable {
    public static func < (left: MessageQueue, right: MessageQueue) -> Bool {
        if left.topic != right.topic { return JavaOrder.precedes(left.topic, right.topic) }
        if left.brokerName != right.brokerName { return JavaOrder.precedes(left.brokerName, right.brokerName) }
        return left.queueID < right.queueID
    }
}

extension MessageQueue: CustomStringConvertible {
    /// `topic@broker:queue`.
    public var description: String { "\(topic)@\(brokerName):\(queueID)" }
}

/// The order in which the reference sorts text: by UTF-16 units. Members of one group may be written in several languages
/// and must agree.
public enum JavaOrder {
    public static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf16.lexicographicallyPrecedes(right.utf16)
    }
}
