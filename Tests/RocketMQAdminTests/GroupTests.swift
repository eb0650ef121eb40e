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
}
