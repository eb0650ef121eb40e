import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Clients: heartbeat (34), leave (35), members of a group (38), check of a subscription (46), and who is connected for
/// tools (203, 204, 328).
final class ClientHandler: AdministrationHandler {
    /// Throws when the broker cannot filter by the subscription's expression; called for other expressions than of tags.
    typealias ExpressionCheck = (SubscriptionData) throws(InvalidRequest) -> Void

    let codes: [RequestCode] = [
        .heartBeat, .unregisterClient, .getConsumerListByGroup, .checkClientConfig, .getConsumerConnectionList,
        .getProducerConnectionList, .getAllProducerInfo,
    ]
    private let clients: ClientTable
    private let groups: SubscriptionGroupTable
    private let createRetryTopic: (_ group: String, _ queues: Int32) -> Void
    private let checkExpression: ExpressionCheck
    private let log: Logger

    /// - Parameter createRetryTopic: makes the topic of a group's retries unless it exists.
    init(
        clients: ClientTable, groups: SubscriptionGroupTable, createRetryTopic: @escaping (_ group: String, _ queues: Int32) -> Void,
        checkExpression: @escaping ExpressionCheck = ClientHandler.refuseOtherThanTags, log: Logger
    ) {
        self.clients = clients
        self.groups = groups
        self.createRetryTopic = createRetryTopic
        self.checkExpression = checkExpression
        self.log = log
    }

    static func refuseOtherThanTags(_ subscription: SubscriptionData) throws(InvalidRequest) {
        throw InvalidRequest("The broker does not support consumer to filter message by \(subscription.expressionType)")
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .heartBeat:
            try heartbeat(request, connection)
            return .success()
        case .unregisterClient:
            try unregister(request, connection)
            return .success()
        case .getConsumerListByGroup: return try members(request)
        case .checkClientConfig:
            let check: CheckClientRequestBody = try request.body()
            if !check.subscriptionData.isTagExpression { try checkExpression(check.subscriptionData) }
            return .success()
        case .getConsumerConnectionList: return try consumerConnections(request)
        case .getProducerConnectionList: return try producerConnections(request)
        default: return .success(body: producerTable().encoded())
        }
    }

    // MARK: Coming and going

    private func heartbeat(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) {
        let data: HeartbeatData = try request.body()
        let identity = ClientIdentity(clientID: data.clientID, request: request)
        for consumer in data.consumerDataSet {
            let group = groups.find(consumer.groupName)
            if let group { makeRetryTopic(of: group) }
            clients.heartbeat(consumer, from: connection, identity, mayNotify: group?.config.notifyConsumerIDsChangedEnable ?? true)
        }
        for producer in data.producerDataSet { clients.heartbeat(producerGroup: producer.groupName, from: connection, identity) }
    }

    private func makeRetryTopic(of group: SubscriptionGroup) {
        let topic = SystemTopic.retry(of: group.name)
        do throws(InvalidName) {
            try TopicValidator.check(topic: topic)
            createRetryTopic(group.name, group.config.retryQueueNums)
        } catch {
            log.log(
                .warning, limitedBy: "retry topic",
                "group \(group.name) gets no retry topic, so failed messages are not delivered again: \(error)")
        }
    }

    private func unregister(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) {
        _ = try request.text("clientID")
        if let group = request.optionalText("producerGroup") { clients.unregister(producerGroup: group, connection) }
        if let group = request.optionalText("consumerGroup") {
            let mayNotify = groups.existing(group)?.config.notifyConsumerIDsChangedEnable ?? true
            clients.unregister(consumerGroup: group, connection, mayNotify: mayNotify)
        }
    }

    // MARK: Who is there

    private func members(_ request: RemotingCommand) throws(InvalidRequest) -> RemotingCommand {
        let name = try request.text("consumerGroup")
        guard let group = clients.consumerGroup(name) else { throw InvalidRequest("no consumer for this group, \(name)") }
        return .success(body: ConsumerIDList(consumerIDs: group.clientIDs).encoded())
    }

    private func consumerConnections(_ request: RemotingCommand) throws(InvalidRequest) -> RemotingCommand {
        let name = try request.text("consumerGroup")
        guard let group = clients.consumerGroup(name) else {
            throw InvalidRequest("the consumer group[\(name)] not online", code: .consumerNotOnline)
        }
        let members = group.sortedMembers
        var body = ConsumerConnection(
            connectionSet: members.map(\.description), subscriptionTable: group.subscriptions.mapValues(\.data),
            consumeType: group.consumeType, messageModel: group.messageModel, consumeFromWhere: group.consumeFromWhere)
        // The table is the group's as a whole. Where members differ what each wants itself goes with them, while the answer stays small.
        if group.hasConflict, members.reduce(0, { $0 + $1.subscriptions.count }) <= Self.mostSubscriptions {
            body.members = members.map { $0.report() }
        }
        return .success(body: body.encoded())
    }

    private static let mostSubscriptions = 4096

    private func producerConnections(_ request: RemotingCommand) throws(InvalidRequest) -> RemotingCommand {
        let name = try request.text("producerGroup")
        guard let members = clients.producers(ofGroup: name) else { throw InvalidRequest("the producer group[\(name)] not exist") }
        return .success(body: ProducerConnection(connectionSet: members.map(\.description)).encoded())
    }

    private func producerTable() -> ProducerTableInfo {
        ProducerTableInfo(
            data: clients.allProducers.mapValues { members in
                members.map {
                    ProducerInfo(
                        clientID: $0.identity.clientID, remoteIP: "/\($0.connection.peer)", language: $0.identity.language.name,
                        version: $0.identity.version, lastUpdateTimestamp: $0.heardAtWallMilliseconds)
                }
            })
    }
}
