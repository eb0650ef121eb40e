import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Takes back messages that wait for their time (370). Unlike the reference it says whether there was one to be taken back.
final class RecallHandler: AdministrationHandler {
    let codes: [RequestCode] = [.recallMessage]
    private let brokerName: String
    private let timer: TimerService
    private let topics: TopicTable
    private let store: MessageStore
    private let round: CommitRound
    private let storeHost: SocketAddress
    private let hasIndex: Bool
    private let onRecalled: (String, String) -> Void

    /// The tag of records that take messages back, as in the reference.
    private static let tag = "_RECALL_TAG_"
    private static let mostCopies = 64

    init(
        brokerName: String, timer: TimerService, topics: TopicTable, store: MessageStore, round: CommitRound, storeHost: SocketAddress,
        hasIndex: Bool, onRecalled: @escaping (_ topic: String, _ key: String) -> Void = { _, _ in }
    ) {
        self.brokerName = brokerName
        self.timer = timer
        self.topics = topics
        self.store = store
        self.round = round
        self.storeHost = storeHost
        self.hasIndex = hasIndex
        self.onRecalled = onRecalled
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        guard timer.configuration.isRecallEnabled else {
            throw InvalidRequest("recall failed, operation is forbidden (recallMessageEnable=false)", code: .noPermission)
        }
        let topic = try request.text("topic")
        guard topics.find(topic) != nil else {
            throw InvalidRequest("recall failed, the topic[\(topic)] not exist", code: .topicNotExist)
        }
        guard let handle = RecallHandle(try request.text("recallHandle")) else {
            throw InvalidRequest("recall handle is invalid: it is none that a send was answered with", code: .illegalOperation)
        }
        guard handle.topic == topic else {
            throw InvalidRequest("recall failed, topic not match: the handle is of topic \(handle.topic)", code: .illegalOperation)
        }
        guard handle.brokerName == brokerName else {
            throw InvalidRequest(
                "recall failed, broker service not available: the message is at broker \(handle.brokerName), this is \(brokerName)",
                code: .illegalOperation)
        }
        let now = timer.loop.clock.wallMilliseconds
        guard handle.due > now else {
            throw InvalidRequest(
                "recall failed, timestamp invalid: the message was due \(now - handle.due) ms ago", code: .illegalOperation)
        }
        let later = AnswerLater(request, from: connection)
        findWaiting(handle) { [self] copies in
            do throws(SendRefusal) {
                let topic = try recall(copies.get(), handle, by: request.fields["producerGroup"], from: connection.peer)
                round.holdSuccess(request, for: connection, topic: topic, ["msgId": handle.key])
            } catch {
                later.send(.response(error.code, error.remark))
            }
        }
        return nil
    }

    // MARK: Finding

    /// A record in the timer's queue that has the handle's topic and key.
    private struct Candidate {
        var entry: TimerEntry
        var due: Int64
        /// How long it was to wait when it was stored.
        var delay: Int64
    }

    /// The reference finds a message by key and time, its times being whole seconds.
    private static let sameTime: Int64 = 1000

    /// Those that the handle means: due when it says, or, sent again after an answer got lost, with the same delay. A message
    /// that a program sent once more for another time is another one.
    private static func copies(_ candidates: [Candidate], of handle: RecallHandle) -> [TimerEntry] {
        let isDue = { (candidate: Candidate) in abs(candidate.due - handle.due) < sameTime }
        let meant = candidates.filter(isDue)
        return candidates.filter { other in meant.contains { abs($0.delay - other.delay) < sameTime } || isDue(other) }.map(\.entry)
    }

    /// The copies of the message that wait.
    private func findWaiting(_ handle: RecallHandle, _ completion: @escaping (Result<[TimerEntry], SendRefusal>) -> Void) {
        findCopies(handle) { [timer] found in
            let copies: [TimerEntry]
            switch found {
            case .success(let entries): copies = entries
            case .failure(let refusal): return completion(.failure(refusal))
            }
            timer.index.lookUp({ () throws(TimerLookupInterruption) in
                var waiting: [TimerEntry] = []
                for copy in copies where !timer.recallsUnderWay.contains(copy.queueOffset) {
                    if try timer.index.isPending(copy) { waiting.append(copy) }
                }
                return waiting
            }) { result in
                completion(result.mapError { SendRefusal(.systemError, "recall failed: \($0)") })
            }
        }
    }

    /// All records of the message in the timer's queue that can be found: a producer that tried twice did not mean two
    /// messages, and one that waits for long was stored anew.
    private func findCopies(_ handle: RecallHandle, _ completion: @escaping (Result<[TimerEntry], SendRefusal>) -> Void) {
        guard let offset = handle.queueOffset else { return findCopies(handle, besides: [], completion) }
        let (store, queue) = (store, timer.queue.queue)
        store.lookUp({ (reader) throws(LookupInterruption) in
            try reader.entry(queue, at: offset).flatMap { (entry) throws(LookupInterruption) in try reader.message(at: entry.physicalOffset)
            }
        }) { [self] result in
            var found: [Candidate] = []
            // What cannot be read may be found by its key.
            if case .success(let record?) = result { Self.collect(record.span.bytes, handle, &found) }
            findCopies(handle, besides: found, completion)
        }
    }

    private func findCopies(
        _ handle: RecallHandle, besides known: [Candidate], _ completion: @escaping (Result<[TimerEntry], SendRefusal>) -> Void
    ) {
        guard hasIndex else { return completion(.success(Self.copies(known, of: handle))) }
        store.query(
            topic: SystemTopic.timer, key: handle.key, maxMessages: Self.mostCopies, maxBytes: 16 << 20, from: 0, through: .max
        ) { result, records in
            var found = known
            switch result {
            case .success: records.withBytes { Self.collect($0, handle, &found) }
            // What the handle itself names is known without the index.
            case .failure(let error):
                if found.isEmpty { return completion(.failure(SendRefusal(.systemError, "recall failed: \(error)"))) }
            }
            completion(.success(Self.copies(found, of: handle)))
        }
    }

    private static func collect(_ bytes: RawSpan, _ handle: RecallHandle, _ found: inout [Candidate]) {
        var at = 0
        while at < bytes.byteCount {
            guard let record = try? MessageRecord.parse(bytes, at: at) else { return }
            at = record.range.upperBound
            let properties = bytes.extracting(record.properties)
            guard bytes.equals(record.topic, "rmq_sys_wheel_timer"), let timer = TimerRecord(record, in: bytes), !timer.entry.isRecall,
                MessageProperties.value(of: PropertyName.realTopic, in: properties) == handle.topic,
                MessageProperties.value(of: PropertyName.uniqueKey, in: properties) == handle.key,
                !found.contains(where: { $0.entry.key == timer.entry.key })
            else { continue }
            found.append(Candidate(entry: timer.entry, due: timer.due, delay: timer.due - record.fields.storeTimestamp))
        }
    }

    // MARK: Taking back

    /// Stages a record for each copy that waits; returns the topic in which it is.
    private func recall(
        _ waiting: [TimerEntry], _ handle: RecallHandle, by group: String?, from peer: SocketAddress
    ) throws(SendRefusal) -> Topic {
        guard !waiting.isEmpty else {
            throw SendRefusal(
                .illegalOperation,
                "recall failed, no message with id \(handle.key) waits for its time: it was recalled already, is being delivered, or is not known"
                    + (hasIndex ? "" : " (without messageIndexEnable a message is not found that has waited for long)"))
        }
        for copy in waiting { try stage(copy, handle, group, peer) }
        round.afterCommit { [onRecalled] failure in if failure == nil { onRecalled(handle.topic, handle.key) } }
        return timer.queue.topic
    }

    private func stage(_ copy: TimerEntry, _ handle: RecallHandle, _ group: String?, _ peer: SocketAddress) throws(SendRefusal) {
        let now = round.wallMilliseconds
        let origin = DeliveryOrigin(kind: TimerRecord.recallKind, queueOffset: copy.queueOffset)
        let fields = MessageFields(
            bornTimestamp: now, bornHost: peer, storeTimestamp: now, storeHost: storeHost, preparedTransactionOffset: origin.field,
            tagsCode: Int64(JavaHash.hash(Array(Self.tag.utf8))))
        var properties: MessageProperties = [
            "TIMER_DEL_UNIQKEY": handle.topic + "+" + handle.key, "TAGS": Self.tag, "TIMER_OUT_MS": "\(handle.due)",
        ]
        if let group { properties[PropertyName.producerGroup] = group }
        let (body, encoded) = (Array("\(copy.key.wake)".utf8), properties.encoded())
        do throws(StoreError) {
            let appended = try store.append(fields, body: body.span.bytes, properties: encoded.span.bytes, to: timer.queue.queue)
            round.noteStaged(appended, timer.queue)
            timer.recallsUnderWay.insert(copy.queueOffset)
            timer.noteStaged(.recall(of: copy.queueOffset, wake: copy.key.wake, physicalOffset: appended.physicalOffset))
        } catch {
            throw SendRefusal(error)
        }
    }
}
