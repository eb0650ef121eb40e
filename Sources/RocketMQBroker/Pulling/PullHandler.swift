import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// What the broker's pulling side is told at the start.
struct PullConfiguration: Sendable {
    var brokerName: String
    var permission: Permission
    /// `longPollingEnable`; without it pulls wait `shortPollingTimeMills`.
    var isLongPollingEnabled: Bool
    var shortPolling: Duration
    /// Bytes and messages of one answer (`maxTransferBytesOnMessageInMemory`, `maxTransferCountOnMessageInMemory`).
    var mostBytes: Int
    var mostMessages: Int
    /// `enablePropertyFilter`.
    var isPropertyFilterEnabled: Bool
    /// `filterSupportRetry`: expressions of a group apply to its retried messages too.
    var filtersRetries: Bool
    /// No pull waits longer than this, whatever it asks for.
    var longestSuspension: Duration = .seconds(300)
}

/// Answers pulls (11), at once or when a message comes. Confined to the broker's loop.
final class PullHandler {
    var configuration: PullConfiguration {
        didSet { filters.isPropertyFilterEnabled = configuration.isPropertyFilterEnabled }
    }
    private let store: MessageStore
    private let topics: TopicTable
    private let groups: SubscriptionGroupTable
    private let clients: ClientTable
    private let offsets: ConsumerOffsetTable
    private let longPolls: LongPolls
    private let overruns: OffsetOverruns
    /// Set before the first pull.
    var setBacks: SetBacks?
    /// Called with the queue of a pull that begins to wait while messages of it are staged: the commit must wake it.
    var onWaitBesideStaged: (TopicQueue) -> Void = { _ in }
    private let counters: BrokerCounters
    private let log: Logger
    private let delayed: DelayedPulls
    /// Records on their way into an answer.
    private var records = ByteBuffer(capacity: 64 * 1024)
    private let filters: SubscriptionFilters

    init(
        _ configuration: PullConfiguration, store: MessageStore, topics: TopicTable, groups: SubscriptionGroupTable,
        clients: ClientTable, offsets: ConsumerOffsetTable, overruns: OffsetOverruns, longPolls: LongPolls, counters: BrokerCounters,
        loop: any EventLoop, log: Logger
    ) {
        self.configuration = configuration
        self.store = store
        self.topics = topics
        self.groups = groups
        self.clients = clients
        self.offsets = offsets
        self.longPolls = longPolls
        self.overruns = overruns
        self.counters = counters
        self.log = log
        delayed = DelayedPulls(loop: loop)
        filters = SubscriptionFilters(isPropertyFilterEnabled: configuration.isPropertyFilterEnabled, clients: clients)
        longPolls.serve = { [unowned self] in serve($0) }
        longPolls.giveUp = { [unowned self] in answerNothing($0) }
        delayed.serve = { [unowned self] in answer($0, suspension: $1) }
        delayed.giveUp = { [unowned self] pull in
            records.removeAll()
            send(pull, .pullRetryImmediately, next: pull.offset, records)
        }
    }

    func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
        guard !header.isOneway else { return }
        counters.pulls += 1
        do throws(PullRefusal) {
            try pull(header, frame, from: connection)
        } catch {
            connection.answer(header.answerTo, .response(error.code, error.remark))
        }
    }

    private func pull(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) throws(PullRefusal) {
        let request: PullRequest
        do throws(InvalidRequest) { request = try PullRequest(header, frame) } catch { throw PullRefusal(error.code, error.description) }
        guard configuration.permission.contains(.read) else {
            throw PullRefusal(
                .noPermission,
                "broker \(configuration.brokerName) may not be read from (brokerPermission=\(configuration.permission.rawValue))")
        }
        let groupName = header.text(request.consumerGroup, in: frame)
        guard let group = groups.find(groupName) else {
            throw PullRefusal(
                .subscriptionGroupNotExist,
                "subscription group \(groupName) does not exist; create it with: mqadmin updateSubGroup -g \(groupName)")
        }
        do throws(PullRefusal) {
            try pull(request, header, frame, group, from: connection)
        } catch {
            if let topic = header.withValue(request.topic, in: frame, { topics.find(bytes: $0) }) {
                group.noteRefused(topic.name, error, connection, at: offsets.now)
            }
            throw error
        }
    }

    private func pull(
        _ request: PullRequest, _ header: borrowing HeaderTable, _ frame: RawSpan, _ group: SubscriptionGroup,
        from connection: ServerConnection
    ) throws(PullRefusal) {
        guard group.config.consumeEnable else {
            throw PullRefusal(.noPermission, "subscription group \(group.name) may not consume (consumeEnable=false)")
        }
        let topic = try topic(of: request, header, frame)
        var filter = try filter(of: request, header, frame, group, topic, connection.id)
        if configuration.filtersRetries, topic.name == SystemTopic.retry(of: group.name) {
            filter = filters.applyingToRetries(filter, ofGroup: group.name, connection: connection.id)
        }
        let queue = topic.brokerQueue(request.queueID)
        let work = queue.pulled(by: group, connection, from: request.queueOffset, at: offsets.now)
        if request.commitsOffset, request.commitOffset >= 0 { commit(request.commitOffset, group, queue, connection) }
        if request.queueOffset > queue.queue.maxOffset {
            return leadBack(header.answerTo, from: request.queueOffset, group, queue, connection)
        }
        let waiting = WaitingPull(
            connection: connection, request: header.answerTo, queue: queue, offset: request.queueOffset,
            maxMessages: min(max(1, Int(request.maxMessages)), configuration.mostMessages), filter: filter, work: work)
        let suspension: Duration? =
            request.maySuspend && request.suspendTimeoutMilliseconds > 0
            ? min(
                configuration.isLongPollingEnabled
                    ? .milliseconds(min(request.suspendTimeoutMilliseconds, 3_600_000)) : configuration.shortPolling,
                configuration.longestSuspension)
            : nil
        if let delay = answer(waiting, suspension: suspension) { delayed.hold(waiting, suspension: suspension, for: delay) }
    }

    /// Takes the offset that came with a pull.
    @inline(__always)
    private func commit(_ offset: Int64, _ group: SubscriptionGroup, _ queue: TopicQueue, _ connection: ServerConnection) {
        let end = queue.queue.maxOffset
        guard offset <= end else {
            return overruns.refused(offset, group: group.name, topic: queue.topic.name, queueID: queue.queue.id, queueEnd: end, connection)
        }
        let entry = offsets.entry(group: group.name, topic: queue.topic.name)
        if let known = entry.offset(queueID: queue.queue.id), offset < known,
            setBacks?.refusal(
                offset, from: known, group: group.name, topic: queue.topic.name, queueID: queue.queue.id, connection) != nil
        {
            return
        }
        entry.commit(queueID: queue.queue.id, offset: offset)
        overruns.taken(group: group.name, topic: queue.topic.name, queueID: queue.queue.id)
    }

    private func topic(of request: PullRequest, _ header: borrowing HeaderTable, _ frame: RawSpan) throws(PullRefusal) -> Topic {
        guard let topic = header.withValue(request.topic, in: frame, { topics.find(bytes: $0) }) else {
            throw PullRefusal.unknownTopic(header.text(request.topic, in: frame))
        }
        guard topic.config.perm.contains(.read) else {
            throw PullRefusal(.noPermission, "topic \(topic.name) may not be read (perm=\(topic.config.perm.rawValue))")
        }
        guard request.queueID >= 0, request.queueID < topic.config.readQueueNums else {
            throw PullRefusal(
                .systemError,
                "queue \(request.queueID) of topic \(topic.name) does not exist: it has \(topic.config.readQueueNums) queues to read")
        }
        return topic
    }

    /// The filter that the pull carries, or the one of its client's heartbeats.
    private func filter(
        of request: PullRequest, _ header: borrowing HeaderTable, _ frame: RawSpan, _ group: SubscriptionGroup, _ topic: Topic,
        _ connection: UInt64
    ) throws(PullRefusal) -> MessageFilter {
        if request.carriesSubscription {
            let text = request.subscription >= 0 ? header.text(request.subscription, in: frame) : ""
            let type = request.expressionType >= 0 ? header.text(request.expressionType, in: frame) : ""
            do throws(InvalidRequest) { return try filters.filter(text, type: type) } catch {
                throw PullRefusal(error.code, "group \(group.config.groupName): \(error)")
            }
        }
        switch clients.lookup(group: group.config.groupName, topic: topic.name, connection: connection) {
        case .noGroup:
            throw PullRefusal(
                .subscriptionNotExist, "no consumer of group \(group.config.groupName) has sent a heartbeat to this broker yet")
        case .noSubscription:
            throw PullRefusal(.subscriptionNotExist, "group \(group.config.groupName) has not subscribed to topic \(topic.name)")
        case .ambiguous(let first, let second):
            throw PullRefusal(
                .subscriptionNotExist,
                "this connection has sent no heartbeat with a subscription of group \(group.config.groupName) to topic \(topic.name), and "
                    + "consumers \(first.name) and \(second.name) differ in theirs")
        case .found(let active, let model):
            if model == .broadcasting, !group.config.consumeBroadcastEnable {
                throw PullRefusal(.noPermission, "group \(group.config.groupName) may not broadcast (consumeBroadcastEnable=false)")
            }
            guard active.data.subVersion >= request.subVersion else {
                throw PullRefusal(
                    .subscriptionNotLatest, "the subscription of group \(group.config.groupName) at this broker is older than the pull's")
            }
            do throws(InvalidRequest) { return try filters.filter(active) } catch {
                throw PullRefusal(error.code, "group \(group.config.groupName): \(error)")
            }
        }
    }

    /// Throws unless this broker can filter by the subscription's expression.
    func check(_ subscription: SubscriptionData) throws(InvalidRequest) { try filters.check(subscription) }

    // MARK: Answers

    /// Answers now, or holds the pull when there is nothing and it may wait. Returns how long it has to be put off, if so: it
    /// asks for old messages, and much is read of such already.
    private func answer(_ pull: WaitingPull, suspension: Duration?) -> Duration? {
        records.removeAll()
        let result = store.read(
            pull.queue.queue, from: pull.offset, limits: limits(pull, mayBeDelayed: true), filter: pull.filter, into: &records)
        switch result {
        case .later(let delay): return delay
        case .needsDisk:
            fromDisk(pull, suspension: suspension)
        default: answer(pull, result, records, suspension: suspension)
        }
        return nil
    }

    private func fromDisk(_ pull: WaitingPull, suspension: Duration?) {
        // What is old stays the worker's, whether the system has it in memory or not.
        let limits = limits(pull, mayBeDelayed: true)
        store.readFromDisk(pull.queue.queue, from: pull.offset, limits: limits, filter: pull.filter) { [unowned self] result, found in
            answer(pull, result, found, suspension: suspension)
        }
    }

    private func limits(_ pull: WaitingPull, mayBeDelayed: Bool) -> ReadLimits {
        var limits = ReadLimits(messages: pull.maxMessages, bytes: configuration.mostBytes)
        limits.mayBeDelayed = mayBeDelayed
        // Looking into records costs more than looking at their tags, and others wait meanwhile.
        if pull.filter.matchesRecord != nil { limits.scannedEntries /= 4 }
        return limits
    }

    private func answer(_ pull: WaitingPull, _ result: ReadResult, _ found: borrowing ByteBuffer, suspension: Duration?) {
        let offset = pull.offset
        switch result {
        case .found(let next, let count):
            counters.pulledMessages += Int64(count)
            counters.pulledBytes += Int64(found.count)
            pull.work.messages += Int64(count)
            pull.work.bytes += Int64(found.count)
            send(pull, .success, next: next, found)
        case .noMatch(let next): send(pull, .pullRetryImmediately, next: next, found)
        case .atEnd:
            if let suspension, hold(pull, suspension) { return }
            send(pull, .pullNotFound, next: offset, found)
        case .emptyQueue:
            if offset == 0, let suspension, hold(pull, suspension) { return }
            send(pull, offset == 0 ? .pullNotFound : .pullOffsetMoved, next: 0, found)
        case .offsetTooSmall(let minOffset): send(pull, .pullOffsetMoved, next: minOffset, found)
        case .offsetTooLarge(let maxOffset): send(pull, .pullOffsetMoved, next: maxOffset, found)
        case .needsDisk, .later, .failed:
            var reason = "the disk did not answer"
            if case .failed(let error) = result { reason = "\(error)" }
            pull.connection.answer(
                pull.request, .response(.systemError, "messages of topic \(pull.queue.topic.name) cannot be read: \(reason)"))
        }
    }

    private func hold(_ pull: WaitingPull, _ suspension: Duration) -> Bool {
        guard longPolls.hold(pull, timeout: suspension) else { return false }
        if pull.queue.queue.hasStaged { onWaitBesideStaged(pull.queue) }
        return true
    }

    private func send(_ pull: WaitingPull, _ code: ResponseCode, next: Int64, _ found: borrowing ByteBuffer) {
        send(pull.request, pull.connection, pull.queue.queue, code, next: next, found)
    }

    private func send(
        _ request: AnswerTo, _ connection: ServerConnection, _ queue: ConsumeQueue, _ code: ResponseCode, next: Int64,
        _ found: borrowing ByteBuffer
    ) {
        let stream = connection.stream
        guard !stream.isClosed else { return }
        var answer = FrameBuilder(&stream.output, response: code, to: request, remark: code == .success ? nil : Self.remark(code))
        answer.field("suggestWhichBrokerId", plain: "0", into: &stream.output)
        answer.field("nextBeginOffset", decimal: next, into: &stream.output)
        answer.field("minOffset", decimal: queue.minOffset, into: &stream.output)
        answer.field("maxOffset", decimal: queue.maxOffset, into: &stream.output)
        answer.endHeader(into: &stream.output)
        if code == .success { found.withBytes { stream.output.append($0) } }
        answer.endFrame(into: &stream.output)
        stream.flushLater()
    }

    private static func remark(_ code: ResponseCode) -> String {
        switch code {
        case .pullNotFound: "OFFSET_OVERFLOW_ONE"
        case .pullRetryImmediately: "NO_MATCHED_MESSAGE"
        default: "OFFSET_MOVED"
        }
    }

    /// A pull beyond the end of its queue: the broker lost its last messages, or the topic was made anew. The reference leads it to
    /// the end, past what came in their place; a consumer that shares the messages is led to where its group stands instead, or to
    /// the start of a topic that is younger than it is.
    private func leadBack(
        _ request: AnswerTo, from offset: Int64, _ group: SubscriptionGroup, _ queue: TopicQueue, _ connection: ServerConnection
    ) {
        let (minOffset, maxOffset) = (queue.queue.minOffset, queue.queue.maxOffset)
        var next = maxOffset
        let member = clients.consumerGroup(group.name)?.members[connection.id]
        if let member, member.messageModel == .clustering {
            let committed = offsets.offset(group: group.name, topic: queue.topic.name, queueID: queue.queue.id)
            var led = "it is led to that end"
            if let committed, committed < maxOffset {
                next = max(committed, minOffset)
                led = "it is led to \(next), where the group stands"
            } else if committed == nil, let createdAt = queue.topic.createdAt, member.joinedAt < createdAt {
                next = minOffset
                led = "the topic was made anew since it came, and it is led to the start, \(minOffset)"
            }
            log.log(
                .warning, limitedBy: "pull beyond the end",
                "consumer \(member.name) of group \(group.name) asks for offset \(offset) of queue \(queue.queue.id) of topic "
                    + "\(queue.topic.name), which ends at \(maxOffset): \(led)")
        }
        records.removeAll()
        send(request, connection, queue.queue, .pullOffsetMoved, next: next, records)
    }

    // MARK: Waiting pulls

    /// Whether the pull got its answer, or is getting it from the disk.
    private func serve(_ pull: WaitingPull) -> Bool {
        records.removeAll()
        let result = store.read(
            pull.queue.queue, from: pull.offset, limits: limits(pull, mayBeDelayed: false), filter: pull.filter, into: &records)
        switch result {
        case .noMatch(let next):
            pull.offset = next
            return false
        case .atEnd, .emptyQueue: return false
        case .needsDisk:
            fromDisk(pull, suspension: nil)
            return true
        default:
            answer(pull, result, records, suspension: nil)
            return true
        }
    }

    /// Messages for these queues cannot come any more: who waits for them is told.
    func topicRemoved(_ topic: Topic) {
        let refusal = PullRefusal.unknownTopic(topic.name)
        for queue in topic.knownQueues {
            for pull in longPolls.takeAll(of: queue) { pull.connection.answer(pull.request, .response(refusal.code, refusal.remark)) }
        }
    }

    /// A consumer wants other messages of the topic from now on. Its pulls that wait would pass over them: it is to pull anew.
    func expressionChanged(group: String, topic name: String, connection: ServerConnection) {
        guard let topic = topics.find(name), let work = topic.groupWork[group] else { return }
        longPolls.giveUp(of: connection) { $0.work === work }
    }

    private func answerNothing(_ pull: WaitingPull) {
        records.removeAll()
        send(pull, .pullNotFound, next: pull.offset, records)
    }
}
