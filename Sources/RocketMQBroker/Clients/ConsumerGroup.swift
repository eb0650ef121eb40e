import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The connected consumers of one group and what they subscribe to. Confined to the broker's loop.
///
/// Each consumer gets what it subscribed to itself: another's heartbeat never changes that, as it does in the reference,
/// where the last heartbeat counts for all. The group as a whole subscribes to every topic that one of its members does; where
/// they differ its expression is the one of the highest `subVersion`, which tools are shown.
final class ConsumerGroup {
    let name: String
    private(set) var consumeType: ConsumeType
    /// What the last heartbeat said.
    private(set) var messageModel: MessageModel
    private(set) var consumeFromWhere: ConsumeFromWhere
    /// By connection.
    private(set) var members: [UInt64: ClientMember] = [:]
    /// By topic; of every topic that a member subscribes to the newest.
    private(set) var subscriptions: [String: ActiveSubscription] = [:]
    /// Topics of which members want different messages, with two that do.
    private(set) var ambiguous: [String: (ClientMember, ClientMember)] = [:]
    /// Whether members differ in anything.
    private(set) var hasConflict = false
    /// What of it has been told of.
    private(set) var told = GroupDifferences()
    /// When a difference was last told of.
    var warnedAt: MonotonicTime?
    /// Where it was seen in queues, by topic, for which it has committed no offset yet: see `GroupInspection`.
    var unread: [String: [Int32: LaggingQueue]] = [:]

    init(_ data: ConsumerData) {
        name = data.groupName
        consumeType = data.consumeType
        messageModel = data.messageModel
        consumeFromWhere = data.consumeFromWhere
    }

    /// Members in the order in which their connections came.
    var sortedMembers: [ClientMember] { members.values.sorted { $0.connection.id < $1.connection.id } }

    /// The client of that id; where several say that they are it, the one that was heard last.
    func member(clientID: String) -> ClientMember? {
        members.values.filter { $0.identity.clientID == clientID }.max { ($0.heardAt, $0.connection.id) < ($1.heardAt, $1.connection.id) }
    }

    /// The ids of the members, each once: of a client that connected anew the old connection may still be here, and queues given
    /// to it a second time would be nobody's.
    var clientIDs: [String] {
        var known: Set<String> = []
        return sortedMembers.map(\.identity.clientID).filter { known.insert($0).inserted }
    }

    /// The subscription for a pull that comes on a connection: that of the member there. A connection that sent no heartbeat
    /// for the group, or not for the topic, gets what the members agree on.
    @inline(__always)
    func lookup(topic: String, connection: UInt64) -> SubscriptionLookup {
        let member = members[connection]
        if let member, let own = member.subscriptions[topic] { return .found(own, model: member.messageModel) }
        guard let active = subscriptions[topic] else { return .noSubscription }
        if let (first, second) = ambiguous[topic] { return .ambiguous(first, second) }
        return .found(active, model: member?.messageModel ?? messageModel)
    }

    /// What a heartbeat changed.
    struct Change {
        /// Members have to be told: one came, or the set of topics is another.
        var isNotable = false
        /// What the member called itself before, when it calls itself something else now.
        var formerClientID: String?
        /// In what members differ from now on, or agree again.
        var news = GroupDifferences.News()
        /// Topics of which the member wants other messages than before.
        var newExpressions: [String] = []
    }

    /// Takes one member's heartbeat.
    func heartbeat(
        _ data: ConsumerData, from connection: ServerConnection, _ identity: ClientIdentity, clock: any SystemClock
    ) -> Change {
        var change = Change()
        let agreedModel = messageModel
        (consumeType, messageModel, consumeFromWhere) = (data.consumeType, data.messageModel, data.consumeFromWhere)
        let member: ClientMember
        if let known = members[connection.id] {
            member = known
            if known.identity.clientID != identity.clientID {
                change.isNotable = true
                change.formerClientID = known.identity.clientID
            }
            member.identity = identity
            member.heard(clock)
        } else {
            member = ClientMember(connection: connection, identity: identity, clock: clock)
            members[connection.id] = member
            change.isNotable = true
        }
        // Most heartbeats say what the one before said; members need not be compared again then.
        guard take(data, into: member, &change) || change.isNotable else { return change }
        // All members agree, and still do: so it is with most of a large group's, each of which would be looked at by each.
        if !hasConflict, members.count > 1, agreedModel == member.messageModel, follows(member) { return change }
        if refresh() { change.isNotable = true }
        if hasConflict || !told.isEmpty { change.news = told.take(differences(seenFrom: member), mayBegin: true) }
        return change
    }

    /// Whether the member now says something else than before.
    private func take(_ data: ConsumerData, into member: ClientMember, _ change: inout Change) -> Bool {
        var isChanged = member.messageModel != data.messageModel
        (member.messageModel, member.consumeType) = (data.messageModel, data.consumeType)
        var own: [String: ActiveSubscription] = [:]
        for subscription in data.subscriptionDataSet {
            if let known = member.subscriptions[subscription.topic], known.data == subscription {
                own[subscription.topic] = known
            } else {
                isChanged = true
                // Expressions are compiled once for all members that sent the same.
                let shared = subscriptions[subscription.topic].flatMap { $0.data == subscription ? $0 : nil }
                let wanted = shared ?? ActiveSubscription(subscription)
                own[subscription.topic] = wanted
                if let known = member.subscriptions[subscription.topic], !known.selectsSame(as: wanted) {
                    change.newExpressions.append(subscription.topic)
                }
            }
        }
        if own.count != member.subscriptions.count { isChanged = true }
        if isChanged { member.subscriptions = own }
        return isChanged
    }

    /// Whether the member wants what the group does; its versions count then.
    private func follows(_ member: ClientMember) -> Bool {
        guard member.subscriptions.count == subscriptions.count else { return false }
        for (topic, own) in member.subscriptions {
            guard let active = subscriptions[topic], active.selectsSame(as: own) else { return false }
            if own.data.subVersion > active.data.subVersion { subscriptions[topic] = own }
        }
        return true
    }

    /// Makes the group's own table from those of its members; whether the set of topics changed.
    private func refresh() -> Bool {
        var newest: [String: ActiveSubscription] = [:]
        var differing: [String: (ClientMember, ClientMember)] = [:]
        var subscribers: [String: (first: ClientMember, count: Int)] = [:]
        let all = sortedMembers
        for member in all {
            for (topic, own) in member.subscriptions {
                if !Self.concerns(member, topic: topic, group: name) {
                    newest[topic] = newest[topic] ?? own
                    continue
                }
                if let (first, count) = subscribers[topic] {
                    subscribers[topic] = (first, count + 1)
                    if differing[topic] == nil, first.subscriptions[topic]?.selectsSame(as: own) == false {
                        differing[topic] = (first, member)
                    }
                } else {
                    subscribers[topic] = (member, 1)
                }
                if let known = newest[topic], known.data.subVersion >= own.data.subVersion { continue }
                newest[topic] = own
            }
        }
        let isChanged = newest.count != subscriptions.count || newest.keys.contains { subscriptions[$0] == nil }
        subscriptions = newest
        ambiguous = differing
        let models = Set(all.map(\.messageModel))
        hasConflict = !differing.isEmpty || models.count > 1 || subscribers.values.contains { $0.count != all.count }
        return isChanged
    }

    /// Takes a member out; returns it when it was there, and on what the others agree again.
    func remove(connection id: UInt64) -> (member: ClientMember, news: GroupDifferences.News)? {
        guard let member = members.removeValue(forKey: id) else { return nil }
        // Of members that agree one less changes nothing.
        guard hasConflict || members.isEmpty else { return (member, .init()) }
        _ = refresh()
        return (member, told.take(differences(seenFrom: nil), mayBegin: false))
    }
}
