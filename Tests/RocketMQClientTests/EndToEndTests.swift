import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Against a real nameserver and broker.
@Suite(.serialized) struct EndToEndTests {
    @Test func whatIsSentIsConsumedAsItWas() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            var plain = Message(topic: "Whole", tag: "TagA", keys: ["k1", "k2"], flag: 7, text: "häüß 世界 🚀")
            plain.properties["färbung"] = "grün \"x\""
            var random = RandomSource(seed: 3)
            let large = Message(topic: "Whole", tag: "TagA", body: (0..<(1 << 20)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
            let text = Message(topic: "Whole", tag: "TagB", text: String(repeating: "compressible ", count: 5000))
            let unwanted = Message(topic: "Whole", tag: "TagC", text: "x")
            var results: [String: SendResult] = [:]
            for message in [plain, large, text, unwanted] {
                let result = try await producer.send(message)
                results[result.messageID] = result
            }
            let received = Collected<MessageExt>()
            let consumer = try await cluster.consumer("whole", "Whole", filter: .tags("TagA", "TagB"), into: received)
            #expect(await eventually { received.count == 3 })
            for message in received.all {
                let result = try #require(results[message.messageID])
                #expect(message.queueOffset == result.queueOffset && message.messageQueue == result.messageQueue)
                #expect(message.offsetMessageID == result.offsetMessageID && message.decompressionError == nil)
            }
            let bodies = Set(received.all.map(\.body))
            #expect(bodies == [plain.body, large.body, text.body])
            let first = try #require(received.all.first { $0.body == plain.body })
            #expect(first.flag == 7 && first.keys == ["k1", "k2"] && first.tag == "TagA" && first.properties["färbung"] == "grün \"x\"")
            await consumer.shutdown()
            await producer.shutdown()
        }
    }

    @Test func aRestartedConsumerGoesOnWhereItStopped() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            for number in 0..<50 { try await producer.send(Message(topic: "Position", keys: ["\(number)"], text: "x")) }
            let before = Collected<MessageExt>()
            let first = try await cluster.consumer("position", "Position", into: before)
            #expect(await eventually { before.count == 50 })
            await first.shutdown()
            for number in 50..<80 { try await producer.send(Message(topic: "Position", keys: ["\(number)"], text: "x")) }
            let after = Collected<MessageExt>()
            let second = try await cluster.consumer("position", "Position", into: after)
            #expect(await eventually { after.count >= 30 })
            await second.shutdown()
            #expect(Set(after.all.flatMap(\.keys)) == Set((50..<80).map { "\($0)" }) && after.count == 30)
            await producer.shutdown()
        }
    }

    @Test func membersShareTheQueuesAndTakeOver() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            try await producer.send(Message(topic: "Shared", text: "creates the topic"))
            let (first, second) = (Collected<MessageExt>(), Collected<MessageExt>())
            let one = try await cluster.consumer("shared", "Shared", into: first)
            let two = try await cluster.consumer("shared", "Shared", into: second)
            #expect(
                await eventually {
                    let shares = await [one.assignedQueues, two.assignedQueues].map { $0.filter { $0.topic == "Shared" } }
                    return shares.map(\.count) == [2, 2] && Set(shares.joined()).count == 4
                })
            for number in 0..<40 { try await producer.send(Message(topic: "Shared", keys: ["\(number)"], text: "x")) }
            let wanted = Set((0..<40).map { "\($0)" })
            #expect(await eventually { Set((first.all + second.all).flatMap(\.keys)) == wanted })
            #expect(first.count > 10 && second.count > 10)
            await one.shutdown()
            for number in 40..<80 { try await producer.send(Message(topic: "Shared", keys: ["\(number)"], text: "x")) }
            let rest = Set((40..<80).map { "\($0)" })
            #expect(await eventually { Set(second.all.flatMap(\.keys)).isSuperset(of: rest) })
            await two.shutdown()
            await producer.shutdown()
        }
    }

    @Test func aFailedMessageComesAgainUnderItsTopic() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            let sent = try await producer.send(Message(topic: "Again", tag: "T", keys: ["k"], text: "x"))
            let deliveries = Collected<MessageExt>()
            var configuration = ConsumerConfiguration(group: "again")
            configuration.consumeFromWhere = .firstOffset
            let consumer = DefaultMQPushConsumer(configuration, client: ClientConfiguration(nameServers: [cluster.address]))
            try await consumer.subscribe("Again", filter: .tags("T"))
            consumer.registerMessageListener { messages, context in
                deliveries.append(messages[0])
                context.delayLevelWhenNextConsume = 1
                return deliveries.count < 3 ? .reconsumeLater : .consumeSuccess
            }
            try await consumer.start()
            #expect(await eventually(within: .seconds(30)) { deliveries.count == 3 })
            await consumer.shutdown()
            #expect(deliveries.all.map(\.reconsumeTimes) == [0, 1, 2])
            #expect(deliveries.all.allSatisfy { $0.topic == "Again" && $0.keys == ["k"] && $0.messageID == sent.messageID })
            await producer.shutdown()
        }
    }

    @Test func batchesAndPipelinesLoseNothing() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            let messages = (0..<5000).map { Message(topic: "Many", keys: ["\($0)"], text: "message \($0)") }
            for batch in MessageBatchSplitter(Array(messages.prefix(2500)), maximumSize: 64 * 1024) {
                #expect(try await producer.send(contentsOf: batch).status == .sendOK)
            }
            for await outcome in producer.send(each: messages.suffix(2500), inFlight: 100) { _ = try outcome.get() }
            let received = Collected<MessageExt>()
            let consumer = try await cluster.consumer("many", "Many", into: received) { $0.consumeMessageBatchMaxSize = 16 }
            #expect(await eventually(within: .seconds(30)) { received.count >= 5000 })
            await consumer.shutdown()
            #expect(received.count == 5000 && Set(received.all.flatMap(\.keys)).count == 5000)
            await producer.shutdown()
        }
    }

    @Test func orderWithinAKeyIsKept() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            for step in 0..<30 {
                for key in ["a", "b", "c", "d", "e"] {
                    try await producer.send(Message(topic: "Ordered", tag: key, keys: ["\(step)"], text: "x"), selecting: .hash(of: key))
                }
            }
            let received = Collected<MessageExt>()
            let consumer = try await cluster.consumer("ordered", "Ordered", into: received) { $0.consumeConcurrency = 1 }
            #expect(await eventually { received.count == 150 })
            await consumer.shutdown()
            for key in ["a", "b", "c", "d", "e"] {
                let steps = received.all.filter { $0.tag == key }
                #expect(steps.flatMap(\.keys) == (0..<30).map { "\($0)" } && Set(steps.map(\.queueID)).count == 1)
            }
            await producer.shutdown()
        }
    }

    @Test func bothGoOnAfterTheBrokerWasRestarted() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            try await producer.send(Message(topic: "Restart", keys: ["0"], text: "x"))
            let received = Collected<MessageExt>()
            let consumer = try await cluster.consumer("restart", "Restart", into: received)
            #expect(await eventually { received.count == 1 })
            cluster.stopBroker()
            let error = try #require(
                await failure { () throws(MQError) in
                    try await producer.send(Message(topic: "Restart", text: "x"), timeout: .milliseconds(500))
                })
            #expect(error.isRetriable || error.code == .noPermission || error.code == .topicNotFound, "\(error)")
            try cluster.startBroker()
            let sent = await eventually { (try? await producer.send(Message(topic: "Restart", keys: ["1"], text: "x"))) != nil }
            #expect(sent)
            #expect(await eventually(within: .seconds(20)) { received.all.contains { $0.keys == ["1"] } })
            await consumer.shutdown()
            await producer.shutdown()
        }
    }

    @Test func aConsumerThatIsThereBeforeItsTopicMissesNothing() async throws {
        try await withCluster { cluster in
            let received = Collected<MessageExt>()
            let consumer = try await cluster.consumer("early", "Early", into: received) { $0.consumeFromWhere = .lastOffset }
            let producer = try await cluster.producer()
            for number in 0..<10 { try await producer.send(Message(topic: "Early", keys: ["\(number)"], text: "x")) }
            #expect(await eventually(within: .seconds(20)) { received.count == 10 })
            await consumer.shutdown()
            await producer.shutdown()
        }
    }
}
