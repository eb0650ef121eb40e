import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Carries replies (324, 325) to the clients that wait for them (326). The answer to whoever replies comes when the requester
/// has the reply, or says why it cannot have it. With `storeReplyMessageEnable` the reply is kept in its topic too.
final class ReplyHandler: AdministrationHandler {
    let codes: [RequestCode] = [.sendReplyMessage, .sendReplyMessageV2]
    private let settings: SettingsHolder
    private let storeHost: SocketAddress
    private let clients: ClientTable
    private let topics: TopicTable
    private let mover: MessageMover
    private let round: CommitRound
    private let clock: any SystemClock
    private let log: Logger
    private let messageIDPrefix: [UInt8]
    /// How long the requester may take to say that it has the reply. The reference: 10 s.
    private let timeout: Duration = .seconds(10)

    init(
        settings: SettingsHolder, storeHost: SocketAddress, clients: ClientTable, topics: TopicTable, mover: MessageMover,
        round: CommitRound, clock: any SystemClock, log: Logger
    ) {
        self.settings = settings
        self.storeHost = storeHost
        self.clients = clients
        self.topics = topics
        self.mover = mover
        self.round = round
        self.clock = clock
        self.log = log
        messageIDPrefix = MessageIDText.prefix(of: storeHost)
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let reply = try Reply(request)
        try check(reply)
        let later = AnswerLater(request, from: connection)
        guard let requester = reply.properties[PropertyName.replyToClient] else {
            finish(
                reply, connection, later,
                failure: "reply message properties[REPLY_TO_CLIENT] is null: the message is no reply to anyone")
            return nil
        }
        guard let client = clients.producer(clientID: requester) else {
            finish(
                reply, connection, later,
                failure: "push reply message fail, channel of <\(requester)> not found: the requester is gone, or is not connected to "
                    + "this broker")
            return nil
        }
        client.call(push(reply, from: connection), timeout: timeout) { [self] result in
            switch result {
            case .success(let answer) where answer.responseCode == .success: finish(reply, connection, later, failure: nil)
            case .success(let answer):
                finish(reply, connection, later, failure: "push reply message to \(requester) fail: \(answer.remark ?? "it refused")")
            case .failure(let error): finish(reply, connection, later, failure: "push reply message to \(requester) fail: \(error)")
            }
        }
        return nil
    }

    // MARK: Reading

    /// The fields of 324 and 325, which are those of 10 and 310.
    private struct Reply {
        var fields: [String: String] = [:]
        var topic: String
        var queueID: Int32
        var flag: Int32
        var systemFlag: Int32
        var reconsumeTimes: Int32
        var bornTimestamp: Int64
        var properties: MessageProperties
        var body: [UInt8]

        /// The long names, by the letters that 325 has for them.
        private static let names = [
            "a": "producerGroup", "b": "topic", "c": "defaultTopic", "d": "defaultTopicQueueNums", "e": "queueId", "f": "sysFlag",
            "g": "bornTimestamp", "h": "flag", "i": "properties", "j": "reconsumeTimes", "k": "unitMode",
        ]

        init(_ request: RemotingCommand) throws(InvalidRequest) {
            var named = request
            if request.requestCode == .sendReplyMessageV2 {
                named.fields = [:]
                for (letter, name) in Self.names { named.fields[name] = request.fields[letter] }
            } else {
                named.fields = request.fields.filter { Self.names.values.contains($0.key) }
            }
            fields = named.fields
            topic = try named.text("topic")
            queueID = try named.number("queueId")
            flag = try named.optionalNumber("flag") ?? 0
            systemFlag = try named.optionalNumber("sysFlag") ?? 0
            reconsumeTimes = try named.optionalNumber("reconsumeTimes") ?? 0
            bornTimestamp = try named.optionalNumber("bornTimestamp") ?? 0
            properties = MessageProperties(decoding: named.fields["properties"] ?? "")
            body = request.body
        }
    }

    private func check(_ reply: Reply) throws(InvalidRequest) {
        let values = settings.values
        let permission = Permission(rawValue: Int32(values[BrokerSettings.brokerPermission]))
        guard permission.contains(.write) else {
            throw InvalidRequest("this broker may not be written to (brokerPermission=\(permission.rawValue))", code: .noPermission)
        }
        guard let topic = topics.find(reply.topic) else {
            throw InvalidRequest(
                "the topic of the reply, \(reply.topic), is not on this broker: it is named like the cluster, with _REPLY_TOPIC",
                code: .topicNotExist)
        }
        guard topic.mayClientsSend, topic.config.perm.contains(.write) else {
            throw InvalidRequest("topic \(topic.name) may not be written to (perm=\(topic.config.perm.rawValue))", code: .noPermission)
        }
        guard reply.queueID < topic.queueCount else {
            throw InvalidRequest("queue \(reply.queueID) of topic \(topic.name) does not exist: it has \(topic.queueCount) queues")
        }
        let most = values[StoreSettings.maxMessageSize]
        guard reply.body.count <= most else {
            throw InvalidRequest(
                "the body of \(reply.body.count) bytes for topic \(topic.name) is larger than maxMessageSize, \(most) bytes",
                code: .messageIllegal)
        }
    }

    // MARK: Sending on

    private func push(_ reply: Reply, from connection: ServerConnection) -> RemotingCommand {
        let now = clock.wallMilliseconds
        var fields = reply.fields
        fields["bornHost"] = connection.peer.description
        fields["storeHost"] = storeHost.description
        fields["storeTimestamp"] = String(now)
        var properties = reply.properties
        properties[PropertyName.pushReplyTime] = String(now)
        fields["properties"] = properties.encodedText
        return .request(.pushReplyMessageToClient, fields, body: reply.body)
    }

    /// Keeps the reply when the broker is set to, and answers.
    private func finish(_ reply: Reply, _ connection: ServerConnection, _ later: AnswerLater, failure: String?) {
        if let failure { log.log(.warning, limitedBy: "reply", "a reply was not delivered: \(failure)") }
        guard settings.values[BrokerSettings.storeReplyMessageEnable] else {
            return answer(later, failure, messageID: "0", reply, offset: 0)
        }
        let fields = MessageFields(
            flag: reply.flag, systemFlag: reply.systemFlag & ~0x30, bornTimestamp: reply.bornTimestamp, bornHost: connection.peer,
            storeTimestamp: round.wallMilliseconds, storeHost: storeHost, reconsumeTimes: reply.reconsumeTimes)
        let message = StoredMessage(
            topic: reply.topic, queueID: max(0, reply.queueID), fields: fields, body: reply.body, properties: reply.properties)
        do throws(StoreError) {
            let stored = try mover.stage(message)
            round.afterCommit { [self] storeFailure in
                if let storeFailure { log.log(.warning, limitedBy: "storing replies", "a reply was not stored: \(storeFailure)") }
                let id = storeFailure == nil ? MessageIDText.text(messageIDPrefix, stored.physicalOffset) : "0"
                answer(later, failure, messageID: id, reply, offset: stored.queueOffset)
            }
        } catch {
            // The requester has it all the same.
            log.log(.warning, limitedBy: "storing replies", "a reply was not stored: \(error)")
            answer(later, failure, messageID: "0", reply, offset: 0)
        }
    }

    private func answer(_ later: AnswerLater, _ failure: String?, messageID: String, _ reply: Reply, offset: Int64) {
        let values = settings.values
        var fields = [
            "MSG_REGION": values[BrokerSettings.regionId], "TRACE_ON": values[BrokerSettings.traceOn] ? "true" : "false",
        ]
        if let failure { return later.send(.response(.systemError, failure, fields)) }
        fields["msgId"] = messageID
        fields["queueId"] = String(max(0, reply.queueID))
        fields["queueOffset"] = String(offset)
        later.send(.success(fields))
    }
}
