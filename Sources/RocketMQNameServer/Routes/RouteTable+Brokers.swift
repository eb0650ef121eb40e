import RocketMQBase
import RocketMQProtocol

// Brokers come, are heard of, and go.
extension RouteTable {
    /// Whether the broker's last registration had a body with this hash and still holds, so that there is nothing to read in it.
    public func isKnown(_ key: BrokerKey, id: Int64, fingerprint: Int) -> Bool {
        guard let broker = live[key], broker.id == id, brokers[broker.name]?.brokerAddrs[id] == key.address else { return false }
        return broker.bodyFingerprint == fingerprint
    }

    /// Takes in a registration.
    ///
    /// Topics are added and updated, never removed: brokers also register with a single topic that has just changed. Those
    /// that the table has are left alone while the broker's data version is the same, for permissions that an administrator
    /// has wiped must stay so.
    public mutating func register(_ registration: BrokerRegistration, now: MonotonicTime) -> RegistrationOutcome {
        let key = registration.key
        let id = registration.brokerID
        // An address that comes back under another name is another broker.
        if let known = live[key], known.name != registration.brokerName { _ = remove(key, now: now) }
        let isNewName = brokers[registration.brokerName] == nil
        let previous = place(registration)

        var outcome = RegistrationOutcome()
        if let previous {
            if previous != key.address { outcome.change = .moved(from: previous) }
        } else {
            outcome.change = .joined
        }

        let known = live[key]
        var broker = LiveBroker(
            name: registration.brokerName, id: id, lastHeard: now, mostSilence: registration.mostSilence, dataVersion: known?.dataVersion,
            connection: registration.connection, haServerAddress: registration.haServerAddress, bodyFingerprint: known?.bodyFingerprint)
        if case .table(let table, let fingerprint) = registration.topics {
            let changesTopics = isNewName || previous != key.address || known?.dataVersion != table.dataVersion
            if suppliesTopics(registration) { update(registration.brokerName, with: table, overwriting: changesTopics) }
            broker.bodyFingerprint = fingerprint
            // A broker that begins with a single topic has more: it must not be told that all are known.
            let isPartOnly = known?.dataVersion == nil && table.topicConfigTable.count <= 1
            broker.dataVersion = isPartOnly ? nil : table.dataVersion
        }
        live[key] = broker
        if let servers = registration.filterServers, servers != filterServers[key.address] ?? [] {
            filterServers[key.address] = servers.isEmpty ? nil : servers
            brokerGeneration += 1
        }
        if id != BrokerData.masterID, let master = brokers[registration.brokerName]?.masterAddress,
            let liveMaster = live[BrokerKey(cluster: key.cluster, address: master)]
        {
            outcome.masterAddress = master
            outcome.haServerAddress = liveMaster.haServerAddress
        }
        return outcome
    }

    /// Puts the address among those of its name; returns the address that had the id before.
    private mutating func place(_ registration: BrokerRegistration) -> String? {
        let (key, name) = (registration.key, registration.brokerName)
        var broker = brokers[name] ?? BrokerData(cluster: key.cluster, brokerName: name, brokerAddrs: [:])
        let before = broker
        if broker.cluster != key.cluster { leaveCluster(broker.cluster, name) }
        broker.cluster = key.cluster
        broker.zoneName = registration.zoneName
        broker.enableActingMaster = registration.enablesActingMaster
        // An address has one id: a slave that became the master is no slave any more.
        broker.brokerAddrs = broker.brokerAddrs.filter { $0.value != key.address || $0.key == registration.brokerID }
        let previous = broker.brokerAddrs.updateValue(key.address, forKey: registration.brokerID)
        clusters[key.cluster, default: []].insert(name)
        if broker != before || previous == nil {
            brokers[name] = broker
            brokerGeneration += 1
        }
        return previous
    }

    /// Topics are the master's word; while there is none, that of the slave with the lowest id, for whoever reads from it.
    private func suppliesTopics(_ registration: BrokerRegistration) -> Bool {
        if registration.brokerID == BrokerData.masterID { return true }
        return brokers[registration.brokerName]?.brokerAddrs.keys.min() == registration.brokerID
    }

    private mutating func update(_ name: String, with table: TopicConfigSerializeWrapper, overwriting: Bool) {
        for config in table.topicConfigTable.values where !config.topicName.isEmpty {
            guard overwriting || topics[config.topicName]?.queues[name] == nil else { continue }
            set(
                QueueData(
                    brokerName: name, readQueueNums: config.readQueueNums, writeQueueNums: config.writeQueueNums, perm: config.perm,
                    topicSysFlag: config.topicSysFlag), of: config.topicName)
        }
    }

    /// Notes that a broker was heard of. Returns whether it is registered.
    @discardableResult
    public mutating func heard(of key: BrokerKey, now: MonotonicTime) -> Bool {
        guard live[key] != nil else { return false }
        live[key]?.lastHeard = now
        return true
    }

    /// The version of the topics that the broker has sent; `nil` when it has not sent them all.
    public func dataVersion(of key: BrokerKey) -> DataVersion? { live[key]?.dataVersion }

    /// How many broker processes are registered.
    public var brokerCount: Int { live.count }

    // MARK: Leaving

    /// Takes out a broker that says goodbye (code 104). Returns it, or `nil` when it was not registered.
    public mutating func unregister(_ key: BrokerKey, now: MonotonicTime) -> DepartedBroker? { remove(key, now: now) }

    /// Takes out the brokers that registered on a connection that has ended.
    public mutating func connectionClosed(_ connection: UInt64, now: MonotonicTime) -> [DepartedBroker] {
        live.filter { $0.value.connection == connection }.keys.sorted { $0.address < $1.address }.compactMap { remove($0, now: now) }
    }

    /// Takes out the brokers that have been silent for longer than they may.
    public mutating func expire(now: MonotonicTime) -> [DepartedBroker] {
        let silent = live.filter { now - $0.value.lastHeard > $0.value.mostSilence }.keys
        return silent.sorted { $0.address < $1.address }.compactMap { remove($0, now: now) }
    }

    /// Whether a registered broker uses the connection.
    public func usesConnection(_ connection: UInt64) -> Bool { live.values.contains { $0.connection == connection } }

    private mutating func remove(_ key: BrokerKey, now: MonotonicTime) -> DepartedBroker? {
        guard let broker = live.removeValue(forKey: key) else { return nil }
        filterServers[key.address] = nil
        brokerGeneration += 1
        // The id may belong to another address by now, which stays; and the broker may be back in another cluster.
        let isElsewhere = live.contains { $0.key.address == key.address && $0.value.name == broker.name }
        if !isElsewhere, var data = brokers[broker.name] {
            data.brokerAddrs = data.brokerAddrs.filter { $0.value != key.address }
            brokers[broker.name] = data.brokerAddrs.isEmpty ? nil : data
            if data.brokerAddrs.isEmpty { leaveCluster(data.cluster, broker.name) }
        }
        if brokers[broker.name] == nil {
            for topic in topics.keys where topics[topic]?.queues[broker.name] != nil {
                topics[topic]?.queues[broker.name] = nil
                topics[topic]?.encoded = nil
                if topics[topic]?.queues.isEmpty ?? false { topics[topic] = nil }
            }
        }
        return DepartedBroker(
            key: key, brokerName: broker.name, brokerID: broker.id, connection: broker.connection, silence: now - broker.lastHeard)
    }

    private mutating func leaveCluster(_ cluster: String, _ name: String) {
        clusters[cluster]?.remove(name)
        if clusters[cluster]?.isEmpty ?? false { clusters[cluster] = nil }
    }
}
