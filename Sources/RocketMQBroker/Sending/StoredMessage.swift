import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// A stored message on its way to another topic: a delayed one to its real topic, a failed one to its retry topic. Off the
/// hot path, therefore in the general form.
struct StoredMessage {
    var topic: String
    var queueID: Int32
    var fields: MessageFields
    var body: [UInt8]
    var properties: MessageProperties

    /// Takes a record as it stands in the log.
    init(record bytes: RawSpan) throws(MalformedBytes) {
        let record = try MessageRecord.parse(bytes, at: 0)
        let stored = record.fields
        topic = bytes.string(record.topic)
        queueID = stored.queueID
        // The store says anew which of the hosts are IPv6.
        let systemFlag = stored.systemFlag.rawValue & ~0x30
        fields = MessageFields(
            flag: stored.flag, systemFlag: systemFlag, bornTimestamp: stored.bornTimestamp, bornHost: stored.bornHost,
            storeTimestamp: stored.storeTimestamp, storeHost: stored.storeHost, reconsumeTimes: stored.reconsumeTimes,
            preparedTransactionOffset: DeliveryOrigin(stored.preparedTransactionOffset) == nil ? stored.preparedTransactionOffset : 0)
        body = bytes.array(record.body)
        properties = MessageProperties(decoding: bytes.extracting(record.properties))
    }
}

/// Stages messages of the broker's own making, in the same round as everyone else's.
final class MessageMover {
    private let store: MessageStore
    private let topics: TopicTable
    private let round: CommitRound
    private let delayLevels: [Int64]
    private let storeHost: SocketAddress
    /// For committed messages that are to be delivered at some time.
    weak var timer: TimerService?

    init(store: MessageStore, topics: TopicTable, round: CommitRound, delayLevels: [Int64], storeHost: SocketAddress) {
        self.store = store
        self.topics = topics
        self.round = round
        self.delayLevels = delayLevels
        self.storeHost = storeHost
    }

    /// Stages a message whose transaction was committed as if it were sent now: its delay begins. Where it lies now, and in which
    /// queue.
    func stageCommitted(_ message: StoredMessage) throws(StoreError) -> (appended: Appended, queue: TopicQueue) {
        guard message.delayLevel == 0, let timer else { return try stageInQueue(message, delayLevel: message.delayLevel) }
        let encoded = message.properties.encoded()
        let sent = encoded.span.bytes
        let found = StoredProperties(sent)
        // It was checked when its half message was sent. Were it refused now, it could be neither committed nor rolled back.
        guard found.hasTimer, let times = try? timer.times(found, sent, isChecked: true) else { return try stageInQueue(message) }
        var timed = message
        timed.topic = SystemTopic.timer
        timed.queueID = 0
        timed.properties[PropertyName.realTopic] = message.topic
        timed.properties[PropertyName.realQueueID] = "\(message.queueID)"
        // They count only where they stand in this order.
        timed.properties[PropertyName.timerOutMilliseconds] = nil
        timed.properties[PropertyName.timerWakeMilliseconds] = nil
        timed.properties[PropertyName.timerOutMilliseconds] = "\(times.due)"
        timed.properties[PropertyName.timerWakeMilliseconds] = times.wake < times.due ? "\(times.wake)" : nil
        let staged = try stageInQueue(timed)
        timer.noteStaged(staged.appended, times)
        return staged
    }

    /// Stages the message for its topic, or for the schedule topic when `delayLevel` is above 0.
    func stage(_ message: StoredMessage, delayLevel: Int = 0) throws(StoreError) -> Appended {
        try stageInQueue(message, delayLevel: delayLevel).appended
    }

    private func stageInQueue(
        _ message: StoredMessage, delayLevel: Int = 0
    ) throws(StoreError) -> (appended: Appended, queue: TopicQueue) {
        var message = message
        message.fields.storeTimestamp = round.wallMilliseconds
        message.fields.storeHost = storeHost
        message.fields.tagsCode = message.properties[PropertyName.tags].map { Int64(JavaHash.hash($0)) } ?? 0
        message.properties[PropertyName.waitStoreMessageOK] = nil
        // That of the record that it comes from.
        message.properties[PropertyName.crc32] = nil
        var topicName = message.topic
        var queueID = message.queueID
        if delayLevel > 0 {
            let level = min(delayLevel, delayLevels.count)
            message.properties[PropertyName.delayTimeLevel] = "\(level)"
            message.properties[PropertyName.realTopic] = message.topic
            message.properties[PropertyName.realQueueID] = "\(message.queueID)"
            message.fields.tagsCode = message.fields.storeTimestamp + delayLevels[level - 1]
            topicName = SystemTopic.schedule
            queueID = Int32(level - 1)
        }
        let topic = topics.findOrCreate(topicName, queues: Int32(delayLevels.count))
        if topic.mayClientsSend { queueID = topic.readableQueue(queueID) }
        let queue = topic.brokerQueue(max(0, queueID))
        var encoded = message.properties.encoded()
        // What does not fit even then is refused with its size.
        if encoded.count > MessageProperties.mostBytes, message.properties.makeRoom() { encoded = message.properties.encoded() }
        let appended = try store.append(message.fields, body: message.body.span.bytes, properties: encoded.span.bytes, to: queue.queue)
        round.noteStaged(appended, queue)
        return (appended, queue)
    }
}
