import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Single messages: one by its place in the log (33), and the entries of a consume queue (321).
final class MessageHandler: AdministrationHandler {
    let codes: [RequestCode] = [.viewMessageById, .queryConsumeQueue]
    /// Entries in one answer, at most.
    static let mostEntries: Int64 = 1024

    private let store: MessageStore
    private let clients: ClientTable

    init(store: MessageStore, clients: ClientTable) {
        self.store = store
        self.clients = clients
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        request.requestCode == .viewMessageById ? try view(request) : try entries(request)
    }

    private func view(_ request: RemotingCommand) throws(InvalidRequest) -> RemotingCommand {
        let offset = try request.number("offset", as: Int64.self)
        var output = ByteBuffer(capacity: 4096)
        guard try reading({ () throws(StoreError) in try store.readMessage(at: offset, into: &output) }) else {
            throw InvalidRequest("can not find message by the offset, \(offset)")
        }
        return .success(body: output.copyBytes())
    }

    private func entries(_ request: RemotingCommand) throws(InvalidRequest) -> RemotingCommand {
        let (topic, id) = (try request.text("topic"), try request.number("queueId", as: Int32.self))
        guard let queue = store.existingQueue(topic: topic, id: id) else { throw InvalidRequest("\(id)@\(topic) is not exist!") }
        let index = try request.number("index", as: Int64.self)
        let count = min(Self.mostEntries, max(0, try request.number("count", as: Int64.self)))
        var body = QueryConsumeQueueResponseBody(queueData: [], maxQueueIndex: queue.maxOffset, minQueueIndex: queue.minOffset)
        var filter: ActiveSubscription?
        if let group = request.optionalText("consumerGroup") {
            if case .found(let active, _) = clients.lookup(group: group, topic: topic) {
                filter = active
                body.subscriptionData = active.data
            } else {
                body.filterData = "\(group)@\(topic) is not online!"
            }
        }
        guard index >= queue.minOffset, index < queue.maxOffset else {
            return .response(.success, "Index \(index) of \(id)@\(topic) is not exist!", body: body.encoded())
        }
        for offset in index..<min(queue.maxOffset, index + count) {
            guard let entry = store.entry(queue, at: offset) else { continue }
            let passes = filter.map { $0.data.isTagExpression && ($0.tagsCodes?.contains(entry.tagsCode) ?? true) } ?? false
            body.queueData.append(
                ConsumeQueueData(
                    physicalOffset: entry.physicalOffset, physicalSize: entry.size, tagsCode: entry.tagsCode, passesFilter: passes))
        }
        return .success(body: body.encoded())
    }
}
