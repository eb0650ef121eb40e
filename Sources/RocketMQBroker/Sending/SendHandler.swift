import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Stores what producers send (10, 310, 320). The hot path: a send costs no allocation, its answer leaves when the commit
/// of the tick, or the flush that it asked for, has made it true.
final class SendHandler {
    private(set) var configuration: SendConfiguration
    let store: MessageStore
    private let topics: TopicTable
    private let groups: SubscriptionGroupTable
    private let counters: BrokerCounters
    private let clock: any SystemClock
    private let scheduleRoute: (Topic) -> Void
    private let log: Logger
    private var random: RandomSource

    let round: CommitRound
    /// Set before the first send; `nil` when `deduplicationWindow` is 0.
    var deduplication: DeduplicationWindow?
    /// Called with who waits for a reply to a message, and its connection.
    var onRequest: (String, ServerConnection) -> Void = { _, _ in }
    private var hints = QueueHints()
    private let transactions: TransactionService
    private let timer: TimerService
    /// Properties as they are stored, of the message at hand.
    var properties = ByteBuffer(capacity: 4096)
    /// The cluster's name as every message holds it.
    let clusterProperty: ByteBuffer
    let messageIDPrefix: [UInt8]
    private var constantFields: PreparedFields

    /// `scheduleRoute` is called with each topic that a send created: see `Topic.answersAwaitingRoute`.
    init(
        _ configuration: SendConfiguration, store: MessageStore, topics: TopicTable, groups: SubscriptionGroupTable,
        round: CommitRound, transactions: TransactionService, timer: TimerService, counters: BrokerCounters, clock: any SystemClock,
        random: RandomSource,
        scheduleRoute: @escaping (Topic) -> Void, log: Logger
    ) {
        self.configuration = configuration
        self.store = store
        self.topics = topics
        self.groups = groups
        self.round = round
        self.transactions = transactions
        self.timer = timer
        self.counters = counters
        self.clock = clock
        self.random = random
        self.scheduleRoute = scheduleRoute
        self.log = log
        var clusterProperty = ByteBuffer(capacity: 64)
        clusterProperty.append(utf8: "CLUSTER\u{1}\(configuration.clusterName)")
        self.clusterProperty = clusterProperty
        constantFields = Self.constantFields(configuration)
        messageIDPrefix = MessageIDText.prefix(of: configuration.storeHost)
    }

    /// Takes over settings that were changed while the broker runs.
    func take(_ configuration: SendConfiguration) {
        self.configuration = configuration
        constantFields = Self.constantFields(configuration)
    }

    private static func constantFields(_ configuration: SendConfiguration) -> PreparedFields {
        PreparedFields([("MSG_REGION", configuration.regionID), ("TRACE_ON", configuration.isTraceOn ? "true" : "false")])
    }

    // MARK: Requests

    /// A send that is handled after some others: fetches what it will need from memory, where there are very many queues.
    func prepare(_ header: borrowing HeaderTable, _ frame: RawSpan) {
        guard topics.count >= QueueHints.fewestTopics else { return }
        var (topic, queueID) = (-1, Int32(0))
        for index in 0..<header.count {
            switch header.letter(index, in: frame) {
            case UInt8(ascii: "b"): topic = index
            case UInt8(ascii: "e"): queueID = Int32(truncatingIfNeeded: header.integer(index, in: frame) ?? 0)
            default: break
            }
        }
        guard topic >= 0 else { return }
        hints.announce(header.withValue(topic, in: frame) { QueueHints.hash($0) }, queueID)
    }

    /// The topic's queues are not what its name means any more.
    func topicRemoved(_ topic: Topic) { for queue in topic.knownQueues { hints.forget(queue) } }

    func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
        do throws(SendRefusal) {
            try store(header, frame, from: connection)
        } catch {
            counters.refusedSends += 1
            if !header.isOneway { connection.answer(header.answerTo, .response(error.code, error.remark)) }
        }
    }

    private func store(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) throws(SendRefusal) {
        let request: SendRequest
        do throws(InvalidRequest) { request = try SendRequest(header, frame) } catch { throw SendRefusal(error.code, error.description) }
        guard configuration.permission.contains(.write) else {
            throw SendRefusal(
                .noPermission,
                "broker \(configuration.brokerName) may not be written to (brokerPermission=\(configuration.permission.rawValue))")
        }
        // A lookup of one step where there are very many topics.
        let known =
            topics.count >= QueueHints.fewestTopics && request.queueID >= 0
            ? header.withValue(request.topic, in: frame) { hints.find($0, request.queueID) } : nil
        let topic: Topic
        if let known { topic = known.topic } else { topic = try self.topic(of: request, header, frame, from: connection) }
        try check(topic)
        let body = frame.extracting(header.bodyRange)
        guard body.byteCount <= configuration.maxMessageSize else {
            throw SendRefusal(
                .messageIllegal,
                "the body of \(body.byteCount) bytes for topic \(topic.name) is larger than maxMessageSize, \(configuration.maxMessageSize) bytes"
            )
        }
        var queueID = request.queueID
        if queueID >= topic.queueCount {
            throw SendRefusal(.systemError, "queue \(queueID) of topic \(topic.name) does not exist: it has \(topic.queueCount) queues")
        }
        if queueID < 0 { queueID = Int32(random.next() % UInt64(max(1, topic.config.writeQueueNums))) }
        let queue = known ?? topic.brokerQueue(queueID)
        guard request.properties >= 0 else { return try store(request, header, body, RawSpan(), queue, from: connection) }
        try header.withValue(request.properties, in: frame) { (properties: RawSpan) throws(SendRefusal) in
            try store(request, header, body, properties, queue, from: connection)
        }
    }

    @inline(__always)
    private func store(
        _ request: SendRequest, _ header: borrowing HeaderTable, _ body: RawSpan, _ properties: RawSpan, _ queue: TopicQueue,
        from connection: ServerConnection
    ) throws(SendRefusal) {
        guard request.isBatch else { return try storeOne(request, header, body, properties, queue, from: connection) }
        try storeBatch(request, header, body, properties, queue, from: connection)
    }

    @inline(__always)
    private func check(_ topic: Topic) throws(SendRefusal) {
        guard topic.mayClientsSend, topic.isWritable else { throw Self.refusal(topic) }
    }

    @inline(never)
    private static func refusal(_ topic: Topic) -> SendRefusal {
        guard topic.mayClientsSend else {
            return SendRefusal(.noPermission, "topic \(topic.name) is the broker's own; clients may not send to it")
        }
        return SendRefusal(
            .noPermission,
            "topic \(topic.name) may not be written to (perm=\(topic.config.perm.rawValue)); change it with: mqadmin updateTopic -t \(topic.name) -p 6"
        )
    }

    /// The topic that the send names, created when that is allowed.
    private func topic(
        of request: SendRequest, _ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection
    ) throws(SendRefusal) -> Topic {
        if let topic = header.withValue(request.topic, in: frame, { topics.find(bytes: $0) }) { return topic }
        let name = header.text(request.topic, in: frame)
        do throws(InvalidName) { try TopicValidator.check(topic: name) } catch { throw SendRefusal(.systemError, error.description) }
        guard !SystemTopic.closedToClients.contains(name) else {
            throw SendRefusal(.noPermission, "topic \(name) is the broker's own; clients may not send to it")
        }
        if name.hasPrefix(SystemTopic.retryPrefix) {
            let group = String(name.dropFirst(SystemTopic.retryPrefix.utf8.count))
            guard let found = groups.find(group) else { throw SendRefusal.unknownGroup(group) }
            return topics.createRetryTopic(group: group, queues: found.config.retryQueueNums)
        }
        let defaultTopic = request.defaultTopic >= 0 ? header.text(request.defaultTopic, in: frame) : ""
        let topic: Topic
        do throws(TopicTable.CreationRefusal) {
            topic = try topics.createForSend(name, defaultTopic: defaultTopic, queues: request.defaultTopicQueueNums)
        } catch {
            guard case .notAllowed(let reason) = error else { throw SendRefusal(.topicNotExist, name) }
            throw SendRefusal(.topicNotExist, reason)
        }
        topic.answersAwaitingRoute = []
        scheduleRoute(topic)
        return topic
    }

    // MARK: One message

    private func storeOne(
        _ request: SendRequest, _ header: borrowing HeaderTable, _ body: RawSpan, _ sent: RawSpan, _ queue: TopicQueue,
        from connection: ServerConnection
    ) throws(SendRefusal) {
        let found = StoredProperties(sent)
        let identity = deduplication?.identity(of: found, in: sent, topic: queue.topic)
        if let identity, let first = firstCopy(identity, queue.topic) {
            return answerAgain(first, header, found, sent, queue.topic, from: connection)
        }
        var target = queue
        var fields = MessageFields(
            flag: request.flag, systemFlag: request.systemFlag, bornTimestamp: request.bornTimestamp, bornHost: connection.peer,
            storeTimestamp: round.wallMilliseconds, storeHost: configuration.storeHost, reconsumeTimes: request.reconsumeTimes)
        if queue.topic.isMultiTag { fields.systemFlag |= 2 }
        if let tags = found.tags { fields.tagsCode = Int64(JavaHash.hash(sent.extracting(tags))) }
        var delayLevel = found.delay == nil ? 0 : try delayLevel(found, sent)
        if queue.topic.isRetry, let deadLetter = try deadLetterQueue(request, header.version, queue.topic) {
            target = deadLetter
            delayLevel = 0
        }
        // Retries of a committed message still say so when an old client sends them.
        let isHalf = found.isTransactionPrepared && !(request.reconsumeTimes > 0 && (delayLevel > 0 || queue.topic.isRetry))
        // A level counts more than a time, and neither counts for what was tried too often or enters no queue.
        let mayWait = delayLevel == 0 && target === queue && (isHalf || request.systemFlag & Self.entersNoQueue == 0)
        let times = found.hasTimer && mayWait ? try timer.times(found, sent) : nil
        found.writeKept(of: sent, to: &properties)
        if target !== queue { properties.markDeadLetter(of: queue.topic.name, request, besides: clusterProperty.count + 1) }
        if found.expireAfter != nil || found.expireAt != nil {
            let delay = delayLevel > 0 ? configuration.delayLevels[delayLevel - 1] : times.map { $0.due - fields.storeTimestamp } ?? 0
            try setExpiry(&fields, found, sent, delay: delay)
        }
        if isHalf {
            target = try hide(&fields, target)
        } else if delayLevel > 0 {
            target = postpone(&fields, target, level: delayLevel)
        } else if let times {
            times.append(to: &properties)
            appendRealPlace(target)
            target = timer.queue
        }
        let appended = try append(fields, body, to: target)
        if let identity {
            remember(identity, appended, fields.storeTimestamp, queueID: queue.queue.id, isDetour: target !== queue)
        }
        // Who sends a request on, as a retry or once more, is not the one who waits.
        if let requester = found.requester, !queue.topic.isRetry, !found.isDeadLetter { onRequest(sent.string(requester), connection) }
        let isTimed = times != nil && !isHalf
        if let times, isTimed { timer.noteStaged(appended, times) }
        if isHalf { properties.withBytes { transactions.halfStaged(appended, fields, properties: $0) } }
        guard !header.isOneway else { return }
        round.hold(header.answerTo, for: connection, topic: queue.topic, waitsForFlush: !found.doesNotWait) { output in
            var answer = FrameBuilder(&output, response: .success, to: header.answerTo)
            appendMessageID(appended.physicalOffset, &answer, &output)
            answer.field("queueId", decimal: Int64(queue.queue.id), into: &output)
            answer.field("queueOffset", decimal: appended.queueOffset, into: &output)
            if let key = found.uniqueKey { answer.field("transactionId", bytes: sent.extracting(key), into: &output) }
            if isTimed, let times, let key = found.uniqueKey, !queue.topic.isRetry {
                let handle = RecallHandle(
                    topic: queue.topic.name, brokerName: configuration.brokerName, due: times.due, key: sent.string(key),
                    queueOffset: appended.queueOffset)
                answer.field("recallHandle", text: handle.text, into: &output)
            }
            finish(&answer, &output)
        }
    }

    /// Of the system flag: prepared and rolled-back messages have this bit.
    private static let entersNoQueue = MessageSystemFlag.Transaction.prepared.rawValue

    private func delayLevel(_ found: StoredProperties, _ sent: RawSpan) throws(SendRefusal) -> Int {
        guard let range = found.delay else { return 0 }
        guard let level = DecimalText.integer(sent.extracting(range)) else {
            throw SendRefusal(.systemError, "the property DELAY is not a number: \(sent.string(range))")
        }
        return Int(max(0, min(level, Int64(configuration.delayLevels.count))))
    }

    /// Marks a message in `properties` that is not to be delivered after some time. When that is was settled the first time it
    /// was stored: retries do not begin anew.
    func setExpiry(_ fields: inout MessageFields, _ found: StoredProperties, _ sent: RawSpan, delay: Int64) throws(SendRefusal) {
        fields.systemFlag |= MessageSystemFlag.expires.rawValue
        if let range = found.expireAt {
            guard DecimalText.integer(sent.extracting(range)) ?? 0 > 0 else {
                throw SendRefusal(.messageIllegal, "the property EXPIRE_AT_MS is no time in milliseconds since 1970: \(sent.string(range))")
            }
            return
        }
        guard let range = found.expireAfter else { return }
        guard let after = DecimalText.integer(sent.extracting(range)), after > 0, after < 1 << 50 else {
            throw SendRefusal(.messageIllegal, "the property EXPIRE_AFTER_MS is no number of milliseconds above 0: \(sent.string(range))")
        }
        properties.append("\u{2}EXPIRE_AT_MS\u{1}")
        properties.append(decimal: fields.storeTimestamp + delay + after)
    }

    /// Where a retry goes that was tried too often.
    private func deadLetterQueue(_ request: SendRequest, _ version: Int32, _ topic: Topic) throws(SendRefusal) -> TopicQueue? {
        let group = String(topic.name.dropFirst(SystemTopic.retryPrefix.utf8.count))
        guard let found = groups.find(group) else { throw SendRefusal.unknownGroup(group) }
        var most = found.config.retryMaxTimes
        // Clients before 3.4.9 (version 121) do not say how often they want to try.
        if version >= 121, let asked = request.maxReconsumeTimes { most = asked }
        guard request.reconsumeTimes >= most else { return nil }
        return topics.createDeadLetterTopic(group: group).brokerQueue(0)
    }

    /// Redirects a message to the schedule topic, with its real place among its properties.
    private func postpone(_ fields: inout MessageFields, _ queue: TopicQueue, level: Int) -> TopicQueue {
        appendRealPlace(queue)
        fields.tagsCode = fields.storeTimestamp + configuration.delayLevels[level - 1]
        let schedule = topics.findOrCreate(SystemTopic.schedule, queues: Int32(configuration.delayLevels.count))
        return schedule.brokerQueue(Int32(level - 1))
    }

    /// Redirects a half message to where it waits for its transaction's outcome. A delay begins when it is committed.
    private func hide(_ fields: inout MessageFields, _ queue: TopicQueue) throws(SendRefusal) -> TopicQueue {
        guard !configuration.rejectsTransactions else {
            throw SendRefusal(
                .noPermission, "broker \(configuration.brokerName) does not take transaction messages (rejectTransactionMessage=true)")
        }
        appendRealPlace(queue)
        fields.systemFlag &= ~(MessageSystemFlag.Transaction.rolledBack.rawValue | MessageSystemFlag.expires.rawValue)
        return transactions.halfQueue
    }

    private func appendRealPlace(_ queue: TopicQueue) {
        if !properties.isEmpty { properties.append(2) }
        properties.append("REAL_TOPIC\u{1}")
        properties.append(utf8: queue.topic.name)
        properties.append("\u{2}REAL_QID\u{1}")
        properties.append(decimal: Int64(queue.queue.id))
    }

    // MARK: Shared

    /// Stages the message whose properties are in `properties`.
    func append(_ fields: MessageFields, _ body: RawSpan, to queue: TopicQueue) throws(SendRefusal) -> Appended {
        if properties.count > Self.mostPropertiesForRetries { warnOfProperties(queue) }
        do throws(StoreError) {
            let appended = try properties.withBytes { (bytes: RawSpan) throws(StoreError) -> Appended in
                try clusterProperty.withBytes { (cluster: RawSpan) throws(StoreError) -> Appended in
                    try store.append(fields, body: body, properties: bytes, extraProperties: cluster, to: queue.queue)
                }
            }
            round.noteStaged(appended, queue)
            if topics.count >= QueueHints.fewestTopics { hints.note(queue) }
            return appended
        } catch {
            throw SendRefusal(error)
        }
    }

    /// Properties that leave room for what a retry adds: see `MessageProperties.mostBytesWithRoom`.
    private static let mostPropertiesForRetries = MessageProperties.mostBytesWithRoom

    @inline(never)
    private func warnOfProperties(_ queue: TopicQueue) {
        log.log(
            .warning, limitedBy: "long properties",
            "a message for topic \(queue.topic.name) has \(properties.count) bytes of properties of at most \(Int16.max): a retry needs some "
                + "more, so it may become a dead letter when a consumer fails it once; put what is long into the body")
    }

    func appendMessageID(_ physicalOffset: Int64, _ answer: inout FrameBuilder, _ output: inout ByteBuffer) {
        withUnsafeTemporaryAllocation(byteCount: 56, alignment: 1) { room in
            let length = MessageIDText.write(messageIDPrefix, physicalOffset, to: room)
            answer.field("msgId", bytes: UnsafeRawBufferPointer(rebasing: room[..<length]).bytes, into: &output)
        }
    }

    func finish(_ answer: inout FrameBuilder, _ output: inout ByteBuffer) {
        answer.fields(constantFields, into: &output)
        answer.endHeader(into: &output)
        answer.endFrame(into: &output)
    }
}
