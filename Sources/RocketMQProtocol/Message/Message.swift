/// A message to be sent.
public struct Message: MessageContent, Equatable {
    public var topic: String
    public var flag: Int32
    public var properties: MessageProperties
    public var body: [UInt8]
    /// The id of the transaction that the message takes part in.
    public var transactionID: String?

    public init(
        topic: String, tag: String? = nil, keys: [String] = [], flag: Int32 = 0, properties: MessageProperties = [:],
        transactionID: String? = nil, body: [UInt8]
    ) {
        self.topic = topic
        self.flag = flag
        self.properties = properties
        self.body = body
        self.transactionID = transactionID
        if let tag, !tag.isEmpty { self.tag = tag }
        if !keys.isEmpty { self.keys = keys }
    }

    public init(
        topic: String, tag: String? = nil, keys: [String] = [], flag: Int32 = 0, properties: MessageProperties = [:], text: String
    ) {
        self.init(topic: topic, tag: tag, keys: keys, flag: flag, properties: properties, body: Array(text.utf8))
    }
}
