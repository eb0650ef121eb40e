import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Takes back messages that a consumer failed to process (36): the group's retry topic gets a copy after a delay, or its
/// dead letter topic when it was tried too often.
final class SendBackHandler: AdministrationHandler {
    let codes: [RequestCode] = [.consumerSendMsgBack]
    private let store: MessageStore
    private let topics: TopicTable
    private let groups: SubscriptionGroupTable
    private let mover: MessageMover
    private let round: CommitRound
    private let scheduleRoute: (Topic) -> Void
    private let log: Logger
    private var random: RandomSource
    /// Messages that became dead letters because their properties left no room for a retry's.
    private(set) var withoutRoom: Int64 = 0

    private static let closed: Set<String> = [
        SystemTopic.schedule, SystemTopic.timer, SystemTopic.transactionHalf, SystemTopic.transactionOperation,
    ]

    /// What a request asks for.
    private struct Wish {
        var group: SubscriptionGroup
        var offset: Int64
        var delayLevel: Int
        var mostReconsumeTimes: Int32
    }

    /// - Parameter scheduleRoute: called with each topic that is made here: see `Topic.answersAwaitingRoute`.
    init(
        store: MessageStore, topics: TopicTable, groups: SubscriptionGroupTable, mover: MessageMover, round: CommitRound,
        random: RandomSource, scheduleRoute: @escaping (Topic) -> Void, log: Logger
    ) {
        self.store = store
        self.topics = topics
        self.groups = groups
        self.mover = mover
        self.round = round
        self.random = random
        self.scheduleRoute = scheduleRoute
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let name = try request.text("group")
        guard let group = groups.find(name) else {
            throw InvalidRequest(SendRefusal.unknownGroup(name).remark, code: .subscriptionGroupNotExist)
        }
        var wish = Wish(
            group: group, offset: try request.number("offset"), delayLevel: try request.number("delayLevel"),
            mostReconsumeTimes: group.config.retryMaxTimes)
        // Clients before 3.4.9 (version 121) do not say how often they want to try.
        if request.version >= 121, let asked = try request.optionalNumber("maxReconsumeTimes", as: Int32.self) {
            wish.mostReconsumeTimes = asked
        }
        guard group.config.retryQueueNums > 0 else { return .success() }
        let later = AnswerLater(request, from: connection)
        let wanted = wish
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.find(at: wanted.offset) }) { [self] result in
            switch result {
            case .failure(let error): later.send(.response(.systemError, "the message to send back cannot be read: \(error)"))
            case .success(.lost(let reason)): later.send(.response(.systemError, "it cannot be sent back: \(reason)"))
            case .success(.nothing):
                later.send(
                    .response(
                        .systemError,
                        "there is no message at commit log offset \(wanted.offset) to send back: it is wrong, or the message is gone"))
            case .success(.record(let record)):
                do throws(SendRefusal) { try sendBack(record.span.bytes, wanted, request, connection) } catch {
                    later.send(.response(error.code, error.remark))
                }
            }
        }
        return nil
    }

    private func sendBack(
        _ record: RawSpan, _ wish: Wish, _ request: RemotingCommand, _ connection: ServerConnection
    ) throws(SendRefusal) {
        var message: StoredMessage
        do throws(MalformedBytes) { message = try StoredMessage(record: record) } catch {
            throw SendRefusal(.systemError, "the message at commit log offset \(wish.offset) cannot be read: \(error)")
        }
        // No consumer was ever given one of these: what waits, or is not committed, is nobody's yet.
        guard !Self.closed.contains(message.topic) else {
            throw SendRefusal(.systemError, "the message at commit log offset \(wish.offset) is not one that consumers get")
        }
        let id = MessageIDText.text(MessageIDText.prefix(of: message.fields.storeHost), wish.offset)
        if message.properties[PropertyName.retryTopic] == nil { message.properties[PropertyName.retryTopic] = message.topic }
        if message.properties[PropertyName.originMessageID] == nil { message.properties[PropertyName.originMessageID] = id }
        let origin = message.properties[PropertyName.retryTopic]
        message.properties[PropertyName.delayTimeLevel] = nil
        var level = wish.delayLevel
        let target: Topic
        if let reason = deadLetterReason(message, wish, id, origin) {
            message.properties.markDeadLetter(topic: message.topic, messageID: id, reason: reason)
            target = made(SystemTopic.deadLetter(of: wish.group.name)) { topics.createDeadLetterTopic(group: wish.group.name) }
            message.queueID = 0
            level = 0
        } else {
            let queues = wish.group.config.retryQueueNums
            target = made(SystemTopic.retry(of: wish.group.name)) { topics.createRetryTopic(group: wish.group.name, queues: queues) }
            guard target.config.perm.contains(.write) else {
                throw SendRefusal(.noPermission, "topic \(target.name) may not be written to (perm=\(target.config.perm.rawValue))")
            }
            message.queueID = Int32(random.next() % UInt64(max(1, target.config.writeQueueNums)))
            if level == 0 { level = 3 + Int(message.fields.reconsumeTimes) }
        }
        message.topic = target.name
        // The producer may have sent any number.
        message.fields.reconsumeTimes = max(0, message.fields.reconsumeTimes) &+ 1
        if message.fields.reconsumeTimes < 0 { message.fields.reconsumeTimes = .max }
        do throws(StoreError) { _ = try mover.stage(message, delayLevel: level) } catch { throw SendRefusal(error) }
        round.afterCommit { [topics] failure in
            guard failure == nil, let topic = origin.flatMap({ topics.find($0) }) else { return }
            topic.work(ofGroup: wish.group.name).sentBack += 1
        }
        // The consumer counts the message as consumed then: it must be as durable as one that was sent.
        round.holdSuccess(request, for: connection, topic: target)
    }

    /// Why the message is not tried again; `nil` when it is.
    ///
    /// One whose properties leave no room for what a retry needs can never be one. The reference refuses it, and its consumers try
    /// again themselves for ever, their offsets standing still: here it is a dead letter then, which needs nothing more.
    private func deadLetterReason(_ message: StoredMessage, _ wish: Wish, _ id: String, _ origin: String?) -> DeadLetterReason? {
        if wish.delayLevel < 0 { return .givenUp }
        if message.fields.reconsumeTimes >= wish.mostReconsumeTimes {
            return .triedTooOften(message.fields.reconsumeTimes, wish.mostReconsumeTimes)
        }
        var retry = message.properties
        retry[PropertyName.delayTimeLevel] = "18"
        retry[PropertyName.realTopic] = SystemTopic.retry(of: wish.group.name)
        retry[PropertyName.realQueueID] = "\(max(0, wish.group.config.retryQueueNums - 1))"
        guard !retry.makeRoom() else { return nil }
        withoutRoom += 1
        let reason = DeadLetterReason.noRoom(retry.encoded().count)
        log.log(
            .warning, limitedBy: "no room for a retry",
            "message \(id) of topic \(origin ?? message.topic), which group \(wish.group.name) could not process, is a dead letter at once: "
                + reason.text + "; put what is long into the body")
        return reason
    }

    /// The topic; when it has to be made, answers wait until a crash cannot take it away with what is in it.
    private func made(_ name: String, _ make: () -> Topic) -> Topic {
        if let topic = topics.find(name) { return topic }
        let topic = make()
        topic.answersAwaitingRoute = []
        scheduleRoute(topic)
        return topic
    }
}
