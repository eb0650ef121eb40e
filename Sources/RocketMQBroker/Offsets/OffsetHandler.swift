import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Offsets: of groups (14, 15, 43), and of queues (29 to 32).
final class OffsetHandler: AdministrationHandler {
    let codes: [RequestCode] = [
        .queryConsumerOffset, .updateConsumerOffset, .getAllConsumerOffset, .searchOffsetByTimestamp, .getMaxOffset, .getMinOffset,
        .getEarliestMsgStoretime,
    ]
    private let offsets: ConsumerOffsetTable
    private let topics: TopicTable
    private let store: MessageStore
    private let overruns: OffsetOverruns
    private let offsetFile: TableFile<ConsumerOffsetSerializeWrapper>?
    private let recentLogBytes: Int64
    /// Set before the first request.
    var setBacks: SetBacks?

    /// - Parameters:
    ///   - offsetFile: stores offsets of which a tool wants to know that they are.
    ///   - recentLogBytes: a queue whose first message is among the newest this many bytes of the log is read from its
    ///   start by groups that have no offset. The reference: 40 % of the machine's memory.
    init(
        offsets: ConsumerOffsetTable, topics: TopicTable, store: MessageStore, overruns: OffsetOverruns,
        offsetFile: TableFile<ConsumerOffsetSerializeWrapper>? = nil, recentLogBytes: Int64 = 2 << 30
    ) {
        self.offsets = offsets
        self.topics = topics
        self.store = store
        self.overruns = overruns
        self.offsetFile = offsetFile
        self.recentLogBytes = recentLogBytes
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .queryConsumerOffset: return try query(request, connection)
        case .updateConsumerOffset: return try commit(request, connection)
        case .getAllConsumerOffset: return .success(body: offsets.wrapper.encoded())
        case .searchOffsetByTimestamp: return try search(request, connection)
        case .getMaxOffset: return .success(["offset": "\(try queue(request)?.maxOffset ?? 0)"])
        case .getMinOffset: return .success(["offset": "\(try queue(request)?.minOffset ?? 0)"])
        default:
            guard let queue = try queue(request), !queue.isEmpty else { return .success(["timestamp": "-1"]) }
            let later = AnswerLater(request, from: connection)
            store.lookUp({ (reader) throws(LookupInterruption) in try reader.storeTimestamp(queue, at: queue.minOffset) }) { result in
                later.send(result) { .success(["timestamp": "\($0 ?? -1)"]) }
            }
            return nil
        }
    }

    /// The queue that the request names; `nil` when it never had a message.
    private func queue(_ request: RemotingCommand) throws(InvalidRequest) -> ConsumeQueue? {
        store.existingQueue(topic: try request.text("topic"), id: try request.number("queueId"))
    }

    // MARK: Groups

    private func query(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (group, topic) = (try request.text("consumerGroup"), try request.text("topic"))
        let queueID = try request.number("queueId", as: Int32.self)
        if let offset = offsets.offset(group: group, topic: topic, queueID: queueID) { return .success(["offset": "\(offset)"]) }
        // 5.x clients may say that they want no zero in place of nothing.
        let mayBeZero = request.fields["setZeroIfNotFound"].map { $0.lowercased() != "false" } ?? true
        let unknown = RemotingCommand.response(.queryNotFound, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")
        guard mayBeZero else { return unknown }
        guard let queue = store.existingQueue(topic: topic, id: queueID) else { return .success(["offset": "0"]) }
        guard queue.minOffset <= 0 else { return unknown }
        // When all that the queue ever held is still there and lies at the young end of the log, a new group gets it from the
        // beginning, whatever it says about where to start.
        let later = AnswerLater(request, from: connection)
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.entry(queue, at: 0) }) { [store, recentLogBytes] result in
            // A queue that cannot be read counts as one without messages, as it always did: its pulls say what is wrong.
            let first = try? result.get()
            let isRecent = first.map { store.writtenOffset - $0.physicalOffset <= recentLogBytes } ?? true
            later.send(isRecent ? .success(["offset": "0"]) : unknown)
        }
        return nil
    }

    private func commit(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (group, topic) = (try request.text("consumerGroup"), try request.text("topic"))
        let queueID = try request.number("queueId", as: Int32.self)
        let offset = try request.number("commitOffset", as: Int64.self)
        guard let found = topics.find(topic) else {
            throw InvalidRequest("topic \(topic) of the offset does not exist on this broker", code: .topicNotExist)
        }
        // A topic that was made smaller still has its old queues, and consumers that are at work on them.
        guard queueID >= 0, queueID < found.queueCount || found.existingQueue(queueID) != nil else {
            throw InvalidRequest("queue \(queueID) of topic \(topic) does not exist: it has \(found.queueCount) queues")
        }
        if offsets.existingEntry(group: group, topic: topic) == nil {
            do throws(InvalidName) { try TopicValidator.check(group: group) } catch { throw InvalidRequest(error.description) }
        }
        guard offset >= 0 else {
            throw InvalidRequest("group \(group) cannot commit the offset \(offset) in topic \(topic): offsets begin at 0")
        }
        // Consumers of a queue that lost its tail are ahead of it for a while.
        let end = found.existingQueue(queueID)?.maxOffset ?? 0
        guard offset <= end else {
            overruns.refused(offset, group: group, topic: topic, queueID: queueID, queueEnd: end, connection)
            throw InvalidRequest(OffsetOverruns.reason(offset, group: group, topic: topic, queueID: queueID, queueEnd: end))
        }
        if let known = offsets.offset(group: group, topic: topic, queueID: queueID), offset < known,
            let reason = setBacks?.refusal(offset, from: known, group: group, topic: topic, queueID: queueID, connection)
        {
            throw InvalidRequest(reason)
        }
        offsets.commit(group: group, topic: topic, queueID: queueID, offset: offset)
        overruns.taken(group: group, topic: topic, queueID: queueID)
        // Consumers tell again what a crash takes away; who moves a group does it once.
        guard let offsetFile, request.isTrue("waitStored") else { return .success() }
        let later = AnswerLater(request, from: connection)
        offsetFile.save { later.send($0.map { .response(.systemError, "set, but not stored: \($0)") } ?? .success()) }
        return nil
    }

    // MARK: By time

    /// The first message of that time or later. When all are older: the last one, as 4.9 answers; requests of 5.x that say
    /// which side they want (`boundaryType`) get the end of the queue, or with `UPPER` the last message of that time or before.
    private func search(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let timestamp = try request.number("timestamp", as: Int64.self)
        let boundary = request.optionalText("boundaryType")?.uppercased()
        guard let queue = try queue(request) else { return .success(["offset": "0"]) }
        let look: (LookupReader) throws(LookupInterruption) -> Int64 = { (reader) throws(LookupInterruption) in
            if boundary == "UPPER" { return try reader.lastOffset(queue, atOrBefore: timestamp) ?? queue.minOffset }
            let first = try reader.firstOffset(queue, atOrAfter: timestamp)
            return boundary == nil && first >= queue.maxOffset ? max(queue.minOffset, queue.maxOffset - 1) : first
        }
        let later = AnswerLater(request, from: connection)
        store.lookUp(look) { result in later.send(result) { .success(["offset": "\($0)"]) } }
        return nil
    }
}
