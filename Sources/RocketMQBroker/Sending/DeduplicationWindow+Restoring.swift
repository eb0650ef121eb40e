import RocketMQBase
import RocketMQProtocol
import RocketMQStore

extension DeduplicationWindow {
    /// Learns from the log what was sent in the window before `now`. Blocks: for the start.
    /// - Parameter isUndecided: whether nobody has decided the half message at a place of its queue.
    func restore(from store: MessageStore, at now: Int64, isUndecided: (Int64) -> Bool) throws(StoreError) {
        let window = configuration.milliseconds
        let queues = QueueCheck(store)
        try store.forEachRecord(storedAtOrAfter: now - window) { record, bytes in
            // Times of another clock's future would never grow old.
            guard record.fields.storeTimestamp <= now + window else { return }
            if bytes.equals(record.topic, "rmq_sys_wheel_timer"),
                let recalled = Self.recalled(by: bytes.extracting(record.properties))
            {
                return forget(topic: recalled.topic, key: recalled.key)
            }
            guard let entry = entry(of: record, bytes) else { return }
            if queues.hold(record, bytes) {
                // What was committed stands in its topic too, what was rolled back nowhere.
                if bytes.equals(record.topic, "RMQ_SYS_TRANS_HALF_TOPIC"), !isUndecided(record.fields.queueOffset) { return }
                restore(entry)
            } else {
                // Also the send whose delivery this was, after a delay: both went with a topic that was deleted.
                forget(entry.identity)
            }
        }
    }

    /// The message that a record of the timer's takes back.
    private static func recalled(by properties: RawSpan) -> (topic: String, key: String)? {
        guard let text = MessageProperties.value(of: PropertyName.timerDeleteUniqueKey, in: properties),
            let plus = text.firstIndex(of: "+")
        else { return nil }
        return (String(text[..<plus]), String(text[text.index(after: plus)...]))
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
            } else if properties.equals(name, "DLQ_ORIGIN_MESSAGE_ID") || properties.equals(name, "DLQ_SENT_FROM") {
                return nil
            }
        }
        guard let key else { return nil }
        var topic = bytes.extracting(record.topic)
        var queueID = record.fields.queueID
        var isDetour = false
        if let realTopic, SystemTopic.closedToClients.contains(topic.string(0..<topic.byteCount)) {
            topic = properties.extracting(realTopic)
            queueID = realQueue.flatMap { DecimalText.integer(properties.extracting($0)) }.flatMap { Int32(exactly: $0) } ?? queueID
            isDetour = true
        }
        let name = topic.string(0..<topic.byteCount)
        guard !name.hasPrefix(SystemTopic.retryPrefix), !name.hasPrefix(SystemTopic.deadLetterPrefix) else { return nil }
        let fields = record.fields
        return Entry(
            identity: identity(topic: topic, key: properties.extracting(key)), physicalOffset: fields.physicalOffset,
            queueOffset: fields.queueOffset, timestamp: fields.storeTimestamp, queueID: queueID, size: Int32(record.size),
            isDetour: isDetour)
    }
}

/// Whether records of the log still stand in their queues: those of a topic that was deleted stay in the log and nowhere else.
private final class QueueCheck {
    private let store: MessageStore
    private var reader: LookupReader
    private var looks = 0
    /// Between two times that what was read is given back: 16 MiB at most.
    private static let looksKept = 4096

    init(_ store: MessageStore) {
        self.store = store
        reader = LookupReader(waitingFor: store)
    }

    /// What cannot be read counts as not there: a message too many is better than one that is lost.
    func hold(_ record: MessageRecord, _ bytes: RawSpan) -> Bool {
        let topic = bytes.extracting(record.topic)
        guard let queue = store.existingQueue(topic: topic.string(0..<topic.byteCount), id: record.fields.queueID) else { return false }
        looks += 1
        if looks % Self.looksKept == 0 { reader.forget() }
        do throws(LookupInterruption) {
            return try reader.entry(queue, at: record.fields.queueOffset)?.physicalOffset == record.fields.physicalOffset
        } catch {
            // It would go on failing.
            reader = LookupReader(waitingFor: store)
            return false
        }
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

extension BrokerParts {
    /// The window over the last sends, filled from the log, when one is wanted.
    static func deduplication(
        _ configuration: BrokerConfiguration, _ store: MessageStore, _ transactions: TransactionService, _ loop: any EventLoop,
        _ log: Logger
    ) throws(BrokerError) -> DeduplicationWindow? {
        guard let wanted = configuration.deduplication else { return nil }
        let window = DeduplicationWindow(wanted)
        let began = loop.clock.monotonicNow
        do throws(StoreError) {
            try window.restore(from: store, at: loop.clock.wallMilliseconds) { transactions.index.undecided[$0] != nil }
        } catch {
            throw BrokerError("the last sends cannot be read from the log for deduplicationWindow: \(error)")
        }
        let took = (loop.clock.monotonicNow - began).inMilliseconds
        log.info("\(window.count) sends of the last \(wanted.milliseconds / 1000) s are remembered, read from the log in \(took) ms")
        return window
    }
}
