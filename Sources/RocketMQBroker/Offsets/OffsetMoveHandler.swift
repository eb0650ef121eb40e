import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Moves whole groups to other offsets: back or forth in time (222, told to its members with 220), or to where another
/// group stands (314).
final class OffsetMoveHandler: AdministrationHandler {
    let codes: [RequestCode] = [.invokeBrokerToResetOffset, .cloneGroupOffset]
    private let brokerName: String
    private let offsets: ConsumerOffsetTable
    private let topics: TopicTable
    private let clients: ClientTable
    private let store: MessageStore
    private let log: Logger

    init(
        brokerName: String, offsets: ConsumerOffsetTable, topics: TopicTable, clients: ClientTable, store: MessageStore, log: Logger
    ) {
        self.brokerName = brokerName
        self.offsets = offsets
        self.topics = topics
        self.clients = clients
        self.store = store
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        request.requestCode == .cloneGroupOffset ? try clone(request, connection) : try reset(request, connection)
    }

    // MARK: In time

    private func reset(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (topicName, group) = (try request.text("topic"), try request.text("group"))
        let timestamp = try request.number("timestamp", as: Int64.self)
        guard let topic = topics.find(topicName) else {
            throw InvalidRequest("[reset-offset] reset offset failed, no topic in this broker. topic=\(topicName)")
        }
        guard let known = offsets.existingEntry(group: group, topic: topicName), !known.byQueue.isEmpty else {
            throw InvalidRequest("The consumer group <\(group)> not exist: it has no offset in topic \(topicName) on this broker")
        }
        let later = AnswerLater(request, from: connection)
        let peer = connection.peer
        offsets(of: topic, at: timestamp) { [self] result in
            later.send(result) { targets in
                var table: [MessageQueue: Int64] = [:]
                for (id, target) in targets {
                    // Without force a group is moved back only.
                    let moved = known.offset(queueID: id).map { request.isTrue("isForce") ? target : min(target, $0) } ?? target
                    table[MessageQueue(topic: topicName, brokerName: brokerName, queueID: id)] = moved
                }
                guard let members = clients.consumerGroup(group)?.sortedMembers, !members.isEmpty else {
                    return .response(
                        .consumerNotOnline,
                        "Consumer not online, so can not reset offset, Group: \(group) Topic: \(topicName) Timestamp: \(timestamp)")
                }
                log.info("offsets of group \(group) in topic \(topicName) set to those of \(timestamp) by \(peer)")
                let body = ResetOffsetBody(offsetTable: table)
                for member in members { member.connection.sendOneway(order(body, topicName, group, timestamp, member)) }
                return .success(body: body.encoded())
            }
        }
        return nil
    }

    /// What a member is told; it takes up the offsets and commits them itself. C++ consumers read a list, all others a map.
    private func order(
        _ body: ResetOffsetBody, _ topic: String, _ group: String, _ timestamp: Int64, _ member: ClientMember
    ) -> RemotingCommand {
        .request(
            .resetConsumerClientOffset, ["group": group, "isForce": "false", "timestamp": "\(timestamp)", "topic": topic],
            body: member.identity.language == .cpp ? body.listJSON.encoded() : body.encoded())
    }

    /// The first offsets of that time, by queue.
    ///
    /// - Parameter timestamp: -1 for the ends of the queues.
    private func offsets(of topic: Topic, at timestamp: Int64, _ completion: @escaping (Result<[Int32: Int64], StoreError>) -> Void) {
        var found: [Int32: Int64] = [:]
        let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { (number, reader) throws(LookupInterruption) in
            let id = Int32(number)
            guard let queue = topic.existingQueue(id) else { return found[id] = 0 }
            if timestamp == -1 { return found[id] = queue.maxOffset }
            found[id] = try reader.firstOffset(queue, atOrAfter: timestamp)
        }
        store.lookUp(steps: Int(max(0, topic.config.writeQueueNums)), step) { failure in
            completion(failure.map { .failure($0) } ?? .success(found))
        }
    }

    // MARK: From another group

    private func clone(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand {
        let (source, target) = (try request.text("srcGroup"), try request.text("destGroup"))
        do throws(InvalidName) { try TopicValidator.check(group: target) } catch { throw InvalidRequest(error.description) }
        let named = request.optionalText("topic").map { [$0] } ?? offsets.topics(ofGroup: source)
        for topic in named where topics.find(topic) != nil {
            if !request.isTrue("offline"), clients.subscribesElsewhere(group: source, than: topic) { continue }
            offsets.copy(topic: topic, from: source, to: target)
        }
        log.info("offsets of group \(source) copied to group \(target) by \(connection.peer)")
        return .success()
    }
}
