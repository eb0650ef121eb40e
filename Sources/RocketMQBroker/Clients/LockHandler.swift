import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Locks on queues for consumers that keep the order: lock (41), unlock (42). Only queues that exist are locked: clients try
/// again with those that the answer leaves out when they share their queues anew, every 20 s.
final class LockHandler: AdministrationHandler {
    let codes: [RequestCode] = [.lockBatchMq, .unlockBatchMq]
    private let locks: LockTable
    private let clients: ClientTable
    private let topics: TopicTable
    private let log: Logger
    /// Groups and topics that were told of.
    private var told: Set<Told> = []

    private struct Told: Hashable {
        var group: String
        var topic: String
    }

    private static let mostTold = 256
    /// Told of one by one.
    private static let mostLines = 32

    init(locks: LockTable, clients: ClientTable, topics: TopicTable, log: Logger) {
        self.locks = locks
        self.clients = clients
        self.topics = topics
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let body: LockBatchRequestBody = try request.body()
        guard request.requestCode == .lockBatchMq else {
            locks.unlock(body.messageQueues, group: body.consumerGroup, clientID: body.clientID)
            return .success()
        }
        let existing = body.messageQueues.filter(exists)
        if existing.count < body.messageQueues.count { tell(body, existing, connection) }
        let members = clients.consumerGroup(body.consumerGroup)
        let answer = locks.lock(existing, group: body.consumerGroup, clientID: body.clientID) {
            members?.member(clientID: $0) != nil
        }
        return .success(body: LockBatchResponseBody(lockedQueues: answer.granted, heldByMembers: answer.heldByMembers).encoded())
    }

    /// A topic that was made smaller still has its old queues.
    private func exists(_ queue: MessageQueue) -> Bool {
        guard let topic = topics.find(queue.topic), queue.queueID >= 0 else { return false }
        return queue.queueID < topic.queueCount || topic.existingQueue(queue.queueID) != nil
    }

    /// Once a group and topic.
    private func tell(_ body: LockBatchRequestBody, _ existing: Set<MessageQueue>, _ connection: ServerConnection) {
        for queue in body.messageQueues.subtracting(existing).sorted() {
            if told.count >= Self.mostTold { told.removeAll() }
            // Names that cannot be are not kept in all their length.
            let (group, topic) = (String(body.consumerGroup.prefix(255)), String(queue.topic.prefix(255)))
            guard told.insert(Told(group: group, topic: topic)).inserted else { continue }
            let what = topics.find(queue.topic).map { "which has \($0.queueCount) queues" } ?? "which does not exist here"
            let line =
                "client \(body.clientID.prefix(255)) (\(connection.peer)) of group \(group) gets no lock on queue \(queue.queueID) of topic "
                + "\(topic), \(what)"
            if told.count <= Self.mostLines { log.warning(line) } else { log.log(.warning, limitedBy: "lock of nothing", line) }
        }
    }
}
