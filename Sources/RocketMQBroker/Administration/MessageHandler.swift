import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Messages for tools: one by its place in the log (33), those with a key (12), and the entries of a consume queue (321).
final class MessageHandler: AdministrationHandler {
    let codes: [RequestCode] = [.viewMessageById, .queryMessage, .queryConsumeQueue]
    /// Entries in one answer, at most.
    static let mostEntries: Int64 = 1024
    /// Messages found by key in one answer, at most, and of those with one unique key (`defaultQueryMaxNum`). A request
    /// gets as many as it asks for, the newest first, and goes on with `olderThanPhyOffset` where an answer ended;
    /// `maxMsgsNumBatch` is for programs in Java.
    static let mostFound = 10_000
    static let mostOfUniqueKey = 32
    /// Bytes of all of them: they have to fit a frame.
    static let mostBytes = 8 << 20

    private let store: MessageStore
    private let clients: ClientTable
    private let settings: SettingsHolder

    init(store: MessageStore, clients: ClientTable, settings: SettingsHolder) {
        self.settings = settings
        self.store = store
        self.clients = clients
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .viewMessageById: try view(request, connection)
        case .queryConsumeQueue: return try entries(request, connection)
        default: try query(request, connection)
        }
        return nil
    }

    private func view(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) {
        let offset = try request.number("offset", as: Int64.self)
        let later = AnswerLater(request, from: connection)
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.find(at: offset) }) { result in
            later.send(result) { place in
                switch place {
                case .record(let record): .success(body: record)
                case .lost(let reason): .response(.systemError, reason)
                case .nothing: .response(.systemError, "can not find message by the offset, \(offset)")
                }
            }
        }
    }

    private func query(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) {
        let isUnique = request.isTrue("_UNIQUE_KEY_QUERY")
        let wanted = isUnique ? Self.mostOfUniqueKey : try request.number("maxNum", as: Int.self)
        guard wanted > 0 else { throw InvalidRequest("maxNum=\(wanted) asks for no message: at least 1") }
        let (begin, end): (Int64, Int64) = (try request.number("beginTimestamp"), try request.number("endTimestamp"))
        guard begin <= end else { throw InvalidRequest("no message was stored from \(begin) (beginTimestamp) to \(end) (endTimestamp)") }
        let most = request.language == .java ? Int(settings.values[BrokerSettings.maxMsgsNumBatch]) : Self.mostFound
        let later = AnswerLater(request, from: connection)
        store.query(
            topic: try request.text("topic"), key: try request.text("key"), maxMessages: min(wanted, most),
            maxBytes: Self.mostBytes, from: begin, through: end,
            olderThan: try request.optionalNumber("olderThanPhyOffset") ?? .max
        ) { result, records in
            switch result {
            case .failure(let error): later.send(.response(.systemError, "the index cannot be read: \(error)"))
            case .success(let answer):
                let fields = [
                    "indexLastUpdatePhyoffset": "\(answer.indexOffset)", "indexLastUpdateTimestamp": "\(answer.indexTimestamp)",
                    "pagesByPhyOffset": "true",
                ]
                guard answer.count > 0 else {
                    return later.send(.response(.queryNotFound, "can not find message, maybe time range not correct", fields))
                }
                let body = records.copyBytes()
                later.send(.success(fields, body: isUnique ? Self.oldestFirst(body) : body))
            }
        }
    }

    /// The records the other way round: the store finds the newest first. Of several messages with one id clients take the
    /// first, which should be the original.
    private static func oldestFirst(_ records: [UInt8]) -> [UInt8] {
        var ranges: [Range<Int>] = []
        var start = 0
        while start + 4 <= records.count {
            let end = start + Int(records.span.bytes.bigEndian(Int32.self, at: start))
            guard end > start, end <= records.count else { break }
            ranges.append(start..<end)
            start = end
        }
        var output: [UInt8] = []
        output.reserveCapacity(records.count)
        for range in ranges.reversed() { output += records[range] }
        return output
    }

    private func entries(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (topic, id) = (try request.text("topic"), try request.number("queueId", as: Int32.self))
        guard let queue = store.existingQueue(topic: topic, id: id) else { throw InvalidRequest("\(id)@\(topic) is not exist!") }
        let index = try request.number("index", as: Int64.self)
        let count = min(Self.mostEntries, max(0, try request.number("count", as: Int64.self)))
        var body = QueryConsumeQueueResponseBody(queueData: [], maxQueueIndex: queue.maxOffset, minQueueIndex: queue.minOffset)
        var filter: ActiveSubscription?
        if let group = request.optionalText("consumerGroup") {
            if let active = clients.consumerGroup(group)?.subscriptions[topic] {
                filter = active
                body.subscriptionData = active.data
            } else {
                body.filterData = "\(group)@\(topic) is not online!"
            }
        }
        guard index >= queue.minOffset, index < queue.maxOffset else {
            return .response(.success, "Index \(index) of \(id)@\(topic) is not exist!", body: body.encoded())
        }
        let later = AnswerLater(request, from: connection)
        var found = [QueueEntry?](repeating: nil, count: Int(min(queue.maxOffset - index, count)))
        let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { (number, reader) throws(LookupInterruption) in
            found[number] = try reader.entry(queue, at: index + Int64(number))
        }
        store.lookUp(steps: found.count, step) { failure in
            if let failure { return later.send(.unreadable(failure)) }
            for entry in found.lazy.compactMap({ $0 }) {
                let passes = filter.map { $0.data.isTagExpression && ($0.tagsCodes?.contains(entry.tagsCode) ?? true) } ?? false
                body.queueData.append(
                    ConsumeQueueData(
                        physicalOffset: entry.physicalOffset, physicalSize: entry.size, tagsCode: entry.tagsCode, passesFilter: passes))
            }
            later.send(.success(body: body.encoded()))
        }
        return nil
    }
}
