import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Flow control, shutdown, changes of membership, and brokers that say no.
@Suite struct ConsumerFlowTests {
    @Test func noMoreCallsRunAtOnceThanAllowed() async throws {
        let broker = try ScriptedBroker(queues: 3)
        for queue in 0..<3 as Range<Int32> { broker.store("T", queueID: queue, count: 20) }
        let gate = Gate()
        let consumer = broker.consumer({ $0.consumeConcurrency = 5 }) { _, _ in
            await gate.pass()
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 5 })
        // Everything is pulled by now, and still only five calls run.
        #expect(await broker.server.wait { $0.filter { $0.fields["queueOffset"] == "20" }.count >= 3 })
        #expect(gate.arrivals == 5)
        gate.open()
        #expect(await eventually { gate.arrivals == 60 })
        await consumer.shutdown()
        #expect((0..<3).map { broker.offset("T", $0) } == [20, 20, 20])
    }

    @Test func pullingStopsWhileTooMuchWaitsAndGoesOn() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 300)
        let gate = Gate()
        let finished = Collected<Int64>()
        let consumer = broker.consumer({
            $0.pullThresholdForQueue = 50
            $0.consumeConcurrency = 1
        }) { messages, _ in
            await gate.pass()
            finished.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 1 })
        // 32 and 32 are held, above 50: no third pull, however long one waits.
        #expect(await broker.server.wait(for: .pullMessage, count: 2))
        try await ContinuousClock().sleep(for: .milliseconds(300))
        #expect(broker.server.requests(.pullMessage).filter { $0.fields["topic"] == "T" }.count == 2)
        gate.open()
        #expect(await eventually { finished.count == 300 })
        #expect(finished.all == Array(0..<300))
        await consumer.shutdown()
    }

    /// What each bound lets through of a queue whose first message is never finished.
    @Test(arguments: [
        // 32 in each pull: the second answer passes the bound.
        (name: "messages", bodyBytes: 10, expected: 64),
        (name: "bytes", bodyBytes: 40_000, expected: 32), (name: "span", bodyBytes: 10, expected: 160),
        (name: "bytes of the consumer", bodyBytes: 40_000, expected: 32),
    ])
    func nothingMoreIsPulledBeyondABound(_ bound: (name: String, bodyBytes: Int, expected: Int64)) async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 400, body: [UInt8](repeating: 1, count: bound.bodyBytes))
        let gate = Gate()
        let finished = Collected<Int64>()
        let consumer = broker.consumer({
            switch bound.name {
            case "messages": $0.pullThresholdForQueue = 40
            case "bytes": $0.pullThresholdSizeForQueueMebibytes = 1
            case "span": $0.consumeConcurrentlyMaxSpan = 150
            default: $0.pullThresholdSizeForClientMebibytes = 1
            }
        }) { messages, _ in
            // The bounds of what is held stop with all of it waiting, that of the span with one message alone.
            if bound.name != "span" || messages[0].queueOffset == 0 { await gate.pass() }
            finished.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { broker.server.requests(.pullMessage).contains { $0.fields["queueOffset"] == "\(bound.expected - 32)" } })
        try await ContinuousClock().sleep(for: .milliseconds(200))
        #expect(!broker.server.requests(.pullMessage).contains { $0.fields["queueOffset"] == "\(bound.expected)" }, "\(bound.name)")
        gate.open()
        #expect(await eventually { finished.count == 400 })
        await consumer.shutdown()
        #expect(broker.offset("T") == 400)
    }

    @Test func aPauseBetweenPullsIsKept() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 96)
        let finished = Collected<Int64>()
        let consumer = broker.consumer({ $0.pullInterval = .milliseconds(400) }) { messages, _ in
            finished.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        let clock = ContinuousClock()
        let start = clock.now
        try await consumer.start()
        #expect(await eventually { finished.count == 96 })
        #expect(clock.now - start >= .milliseconds(800))
        await consumer.shutdown()
    }

    /// As when a database is gone, which all of them notice.
    @Test func callsThatAllShutTheConsumerDownDoNotWaitForEachOther() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 4)
        let (own, running, ended) = (Collected<DefaultMQPushConsumer>(), Collected<Int64>(), Collected<Int64>())
        let consumer = broker.consumer {
            $0.awaitTermination = .seconds(3_600)
        } listener: { messages, _ in
            running.append(messages[0].queueOffset)
            _ = await eventually(within: .seconds(300)) { running.count == 4 && own.count == 1 }
            await own.all.first?.shutdown()
            ended.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        own.append(consumer)
        try await consumer.start()
        #expect(await eventually(within: .seconds(300)) { ended.count == 4 })
        #expect(broker.offset("T") ?? 0 == 0, "they are delivered again")
    }

    @Test func shutdownWaitsForCallsThatRunAndCommitsThem() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 40)
        let gate = Gate()
        let consumer = broker.consumer({ $0.consumeConcurrency = 3 }) { _, _ in
            await gate.pass()
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 3 })
        let stop = Task { await consumer.shutdown() }
        // What waits is not begun any more; what runs is finished and counts.
        #expect(await eventually { consumer.isStopping })
        gate.open()
        await stop.value
        #expect(gate.arrivals == 3 && broker.offset("T") == 3)
    }

    @Test(arguments: [false, true]) func aListenerThatEndsItsConsumerIsNotWaitedFor(isOrderly: Bool) async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let (own, received) = (Collected<DefaultMQPushConsumer>(), Collected<Int64>())
        let consume = { @Sendable (message: MessageExt) in
            if message.queueOffset == 2 { await own.all.first?.shutdown() }
            received.append(message.queueOffset)
        }
        let change = { (configuration: inout ConsumerConfiguration) in
            configuration.consumeConcurrency = 1
            configuration.awaitTermination = .seconds(3600)
        }
        let concurrent = broker.consumer(change) { messages, _ in
            await consume(messages[0])
            return .consumeSuccess
        }
        let orderly = broker.orderlyConsumer(change) { messages, _ in
            await consume(messages[0])
            return .success
        }
        let consumer = isOrderly ? orderly : concurrent
        own.append(consumer)
        try await consumer.start()
        #expect(await eventually { received.count == 3 })
        // What it was at is delivered again, to whoever comes next.
        #expect(received.all == [0, 1, 2] && broker.offset("T") == 2)
        #expect(await eventually { broker.lockOwner() == nil })
        #expect(consumer.isStopping)
    }

    @Test func aCallThatDoesNotEndIsNotCommitted() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let gate = Gate()
        let done = Collected<Int64>()
        let consumer = broker.consumer({ $0.awaitTermination = .milliseconds(100) }) { messages, _ in
            if messages[0].queueOffset == 4 { await gate.pass() }
            done.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { done.count == 9 && gate.arrivals == 1 })
        await consumer.shutdown()
        #expect(broker.offset("T") == 4)
        gate.open()
    }

    @Test func positionsAreCommittedWhileItRuns() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let consumer = broker.consumer({ $0.persistConsumerOffsetInterval = .milliseconds(50) }) { _, _ in .consumeSuccess }
        try await consumer.start()
        #expect(await eventually { broker.offset("T") == 5 })
        await consumer.shutdown()
    }

    @Test func anUnknownSubscriptionIsToldAgain() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 1)
        let refusals = Collected<Int>()
        broker.override { request in
            guard request.requestCode == .pullMessage, refusals.count == 0 else { return nil }
            refusals.append(1)
            return .answer(.response(.subscriptionNotLatest, "the consumer's subscription not latest"))
        }
        let received = Collected<String>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].messageID)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { received.count == 1 })
        #expect(broker.server.requests(.heartBeat).count >= 2)
        await consumer.shutdown()
    }

    @Test func aPositionThatIsGoneIsCorrectedAndCommitted() async throws {
        let broker = try ScriptedBroker()
        broker.change {
            $0.first[ScriptedBroker.key("T")] = 100
            $0.offsets[ScriptedBroker.key("T")] = 5
        }
        broker.store("T", count: 3)
        let offsets = Collected<Int64>()
        let consumer = broker.consumer { messages, _ in
            offsets.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { offsets.count == 3 })
        #expect(offsets.all.sorted() == [100, 101, 102])
        #expect(broker.server.requests(.updateConsumerOffset).first?.fields["commitOffset"] == "100")
        await consumer.shutdown()
        #expect(broker.offset("T") == 103)
    }

    @Test func queuesAreSharedWhenAMemberComesAndTakenBackWhenItGoes() async throws {
        let broker = try ScriptedBroker(queues: 4)
        for queue in 0..<4 as Range<Int32> { broker.store("T", queueID: queue, count: 3) }
        let received = Collected<String>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].messageID)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { received.count == 12 })
        broker.change { $0.members.append("zzz@other") }
        broker.server.push(.request(.notifyConsumerIdsChanged, ["consumerGroup": "cg"]))
        #expect(await eventually { await consumer.assignedQueues.map(\.queueID) == [0, 1] })
        // The positions of what it gave away are the broker's now.
        #expect(await eventually { broker.offset("T", 2) == 3 && broker.offset("T", 3) == 3 })
        broker.change { $0.members.removeAll { $0 == "zzz@other" } }
        broker.server.push(.request(.notifyConsumerIdsChanged, ["consumerGroup": "cg"]))
        #expect(await eventually { await consumer.assignedQueues.count == 4 })
        await consumer.shutdown()
        #expect(received.count == 12)
    }

    @Test func suspendedItPullsNothing() async throws {
        let broker = try ScriptedBroker()
        let received = Collected<String>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].messageID)
            return .consumeSuccess
        }
        try await consumer.start()
        await consumer.suspend()
        // A pull that was on its way may still come back; after it there are no more.
        try await ContinuousClock().sleep(for: .milliseconds(250))
        let pulls = broker.server.requests(.pullMessage).count
        broker.store("T", count: 1)
        try await ContinuousClock().sleep(for: .milliseconds(250))
        #expect(broker.server.requests(.pullMessage).count == pulls && received.count == 0)
        await consumer.resume()
        #expect(await eventually { received.count == 1 })
        await consumer.shutdown()
    }

    @Test func aTopicThatComesLaterIsFound() async throws {
        let broker = try ScriptedBroker(topic: "Other")
        let received = Collected<String>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].messageID)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await consumer.assignedQueues.isEmpty)
        broker.store("T", count: 1)
        broker.nameServer.follow(Scripts.nameServer(["T": Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 1)]))
        #expect(await eventually { received.count == 1 })
        await consumer.shutdown()
    }

    @Test func wrongStartsAreNamed() async throws {
        let silent = DefaultMQPushConsumer(group: "cg", nameServers: ["127.0.0.1:1"])
        #expect(await failure { () throws(MQError) in try await silent.start() }?.message.contains("listener") == true)
        #expect(
            await failure { () throws(MQError) in try await silent.subscribe("T", filter: .expression("||")) }?.code == .invalidSubscription
        )
        #expect(await failure { () throws(MQError) in try await silent.subscribe("a b") }?.code == .invalidSubscription)
        silent.registerMessageListener { _, _ in .consumeSuccess }
        let error = await failure { () throws(MQError) in try await silent.start() }
        #expect(error?.code == .nameServerUnreachable)

        let broker = try ScriptedBroker()
        broker.override { request in
            request.requestCode == .checkClientConfig ? .answer(.response(.subscriptionParseFailed, "Encountered \">\" at column 5")) : nil
        }
        let consumer = broker.consumer(filter: .sql("i >> 2")) { _, _ in .consumeSuccess }
        let refused = try #require(await failure { () throws(MQError) in try await consumer.start() })
        #expect(refused.code == .invalidSubscription && refused.topic == "T" && "\(refused)".contains("column 5"))
        // Corrected, the same consumer starts.
        try await consumer.subscribe("T")
        try await consumer.start()
        await consumer.shutdown()
    }
}
