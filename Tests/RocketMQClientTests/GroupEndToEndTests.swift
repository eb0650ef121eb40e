import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Groups with a real broker: where they begin, queues that a topic gets, queues that a program assigns.
@Suite(.serialized) struct GroupEndToEndTests {
    @Test func aGroupBeginsAtATimeAndMissesNothingAfterwards() async throws {
        try await withCluster { cluster in
            await cluster.make("Timed", queues: 2)
            let producer = try await cluster.producer()
            for number in 0..<6 { try await producer.send(Message(topic: "Timed", keys: ["old-\(number)"], text: "x")) }
            let clock = ContinuousClock()
            try await clock.sleep(for: .milliseconds(50))
            let time = producer.runtime.loop.clock.wallMilliseconds
            try await clock.sleep(for: .milliseconds(50))
            for number in 0..<6 { try await producer.send(Message(topic: "Timed", keys: ["new-\(number)"], text: "x")) }
            var configuration = ConsumerConfiguration(group: "timed")
            configuration.consumeFromWhere = .timestamp
            configuration.consumeTimestampMilliseconds = time
            var client = ClientConfiguration(nameServers: [cluster.address])
            client.pollNameServerInterval = .milliseconds(200)
            let received = Collected<String>()
            let consumer = DefaultMQPushConsumer(configuration, client: client, subscriptions: [Subscription("Timed")])
            consumer.registerMessageListener { messages, context in
                received.append("\(messages[0].keys[0])#\(messages[0].reconsumeTimes)")
                context.delayLevelWhenNextConsume = 1
                return messages[0].keys[0] == "new-3" && messages[0].reconsumeTimes == 0 ? .reconsumeLater : .consumeSuccess
            }
            try await consumer.start()
            // What fails comes again, though its retry topic did not exist at that time.
            #expect(await eventually { received.count == 7 })
            #expect(received.all.sorted() == ((0..<6).map { "new-\($0)#0" } + ["new-3#1"]).sorted())
            // Queues that come are read from their beginning, also what was there before they were noticed.
            await cluster.make("Timed", queues: 4)
            let added = MessageQueue(topic: "Timed", brokerName: "local", queueID: 3)
            for number in 0..<3 { try await producer.send(Message(topic: "Timed", keys: ["added-\(number)"], text: "x"), to: added) }
            #expect(await eventually { received.count == 10 })
            #expect(received.all.suffix(3).sorted() == (0..<3).map { "added-\($0)#0" })
            await consumer.shutdown()
            await producer.shutdown()
        }
    }

    @Test func assignedQueuesArePausedSoughtAndCommittedOneByOne() async throws {
        try await withCluster { cluster in
            await cluster.make("Assigned", queues: 2)
            let queues = (0..<2).map { MessageQueue(topic: "Assigned", brokerName: "local", queueID: $0) }
            let producer = try await cluster.producer()
            for queue in queues {
                for number in 0..<10 { try await producer.send(Message(topic: "Assigned", keys: ["\(number)"], text: "x"), to: queue) }
            }
            let consumer = DefaultLitePullConsumer(
                .fromTheFirst("assigned"), client: ClientConfiguration(nameServers: [cluster.address]))
            try await consumer.assign(queues)
            try await consumer.start()
            try await consumer.pause([queues[1]])
            #expect(try await consumer.poll(timeout: .seconds(60)).map(\.queueOffset) == Array(0..<10))
            try await consumer.seek(queues[0], to: .offset(7))
            try await consumer.seek(queues[1], to: .offset(4))
            #expect(try await consumer.poll(timeout: .seconds(60)).map(\.queueOffset) == [7, 8, 9])
            #expect(try await consumer.poll(timeout: .milliseconds(100)).isEmpty, "the other is paused still")
            try await consumer.resume([queues[1]])
            let last = try await consumer.poll(timeout: .seconds(60))
            #expect(last.map(\.queueOffset) == [4, 5, 6, 7, 8, 9] && last.allSatisfy { $0.queueID == 1 })
            try await consumer.commit(last[1])
            #expect(try await consumer.committed(queues[1]) == 6)
            // One that is taken away and given back goes on where it was committed.
            try await consumer.assign([queues[0]])
            #expect(await consumer.assignment == [queues[0]])
            try await consumer.assign(queues)
            #expect(try await consumer.poll(timeout: .seconds(60)).map(\.queueOffset) == [6, 7, 8, 9])
            try await consumer.commit()
            await consumer.shutdown()
            let positions = DefaultLitePullConsumer(
                .fromTheFirst("assigned"), client: ClientConfiguration(nameServers: [cluster.address]))
            try await positions.assign(queues)
            try await positions.start()
            #expect(try await positions.committed(queues[0]) == 10)
            #expect(try await positions.committed(queues[1]) == 10)
            await positions.shutdown()
            await producer.shutdown()
        }
    }
}
