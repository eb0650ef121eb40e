import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Orderly listeners: one message of a queue after another, in place, under the queue's lock.
@Suite struct OrderlyTests {
    struct Broken: Error {}

    @Test func messagesOfAQueueComeOneAfterAnother() async throws {
        let broker = try ScriptedBroker(queues: 3)
        for queue in 0..<3 as Range<Int32> { broker.store("T", queueID: queue, count: 70) }
        let (begun, ended) = (Collected<String>(), Collected<String>())
        let consumer = broker.orderlyConsumer { messages, context in
            let name = "\(context.messageQueue.queueID):\(messages[0].queueOffset)"
            begun.append(name)
            for _ in 0..<3 { await Task.yield() }
            // Whatever began of this queue has ended.
            let mine = "\(context.messageQueue.queueID):"
            #expect(begun.all.filter { $0.hasPrefix(mine) }.dropLast() == ended.all.filter { $0.hasPrefix(mine) }[...])
            ended.append(name)
            return .success
        }
        try await consumer.start()
        #expect(await eventually { ended.count == 210 })
        for queue in 0..<3 { #expect(ended.all.filter { $0.hasPrefix("\(queue):") } == (0..<70).map { "\(queue):\($0)" }) }
        await consumer.shutdown()
        #expect((0..<3).map { broker.offset("T", $0) } == [70, 70, 70])
        #expect(broker.lockOwner() == nil)
    }

    @Test func whatFailsIsTriedAgainInPlace() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 4)
        let deliveries = Collected<String>()
        let consumer = broker.orderlyConsumer { messages, context in
            let message = messages[0]
            deliveries.append("\(message.queueOffset)#\(message.reconsumeTimes)")
            if message.queueOffset == 1, message.reconsumeTimes == 0 { throw Broken() }
            if message.queueOffset == 1, message.reconsumeTimes < 3 {
                context.suspendCurrentQueueTime = .zero
                return .suspendCurrentQueueAMoment
            }
            return .success
        }
        try await consumer.start()
        #expect(await eventually { deliveries.count == 7 })
        await consumer.shutdown()
        #expect(deliveries.all == ["0#0", "1#0", "1#1", "1#2", "1#3", "2#0", "3#0"])
        #expect(broker.sentBack.isEmpty && broker.offset("T") == 4)
    }

    @Test func batchesAreTriedAgainWhole() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let deliveries = Collected<[Int64]>()
        let consumer = broker.orderlyConsumer({ $0.consumeMessageBatchMaxSize = 2 }) { messages, _ in
            deliveries.append(messages.map(\.queueOffset))
            return messages[0].queueOffset == 2 && messages[0].reconsumeTimes == 0 ? .suspendCurrentQueueAMoment : .success
        }
        try await consumer.start()
        #expect(await eventually { deliveries.count == 4 })
        await consumer.shutdown()
        #expect(deliveries.all == [[0, 1], [2, 3], [2, 3], [4]])
    }

    @Test func tooManyFailuresMakeADeadLetterThatIsNotLost() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        let refusals = Collected<Int>()
        broker.override { request in
            guard request.requestCode == .consumerSendMsgBack, refusals.count == 0 else { return nil }
            refusals.append(1)
            return .answer(.response(.systemError, "not now"))
        }
        let deliveries = Collected<String>()
        let consumer = broker.orderlyConsumer({ $0.maxReconsumeTimes = 1 }) { messages, _ in
            deliveries.append("\(messages[0].queueOffset)#\(messages[0].reconsumeTimes)")
            return messages[0].queueOffset == 0 ? .suspendCurrentQueueAMoment : .success
        }
        try await consumer.start()
        // Refused by the broker, it is tried once more before it becomes a dead letter.
        #expect(await eventually { deliveries.all.last == "1#0" })
        #expect(deliveries.all == ["0#0", "0#1", "0#1", "1#0"])
        #expect(broker.sentBack.map { $0.fields["delayLevel"] } == ["-1"])
        await consumer.shutdown()
        #expect(broker.offset("T") == 2)
    }

    @Test func nothingIsConsumedWithoutTheLock() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 3)
        broker.change { $0.locks[ScriptedBroker.queue()] = "somebody@else" }
        let received = Collected<Int64>()
        let consumer = broker.orderlyConsumer({ $0.handOverTimeout = .milliseconds(50) }) { messages, _ in
            received.append(messages[0].queueOffset)
            return .success
        }
        try await consumer.start()
        #expect(await broker.server.wait(for: .lockBatchMq, count: 3))
        #expect(received.count == 0 && broker.server.requests(.pullMessage).allSatisfy { $0.fields["topic"] != "T" })
        // What the other one finishes before it gives up the lock is not consumed again.
        broker.change {
            $0.offsets[ScriptedBroker.key("T")] = 2
            $0.locks = [:]
        }
        #expect(await eventually { received.count == 1 })
        #expect(received.all == [2])
        await consumer.shutdown()
    }

    @Test func aLostLockStopsTheQueueAtOnce() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let (received, cancelled) = (Collected<Int64>(), Collected<Bool>())
        let gate = Gate()
        let consumer = broker.orderlyConsumer({ $0.queueLockInterval = .seconds(1) }) { messages, _ in
            received.append(messages[0].queueOffset)
            if messages[0].queueOffset == 1 {
                await gate.pass()
                cancelled.append(Task.isCancelled)
            }
            return .success
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 1 })
        broker.change { $0.locks[ScriptedBroker.queue()] = "somebody@else" }
        #expect(await eventually { await consumer.assignedQueues.isEmpty })
        gate.open()
        #expect(await eventually { cancelled.count > 0 && cancelled.all.allSatisfy { $0 } })
        // The other one has consumed 1 and 2.
        broker.change {
            $0.offsets[ScriptedBroker.key("T")] = 3
            $0.locks = [:]
        }
        #expect(await eventually { received.all.last == 4 })
        // On a busy machine a lock can end for want of time, too, and messages come again; none comes that was not to.
        #expect(received.all.suffix(2) == [3, 4] && !received.all.contains(2) && received.all == received.all.sorted())
        await consumer.shutdown()
        #expect(broker.offset("T") == 5)
    }

    @Test func aQueueIsHandedOverWhenItsCallHasEndedAndIsCommitted() async throws {
        let broker = try ScriptedBroker(queues: 2)
        broker.store("T", queueID: 1, count: 4)
        let gate = Gate()
        let received = Collected<Int64>()
        let consumer = broker.orderlyConsumer({ $0.handOverTimeout = .milliseconds(10) }) { messages, _ in
            received.append(messages[0].queueOffset)
            await gate.pass()
            return .success
        }
        try await consumer.start()
        #expect(await eventually { gate.arrivals == 1 })
        broker.change { $0.members.append("zzz@other") }
        broker.server.push(.request(.notifyConsumerIdsChanged, ["consumerGroup": "cg"]))
        #expect(await eventually { await consumer.assignedQueues.map(\.queueID) == [0] })
        // It has let go of the queue, but for the message it is at.
        #expect(broker.lockOwner(1) == consumer.runtime.clientID)
        gate.open()
        #expect(await eventually { broker.lockOwner(1) == nil })
        #expect(received.all == [0] && broker.offset("T", 1) == 1)
        let codes = broker.server.requests.filter { $0.fields["queueId"] == "1" || $0.requestCode == .unlockBatchMq }.map(\.requestCode)
        #expect(codes.suffix(2) == [.updateConsumerOffset, .unlockBatchMq])
        await consumer.shutdown()
    }

    @Test func toolsSeeTheLockAndCallTheListener() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 3)
        let received = Collected<Int64>()
        let consumer = broker.orderlyConsumer { messages, _ in
            received.append(messages[0].queueOffset)
            return received.count > 4 ? .suspendCurrentQueueAMoment : .success
        }
        try await consumer.start()
        #expect(await eventually { received.count == 3 })
        let fields = ["clientId": consumer.runtime.clientID, "consumerGroup": "cg", "jstackEnable": "false"]
        let answer = try #require(await broker.server.ask(.request(.getConsumerRunningInfo, fields)))
        let info = try ConsumerRunningInfo(decoding: answer.body)
        #expect(info.properties["PROP_CONSUMEORDERLY"] == "true")
        let queue = try #require(info.mqTable[ScriptedBroker.queue()])
        #expect(queue.locked && queue.lastLockTimestamp > 0 && !queue.dropped)
        let status = try #require(await broker.server.ask(.request(.getConsumerStatusFromClient, ["topic": "T", "group": "cg"])))
        #expect(try GetConsumerStatusBody(decoding: status.body).messageQueueTable == [ScriptedBroker.queue(): 3])

        var message: MessageExt?
        broker.change { message = $0.queues[ScriptedBroker.key("T")]?.first }
        var body = ByteBuffer()
        try message?.encodeRecord(into: &body)
        var results: [ConsumeMessageDirectlyResult] = []
        for _ in 0..<2 {
            let answer = try #require(
                await broker.server.ask(.request(.consumeMessageDirectly, fields, body: body.copyBytes())))
            results.append(try ConsumeMessageDirectlyResult(decoding: answer.body))
        }
        #expect(results.allSatisfy(\.order) && results.map(\.consumeResult) == [.success, .later])
        await consumer.shutdown()
        #expect(broker.offset("T") == 3)
    }
}
