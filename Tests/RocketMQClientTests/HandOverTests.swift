import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Concurrent listeners: queues that change hands, calls that hang, bounds on what is held, queues that are new.
@Suite struct HandOverTests {
    @Test func aQueueIsHandedOverWhenItsCallsHaveEndedAndAreCommitted() async throws {
        let broker = try ScriptedBroker(queues: 2)
        broker.store("T", queueID: 1, count: 40)
        let gate = Gate()
        let received = Collected<Int64>()
        let consumer = broker.consumer({ $0.consumeConcurrency = 4 }) { messages, _ in
            received.append(messages[0].queueOffset)
            await gate.pass()
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 4 })
        broker.change { $0.members.append("zzz@other") }
        broker.server.push(.request(.notifyConsumerIdsChanged, ["consumerGroup": "cg"]))
        #expect(await eventually { await consumer.assignedQueues.map(\.queueID) == [0] })
        #expect(broker.lockOwner(1) == consumer.runtime.clientID)
        gate.open()
        #expect(await eventually { broker.lockOwner(1) == nil })
        // What ran is finished and committed, the rest is left to the next owner.
        #expect(received.all.sorted() == [0, 1, 2, 3] && broker.offset("T", 1) == 4)
        await consumer.shutdown()
    }

    @Test func aPositionSetByAToolStandsThoughItsQueueIsBeingHandedOver() async throws {
        let broker = try ScriptedBroker(queues: 2)
        broker.store("T", queueID: 1, count: 40)
        let gate = Gate()
        let consumer = broker.consumer({ $0.consumeConcurrency = 4 }) { _, _ in
            await gate.pass()
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 4 })
        broker.change { $0.members.append("zzz@other") }
        broker.server.push(.request(.notifyConsumerIdsChanged, ["consumerGroup": "cg"]))
        #expect(await eventually { await consumer.assignedQueues.map(\.queueID) == [0] })
        broker.server.push(
            .request(
                .resetConsumerClientOffset, ["topic": "T", "group": "cg", "timestamp": "1", "isForce": "true"],
                body: ResetOffsetBody(offsetTable: [ScriptedBroker.queue(1): 2]).encoded()))
        // It has been heard when the next request is answered.
        _ = await broker.server.ask(.request(.getConsumerStatusFromClient, ["topic": "T", "group": "cg"]))
        gate.open()
        #expect(await eventually { broker.lockOwner(1) == nil })
        #expect(broker.offset("T", 1) == 2)
        await consumer.shutdown()
    }

    @Test func theNextOwnerWaitsForTheOneBefore() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 6)
        broker.change { $0.locks[ScriptedBroker.queue()] = "somebody@else" }
        let received = Collected<Int64>()
        let consumer = broker.consumer({ $0.handOverTimeout = .seconds(3_600) }) { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await broker.server.wait(for: .lockBatchMq, count: 3))
        #expect(received.count == 0)
        broker.change {
            $0.offsets[ScriptedBroker.key("T")] = 4
            $0.locks = [:]
        }
        #expect(await eventually { received.count == 2 })
        #expect(received.all.sorted() == [4, 5])
        await consumer.shutdown()
    }

    @Test func anOwnerThatIsGoneIsNotWaitedForForEver() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        broker.change { $0.locks[ScriptedBroker.queue()] = "killed@yesterday" }
        let received = Collected<Int64>()
        let consumer = broker.consumer({ $0.handOverTimeout = .milliseconds(300) }) { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { received.count == 2 })
        await consumer.shutdown()
        #expect(broker.offset("T") == 2 && broker.lockOwner() == "killed@yesterday")
    }

    @Test func anOwnerThatIsThereKeepsItsQueueUntilItGivesItUp() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        // Connected, with a lock, and not yet aware that the queue is to go to somebody else.
        let owner = "aaa@unaware"
        broker.change {
            $0.members.append(owner)
            $0.locks[ScriptedBroker.queue()] = owner
        }
        let received = Collected<Int64>()
        let consumer = broker.consumer({
            $0.handOverTimeout = .milliseconds(1)
            $0.allocation = .configured([ScriptedBroker.queue()])
        }) { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await broker.server.wait(for: .lockBatchMq, count: 4))
        #expect(received.count == 0)
        // It goes without having given it up: there is nobody to wait for.
        broker.change { $0.members.removeAll { $0 == owner } }
        #expect(await eventually { received.count == 2 })
        await consumer.shutdown()
        #expect(broker.lockOwner() == owner)
    }

    @Test func aBrokerWithoutLocksIsNoHindrance() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        broker.override { $0.requestCode == .lockBatchMq ? .answer(.response(.requestCodeNotSupported, "no")) : nil }
        let received = Collected<Int64>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { received.count == 2 })
        await consumer.shutdown()
    }

    @Test(arguments: [false, true]) func aMemberThatWasAwayDoesNotSetTheGroupBack(isOrderly: Bool) async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 20)
        let gate = Gate()
        let received = Collected<Int64>()
        let change = { (configuration: inout ConsumerConfiguration) in
            configuration.consumeConcurrency = 1
            configuration.handOverTimeout = .seconds(3_600)
            configuration.queueLockInterval = .milliseconds(200)
            configuration.persistConsumerOffsetInterval = .milliseconds(20)
        }
        let work = { @Sendable (messages: [MessageExt]) in
            received.append(messages[0].queueOffset)
            if messages[0].queueOffset == 3 { await gate.pass() }
        }
        let consumer =
            isOrderly
            ? broker.orderlyConsumer(change) { messages, _ in
                await work(messages)
                return .success
            }
            : broker.consumer(change) { messages, _ in
                await work(messages)
                return .consumeSuccess
            }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 1 })
        await LitePullHandOverTests.othersCome(to: 15, broker)
        let before = broker.server.requests.count
        broker.override(nil)
        // Whatever it was at, it is the others' now: it goes on where they are.
        #expect(await eventually { await consumer.assignedQueues.isEmpty || received.all.contains(15) })
        gate.open()
        #expect(await eventually { broker.offset("T") == 20 })
        let commits = LitePullHandOverTests.commits(Array(broker.server.requests.dropFirst(before)))
        #expect(commits.allSatisfy { $0 >= 15 }, "\(commits)")
        #expect(received.all.suffix(5) == [15, 16, 17, 18, 19])
        await consumer.shutdown()
    }

    @Test func aCallThatHangsGoesToRetryAndFreesItsQueue() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let gate = Gate()
        let (received, cancelled) = (Collected<Int64>(), Collected<Bool>())
        let consumer = broker.consumer({
            $0.consumeTimeout = .seconds(1)
            $0.consumeConcurrency = 1
        }) { messages, _ in
            if messages[0].queueOffset == 2 {
                await gate.pass()
                cancelled.append(Task.isCancelled)
            }
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        // Although there is but one place for a call.
        #expect(await eventually { broker.sentBack.contains { $0.fields["offset"] == "2007" && $0.fields["delayLevel"] == "3" } })
        #expect(await eventually { Set(received.all).isSuperset(of: [0, 1, 3, 4, 5, 6, 7, 8, 9]) })
        gate.open()
        #expect(await eventually { cancelled.all == [true] })
        await consumer.shutdown()
        #expect(broker.offset("T") == 10)
    }

    @Test func thisConsumerHoldsNoMoreThanItMay() async throws {
        let broker = try ScriptedBroker(queues: 4)
        for queue in 0..<4 as Range<Int32> { broker.store("T", queueID: queue, count: 200) }
        let gate = Gate()
        let received = Collected<Int64>()
        let consumer = broker.consumer({
            $0.pullThresholdForClient = 40
            $0.consumeConcurrency = 2
        }) { messages, _ in
            await gate.pass()
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 2 })
        // One pull of each queue may be on its way when the first answers come, and no other follows.
        #expect(await broker.server.wait(for: .pullMessage, count: 4))
        try await ContinuousClock().sleep(for: .milliseconds(200))
        #expect(broker.server.requests(.pullMessage).count { $0.fields["topic"] == "T" } <= 5)
        gate.open()
        #expect(await eventually { received.count == 800 })
        await consumer.shutdown()
        #expect((0..<4).map { broker.offset("T", $0) } == [200, 200, 200, 200])
    }

    @Test func boundsForATopicAreShared() {
        var configuration = ConsumerConfiguration(group: "g")
        configuration.pullThresholdForTopic = 100
        configuration.pullThresholdSizeForTopicMebibytes = 8
        let four = configuration.limits(queueCount: 4, isOrderly: false)
        #expect(four == .init(count: 25, byteCount: 2 << 20, span: 2000))
        let none = configuration.limits(queueCount: 0, isOrderly: true)
        #expect(none == .init(count: 100, byteCount: 8 << 20, span: .max))
    }

    @Test func aQueueThatIsAddedIsReadFromItsBeginning() async throws {
        let broker = try ScriptedBroker(queues: 1)
        broker.store("T", count: 5)
        let received = Collected<String>()
        let consumer = broker.consumer({
            $0.consumeFromWhere = .lastOffset
            $0.rebalanceInterval = .milliseconds(50)
        }) { messages, context in
            received.append("\(context.messageQueue.queueID):\(messages[0].queueOffset)")
            return .consumeSuccess
        }
        try await consumer.start()
        broker.store("T", queueID: 1, count: 3)
        // One whose beginning is gone came with a broker that was away: it is older than the group.
        broker.change { $0.first[ScriptedBroker.key("T", 2)] = 7 }
        broker.store("T", queueID: 2, count: 3)
        broker.nameServer.follow(
            Scripts.nameServer(["T": Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 3)]))
        consumer.runtime.execute { $0.refreshRoutes() }
        #expect(await eventually { await consumer.assignedQueues.count == 3 })
        #expect(await eventually { received.count == 3 })
        broker.store("T", queueID: 2, count: 1)
        #expect(await eventually { received.count == 4 })
        #expect(received.all.sorted() == ["1:0", "1:1", "1:2", "2:10"])
        await consumer.shutdown()
    }
}
