import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The connected producers and consumers by group, as their heartbeats tell. Confined to the broker's loop.
final class ClientTable {
    struct Configuration {
        /// `notifyConsumerIdsChangedEnable`.
        var notifiesMembers = true
        /// `channelExpiredTimeout`: a client silent for so long is taken out of its groups.
        var expiry: Duration = .seconds(120)
        var scanInterval: Duration = .seconds(10)
    }

    var configuration: Configuration
    private let clock: any SystemClock
    private let log: Logger
    private var consumers: [String: ConsumerGroup] = [:]
    /// Members by connection, by group.
    private var producers: [String: [UInt64: ClientMember]] = [:]
    /// Producers by client id: where replies go.
    private var producerConnections: [String: ServerConnection] = [:]
    /// Clients that sent a request to be replied to, by the id that stands in it: of each connection the last.
    private var requesters: [String: ServerConnection] = [:]
    private var requesterIDs: [UInt64: String] = [:]
    /// The groups of each connection, so that its end costs what it belongs to.
    private var memberships: [UInt64: Memberships] = [:]
    private var scan: (any ScheduledCall)?
    /// Called with group, topic and connection of a consumer that wants other messages of the topic than before.
    var onNewExpression: (String, String, ServerConnection) -> Void = { _, _, _ in }

    private struct Memberships {
        var consumers: Set<String> = []
        var producers: Set<String> = []
        /// As its heartbeats name it, when it is a producer.
        var producerID: String?
        var isEmpty: Bool { consumers.isEmpty && producers.isEmpty }
    }

    init(configuration: Configuration = Configuration(), clock: any SystemClock, log: Logger) {
        self.configuration = configuration
        self.clock = clock
        self.log = log
    }

    /// Starts to look for clients that fell silent.
    func start(on loop: any EventLoop) {
        scan = loop.scheduleRepeatedly(every: configuration.scanInterval) { [weak self] in self?.removeExpired() }
    }

    func stop() { scan?.cancel() }

    // MARK: Finding

    /// What the consumer at a connection wants of the topic: see `ConsumerGroup.lookup`.
    @inline(__always)
    func lookup(group: String, topic: String, connection: UInt64) -> SubscriptionLookup {
        guard let found = consumers[group] else { return .noGroup }
        return found.lookup(topic: topic, connection: connection)
    }

    /// The consumers of a group, when any is connected.
    func consumerGroup(_ name: String) -> ConsumerGroup? { consumers[name] }

    /// All groups with a connected consumer, in no order.
    var consumerGroups: some Collection<ConsumerGroup> { consumers.values }

    /// Whether the group's connected consumers subscribe to topics, and not to this one.
    func subscribesElsewhere(group: String, than topic: String) -> Bool {
        guard let subscriptions = consumers[group]?.subscriptions, !subscriptions.isEmpty else { return false }
        return subscriptions[topic] == nil
    }

    /// Groups with connected consumers that subscribe to the topic.
    func consumerGroups(ofTopic topic: String) -> [String] {
        consumers.values.filter { $0.subscriptions[topic] != nil }.map(\.name).sorted()
    }

    /// Members of a producer group; `nil` when none is connected.
    func producers(ofGroup group: String) -> [ClientMember]? {
        producers[group].map { $0.values.sorted { $0.connection.id < $1.connection.id } }
    }

    /// The connection of the producer with this client id: as its heartbeats say, or, before one has come, its requests.
    func producer(clientID: String) -> ServerConnection? { producerConnections[clientID] ?? requesters[clientID] }

    /// Every producer, by group.
    var allProducers: [String: [ClientMember]] {
        producers.mapValues { $0.values.sorted { $0.connection.id < $1.connection.id } }
    }

    // MARK: Heartbeats

    /// A consumer's part of a heartbeat.
    ///
    /// - Parameter mayNotify: the group's `notifyConsumerIdsChangedEnable`.
    func heartbeat(_ data: ConsumerData, from connection: ServerConnection, _ identity: ClientIdentity, mayNotify: Bool) {
        let group: ConsumerGroup
        if let known = consumers[data.groupName] {
            group = known
        } else {
            group = ConsumerGroup(data)
            consumers[data.groupName] = group
        }
        memberships[connection.id, default: Memberships()].consumers.insert(data.groupName)
        let change = group.heartbeat(data, from: connection, identity, clock: clock)
        tell(change.news, of: group)
        for topic in change.newExpressions { onNewExpression(group.name, topic, connection) }
        if let former = change.formerClientID {
            log.log(
                .warning, limitedBy: "a connection of several consumers",
                "the connection of consumer \(former) (\(connection.peer)) of group \(group.name) calls itself \(identity.clientID) now, and gets "
                    + "what that one subscribes to: pulls do not say whose they are, so give each consumer of a group a connection of its own"
            )
        }
        guard change.isNotable else { return }
        log.debug(
            "group \(group.name): \(group.members.count) consumers, subscribed to \(group.subscriptions.keys.sorted().joined(separator: ", "))"
        )
        if mayNotify { notify(group) }
    }

    /// Differences told of one by one when a member changes.
    private static let mostDifferences = 4

    /// A line a difference, unless a client changes its mind again and again.
    private func tell(_ news: GroupDifferences.News, of group: ConsumerGroup) {
        let now = clock.monotonicNow
        let isFrequent = group.warnedAt.map { now - $0 < .seconds(1) } ?? false
        if !news.begun.isEmpty {
            group.warnedAt = now
            var lines = news.begun.prefix(Self.mostDifferences).map { difference in
                "consumers \(difference.first.name) and \(difference.second.name) of group \(group.name) differ: \(difference.text). "
                    + "Each gets what it asked for itself, and what falls to one is missed by the other: give all consumers of a group the "
                    + "same subscriptions, or each its own group"
            }
            if news.begun.count > lines.count {
                lines.append(
                    "consumers of group \(group.name) differ on \(news.begun.count - lines.count) more topics: mqadmin checkConsumers -g "
                        + "\(group.name) shows all")
            }
            for line in lines {
                if isFrequent { log.log(.warning, limitedBy: "consumers of one group differ", line) } else { log.warning(line) }
            }
        }
        guard !news.ended.isEmpty else { return }
        let ended = news.ended.map { subject in
            if case .topic(let topic) = subject { "topic \(topic)" } else { "how they share the messages" }
        }
        let what = group.hasConflict ? ended.sorted().prefix(8).joined(separator: ", ") : "what they subscribe to"
        let line = "the consumers of group \(group.name) agree again on \(what)"
        if isFrequent { log.log(.info, limitedBy: "consumers of one group agree again", line) } else { log.info(line) }
    }

    /// A producer's part of a heartbeat.
    func heartbeat(producerGroup: String, from connection: ServerConnection, _ identity: ClientIdentity) {
        noteProducer(identity.clientID, connection)
        if let known = producers[producerGroup]?[connection.id] {
            known.identity = identity
            known.heard(clock)
            return
        }
        producers[producerGroup, default: [:]][connection.id] = ClientMember(connection: connection, identity: identity, clock: clock)
        memberships[connection.id, default: Memberships()].producers.insert(producerGroup)
    }

    /// The latest connection of a client id is the one that hears.
    private func noteProducer(_ clientID: String, _ connection: ServerConnection) {
        if let previous = memberships[connection.id]?.producerID, previous != clientID { forgetProducer(previous, connection) }
        producerConnections[clientID] = connection
        memberships[connection.id, default: Memberships()].producerID = clientID
    }

    /// A message came that wants a reply (`REPLY_TO_CLIENT`). Its client's heartbeat may come later, or may have been lost.
    func noteRequester(_ clientID: String, _ connection: ServerConnection) {
        // The first counts as long as it is there: others may send its message on.
        if let known = requesters[clientID], known === connection || !known.stream.isClosed { return }
        forgetRequester(connection)
        requesters[clientID] = connection
        requesterIDs[connection.id] = clientID
    }

    private func forgetRequester(_ connection: ServerConnection) {
        guard let id = requesterIDs.removeValue(forKey: connection.id), requesters[id] === connection else { return }
        requesters[id] = nil
    }

    private func forgetProducer(_ clientID: String, _ connection: ServerConnection) {
        if producerConnections[clientID] === connection { producerConnections[clientID] = nil }
    }

    // MARK: Ends

    /// A consumer says that it leaves.
    func unregister(consumerGroup name: String, _ connection: ServerConnection, mayNotify: Bool) {
        memberships[connection.id]?.consumers.remove(name)
        removeConsumer(connection.id, from: name, mayNotify: mayNotify)
        forgetIfEmpty(connection.id)
    }

    /// A producer says that it leaves.
    func unregister(producerGroup name: String, _ connection: ServerConnection) {
        memberships[connection.id]?.producers.remove(name)
        if let groups = memberships[connection.id], groups.producers.isEmpty, let id = groups.producerID {
            memberships[connection.id]?.producerID = nil
            forgetProducer(id, connection)
        }
        removeProducer(connection.id, from: name)
        forgetIfEmpty(connection.id)
    }

    /// A connection ended.
    func connectionClosed(_ connection: ServerConnection) {
        forgetRequester(connection)
        guard let groups = memberships.removeValue(forKey: connection.id) else { return }
        if let id = groups.producerID { forgetProducer(id, connection) }
        for group in groups.producers { removeProducer(connection.id, from: group) }
        for group in groups.consumers { removeConsumer(connection.id, from: group, mayNotify: true) }
    }

    private func forgetIfEmpty(_ connection: UInt64) {
        if memberships[connection]?.isEmpty == true { memberships[connection] = nil }
    }

    private func removeProducer(_ connection: UInt64, from group: String) {
        guard producers[group]?.removeValue(forKey: connection) != nil else { return }
        if producers[group]?.isEmpty == true { producers[group] = nil }
    }

    private func removeConsumer(_ connection: UInt64, from name: String, mayNotify: Bool) {
        guard let group = consumers[name] else { return }
        guard let (member, news) = group.remove(connection: connection) else { return }
        log.debug("consumer \(member.name) left group \(name), which has \(group.members.count) more")
        if group.members.isEmpty { consumers[name] = nil } else { tell(news, of: group) }
        if mayNotify { notify(group) }
    }

    /// Tells every member that the group is another now, so that they share the queues anew.
    private func notify(_ group: ConsumerGroup) {
        guard configuration.notifiesMembers else { return }
        for member in group.sortedMembers {
            member.connection.sendOneway(.request(.notifyConsumerIdsChanged, ["consumerGroup": group.name]))
        }
    }

    // MARK: Silence

    /// Takes clients out of groups that they sent no heartbeat for. A client that is left with no group at all is
    /// disconnected: it will connect again and say what it is.
    private func removeExpired() {
        let now = clock.monotonicNow
        var expired: [(connection: ServerConnection, consumer: String?, producer: String?)] = []
        for group in consumers.values {
            for member in group.members.values where now - member.heardAt > configuration.expiry {
                expired.append((member.connection, group.name, nil))
            }
        }
        for (group, members) in producers {
            for member in members.values where now - member.heardAt > configuration.expiry {
                expired.append((member.connection, nil, group))
            }
        }
        expired.sort { ($0.connection.id, $0.consumer ?? "", $0.producer ?? "") < ($1.connection.id, $1.consumer ?? "", $1.producer ?? "") }
        for (connection, consumer, producer) in expired {
            log.log(
                .warning, limitedBy: "silent client",
                "client \(connection.peer) was taken out of group \(consumer ?? producer ?? ""): no heartbeat for it in \(configuration.expiry)"
            )
            if let consumer { unregister(consumerGroup: consumer, connection, mayNotify: true) }
            if let producer { unregister(producerGroup: producer, connection) }
            if memberships[connection.id] == nil { connection.stream.close() }
        }
    }
}
