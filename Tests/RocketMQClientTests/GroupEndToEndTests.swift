import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Groups with real brokers: every strategy, where they begin, queues that a topic gets, queues that a program assigns.
@Suite(.serialized) struct GroupEndToEndTests {
    /// Brokers and clients are in two rooms, east and west.
    static let strategies: [String: @Sendable ([MessageQueue]) -> any AllocateMessageQueueStrategy] = [
        "averagely": { _ in .averagely },
        "by circle": { _ in .averagelyByCircle },
        "consistent hash": { _ in .consistentHash },
        "sticky": { _ in .sticky },
        "machine room": { _ in .machineRoom("east", "west") },
        "machine room nearby": { _ in
            .machineRoomNearby(brokerRoom: { room($0.brokerName) }, clientRoom: { room($0) })
        },
        "configured": { .configured($0) },
    ]

    static func room(_ name: String) -> String? { ["east", "west"].first { name.contains($0) } }

    /// A group for each strategy, all at the same brokers at once.
    @Test func threeMembersShareTheQueuesOfTwoBrokers() async throws {
        try await withCluster(brokerName: "east@a") { cluster in
            try cluster.addBroker("west@b")
            let producer = try await cluster.producer()
            try await withThrowingTaskGroup(of: Void.self) { groups in
                for (number, strategy) in Self.strategies.keys.sorted().enumerated() {
                    groups.addTask { try await Self.share(strategy, number, cluster, producer) }
                }
                try await groups.waitForAll()
            }
            await producer.shutdown()
        }
    }

    private static func share(_ strategy: String, _ number: Int, _ cluster: LocalCluster, _ producer: DefaultMQProducer) async throws {
        let topic = "Shared\(number)"
        await cluster.make(topic, queues: 3)
        let queues = ["east@a", "west@b"].flatMap { name in (0..<3).map { MessageQueue(topic: topic, brokerName: name, queueID: $0) } }
        func send(_ parts: Range<Int>) async throws {
            for (place, queue) in queues.enumerated() {
                for part in parts { try await producer.send(Message(topic: topic, keys: ["\(place)-\(part)"], text: "x"), to: queue) }
            }
        }
        try await send(0..<10)
        let (received, places) = (Collected<String>(), Collected<String>())
        let make = try #require(strategies[strategy])
        var members: [DefaultMQPushConsumer] = []
        for (index, name) in ["east-1", "east-2", "west-3"].enumerated() {
            var configuration = ConsumerConfiguration(group: "sharing-\(number)")
            configuration.consumeFromWhere = .firstOffset
            configuration.allocation = make(Array(queues[(index * 2)..<(index * 2 + 2)]))
            // All are alive: whoever has a queue finishes with it.
            configuration.handOverTimeout = .seconds(3_600)
            configuration.rebalanceInterval = .milliseconds(500)
            var client = ClientConfiguration(nameServers: [cluster.address])
            client.instanceName = "\(name)-\(number)"
            // On a busy machine too a position that is committed at the end arrives.
            client.requestTimeout = .seconds(60)
            let member = DefaultMQPushConsumer(configuration, client: client, subscriptions: [Subscription(topic)])
            member.registerMessageListener { messages, context in
                for message in messages {
                    received.append(message.keys[0])
                    places.append("\(context.messageQueue) \(message.queueOffset)")
                }
                return .consumeSuccess
            }
            try await member.start()
            members.append(member)
        }
        let all = members
        @Sendable func shares(_ members: [DefaultMQPushConsumer]) async -> [MessageQueue] {
            var shared: [MessageQueue] = []
            for member in members { shared += await member.assignedQueues.filter { $0.topic == topic } }
            return shared.sorted()
        }
        #expect(await eventually { await shares(all) == queues.sorted() }, "\(strategy): each queue has one owner")
        try await send(10..<20)
        #expect(await eventually { Set(received.all).count == 120 }, "\(strategy)")
        if strategy != "configured" {
            await all[0].shutdown()
            #expect(await eventually { await shares(Array(all[1...])) == queues.sorted() }, "\(strategy): when one has left, too")
        }
        for member in all { await member.shutdown() }
        // A send that was repeated is two messages.
        #expect(Set(places.all).count == places.count, "\(strategy): each message once")
    }

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
