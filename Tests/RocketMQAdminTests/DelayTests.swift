import RocketMQClient
import RocketMQProtocol
import Testing

@testable import RocketMQAdmin

/// What waits at a broker, as `mqadmin delayStatus` shows it.
@Suite(.timeLimit(.minutes(2)))
struct DelayTests {
    @Test("delayStatus shows what waits, by level and for a time")
    func delayStatus() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "1", "-w", "1")
        let producer = DefaultMQProducer(group: "p", nameServers: [cluster.nameServerAddress])
        try await producer.start()
        for level in [17, 17, 18] {
            var message = Message(topic: "Orders", text: "x")
            message.delayLevel = level
            try await producer.send(message)
        }
        var message = Message(topic: "Orders", text: "x")
        message.delay = .seconds(3600)
        try await producer.send(message)
        await producer.shutdown()
        let rows = try #require(try await cluster.json("delayStatus", "-b", broker).first?.array)
        #expect(rows.map { $0["kind"]?.string } == ["timer", "level 17", "level 18"])
        #expect(rows.map { $0["pending"]?.int64 } == [1, 2, 1])
        #expect(rows.allSatisfy { $0["due"]?.int64 == 0 && $0["overdue"]?.int64 == 0 && $0["oldestOverdueTimestamp"] == .null })
        let text = await cluster.run("delayStatus", "-c", "DefaultCluster", "-a")
        #expect(text.split(separator: "\n").count == 1 + 1 + 18)
    }

    @Test("A broker's table is read as it is meant, and one that says nothing is not taken for an empty one")
    func rows() {
        let info = [
            "timerPendingCount": "7", "timerDueCount": "3", "timerOverdueCount": "2", "timerOldestOverdueTimestamp": "1000",
            "delayLevelWaiting_1": "5,4,1,2000", "delayLevelWaiting_2": "damaged", "delayLevelWaiting_3": "0,0,0,-1",
            "delayLevelRemoved_9": "4", "delayLevelRemoved_x": "4",
        ]
        #expect(
            DelayStatusCommand.rows(info) == [
                .init(kind: "timer", pending: 7, due: 3, overdue: 2, oldestOverdue: 1000),
                .init(kind: "level 1", pending: 5, due: 4, overdue: 1, oldestOverdue: 2000),
                .init(kind: "level 3", pending: 0, due: 0, overdue: 0, oldestOverdue: -1),
                .init(kind: "level 9 (removed)", pending: 4, due: 0, overdue: 0, oldestOverdue: -1, isRemoved: true),
            ])
        #expect(DelayStatusCommand.rows(["brokerVersion": "1"]) == nil)
    }
}
