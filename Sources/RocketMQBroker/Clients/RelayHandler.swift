import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Requests of tools that connected consumers answer: what they are doing (307), consume this message now (309), how far
/// they have come (223, asked of each with 221).
final class RelayHandler: AdministrationHandler {
    let codes: [RequestCode] = [.getConsumerRunningInfo, .consumeMessageDirectly, .invokeBrokerToGetConsumerStatus]
    private let brokerName: String
    private let clients: ClientTable
    private let store: MessageStore
    /// How long a consumer may take. The reference: 10 s, and 5 s for its offsets.
    private let timeout: Duration = .seconds(10)
    private let statusTimeout: Duration = .seconds(5)

    init(brokerName: String, clients: ClientTable, store: MessageStore) {
        self.brokerName = brokerName
        self.clients = clients
        self.store = store
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        if request.requestCode == .invokeBrokerToGetConsumerStatus { return try collectStatus(request, connection) }
        let (group, clientID) = (try request.text("consumerGroup"), try request.text("clientId"))
        guard let member = clients.consumerGroup(group)?.member(clientID: clientID) else {
            throw InvalidRequest("The Consumer <\(group)> <\(clientID)> not online")
        }
        var relayed = RemotingCommand.request(request.requestCode, request.fields, body: request.body)
        let later = AnswerLater(request, from: connection)
        guard request.requestCode == .consumeMessageDirectly else {
            relay(relayed, to: member, of: group, later)
            return nil
        }
        relayed.fields["brokerName"] = brokerName
        let messageID = try request.text("msgId")
        let offset: Int64
        do throws(MalformedBytes) { offset = try OffsetMessageID(messageID).commitLogOffset } catch { throw InvalidRequest(error.what) }
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.find(at: offset) }) { [self] result in
            switch result {
            case .failure(let error): later.send(.unreadable(error))
            case .success(.nothing): later.send(.response(.systemError, "there is no message \(messageID) on this broker any more"))
            case .success(.lost(let reason)): later.send(.response(.systemError, reason))
            case .success(.record(let record)):
                relayed.body = record
                relay(relayed, to: member, of: group, later)
            }
        }
        return nil
    }

    private func relay(_ request: RemotingCommand, to member: ClientMember, of group: String, _ later: AnswerLater) {
        let clientID = member.identity.clientID
        member.connection.call(request, timeout: timeout) { result in
            switch result {
            case .success(let answer):
                later.send(RemotingCommand(code: answer.code, remark: answer.remark, fields: answer.fields, body: answer.body))
            case .failure(let error) where error.code == .timedOut:
                later.send(.response(.consumeMsgTimeout, "consumer <\(group)> <\(clientID)> Timeout: \(error)"))
            case .failure(let error):
                later.send(.response(.systemError, "invoke consumer <\(group)> <\(clientID)> Exception: \(error)"))
            }
        }
    }

    // MARK: Offsets of all members

    /// Collects the answers of several consumers.
    private final class Status {
        var table: [String: [MessageQueue: Int64]] = [:]
        var left = 0
    }

    private func collectStatus(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let (topic, group) = (try request.text("topic"), try request.text("group"))
        let only = request.optionalText("clientAddr")
        guard let members = clients.consumerGroup(group)?.sortedMembers, !members.isEmpty else {
            throw InvalidRequest("No Any Consumer online in the consumer group: [\(group)]")
        }
        let asked = members.filter { only == nil || $0.identity.clientID == only }
        let status = Status()
        status.left = asked.count
        let later = AnswerLater(request, from: connection)
        func send() { later.send(.success(body: GetConsumerStatusBody(consumerTable: status.table).encoded())) }
        guard !asked.isEmpty else {
            send()
            return nil
        }
        for member in asked {
            let clientID = member.identity.clientID
            member.connection.call(.request(.getConsumerStatusFromClient, ["group": group, "topic": topic]), timeout: statusTimeout) {
                // A consumer that does not answer, or answers nonsense, is left out, as in the reference.
                if case .success(let answer) = $0, answer.responseCode == .success, !answer.body.isEmpty,
                    let body = try? GetConsumerStatusBody(decoding: answer.body)
                {
                    status.table[clientID] = body.messageQueueTable
                }
                status.left -= 1
                if status.left == 0 { send() }
            }
        }
        return nil
    }
}
