import RocketMQBase
import RocketMQProtocol
import RocketMQStore

extension DeduplicationWindow {
    /// Learns from the log what was sent in the window before `now`. Blocks: for the start.
    func restore(from store: MessageStore, at now: Int64) throws(StoreError) {
        let window = configuration.milliseconds
        try store.forEachRecord(storedAtOrAfter: now - window) { record, bytes in
            // Times of another clock's future would never grow old.
            guard record.fields.storeTimestamp <= now + window, let entry = entry(of: record, bytes) else { return }
            restore(entry)
        }
    }

    /// The send that stored a record. A delayed or a half message lies in a topic of the broker's own, and was sent to another.
    private func entry(of record: MessageRecord, _ bytes: RawSpan) -> Entry? {
        var key: Range<Int>?
        var realTopic: Range<Int>?
        var realQueue: Range<Int>?
        let properties = bytes.extracting(record.properties)
        var scanner = PropertyScanner(properties)
        while let (name, value) = scanner.next() {
            if properties.equals(name, "UNIQ_KEY") {
                key = value
            } else if properties.equals(name, "REAL_TOPIC") {
                realTopic = value
            } else if properties.equals(name, "REAL_QID") {
                realQueue = value
            } else if properties.equals(name, "DLQ_ORIGIN_MESSAGE_ID") {
                return nil
            }
        }
        guard let key else { return nil }
        var topic = bytes.extracting(record.topic)
        var queueID = record.fields.queueID
        if let realTopic, SystemTopic.closedToClients.contains(topic.string(0..<topic.byteCount)) {
            topic = properties.extracting(realTopic)
            queueID = realQueue.flatMap { DecimalText.integer(properties.extracting($0)) }.flatMap { Int32(exactly: $0) } ?? queueID
        }
        let name = topic.string(0..<topic.byteCount)
        guard !name.hasPrefix(SystemTopic.retryPrefix), !name.hasPrefix(SystemTopic.deadLetterPrefix) else { return nil }
        let fields = record.fields
        return Entry(
            identity: identity(topic: topic, key: properties.extracting(key)), physicalOffset: fields.physicalOffset,
            queueOffset: fields.queueOffset, timestamp: fields.storeTimestamp, queueID: queueID, size: Int32(record.size))
    }
}

extension BrokerConfiguration {
    /// `nil` when no window is wanted.
    var deduplication: DeduplicationWindow.Configuration? {
        let window = settings[BrokerSettings.deduplicationWindow]
        guard window > 0 else { return nil }
        return DeduplicationWindow.Configuration(
            milliseconds: Int64(window), mostKeys: settings[BrokerSettings.deduplicationMaxKeys], secret: seed &+ 2)
    }
}
