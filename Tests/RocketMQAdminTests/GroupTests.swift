import RocketMQAdmin
import RocketMQProtocol
import Testing

/// Commands about consumer groups, against a name server and a broker of this process.
@Suite(.timeLimit(.minutes(2)))
struct GroupTests {
    @Test("checkConsumers names what is wrong, and fails when that is asked for")
    func checkConsumers() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        let calm = await cluster.run("checkConsumers", "-b", broker, "-f")
        #expect(calm.contains("nothing is wrong"))
        await cluster.run("updateBrokerConfig", "-b", broker, "-k", "consumerBacklogWarning", "-v", "2")
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "1", "-w", "1")
        for body in ["1", "2", "3"] { await cluster.run("sendMessage", "-t", "Orders", "-p", body) }
        let client = AdminClient(nameServers: [cluster.nameServerAddress])
        defer { client.stop() }
        try await client.commit(
            0, of: MessageQueue(topic: "Orders", brokerName: "broker-a", queueID: 0), group: "billing", atBroker: broker)
        let shown = await cluster.run("checkConsumers", "-b", broker)
        #expect(shown.contains("BACKLOG") && shown.contains("3 messages of topic Orders wait for group billing"))
        let report = try #require(try await cluster.json("checkConsumers", "-b", broker, "-g", "billing").first?.array?.first)
        #expect(try ConsumerGroupReport(json: report).findings.map(\.kind) == [.backlog])
        #expect(await cluster.failure("checkConsumers", "-b", broker, "-f").contains("1 finding on consumer groups"))
        #expect(await cluster.failure("checkConsumers", "-b", broker, "-g", "bilin").contains("there is no consumer group bilin"))
        await cluster.run("updateBrokerConfig", "-b", broker, "-k", "consumerBacklogWarning", "-v", "0")
        await cluster.run("checkConsumers", "-b", broker, "-f")
    }

    @Test("statsAll shows what came in and went out, and brokers clean up when they are told to")
    func flows() async throws {
        let cluster = try Cluster()
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Orders", "-r", "1", "-w", "1")
        for body in ["1", "2", "3"] { await cluster.run("sendMessage", "-t", "Orders", "-p", body) }
        await cluster.run("consumeMessage", "-t", "Orders", "-g", "TOOLS_CONSUMER")
        func flows(_ words: String...) async throws -> [JSONValue] {
            let terminal = Terminal()
            #expect(await terminal.run(["statsAll", "--json"] + words, nameServers: cluster.nameServerAddress) == 0, "\(terminal.errors)")
            return try JSONValue(parsing: Array(terminal.output.utf8)).array ?? []
        }
        let orders = try #require(try await flows("-t", "Orders").first)
        #expect(orders["topic"] == "Orders" && orders["inMessages24Hours"] == 3 && orders["consumerGroup"] == .null)
        #expect(try await flows("-a").compactMap { $0["topic"]?.string } == ["Orders"])
        let client = AdminClient(nameServers: [cluster.nameServerAddress])
        defer { client.stop() }
        let broker = cluster.broker.advertisedAddress
        try await client.commit(
            1, of: MessageQueue(topic: "Orders", brokerName: "broker-a", queueID: 0), group: "billing", atBroker: broker)
        let billing = try #require(try await flows("-t", "Orders").first)
        #expect(billing["consumerGroup"] == "billing" && billing["accumulation"] == 2 && billing["outMessages24Hours"] == 0)
        let read = try await client.statistics("GROUP_GET_NUMS", "Orders@TOOLS_CONSUMER", ofBroker: broker)
        #expect(read?.statsDay.sum == 3)
        #expect(await cluster.failure("statsAll", "-t", "Order").contains("did you mean Orders?"))
        #expect(await cluster.run("deleteExpiredCommitLog", "-b", broker) == "success\n")
        #expect(await cluster.run("cleanExpiredCQ", "-c", "DefaultCluster") == "success\n")
    }
}
