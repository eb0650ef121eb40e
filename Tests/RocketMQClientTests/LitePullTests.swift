import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Pull consumers over scripted brokers: what they ask for and when.
@Suite(.serialized) struct LitePullTests {
    func consumer(
        _ broker: ScriptedBroker, subscribing: Bool = true, _ change: (inout ConsumerConfiguration) -> Void = { _ in }
    ) -> DefaultLitePullConsumer {
        var configuration = ConsumerConfiguration(group: "cg")
        configuration.consumeFromWhere = .firstOffset
        change(&configuration)
        return DefaultLitePullConsumer(
            configuration, client: ClientConfiguration(nameServers: [broker.nameServer.address]),
            subscriptions: subscribing ? [Subscription("T")] : [])
    }

    let queue = MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: 0)

    @Test func nothingIsPulledBeforeSomebodyReads() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let consumer = consumer(broker)
        try await consumer.start()
        #expect(await consumer.assignment == [queue])
        #expect(broker.server.requests(.pullMessage).isEmpty)
        let messages = try await consumer.poll()
        #expect(messages.map(\.queueOffset) == [0, 1, 2, 3, 4])
        let pull = try #require(broker.server.requests(.pullMessage).first)
        #expect(pull.fields["sysFlag"] == "2" && pull.fields["maxMsgNums"] == "32" && pull.fields["subscription"] == nil)
        let heartbeat = try #require(broker.server.requests(.heartBeat).last)
        let data = try #require(try HeartbeatData(decoding: heartbeat.body).consumerDataSet.first)
        #expect(data.consumeType == .actively && data.subscriptionDataSet.map(\.topic) == ["T"])
        await consumer.shutdown()
    }

    @Test func readingAheadIsBounded() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 500)
        let consumer = consumer(broker) {
            $0.pullThresholdForQueue = 40
            $0.pullBatchSize = 20
        }
        try await consumer.start()
        #expect(try await consumer.poll().count == 20)
        #expect(await broker.server.wait { $0.count { $0.requestCode == .pullMessage } >= 3 })
        // A second batch leaves room for one more pull and no further.
        #expect(try await consumer.poll().count == 20)
        #expect(await broker.server.wait { $0.count { $0.requestCode == .pullMessage } >= 4 })
        #expect(broker.server.requests(.pullMessage).count <= 5)
        await consumer.shutdown()
    }

    @Test func automaticCommitsStandBeforeWhatIsNotDone() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 3)
        let consumer = consumer(broker) {
            $0.persistConsumerOffsetInterval = .milliseconds(20)
            $0.pullBatchSize = 1
        }
        try await consumer.start()
        #expect(try await consumer.poll().map(\.queueOffset) == [0])
        #expect(await eventually { broker.offset("T") == 0 })
        #expect(try await consumer.poll().map(\.queueOffset) == [1])
        #expect(await eventually { broker.offset("T") == 1 })
        #expect(try await consumer.poll().map(\.queueOffset) == [2])
        #expect(await eventually { broker.offset("T") == 2 })
        #expect(try await consumer.poll(timeout: .milliseconds(10)).isEmpty)
        #expect(await eventually { broker.offset("T") == 3 })
        await consumer.shutdown()
    }

    @Test func theProgramCommitsWhenItWantsTo() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let consumer = consumer(broker) {
            $0.autoCommit = false
            $0.persistConsumerOffsetInterval = .milliseconds(10)
        }
        try await consumer.start()
        let messages = try await consumer.poll()
        #expect(try await consumer.committed(queue) == nil)
        try await consumer.commit(messages[3])
        #expect(broker.offset("T") == 4)
        #expect(try await consumer.committed(queue) == 4)
        try await consumer.commit()
        #expect(broker.offset("T") == 10)
        try await consumer.commit([queue: 7])
        #expect(broker.offset("T") == 7)
        await consumer.shutdown()
        #expect(broker.offset("T") == 7)
    }

    @Test func aCommitThatFailsIsToldToTheCaller() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 1)
        let consumer = consumer(broker) { $0.autoCommit = false }
        try await consumer.start()
        let messages = try await consumer.poll()
        broker.override { $0.requestCode == .updateConsumerOffset ? .answer(.response(.systemError, "no room for offsets")) : nil }
        let error = try #require(await failure { () throws(MQError) in try await consumer.commit(messages[0]) })
        #expect(error.code == .refused && error.description.contains("no room for offsets") && error.group == "cg")
        await consumer.shutdown()
    }

    @Test func seekingGoesThere() async throws {
        let broker = try ScriptedBroker()
        broker.change { $0.first[ScriptedBroker.key("T")] = 100 }
        broker.store("T", count: 20)
        let consumer = consumer(broker) { $0.pullBatchSize = 5 }
        try await consumer.start()
        #expect(try await consumer.poll().map(\.queueOffset) == [100, 101, 102, 103, 104])
        try await consumer.seek(queue, to: .offset(117))
        #expect(try await consumer.position(queue) == 117)
        #expect(try await consumer.poll().map(\.queueOffset) == [117, 118, 119])
        try await consumer.seek(queue, to: .begin)
        #expect(try await consumer.poll().first?.queueOffset == 100)
        try await consumer.seek(queue, to: .end)
        #expect(try await consumer.position(queue) == 120)
        // The scripted broker's answer for a time is the middle.
        #expect(try await consumer.offsetForTimestamp(queue, milliseconds: 5) == 110)
        try await consumer.seek(queue, to: .timestamp(milliseconds: 5))
        #expect(try await consumer.poll().first?.queueOffset == 110)
        // Beyond what is there: the nearest.
        try await consumer.seek(queue, to: .offset(5))
        #expect(try await consumer.poll().first?.queueOffset == 100)
        let stranger = MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: 9)
        let error = try #require(await failure { () throws(MQError) in try await consumer.seek(stranger, to: .begin) })
        #expect(error.code == .notAssigned && error.topic == "T")
        await consumer.shutdown()
    }

    @Test func aProgramHearsOfNewQueues() async throws {
        let broker = try ScriptedBroker()
        var client = ClientConfiguration(nameServers: [broker.nameServer.address])
        client.pollNameServerInterval = .milliseconds(50)
        let consumer = DefaultLitePullConsumer(ConsumerConfiguration(group: "cg"), client: client)
        try await consumer.assign([MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: 0)])
        try await consumer.start()
        let told = Collected<[Int32]>()
        try await consumer.registerTopicMessageQueueChangeListener("T") { told.append($0.map(\.queueID)) }
        broker.nameServer.follow(Scripts.nameServer(["T": Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 3)]))
        #expect(await eventually { told.count > 0 })
        #expect(told.all == [[0, 1, 2]])
        await consumer.shutdown()
    }

    @Test func aPausedQueueIsLeftOut() async throws {
        let broker = try ScriptedBroker(queues: 2)
        broker.store("T", queueID: 0, count: 3)
        broker.store("T", queueID: 1, count: 3)
        let consumer = consumer(broker)
        try await consumer.start()
        try await consumer.pause([queue])
        #expect(try await consumer.poll().map(\.queueID) == [1, 1, 1])
        #expect(try await consumer.poll(timeout: .milliseconds(50)).isEmpty)
        try await consumer.resume([queue])
        #expect(try await consumer.poll().map(\.queueID) == [0, 0, 0])
        await consumer.shutdown()
    }

    @Test func aQueueThatIsPausedInAReadersHandsGivesNothingMore() async throws {
        let broker = try ScriptedBroker(queues: 2)
        broker.store("T", queueID: 0, count: 10)
        broker.store("T", queueID: 1, count: 10)
        let consumer = consumer(broker)
        try await consumer.start()
        var read: [String] = []
        var paused: Int32?
        for try await message in consumer.messages {
            read.append("\(message.queueID):\(message.queueOffset)")
            if read.count == 3 {
                paused = message.queueID
                try await consumer.pause([MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: message.queueID)])
            }
            if read.count == 13 {
                try await consumer.resume([MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: try #require(paused))])
            }
            if read.count == 20 { break }
        }
        let first = try #require(paused)
        let other = 1 - first
        // Three of one queue, then all of the other, then the rest of the first: each once.
        #expect(read == (0..<3).map { "\(first):\($0)" } + (0..<10).map { "\(other):\($0)" } + (3..<10).map { "\(first):\($0)" })
        await consumer.shutdown()
    }

    @Test func seekingWhilePausedCountsWhenItGoesOn() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 50)
        let consumer = consumer(broker) { $0.pullBatchSize = 5 }
        try await consumer.start()
        var read: [Int64] = []
        for try await message in consumer.messages {
            read.append(message.queueOffset)
            guard read.count != 10 else { break }
            guard read.count == 2 else { continue }
            try await consumer.pause([queue])
            try await consumer.seek(queue, to: .offset(40))
            #expect(try await consumer.position(queue) == 40)
            #expect(try await consumer.poll(timeout: .milliseconds(20)).isEmpty, "it is paused")
            try await consumer.seek(queue, to: .offset(30))
            try await consumer.resume([queue])
        }
        #expect(read == [0, 1] + Array(30..<38))
        await consumer.shutdown()
        // Of the last one the reader has not said that it is done.
        #expect(broker.offset("T") == 37)
    }

    @Test func assignedQueuesAreReadWithTheirFilterInThePull() async throws {
        let broker = try ScriptedBroker(queues: 4)
        for queueID in 0..<4 as Range<Int32> {
            broker.store("T", queueID: queueID, tag: "A", count: 1)
            broker.store("T", queueID: queueID, tag: "B", count: 1)
        }
        let consumer = consumer(broker, subscribing: false)
        let wanted = [1, 3].map { MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: $0) }
        try await consumer.assign(wanted, filter: .tags("B"))
        try await consumer.start()
        #expect(await consumer.assignment == wanted)
        var read: [MessageExt] = []
        while read.count < 2 { read += try await consumer.poll() }
        #expect(read.map(\.queueID).sorted() == [1, 3] && read.allSatisfy { $0.tag == "B" })
        let pull = try #require(broker.server.requests(.pullMessage).first)
        #expect(
            ["6", "7"].contains(pull.fields["sysFlag"]) && pull.fields["subscription"] == "B" && pull.fields["expressionType"] == "TAG")
        #expect(broker.server.requests(.getConsumerListByGroup).isEmpty)
        // Others from now on.
        #expect(try await consumer.fetchMessageQueues("T").count == 4)
        try await consumer.assign([queue])
        #expect(await consumer.assignment == [queue])
        #expect(try await consumer.poll().map(\.queueID) == [0, 0])
        let mixed = try #require(await failure { () throws(MQError) in try await consumer.subscribe("T") })
        #expect(mixed.code == .invalidSubscription)
        await consumer.shutdown()
    }

    @Test func theSequenceGivesOneAfterTheOtherAndEndsWithTheConsumer() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 100)
        let consumer = consumer(broker) { $0.pullBatchSize = 7 }
        let read = Collected<Int64>()
        let reader = Task {
            // Before the start: it waits.
            for try await message in consumer.messages { read.append(message.queueOffset) }
        }
        try await consumer.start()
        #expect(await eventually { read.count == 100 })
        await consumer.shutdown()
        try await reader.value
        #expect(read.all == Array(0..<100))
        // The reader was at none of them any more.
        #expect(broker.offset("T") == 100)
        var iterator = consumer.messages.makeAsyncIterator()
        #expect(try await iterator.next() == nil)
    }

    @Test func leavingTheLoopLosesNothing() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let consumer = consumer(broker)
        try await consumer.start()
        for try await message in consumer.messages where message.queueOffset == 3 { break }
        var rest: [Int64] = []
        for try await message in consumer.messages {
            rest.append(message.queueOffset)
            if message.queueOffset == 9 { break }
        }
        #expect(rest == [4, 5, 6, 7, 8, 9])
        // From within a loop nobody waits for that loop; what it is at stays uncommitted.
        await consumer.shutdown()
        #expect(broker.offset("T") == 9)
    }

    @Test func aShutdownWaitsForAReaderAndCommitsItsMessage() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let consumer = consumer(broker)
        try await consumer.start()
        let (gate, read) = (Gate(), Collected<Int64>())
        let reader = Task {
            for try await message in consumer.messages {
                read.append(message.queueOffset)
                await gate.pass()
            }
        }
        #expect(await eventually { read.count == 1 })
        let stop = Task { await consumer.shutdown() }
        #expect(await eventually { consumer.isStopping })
        gate.open()
        await stop.value
        try await reader.value
        // What the reader took by then, seldom more than the first, it had the time for; nothing of it comes again.
        #expect(read.all == Array(0..<Int64(read.count)))
        #expect(broker.offset("T") == Int64(read.count))
    }

    @Test func aLoopThatShutsItsConsumerDownDoesNotWaitForItself() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let consumer = consumer(broker) { $0.awaitTermination = .seconds(60) }
        try await consumer.start()
        for try await message in consumer.messages where message.queueOffset == 2 {
            try await consumer.commit(message)
            await consumer.shutdown()
        }
        // What was committed by hand is not taken back.
        #expect(broker.offset("T") == 3)
    }

    @Test func aLoopThatIsCancelledEndsAtItsMessageAndLeavesTheOthers() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let consumer = consumer(broker)
        try await consumer.start()
        let (gate, read) = (Gate(), Collected<Int64>())
        let loop = Task {
            for try await message in consumer.messages {
                read.append(message.queueOffset)
                if message.queueOffset == 2 { await gate.pass() }
            }
        }
        #expect(await eventually { gate.arrivals == 1 })
        loop.cancel()
        gate.open()
        try await loop.value
        #expect(read.all == [0, 1, 2])
        // The loop had come back for more, so the message that it was at is done with; the others are there for the next reader.
        #expect(try await consumer.poll(timeout: .seconds(60)).first?.queueOffset == 3)
        await consumer.shutdown()
        #expect(broker.offset("T") == 3)
    }

    @Test func aCommitUnderWayDoesNotUndoASeek() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 50)
        let consumer = consumer(broker) { $0.pullBatchSize = 10 }
        try await consumer.start()
        for _ in 0..<3 { _ = try await consumer.poll() }
        let held = Collected<Int>()
        let gate = Gate()
        broker.override { request in
            guard request.requestCode == .updateConsumerOffset, held.count == 0 else { return nil }
            held.append(1)
            return .whenOpen(gate, .success())
        }
        async let commit: Void = consumer.commit()
        #expect(await eventually { held.count == 1 })
        try await consumer.seek(queue, to: .offset(5))
        gate.open()
        try await commit
        #expect(try await consumer.poll().first?.queueOffset == 5)
        await consumer.shutdown()
        // Nothing after the seek was said to be done.
        #expect(broker.offset("T") == 5)
    }

    @Test func cancellingEndsAWait() async throws {
        let broker = try ScriptedBroker()
        let consumer = consumer(broker)
        try await consumer.start()
        let poll = Task { try await consumer.poll(timeout: .seconds(3600)) }
        let loop = Task { for try await _ in consumer.messages {} }
        #expect(await broker.server.wait(for: .pullMessage))
        poll.cancel()
        loop.cancel()
        #expect(try await poll.value.isEmpty)
        try await loop.value
        await consumer.shutdown()
        let error = try #require(await failure { () throws(MQError) in try await consumer.poll() })
        #expect(error.code == .shutDown)
    }

    @Test("Readers that all shut the consumer down do not wait for each other")
    func shutdownByAllReaders() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 3)
        let consumer = consumer(broker) {
            $0.pullBatchSize = 1
            $0.awaitTermination = .seconds(3_600)
        }
        try await consumer.start()
        let (running, ended) = (Collected<Int64>(), Collected<Int64>())
        for _ in 0..<3 {
            Task {
                for try await message in consumer.messages {
                    running.append(message.queueOffset)
                    _ = await eventually(within: .seconds(300)) { running.count == 3 }
                    await consumer.shutdown()
                    ended.append(message.queueOffset)
                }
            }
        }
        #expect(await eventually(within: .seconds(300)) { ended.count == 3 })
    }
}
