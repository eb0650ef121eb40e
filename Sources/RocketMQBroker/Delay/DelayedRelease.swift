import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Stages delayed records where they belong, straight from the bytes in which they lie in the log. Confined to the broker's
/// loop.
final class DelayedRelease {
    enum Outcome {
        case staged
        /// There is nowhere to put it: said in the log, and never tried again.
        case dropped
        case failed(StoreError)
    }

    private let store: MessageStore
    private let topics: TopicTable
    private let round: CommitRound
    private let storeHost: SocketAddress
    private let log: Logger
    private var kept = ByteBuffer(capacity: 1024)
    /// Called with the topic and the `UNIQ_KEY` of each message that is staged in the topic itself, and where.
    var onStaged: ((Topic, RawSpan, TopicQueue, Appended) -> Void)?
    /// Called with the topic's name and the `UNIQ_KEY` of each message that is dropped for good.
    var onDropped: ((RawSpan, RawSpan) -> Void)?

    init(store: MessageStore, topics: TopicTable, round: CommitRound, storeHost: SocketAddress, log: Logger) {
        self.store = store
        self.topics = topics
        self.round = round
        self.storeHost = storeHost
        self.log = log
    }

    /// Properties that a delayed record has and the delivered one has not.
    private static func isDropped(_ name: Range<Int>, _ properties: RawSpan, isTimer: Bool) -> Bool {
        switch name.count {
        case 4: properties.equals(name, "WAIT")
        case 5: properties.equals(name, "DELAY")
        case 8: properties.equals(name, "__CRC32#") || isTimer && properties.equals(name, "REAL_QID")
        case 10: isTimer && properties.equals(name, "REAL_TOPIC")
        case 13: properties.equals(name, "TIMER_WAKE_MS")
        default: false
        }
    }

    /// Stages the message of a delayed record as it was before it was delayed.
    ///
    /// - Parameter bytes: what `record` was parsed from.
    func stage(_ record: MessageRecord, in bytes: RawSpan, origin: DeliveryOrigin) -> Outcome {
        let properties = bytes.extracting(record.properties)
        var (topicName, queueID, tags): (Range<Int>?, Int32, Range<Int>?) = (nil, 0, nil)
        var key: Range<Int>?
        kept.removeAll()
        var scanner = PropertyScanner(properties)
        while let (name, value) = scanner.next() {
            if properties.equals(name, "REAL_TOPIC") {
                topicName = value
            } else if properties.equals(name, "REAL_QID") {
                queueID = DecimalText.integer(properties.extracting(value)).flatMap { Int32(exactly: $0) } ?? 0
            } else if properties.equals(name, "TAGS") {
                tags = value
            } else if properties.equals(name, "UNIQ_KEY") {
                key = value
            }
            guard !Self.isDropped(name, properties, isTimer: origin.kind == DeliveryOrigin.timer) else { continue }
            if !kept.isEmpty { kept.append(PropertyScanner.entrySeparator) }
            kept.append(properties.extracting(name.lowerBound..<value.upperBound))
        }
        guard let topicName, let topic = target(properties.extracting(topicName), queueID) else {
            if let topicName, let key { onDropped?(properties.extracting(topicName), properties.extracting(key)) }
            return .dropped
        }
        guard 0..<65_536 ~= queueID else {
            log.log(.error, limitedBy: "delayed messages without a queue", "a delayed message names queue \(queueID), it is dropped")
            return .dropped
        }
        queueID = topic.readableQueue(queueID)
        let tagsCode = tags.map { Int64(JavaHash.hash(properties.extracting($0))) } ?? 0
        let fields = fields(of: record, origin: origin, tagsCode: tagsCode)
        let queue = topic.brokerQueue(queueID)
        switch append(fields, bytes.extracting(record.body), to: queue) {
        case .success(let appended):
            if let key { onStaged?(topic, properties.extracting(key), queue, appended) }
            return .staged
        case .failure(let error):
            switch error.code {
            case .messageTooLarge, .propertiesTooLong, .illegalTopic:
                log.log(
                    .error, limitedBy: "delayed messages that do not fit",
                    "a delayed message for topic \(topic.name) can never be stored, it is dropped: \(error)")
                return .dropped
            default: return .failed(error)
            }
        }
    }

    /// Stages the record once more in its own queue, with properties of the caller's.
    func stageAgain(
        _ record: MessageRecord, in bytes: RawSpan, properties: RawSpan, origin: DeliveryOrigin, to queue: TopicQueue
    ) -> Result<Appended, StoreError> {
        let fields = fields(of: record, origin: origin, tagsCode: 0)
        do throws(StoreError) {
            let appended = try store.append(fields, body: bytes.extracting(record.body), properties: properties, to: queue.queue)
            round.noteStaged(appended, queue)
            return .success(appended)
        } catch {
            return .failure(error)
        }
    }

    private func fields(of record: MessageRecord, origin: DeliveryOrigin, tagsCode: Int64) -> MessageFields {
        let stored = record.fields
        // The store says anew which of the hosts are IPv6.
        return MessageFields(
            flag: stored.flag, systemFlag: stored.systemFlag.rawValue & ~0x30, bornTimestamp: stored.bornTimestamp,
            bornHost: stored.bornHost, storeTimestamp: round.wallMilliseconds, storeHost: storeHost,
            reconsumeTimes: stored.reconsumeTimes, preparedTransactionOffset: origin.field, tagsCode: tagsCode)
    }

    private func append(_ fields: MessageFields, _ body: RawSpan, to queue: TopicQueue) -> Result<Appended, StoreError> {
        do throws(StoreError) {
            let appended = try kept.withBytes { (properties: RawSpan) throws(StoreError) -> Appended in
                try store.append(fields, body: body, properties: properties, to: queue.queue)
            }
            round.noteStaged(appended, queue)
            return .success(appended)
        } catch {
            return .failure(error)
        }
    }

    /// Where the message belongs: `nil` when its topic was deleted while it waited, since nobody could read it. The topics of
    /// retries are the broker's own, and made anew.
    private func target(_ name: RawSpan, _ queueID: Int32) -> Topic? {
        if let topic = topics.find(bytes: name) { return topic }
        let text = name.string(0..<name.byteCount)
        if text.hasPrefix(SystemTopic.retryPrefix) { return topics.findOrCreate(text, queues: max(0, min(queueID, 65_535)) + 1) }
        log.log(
            .warning, limitedBy: "delayed messages of deleted topics",
            "a delayed message for topic \(text) is dropped: the topic was deleted")
        return nil
    }
}
