import RocketMQBase
import RocketMQNameServer
import RocketMQProtocol
import Testing

/// Seconds after the start of a scenario.
private func at(_ seconds: Int) -> MonotonicTime { MonotonicTime(nanoseconds: 0) + .seconds(seconds) }

private func key(_ address: String, _ cluster: String = "C") -> BrokerKey { BrokerKey(cluster: cluster, address: address) }

private func topic(_ name: String, queues: Int32 = 4, perm: Permission = .readWrite, flag: Int32 = 0) -> TopicConfig {
    TopicConfig(topicName: name, readQueueNums: queues, writeQueueNums: queues, perm: perm, topicSysFlag: flag)
}

private func registration(
    _ name: String, _ address: String, id: Int64 = 0, cluster: String = "C", version: Int64 = 1, topics: [TopicConfig]? = [],
    connection: UInt64 = 1, silence: Duration = .seconds(120), filterServers: [String]? = nil
) -> BrokerRegistration {
    let table = topics.map { configs in
        TopicConfigSerializeWrapper(
            topicConfigTable: Dictionary(uniqueKeysWithValues: configs.map { ($0.topicName, $0) }),
            dataVersion: DataVersion(timestamp: 1000, counter: version))
    }
    return BrokerRegistration(
        key: key(address, cluster), brokerName: name, brokerID: id, haServerAddress: "ha-of-\(address)", mostSilence: silence,
        connection: connection, topics: table.map { .table($0, fingerprint: Int(version)) } ?? .asBefore, filterServers: filterServers)
}

/// A table in a box: expectations cannot call what changes a value.
private final class Table {
    var value = RouteTable()

    func register(_ registration: BrokerRegistration, now: MonotonicTime) -> RegistrationOutcome { value.register(registration, now: now) }
    func unregister(_ key: BrokerKey, now: MonotonicTime) -> DepartedBroker? { value.unregister(key, now: now) }
    func connectionClosed(_ id: UInt64, now: MonotonicTime) -> [DepartedBroker] { value.connectionClosed(id, now: now) }
    func expire(now: MonotonicTime) -> [DepartedBroker] { value.expire(now: now) }
    func heard(of key: BrokerKey, now: MonotonicTime) -> Bool { value.heard(of: key, now: now) }
    func setWritable(_ isWritable: Bool, broker: String) -> Int { value.setWritable(isWritable, broker: broker) }
    func deleteTopic(_ topic: String, cluster: String? = nil) { value.deleteTopic(topic, cluster: cluster) }
    func registerTopic(_ topic: String, _ queues: [QueueData]) -> Bool { value.registerTopic(topic, queues) }
    func encodedRoute(_ topic: String, order: String? = nil) -> [UInt8]? { value.encodedRoute(of: topic, orderTopicConf: order) }
    func route(of topic: String) -> TopicRouteData? { value.route(of: topic) }
}

struct RouteTableTests {
    @Test("A broker's topics have routes from its registration until it signs off")
    func registerAndUnregister() throws {
        let table = Table()
        let outcome = table.register(registration("a", "h:1", topics: [topic("T", queues: 3), topic("U")]), now: at(0))
        #expect((outcome.change, outcome.masterAddress) == (.joined, nil))
        let route = try #require(table.route(of: "T"))
        #expect(route.queueDatas == [QueueData(brokerName: "a", readQueueNums: 3, writeQueueNums: 3, perm: .readWrite)])
        #expect(route.brokerDatas == [BrokerData(cluster: "C", brokerName: "a", brokerAddrs: [0: "h:1"])])
        #expect(table.value.clusterInfo.clusterAddrTable == ["C": ["a"]])
        #expect(table.route(of: "V") == nil)

        let departed = try #require(table.unregister(key("h:1"), now: at(7)))
        #expect((departed.brokerName, departed.brokerID, departed.silence) == ("a", 0, .seconds(7)))
        #expect(table.route(of: "T") == nil)
        #expect(table.value.topicNames == [])
        #expect(table.value.clusterInfo == ClusterInfo())
        #expect(table.unregister(key("h:1"), now: at(8)) == nil)
    }

    @Test("A topic of two brokers keeps the one that stays")
    func twoBrokers() throws {
        let table = Table()
        _ = table.register(registration("b", "h:2", topics: [topic("T", queues: 5), topic("OnlyB")]), now: at(0))
        _ = table.register(registration("a", "h:1", topics: [topic("T", queues: 2), topic("OnlyA")]), now: at(0))
        let both = try #require(table.route(of: "T"))
        #expect(both.queueDatas.map(\.brokerName) == ["a", "b"])
        #expect(both.queueDatas.map(\.writeQueueNums) == [2, 5])
        #expect(both.brokerDatas.map(\.brokerName) == ["a", "b"])
        _ = table.unregister(key("h:2"), now: at(1))
        #expect(table.route(of: "T")?.queueDatas.map(\.brokerName) == ["a"])
        #expect(table.value.topicNames == ["OnlyA", "T"])
    }

    @Test("A slave is told its master, and stays in the routes when the master goes")
    func masterAndSlave() throws {
        let table = Table()
        #expect(table.register(registration("a", "s:1", id: 1, topics: [topic("Old")]), now: at(0)).masterAddress == nil)
        #expect(table.route(of: "Old") != nil, "without a master, its topics are what the slave says")
        _ = table.register(registration("a", "m:1", topics: [topic("T"), topic("U")]), now: at(0))
        let outcome = table.register(registration("a", "s:1", id: 1, version: 2, topics: [topic("Stray")]), now: at(1))
        #expect((outcome.masterAddress, outcome.haServerAddress) == ("m:1", "ha-of-m:1"))
        #expect(table.route(of: "Stray") == nil, "topics are the master's word")
        #expect(table.route(of: "T")?.brokerDatas.first?.brokerAddrs == [0: "m:1", 1: "s:1"])

        _ = table.unregister(key("m:1"), now: at(2))
        #expect(table.route(of: "T")?.brokerDatas.first?.brokerAddrs == [1: "s:1"])
        #expect(table.register(registration("a", "s:1", id: 1), now: at(3)).masterAddress == nil)
    }

    @Test("A slave that becomes the master has one id")
    func promotion() {
        let table = Table()
        _ = table.register(registration("a", "m:1", topics: [topic("T"), topic("U")]), now: at(0))
        _ = table.register(registration("a", "s:1", id: 1), now: at(0))
        _ = table.unregister(key("m:1"), now: at(1))
        #expect(!table.value.isKnown(key("s:1"), id: 0, fingerprint: 1), "what it said as a slave was not taken in")
        let outcome = table.register(registration("a", "s:1", topics: [topic("T"), topic("New")]), now: at(2))
        #expect(outcome.change == .joined)
        #expect(table.value.addresses(ofBroker: "a") == [0: "s:1"])
        #expect(table.value.topicNames == ["New", "T", "U"])
    }

    @Test("Silence of more than 120 seconds ends a registration; anything heard of the broker renews it")
    func expiry() {
        let table = Table()
        _ = table.register(registration("a", "h:1", topics: [topic("T"), topic("U")], connection: 5), now: at(0))
        _ = table.register(registration("b", "h:2", topics: [topic("T"), topic("U")], connection: 6, silence: .seconds(30)), now: at(0))
        #expect(table.expire(now: at(30)) == [])
        #expect(table.expire(now: at(31)).map(\.brokerName) == ["b"], "it asked for 30 seconds")
        #expect(table.expire(now: at(120)) == [])
        #expect(table.heard(of: key("h:1"), now: at(120)))
        #expect(table.expire(now: at(240)) == [])
        let departed = table.expire(now: at(241))
        #expect(departed.map(\.connection) == [5])
        #expect(departed.map(\.silence) == [.seconds(121)])
        #expect(table.value.topicNames == [])
        #expect(!table.heard(of: key("h:1"), now: at(242)))
    }

    @Test("The end of a connection takes the brokers that registered last on it, and no others")
    func connections() {
        let table = Table()
        _ = table.register(registration("a", "h:1", topics: [topic("T"), topic("U")], connection: 1), now: at(0))
        _ = table.register(registration("b", "h:2", topics: [topic("T"), topic("U")], connection: 1), now: at(0))
        _ = table.register(registration("c", "h:3", topics: [topic("T"), topic("U")], connection: 2), now: at(0))
        // Broker a comes back on another connection before the end of the old one is noticed.
        _ = table.register(registration("a", "h:1", topics: nil, connection: 3), now: at(1))
        #expect(table.connectionClosed(1, now: at(2)).map(\.brokerName) == ["b"])
        #expect(table.route(of: "T")?.brokerDatas.map(\.brokerName) == ["a", "c"])
        #expect(table.value.usesConnection(3) && !table.value.usesConnection(1))
        #expect(table.connectionClosed(99, now: at(3)) == [])
    }

    @Test("Wiped write permission stays until the broker's topics change, and 327 gives it back")
    func writePermission() {
        let table = Table()
        let topics = [topic("T"), topic("ReadOnly", perm: .read)]
        _ = table.register(registration("a", "h:1", topics: topics), now: at(0))
        #expect(table.setWritable(false, broker: "a") == 2)
        #expect(table.route(of: "T")?.queueDatas.map(\.perm) == [.read])
        _ = table.register(registration("a", "h:1", topics: topics + [topic("Late")]), now: at(30))
        #expect(table.route(of: "T")?.queueDatas.map(\.perm) == [.read], "the data version is the same")
        #expect(table.route(of: "Late") != nil, "a topic that was missing is added all the same")
        #expect(table.setWritable(true, broker: "a") == 3)
        #expect(table.route(of: "T")?.queueDatas.map(\.perm) == [.readWrite])
        _ = table.setWritable(false, broker: "a")
        _ = table.register(registration("a", "h:1", version: 2, topics: topics), now: at(60))
        #expect(table.route(of: "T")?.queueDatas.map(\.perm) == [.readWrite])
        #expect(table.setWritable(false, broker: "none") == 0)
    }

    @Test("A broker that begins with one topic is asked for the others")
    func singleTopicFirst() {
        let table = Table()
        _ = table.register(registration("a", "h:1", version: 9, topics: [topic("Changed")]), now: at(0))
        #expect(table.value.dataVersion(of: key("h:1")) == nil)
        _ = table.register(registration("a", "h:1", version: 9, topics: [topic("Changed"), topic("T")]), now: at(1))
        #expect(table.value.topicNames == ["Changed", "T"])
        #expect(table.value.dataVersion(of: key("h:1")) == DataVersion(timestamp: 1000, counter: 9))
        _ = table.register(registration("a", "h:1", version: 10, topics: [topic("T", queues: 8)]), now: at(2))
        #expect(table.value.dataVersion(of: key("h:1")) == DataVersion(timestamp: 1000, counter: 10))
        #expect(table.value.topicNames == ["Changed", "T"])
        #expect(table.route(of: "T")?.queueDatas.map(\.readQueueNums) == [8])
    }

    @Test("A broker that comes back at another address, in another cluster or under another name is there once")
    func moves() {
        let table = Table()
        let topics = [topic("T"), topic("U")]
        _ = table.register(registration("a", "h:1", topics: topics, connection: 1), now: at(0))
        let moved = table.register(registration("a", "h:2", topics: topics, connection: 2), now: at(1))
        #expect(moved.change == .moved(from: "h:1"))
        _ = table.connectionClosed(1, now: at(2))
        #expect(table.value.addresses(ofBroker: "a") == [0: "h:2"], "the old address does not take the new one with it")

        #expect(!table.value.isKnown(key("h:1"), id: 0, fingerprint: 1))

        _ = table.register(registration("a", "h:2", cluster: "D", topics: topics, connection: 3), now: at(3))
        #expect(table.value.clusterInfo.clusterAddrTable == ["D": ["a"]])
        _ = table.connectionClosed(2, now: at(4))
        #expect(table.route(of: "T")?.brokerDatas.map(\.cluster) == ["D"])

        _ = table.register(registration("z", "h:2", cluster: "D", topics: topics, connection: 4), now: at(5))
        #expect(table.value.clusterInfo.clusterAddrTable == ["D": ["z"]])
        #expect(table.route(of: "T")?.queueDatas.map(\.brokerName) == ["z"])
    }

    @Test("Of two brokers with one name and id, the one that is left serves its topics")
    func sameNameTwice() {
        let table = Table()
        _ = table.register(registration("a", "h:1", topics: [topic("T"), topic("U")], connection: 1), now: at(0))
        _ = table.register(registration("a", "h:2", topics: [topic("T", queues: 8), topic("V")], connection: 2), now: at(1))
        #expect(table.route(of: "T")?.queueDatas.map(\.readQueueNums) == [8])
        _ = table.connectionClosed(2, now: at(2))
        #expect(table.value.topicNames == [])
        #expect(!table.value.isKnown(key("h:1"), id: 0, fingerprint: 1), "its topics went with the other's")
        _ = table.register(registration("a", "h:1", topics: [topic("T"), topic("U")], connection: 1), now: at(30))
        #expect(table.value.topicNames == ["T", "U"])
        #expect(table.value.addresses(ofBroker: "a") == [0: "h:1"])
    }

    @Test("A deleted topic is gone, everywhere or in a cluster, until a broker that has it registers")
    func deleteTopic() {
        let table = Table()
        let topics = [topic("T"), topic("U")]
        _ = table.register(registration("a", "h:1", topics: topics), now: at(0))
        _ = table.register(registration("b", "h:2", cluster: "D", topics: topics), now: at(0))
        table.deleteTopic("T", cluster: "D")
        #expect(table.route(of: "T")?.queueDatas.map(\.brokerName) == ["a"])
        #expect(!table.value.isKnown(key("h:2", "D"), id: 0, fingerprint: 1), "what b sent is not in the table any more")
        #expect(table.value.isKnown(key("h:1"), id: 0, fingerprint: 1))
        table.deleteTopic("T", cluster: "none")
        table.deleteTopic("T")
        #expect(table.route(of: "T") == nil)
        #expect(table.value.topicNames == ["U"])
        table.deleteTopic("T")
        _ = table.register(registration("a", "h:1", topics: topics), now: at(30))
        #expect(table.route(of: "T")?.queueDatas.map(\.brokerName) == ["a"])
    }

    @Test("Encoded routes follow every change")
    func encodedRoutes() throws {
        let table = Table()
        _ = table.register(registration("a", "h:1", topics: [topic("T"), topic("U")]), now: at(0))
        func decoded(_ order: String? = nil) throws -> TopicRouteData {
            try TopicRouteData(decoding: try #require(table.encodedRoute("T", order: order)))
        }
        let expected = """
            {"brokerDatas":[{"brokerAddrs":{"0":"h:1"},"brokerName":"a","cluster":"C"}],"filterServerTable":{},"queueDatas":\
            [{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}
            """
        #expect(table.encodedRoute("T").map { String(decoding: $0, as: UTF8.self) } == expected)
        #expect(try decoded("a:4").orderTopicConf == "a:4")
        #expect(try decoded().orderTopicConf == nil)
        _ = table.register(registration("a", "s:1", id: 1), now: at(1))
        #expect(try decoded().brokerDatas.first?.brokerAddrs == [0: "h:1", 1: "s:1"])
        _ = table.setWritable(false, broker: "a")
        #expect(try decoded().queueDatas.first?.perm == .read)
        _ = table.register(registration("a", "h:1", version: 2, topics: [topic("T", queues: 9)], filterServers: ["f:1"]), now: at(2))
        #expect(try decoded().queueDatas.first?.readQueueNums == 9)
        #expect(try decoded().filterServerTable == ["h:1": ["f:1"]])
        _ = table.connectionClosed(1, now: at(3))
        #expect(table.encodedRoute("T") == nil)
    }

    @Test("Topics by cluster and by flag, and the names that stand for system topics")
    func lists() {
        let table = Table()
        _ = table.register(
            registration("a", "h:1", topics: [topic("Unit", flag: 1), topic("Sub", flag: 2), topic("Both", flag: 3), topic("None")]),
            now: at(0))
        _ = table.register(registration("b", "h:2", cluster: "D", topics: [topic("None"), topic("OfD")]), now: at(0))
        #expect(table.value.topicNames(inCluster: "D") == ["None", "OfD"])
        #expect(table.value.topicNames(inCluster: "none") == [])
        #expect(table.value.topicNames(with: .unit) == ["Both", "Unit"])
        #expect(table.value.topicNames(with: .unitSubscription) == ["Both", "Sub"])
        #expect(table.value.topicNames(with: .unitSubscription, without: .unit) == ["Sub"])
        #expect(table.value.systemTopics.names == ["C", "a", "D", "b"])
        #expect(table.value.systemTopics.brokerAddress == "h:1")
    }

    @Test("Queues of a topic can be added for brokers that are registered only")
    func registerTopic() {
        let table = Table()
        _ = table.register(registration("a", "h:1", topics: [topic("T"), topic("U")]), now: at(0))
        let queue = QueueData(brokerName: "a", readQueueNums: 1, writeQueueNums: 1, perm: .readWrite)
        var stranger = queue
        stranger.brokerName = "nobody"
        #expect(!table.registerTopic("New", [queue, stranger]))
        #expect(table.route(of: "New") == nil)
        #expect(table.registerTopic("New", [queue]))
        #expect(table.route(of: "New")?.queueDatas == [queue])
    }

    @Test("Whatever happens in whatever order, the table agrees with itself", arguments: 1...20)
    func invariants(seed: UInt64) {
        var random = RandomSource(seed: seed)
        let table = Table()
        var now = 0
        for _ in 0..<400 {
            now += Int.random(in: 0...20, using: &random)
            let name = ["a", "b", "c"].randomElement(using: &random) ?? "a"
            let address = "h:\(Int.random(in: 1...5, using: &random))"
            let cluster = Bool.random(using: &random) ? "C" : "D"
            let topics = (1...4).filter { _ in Bool.random(using: &random) }.map { topic("T\($0)", queues: Int32($0)) }
            switch Int.random(in: 0..<10, using: &random) {
            case 0...4:
                _ = table.register(
                    registration(
                        name, address, id: Int64.random(in: 0...2, using: &random), cluster: cluster,
                        version: Int64.random(in: 1...3, using: &random), topics: topics,
                        connection: UInt64.random(in: 1...4, using: &random)),
                    now: at(now))
            case 5: _ = table.unregister(key(address, cluster), now: at(now))
            case 6: _ = table.connectionClosed(UInt64.random(in: 1...4, using: &random), now: at(now))
            case 7: _ = table.expire(now: at(now))
            case 8: table.deleteTopic("T1", cluster: Bool.random(using: &random) ? cluster : nil)
            default: _ = table.setWritable(Bool.random(using: &random), broker: name)
            }
            check(table)
        }
        _ = table.expire(now: at(now + 121))
        #expect(table.value.topicNames == [])
        #expect(table.value.clusterInfo == ClusterInfo())
        #expect(table.value.brokerCount == 0)
    }

    private func check(_ table: Table) {
        let info = table.value.clusterInfo
        #expect(info.brokerAddrTable.allSatisfy { !$0.value.brokerAddrs.isEmpty && $0.key == $0.value.brokerName })
        #expect(info.clusterAddrTable.values.allSatisfy { !$0.isEmpty })
        for broker in info.brokerAddrTable.values {
            let homes = info.clusterAddrTable.filter { $0.value.contains(broker.brokerName) }.map(\.key)
            #expect(homes == [broker.cluster])
        }
        #expect(info.clusterAddrTable.values.reduce(0) { $0 + $1.count } == info.brokerAddrTable.count)
        for name in table.value.topicNames {
            guard let route = table.route(of: name) else {
                Issue.record("topic \(name) is listed and has no route")
                continue
            }
            #expect(route.queueDatas.map(\.brokerName) == route.brokerDatas.map(\.brokerName))
            #expect(table.encodedRoute(name) == route.encoded())
        }
    }
}
