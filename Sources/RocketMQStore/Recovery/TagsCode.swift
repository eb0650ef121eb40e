import RocketMQBase
import RocketMQProtocol

/// What a message's consume queue entry carries for filters, worked out again from its record.
enum TagsCode {
    /// The hash of its tags; for a message that waits for its delay, when it is to be delivered.
    static func of(_ record: MessageRecord, in bytes: RawSpan, topic: String, delays: [Int64]) -> Int64 {
        let properties = bytes.extracting(record.properties)
        if topic == SystemTopic.schedule, let range = MessageProperties.range(of: PropertyName.delayTimeLevel, in: properties),
            let level = Int(properties.string(range)), level > 0
        {
            guard level <= delays.count || !delays.isEmpty else { return record.fields.storeTimestamp &+ 1000 }
            return record.fields.storeTimestamp &+ delays[min(level, delays.count) - 1]
        }
        guard let range = MessageProperties.range(of: PropertyName.tags, in: properties) else { return 0 }
        return Int64(JavaHash.hash(properties.extracting(range)))
    }
}
