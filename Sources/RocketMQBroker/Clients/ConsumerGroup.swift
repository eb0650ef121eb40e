import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The connected consumers of one group and what they subscribe to. Confined to the broker's loop.
///
/// As in the reference a group has one subscription per topic: that of the highest `subVersion`, and the topics of whoever
/// sent the last heartbeat. Members should not differ; when they do it is said in the log.
final class ConsumerGroup {
    let name: String
    private(set) var consumeType: ConsumeType
    private(set) var messageModel: MessageModel
    private(set) var consumeFromWhere: ConsumeFromWhere
    /// By connection.
    private(set) var members: [UInt64: ClientMember] = [:]
    private(set) var subscriptions: [String: ActiveSubscription] = [:]

    init(_ data: ConsumerData) {
        name = data.groupName
        consumeType = data.consumeType
        messageModel = data.messageModel
        consumeFromWhere = data.consumeFromWhere
    }

    /// Members in the order in which their connections came.
    var sortedMembers: [ClientMember] { members.values.sorted { $0.connection.id < $1.connection.id } }

    func member(clientID: String) -> ClientMember? { members.values.first { $0.identity.clientID == clientID } }

    /// What a heartbeat changed.
    struct Change {
        /// Members have to be told: one came, or the set of topics is another.
        var isNotable = false
        /// A member that subscribes to something else than the heartbeat's sender, and in what.
        var conflict: (other: ClientMember, what: String)?
    }

    /// Takes one member's heartbeat.
    func heartbeat(
        _ data: ConsumerData, from connection: ServerConnection, _ identity: ClientIdentity, clock: any SystemClock
    ) -> Change {
        var change = Change()
        let previousModel = messageModel
        (consumeType, messageModel, consumeFromWhere) = (data.consumeType, data.messageModel, data.consumeFromWhere)
        let member: ClientMember
        if let known = members[connection.id] {
            member = known
            member.identity = identity
            member.heard(clock)
        } else {
            member = ClientMember(connection: connection, identity: identity, clock: clock)
            members[connection.id] = member
            change.isNotable = true
        }
        var own: [String: SubscriptionData] = [:]
        for subscription in data.subscriptionDataSet { own[subscription.topic] = subscription }
        // Most heartbeats say what the one before said; members need not be compared again then.
        let isNew = member.subscriptions != own || previousModel != messageModel
        member.subscriptions = own
        if update(own) { change.isNotable = true }
        if isNew || change.isNotable { change.conflict = conflict(of: member, previousModel: previousModel) }
        return change
    }

    /// Takes over the subscriptions; whether the set of topics changed.
    private func update(_ own: [String: SubscriptionData]) -> Bool {
        var isChanged = false
        for (topic, data) in own {
            if let active = subscriptions[topic] {
                // A newer version of a topic's expression tells nobody: the set of queues is the same.
                if data.subVersion > active.data.subVersion { subscriptions[topic] = ActiveSubscription(data) }
            } else {
                subscriptions[topic] = ActiveSubscription(data)
                isChanged = true
            }
        }
        for topic in Array(subscriptions.keys) where own[topic] == nil {
            subscriptions[topic] = nil
            isChanged = true
        }
        return isChanged
    }

    private func conflict(of member: ClientMember, previousModel: MessageModel) -> (other: ClientMember, what: String)? {
        guard members.count > 1 else { return nil }
        for other in members.values where other !== member {
            if previousModel != messageModel { return (other, "one is \(messageModel.rawValue), the other \(previousModel.rawValue)") }
            for (topic, own) in member.subscriptions {
                guard let others = other.subscriptions[topic] else { return (other, "only the first subscribes to \(topic)") }
                if own.subString != others.subString || own.expressionType != others.expressionType {
                    return (other, "\(topic) with \"\(own.subString)\" and \"\(others.subString)\"")
                }
            }
            if let topic = other.subscriptions.keys.first(where: { member.subscriptions[$0] == nil }) {
                return (other, "only the second subscribes to \(topic)")
            }
        }
        return nil
    }

    func remove(connection id: UInt64) -> ClientMember? { members.removeValue(forKey: id) }
}
