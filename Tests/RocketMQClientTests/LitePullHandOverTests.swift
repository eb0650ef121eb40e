import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Queues of pull consumers that change hands.
@Suite struct LitePullHandOverTests {
    func consumer(
        _ broker: ScriptedBroker, _ change: (inout ConsumerConfiguration) -> Void = { _ in }
    ) -> DefaultLitePullConsumer {
        var configuration = ConsumerConfiguration(group: "cg")
        configuration.consumeFromWhere = .firstOffset
        configuration.handOverTimeout = .seconds(3_600)
        configuration.persistConsumerOffsetInterval = .seconds(3_600)
        change(&configuration)
        return DefaultLitePullConsumer(
            configuration, client: ClientConfiguration(nameServers: [broker.nameServer.address]), subscriptions: [Subscription("T")])
    }

    /// A broker with so many messages in one of its queues, and a consumer that has begun.
    func scene(
        queues: Int32 = 1, count: Int, _ change: (inout ConsumerConfiguration) -> Void = { _ in },
        _ prepare: (ScriptedBroker) -> Void = { _ in }
    ) async throws -> (ScriptedBroker, DefaultLitePullConsumer) {
        let broker = try ScriptedBroker(queues: queues)
        broker.store("T", queueID: queues - 1, count: count)
        prepare(broker)
        let consumer = consumer(broker, change)
        try await consumer.start()
        return (broker, consumer)
    }

    /// Another member comes, who gets queue 1.
    func join(_ broker: ScriptedBroker, _ consumer: DefaultLitePullConsumer) async {
        broker.change { $0.members.append("zzz@other") }
        broker.server.push(.request(.notifyConsumerIdsChanged, ["consumerGroup": "cg"]))
        #expect(await eventually { await consumer.assignment.map(\.queueID) == [0] })
    }

    /// What was asked of the broker about queue 1 at last.
    func lastRequests(_ broker: ScriptedBroker) -> [RequestCode?] {
        broker.server.requests.filter { $0.fields["queueId"] == "1" || $0.requestCode == .unlockBatchMq }.suffix(2).map(\.requestCode)
    }

    @Test func aQueueThatIsPolledIsHandedOverAtTheNextPoll() async throws {
        let (broker, consumer) = try await scene(queues: 2, count: 4) { $0.pullBatchSize = 2 }
        #expect(try await consumer.poll().map(\.queueOffset) == [0, 1])
        await join(broker, consumer)
        #expect(broker.lockOwner(1) == consumer.runtime.clientID && broker.offset("T", 1) ?? 0 == 0)
        // Says that what came before is done with; what was pulled ahead is the next owner's.
        #expect(try await consumer.poll(timeout: .zero).isEmpty)
        #expect(await eventually { broker.lockOwner(1) == nil })
        #expect(broker.offset("T", 1) == 2 && lastRequests(broker) == [.updateConsumerOffset, .unlockBatchMq])
        await consumer.shutdown()
        #expect(broker.offset("T", 1) == 2)
    }

    @Test func aReaderFinishesTheMessageThatItIsAt() async throws {
        let (broker, consumer) = try await scene(queues: 2, count: 4)
        let (gate, read) = (Gate(), Collected<Int64>())
        let reader = Task {
            for try await message in consumer.messages {
                read.append(message.queueOffset)
                if message.queueOffset == 1 { await gate.pass() }
            }
        }
        #expect(await eventually { gate.arrivals == 1 })
        await join(broker, consumer)
        #expect(broker.lockOwner(1) == consumer.runtime.clientID)
        gate.open()
        #expect(await eventually { broker.lockOwner(1) == nil })
        #expect(read.all == [0, 1] && broker.offset("T", 1) == 2)
        await consumer.shutdown()
        try await reader.value
    }

    @Test func aProgramThatCommitsIsWaitedForAndToldWhenItIsTooLate() async throws {
        let (broker, consumer) = try await scene(queues: 2, count: 4) { $0.autoCommit = false }
        let messages = try await consumer.poll()
        #expect(messages.map(\.queueOffset) == [0, 1, 2, 3])
        await join(broker, consumer)
        #expect(try await consumer.poll(timeout: .zero).isEmpty)
        try await consumer.commit(messages[1])
        #expect(broker.lockOwner(1) == consumer.runtime.clientID, "two are not committed yet")
        try await consumer.commit()
        #expect(await eventually { broker.lockOwner(1) == nil })
        #expect(broker.offset("T", 1) == 4)
        // The next owner may be further now.
        broker.change { $0.offsets[ScriptedBroker.key("T", 1)] = 9 }
        let error = try #require(await failure { () throws(MQError) in try await consumer.commit(messages[3]) })
        #expect(error.code == .notAssigned && error.description.contains("handOverTimeout"))
        try await consumer.commit()
        await consumer.shutdown()
        #expect(broker.offset("T", 1) == 9)
    }

    @Test func whoNeverComesBackIsNotWaitedForForEver() async throws {
        let (broker, consumer) = try await scene(queues: 2, count: 4) {
            $0.pullBatchSize = 2
            $0.handOverTimeout = .milliseconds(100)
        }
        #expect(try await consumer.poll().map(\.queueOffset) == [0, 1])
        #expect(try await consumer.poll().map(\.queueOffset) == [2, 3])
        await join(broker, consumer)
        #expect(await eventually { broker.lockOwner(1) == nil })
        // What was finished is committed, what was not goes to the next owner.
        #expect(broker.offset("T", 1) == 2)
        await consumer.shutdown()
    }

    @Test func theNextOwnerWaitsForTheOneBefore() async throws {
        let (broker, consumer) = try await scene(count: 6, { _ in }, { $0.lock("somebody@else") })
        let poll = Task { try await consumer.poll(timeout: .seconds(60)) }
        #expect(await broker.server.wait(for: .lockBatchMq, count: 3))
        #expect(broker.server.requests(.pullMessage).isEmpty)
        broker.change {
            $0.offsets[ScriptedBroker.key("T")] = 4
            $0.locks = [:]
        }
        #expect(try await poll.value.map(\.queueOffset) == [4, 5])
        await consumer.shutdown()
        // Nobody has to wait for one that has left.
        #expect(broker.lockOwner() == nil)
    }

    @Test func anOwnerThatIsGoneIsNotWaitedForForEver() async throws {
        let (broker, consumer) = try await scene(count: 2, { $0.handOverTimeout = .milliseconds(300) }, { $0.lock("killed@yesterday") })
        #expect(try await consumer.poll(timeout: .seconds(60)).map(\.queueOffset) == [0, 1])
        try await consumer.commit()
        await consumer.shutdown()
        #expect(broker.offset("T") == 2 && broker.lockOwner() == "killed@yesterday")
    }

    @Test func aBrokerWithoutLocksIsNoHindrance() async throws {
        let (broker, consumer) = try await scene(count: 2, { _ in }) { broker in
            broker.override { $0.requestCode == .lockBatchMq ? .answer(.response(.requestCodeNotSupported, "no")) : nil }
        }
        #expect(try await consumer.poll(timeout: .seconds(60)).map(\.queueOffset) == [0, 1])
        try await consumer.commit()
        await consumer.shutdown()
        #expect(broker.offset("T") == 2)
    }

    @Test func assignedQueuesHaveNoLocks() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        broker.lock("somebody@else")
        let client = ClientConfiguration(nameServers: [broker.nameServer.address])
        let assigned = DefaultLitePullConsumer(.fromTheFirst("cg"), client: client)
        try await assigned.assign([ScriptedBroker.queue()])
        try await assigned.start()
        #expect(try await assigned.poll(timeout: .seconds(60)).count == 2)
        // Of queues that it was given it says itself what is done, whoever has them.
        try await assigned.commit([ScriptedBroker.queue(): 1])
        #expect(broker.offset("T") == 1)
        await assigned.shutdown()
        #expect(broker.server.requests(.lockBatchMq).isEmpty && broker.server.requests(.unlockBatchMq).isEmpty)
    }

    // MARK: Those who were away

    /// What is committed of queue 0, by itself and with pulls.
    static func commits(_ requests: [RemotingCommand]) -> [Int64] {
        requests.compactMap { request in
            switch request.requestCode {
            case .updateConsumerOffset: break
            case .pullMessage where (Int(request.fields["sysFlag"] ?? "") ?? 0) & 1 == 1: break
            default: return nil
            }
            guard request.fields["topic"] == "T" else { return nil }
            return request.fields["commitOffset"].flatMap { Int64($0) }
        }
    }

    /// The lock may have ended, since it could not be renewed; meanwhile another member comes as far as `position` and leaves.
    static func othersCome(to position: Int64, _ broker: ScriptedBroker) async {
        broker.override { $0.requestCode == .lockBatchMq ? .answer(.response(.systemBusy, "busy")) : nil }
        let asked = broker.server.requests(.lockBatchMq).count
        // A second apart.
        #expect(await broker.server.wait(for: .lockBatchMq, count: asked + 3))
        broker.change { $0.offsets[ScriptedBroker.key("T")] = position }
    }

    /// It hears of the others and goes on where they are, and has committed nothing before that place.
    func expectToGoOn(
        _ consumer: DefaultLitePullConsumer, at position: Int64, _ broker: ScriptedBroker, since before: Int
    ) async throws {
        // Nothing is read before it knows: what it reads and is done with moves the group on.
        #expect(await broker.server.wait { $0.contains { $0.requestCode == .pullMessage && $0.fields["queueOffset"] == "\(position)" } })
        #expect(await eventually { (try? await consumer.poll(timeout: .milliseconds(50)))?.first?.queueOffset == position })
        #expect(await eventually { broker.offset("T") ?? 0 >= position })
        let commits = Self.commits(Array(broker.server.requests.dropFirst(before)))
        #expect(commits.allSatisfy { $0 >= position }, "\(commits)")
        await consumer.shutdown()
    }

    @Test func aMemberThatWasAwayDoesNotSetTheGroupBack() async throws {
        let (broker, consumer) = try await scene(count: 20) {
            $0.pullBatchSize = 4
            $0.pullThresholdForQueue = 8
            $0.queueLockInterval = .milliseconds(200)
            $0.persistConsumerOffsetInterval = .milliseconds(20)
        }
        #expect(try await consumer.poll().map(\.queueOffset) == [0, 1, 2, 3])
        await Self.othersCome(to: 15, broker)
        let before = broker.server.requests.count
        #expect(try await consumer.poll().first?.queueOffset == 4)
        broker.override(nil)
        try await expectToGoOn(consumer, at: 15, broker, since: before)
    }

    /// The broker takes a member out whose connection ends, and others need not wait for its locks for long.
    @Test func aMemberThatWasDisconnectedDoesNotSetTheGroupBack() async throws {
        let (broker, consumer) = try await scene(count: 20) {
            $0.pullBatchSize = 4
            $0.pullThresholdForQueue = 8
            $0.persistConsumerOffsetInterval = .milliseconds(20)
        }
        #expect(try await consumer.poll().map(\.queueOffset) == [0, 1, 2, 3])
        let isAhead: @Sendable (RemotingCommand) -> Bool = { $0.requestCode == .pullMessage && $0.fields["queueOffset"] == "4" }
        #expect(await broker.server.wait { $0.contains(where: isAhead) })
        // Whatever else is asked gets no other answer than the end of the connection.
        let ended = Collected<Int>()
        broker.override { request in
            guard !isAhead(request) else { return nil }
            ended.append(1)
            return .closeConnection
        }
        #expect(await eventually { ended.count > 0 })
        broker.change { $0.offsets[ScriptedBroker.key("T")] = 15 }
        let before = broker.server.requests.count
        #expect(try await consumer.poll().first?.queueOffset == 4)
        broker.override(nil)
        try await expectToGoOn(consumer, at: 15, broker, since: before)
    }

    @Test func aProgramThatWasAwayCannotSetTheGroupBackEither() async throws {
        let (broker, consumer) = try await scene(count: 20) {
            $0.pullBatchSize = 4
            $0.queueLockInterval = .milliseconds(200)
            $0.autoCommit = false
        }
        let messages = try await consumer.poll()
        // It has read on; what was not committed was not done.
        let read = Collected<Int64>()
        #expect(
            await eventually {
                for message in (try? await consumer.poll(timeout: .milliseconds(50))) ?? [] { read.append(message.queueOffset) }
                return read.all.last == 19
            })
        await Self.othersCome(to: 15, broker)
        broker.override(nil)
        // An answer to what was asked before may be on its way still.
        #expect(await eventually { await failure { () throws(MQError) in try await consumer.commit(messages[1]) }?.code == .notAssigned })
        #expect(await eventually { (try? await consumer.poll(timeout: .milliseconds(50)))?.first?.queueOffset == 15 })
        // Nor when the queue is its own again.
        #expect(await failure { () throws(MQError) in try await consumer.commit(messages[1]) }?.code == .notAssigned)
        #expect(broker.offset("T") == 15)
        await consumer.shutdown()
    }
}
