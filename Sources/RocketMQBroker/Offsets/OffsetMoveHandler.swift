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

    private func reset(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand {
        let (topicName, group) = (try request.text("topic"), try request.text("group"))
        let timestamp = try request.number("timestamp", as: Int64.self)
        guard let topic = topics.find(topicName) else {
            throw InvalidRequest("[reset-offset] reset offset failed, no topic in this broker. topic=\(topicName)")
        }
        guard let known = offsets.existingEntry(group: group, topic: topicName), !known.byQueue.isEmpty else {
            throw InvalidRequest("The consumer group <\(group)> not exist: it has no offset in topic \(topicName) on this broker")
        }
        var table: [MessageQueue: Int64] = [:]
        for id in 0..<topic.config.writeQueueNums {
            let target = try offset(of: topic.existingQueue(id), at: timestamp)
            let current = known.offset(queueID: id)
            // Without force a group is moved back only.
            let moved = current.map { request.isTrue("isForce") ? target : min(target, $0) } ?? target
            table[MessageQueue(topic: topicName, brokerName: brokerName, queueID: id)] = moved
        }
        guard let members = clients.consumerGroup(group)?.sortedMembers, !members.isEmpty else {
            throw InvalidRequest(
                "Consumer not online, so can not reset offset, Group: \(group) Topic: \(topicName) Timestamp: \(timestamp)",
                code: .consumerNotOnline)
        }
        log.info("offsets of group \(group) in topic \(topicName) set to those of \(timestamp) by \(connection.peer)")
        let body = ResetOffsetBody(offsetTable: table)
        for member in members { member.connection.sendOneway(order(body, topicName, group, timestamp, member)) }
        return .success(body: body.encoded())
    }

    /// What a member is told; it takes up the offsets and commits them itself. C++ consumers read a list, all others a map.
    private func order(
        _ body: ResetOffsetBody, _ topic: String, _ group: String, _ timestamp: Int64, _ member: ClientMember
    ) -> RemotingCommand {
        .request(
            .resetConsumerClientOffset, ["group": group, "isForce": "false", "timestamp": "\(timestamp)", "topic": topic],
            body: member.identity.language == .cpp ? body.listJSON.encoded() : body.encoded())
    }

    /// - Parameter timestamp: -1 for the end of the queue.
    private func offset(of queue: ConsumeQueue?, at timestamp: Int64) throws(InvalidRequest) -> Int64 {
        guard let queue else { return 0 }
        if timestamp == -1 { return queue.maxOffset }
        return try reading { () throws(StoreError) in try store.firstOffset(queue, atOrAfter: timestamp) }
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
