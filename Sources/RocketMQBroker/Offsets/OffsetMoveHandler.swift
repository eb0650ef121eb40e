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
    private let groups: SubscriptionGroupTable
    private let store: MessageStore
    private let overruns: OffsetOverruns
    private let offsetFile: TableFile<ConsumerOffsetSerializeWrapper>
    private let log: Logger

    init(
        brokerName: String, offsets: ConsumerOffsetTable, topics: TopicTable, clients: ClientTable, groups: SubscriptionGroupTable,
        store: MessageStore, overruns: OffsetOverruns, offsetFile: TableFile<ConsumerOffsetSerializeWrapper>, log: Logger
    ) {
        self.brokerName = brokerName
        self.offsets = offsets
        self.topics = topics
        self.clients = clients
        self.groups = groups
        self.store = store
        self.overruns = overruns
        self.offsetFile = offsetFile
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        request.requestCode == .cloneGroupOffset ? try clone(request, connection) : try reset(request, connection)
    }

    // MARK: In time

    /// What a request (222) asks for.
    private struct Move {
        var group: String
        var topic: Topic
        /// Milliseconds since 1970; -1 for the ends of the queues.
        var timestamp: Int64
        /// Forward too, not only back.
        var force: Bool
        /// Only this queue; tools of 5.x ask for it.
        var queueID: Int32?
        /// To this place instead of a time; with a queue only.
        var offset: Int64?

        var queueIDs: [Int32] { queueID.map { [$0] } ?? Array(0..<max(0, topic.queueCount)) }
    }

    private func move(_ request: RemotingCommand) throws(InvalidRequest) -> Move {
        let (name, group) = (try request.text("topic"), try request.text("group"))
        guard let topic = topics.find(name) else {
            throw InvalidRequest("[reset-offset] reset offset failed, no topic in this broker. topic=\(name)")
        }
        // Both are -1 where tools of 5.x mean nothing.
        let queueID = try request.optionalNumber("queueId", as: Int32.self).flatMap { $0 == -1 ? nil : $0 }
        let offset = try request.optionalNumber("offset", as: Int64.self).flatMap { $0 == -1 ? nil : $0 }
        let move = Move(
            group: group, topic: topic, timestamp: try request.number("timestamp", as: Int64.self),
            force: offset != nil || request.isTrue("isForce"), queueID: queueID, offset: offset)
        guard move.timestamp >= -1 else {
            throw InvalidRequest("the time \(move.timestamp) is none: milliseconds since 1970, or -1 for the ends of the queues")
        }
        if let queueID, queueID < 0 || queueID >= topic.queueCount && topic.existingQueue(queueID) == nil {
            throw InvalidRequest("queue \(queueID) of topic \(name) does not exist: it has \(topic.queueCount) queues")
        }
        if let offset {
            guard let queueID else { throw InvalidRequest("the offset \(offset) needs a queueId: it is a place in one queue") }
            let queue = topic.existingQueue(queueID)
            let (start, end) = (queue?.minOffset ?? 0, queue?.maxOffset ?? 0)
            guard offset >= start, offset <= end else {
                throw InvalidRequest(
                    "group \(group) cannot be moved to offset \(offset): queue \(queueID) of topic \(name) has \(start)...\(end)")
            }
        }
        return move
    }

    private func reset(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let move = try move(request)
        _ = try members(toTell: move)
        let later = AnswerLater(request, from: connection)
        let peer = connection.peer
        offsets(for: move) { [self] result in
            switch result {
            case .failure(let error): later.send(.unreadable(error))
            case .success(let targets):
                do throws(InvalidRequest) { answer(try tell(move, targets, peer), later) } catch {
                    later.send(.response(error.code, error.description))
                }
            }
        }
        return nil
    }

    /// Answers when the offsets are on the disk.
    private func answer(_ response: RemotingCommand, _ later: AnswerLater) {
        offsetFile.save { failure in
            later.send(failure.map { .response(.systemError, "moved, but not stored: \($0)") } ?? response)
        }
    }

    /// The connected consumers that work on the topic. Without any tools set the offsets at the broker themselves (15); a place in
    /// one queue is set here, as brokers of 5.x do.
    private func members(toTell move: Move) throws(InvalidRequest) -> [ClientMember] {
        let all = clients.consumerGroup(move.group)?.sortedMembers ?? []
        let members = all.filter { $0.subscriptions.isEmpty || $0.subscriptions[move.topic.name] != nil }
        guard !members.isEmpty || move.offset != nil else {
            let who = all.isEmpty ? "Consumer not online" : "No consumer of the group that is online subscribes to the topic"
            throw InvalidRequest(
                "\(who), so can not reset offset, Group: \(move.group) Topic: \(move.topic.name) Timestamp: \(move.timestamp)",
                code: .consumerNotOnline)
        }
        if members.isEmpty, groups.existing(move.group) == nil, offsets.topics(ofGroup: move.group).isEmpty {
            throw InvalidRequest("there is no consumer group \(move.group) on this broker", code: .subscriptionGroupNotExist)
        }
        if !move.force, let one = members.first(where: { $0.messageModel == .broadcasting }) {
            throw InvalidRequest(
                "consumers of group \(move.group) keep their own positions (\(one.name) is BROADCASTING), so this broker cannot tell which of "
                    + "them a move back only would move: with force all of them are moved")
        }
        return members
    }

    private func tell(_ move: Move, _ targets: [Int32: Int64], _ peer: SocketAddress) throws(InvalidRequest) -> RemotingCommand {
        let members = try members(toTell: move)
        let topic = move.topic.name
        let known = offsets.existingEntry(group: move.group, topic: topic)
        let broadcasters = members.filter { $0.messageModel == .broadcasting }
        var table: [MessageQueue: Int64] = [:]
        for (id, target) in targets {
            // Without force a group is moved back only.
            let moved = known?.offset(queueID: id).map { move.force ? target : min(target, $0) } ?? target
            table[MessageQueue(topic: topic, brokerName: brokerName, queueID: id)] = moved
            // For queues that nobody holds just now; who holds one sets it again, with the same.
            if broadcasters.isEmpty || broadcasters.count < members.count {
                offsets.commit(group: move.group, topic: topic, queueID: id, offset: moved)
                overruns.taken(group: move.group, topic: topic, queueID: id)
            }
        }
        log.info(
            "offsets of group \(move.group) in topic \(topic)\(move.queueID.map { ", queue \($0)," } ?? "") set to "
                + (move.offset.map { "\($0)" } ?? "those of \(move.timestamp)") + " by \(peer)")
        let body = ResetOffsetBody(offsetTable: table)
        for member in members { member.connection.sendOneway(order(body, topic, move.group, move.timestamp, member)) }
        var answer = RemotingCommand.success(body: body.encoded())
        var remarks: [String] = []
        if members.isEmpty { remarks.append("no consumer of group \(move.group) is connected: the offset is set at the broker") }
        if !broadcasters.isEmpty {
            remarks.append(
                "consumers of group \(move.group) keep their own positions (BROADCASTING): the \(broadcasters.count) that are connected were "
                    + "told, those that are not stay where they are")
        }
        if let deaf = Self.deaf(members) { remarks.append(deaf) }
        answer.remark = remarks.isEmpty ? nil : remarks.joined(separator: "; ")
        return answer
    }

    /// What is to be said of consumers that are told in vain: the Java client moves push consumers only.
    private static func deaf(_ members: [ClientMember]) -> String? {
        let deaf = members.filter { $0.consumeType == .actively && $0.identity.language == .java }
        guard !deaf.isEmpty else { return nil }
        let more = deaf.count > 3 ? " and \(deaf.count - 3) more" : ""
        return
            "\(deaf.prefix(3).map(\.name).joined(separator: ", "))\(more) will stay where they are and commit that: Java clients that pull "
            + "cannot be moved while they run. Stop them, move the group, and start them again, or have them seek"
    }

    /// What a member is told; it takes up the offsets and commits them itself. C++ consumers read a list, all others a map.
    private func order(
        _ body: ResetOffsetBody, _ topic: String, _ group: String, _ timestamp: Int64, _ member: ClientMember
    ) -> RemotingCommand {
        .request(
            .resetConsumerClientOffset, ["group": group, "isForce": "false", "timestamp": "\(timestamp)", "topic": topic],
            body: member.identity.language == .cpp ? body.listJSON.encoded() : body.encoded())
    }

    /// Where to, by queue.
    private func offsets(for move: Move, _ completion: @escaping (Result<[Int32: Int64], StoreError>) -> Void) {
        if let id = move.queueID, let offset = move.offset { return completion(.success([id: offset])) }
        var found: [Int32: Int64] = [:]
        let ids = move.queueIDs
        let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { (number, reader) throws(LookupInterruption) in
            let id = ids[number]
            guard let queue = move.topic.existingQueue(id) else { return found[id] = 0 }
            if move.timestamp == -1 { return found[id] = queue.maxOffset }
            found[id] = try reader.firstOffset(queue, atOrAfter: move.timestamp)
        }
        store.lookUp(steps: ids.count, step) { failure in completion(failure.map { .failure($0) } ?? .success(found)) }
    }

    // MARK: From another group

    private func clone(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (source, target) = (try request.text("srcGroup"), try request.text("destGroup"))
        do throws(InvalidName) { try TopicValidator.check(group: target) } catch { throw InvalidRequest(error.description) }
        let named = request.optionalText("topic").map { [$0] } ?? offsets.topics(ofGroup: source)
        for topic in named where topics.find(topic) != nil {
            if !request.isTrue("offline"), clients.subscribesElsewhere(group: source, than: topic) { continue }
            offsets.copy(topic: topic, from: source, to: target)
        }
        log.info("offsets of group \(source) copied to group \(target) by \(connection.peer)")
        answer(.success(), AnswerLater(request, from: connection))
        return nil
    }
}
