import RocketMQBase
import RocketMQProtocol

/// What the nameservers said of the topics in use. Pure: answers in, changes out.
struct RouteTable {
    private struct Entry {
        var route: TopicRouteData
        var publish: TopicPublishInfo
        var readable: [MessageQueue]
        /// From the template topic: the topic itself does not exist yet.
        var isTemplate: Bool
        /// Counts updates: of what two routes say of one broker, the later counts.
        var version: Int
    }

    /// How often a topic without a route was asked for, and when to ask again.
    private struct Missing {
        var attempts: Int
        var next: MonotonicTime
    }

    private var entries: [String: Entry] = [:]
    private var missing: [String: Missing] = [:]
    private var lastVersion = 0
    /// Addresses by broker id, by broker name.
    private(set) var brokers: [String: [Int64: String]] = [:]

    /// What an update brought.
    struct Change: Equatable {
        var isChanged = false
        /// Addresses that no route had before.
        var newAddresses: [String] = []
    }

    mutating func update(_ topic: String, _ route: TopicRouteData, isTemplate: Bool = false) -> Change {
        missing[topic] = nil
        var sorted = route
        sorted.queueDatas.sort { JavaOrder.precedes($0.brokerName, $1.brokerName) }
        sorted.brokerDatas.sort { JavaOrder.precedes($0.brokerName, $1.brokerName) }
        if let entry = entries[topic], entry.route == sorted, entry.isTemplate == isTemplate { return Change() }
        let known = allAddresses
        lastVersion += 1
        entries[topic] = Entry(
            route: sorted, publish: TopicPublishInfo(topic: topic, route: sorted),
            readable: TopicPublishInfo.readableQueues(topic: topic, route: sorted), isTemplate: isTemplate, version: lastVersion)
        collectBrokers()
        return Change(isChanged: true, newAddresses: allAddresses.subtracting(known).sorted())
    }

    /// Notes that no nameserver knows the topic now. What was known of it stays: a nameserver that has just started knows
    /// little. Asked again after 1, 2, 4, … 30 s, so that a topic which comes into being is noticed soon.
    mutating func noteMissing(_ topic: String, now: MonotonicTime) {
        guard entries[topic] == nil else { return }
        let attempts = (missing[topic]?.attempts ?? 0) + 1
        let wait = Duration.seconds(min(1 << min(attempts - 1, 10), 30))
        missing[topic] = Missing(attempts: attempts, next: now + wait)
    }

    func isDue(_ topic: String, now: MonotonicTime) -> Bool { missing[topic].map { $0.next <= now } ?? false }

    mutating func forget(_ topic: String) {
        missing[topic] = nil
        guard entries.removeValue(forKey: topic) != nil else { return }
        collectBrokers()
    }

    func publishInfo(_ topic: String) -> TopicPublishInfo? { entries[topic]?.publish }

    /// Queues to consume from; `nil` while the topic has no route of its own.
    func readableQueues(_ topic: String) -> [MessageQueue]? {
        entries[topic].flatMap { $0.isTemplate ? nil : $0.readable }
    }

    func route(_ topic: String) -> TopicRouteData? { entries[topic]?.route }

    func isKnown(_ topic: String) -> Bool { entries[topic].map { !$0.isTemplate } ?? false }

    func masterAddress(_ brokerName: String) -> String? { brokers[brokerName]?[BrokerData.masterID] }

    /// Where to read from: the broker id that was suggested, else the master, else any slave.
    func readAddress(_ brokerName: String, preferring id: Int64 = BrokerData.masterID) -> (address: String, isSlave: Bool)? {
        guard let addresses = brokers[brokerName] else { return nil }
        if let address = addresses[id] { return (address, id != BrokerData.masterID) }
        if let address = addresses[BrokerData.masterID] { return (address, false) }
        return addresses.min { $0.key < $1.key }.map { ($0.value, true) }
    }

    /// Everyone to send heartbeats to; producers have nothing to tell slaves.
    func heartbeatAddresses(includingSlaves: Bool) -> [String] {
        var addresses: Set<String> = []
        for ids in brokers.values {
            for (id, address) in ids where id == BrokerData.masterID || includingSlaves { addresses.insert(address) }
        }
        return addresses.sorted()
    }

    private var allAddresses: Set<String> { Set(brokers.values.flatMap(\.values)) }

    private mutating func collectBrokers() {
        brokers = [:]
        for entry in entries.values.sorted(by: { $0.version < $1.version }) {
            for broker in entry.route.brokerDatas { brokers[broker.brokerName] = broker.brokerAddrs }
        }
    }
}
