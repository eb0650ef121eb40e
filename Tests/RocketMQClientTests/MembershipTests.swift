import RocketMQBase
import RocketMQProtocol
import Synchronization
import Testing

@testable import RocketMQClient

/// Groups whose members come and go, on a real broker.
@Suite struct MembershipTests {
    /// What the members of a group were given, in the order in which their calls ended.
    final class Ledger: Sendable {
        private let state = Mutex<(offsets: [MessageQueue: [Int64]], running: Set<MessageQueue>, overlaps: Int)>(([:], [], 0))

        func began(_ queue: MessageQueue) {
            state.withLock { if !$0.running.insert(queue).inserted { $0.overlaps += 1 } }
        }
        func ended(_ queue: MessageQueue, _ offset: Int64) {
            state.withLock {
                $0.running.remove(queue)
                $0.offsets[queue, default: []].append(offset)
            }
        }
        var overlaps: Int { state.withLock { $0.overlaps } }
        var offsets: [MessageQueue: [Int64]] { state.withLock { $0.offsets } }
        var count: Int { offsets.values.reduce(0) { $0 + $1.count } }
    }

    static func configuration(_ group: String) -> ConsumerConfiguration {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        configuration.allocation = .sticky
        configuration.handOverTimeout = .seconds(600)
        configuration.awaitTermination = .seconds(600)
        return configuration
    }

    static func member(_ cluster: LocalCluster, _ group: String, _ topic: String) -> DefaultMQPushConsumer {
        DefaultMQPushConsumer(
            configuration(group), client: ClientConfiguration(nameServers: [cluster.address]), subscriptions: [Subscription(topic)])
    }

    /// Sends while members come and go, until `count` messages are stored.
    static func exercise(
        _ cluster: LocalCluster, _ topic: String, count: Int, newMember: @Sendable () -> DefaultMQPushConsumer,
        isDone: @escaping @Sendable () async -> Bool
    ) async throws {
        let producer = try await cluster.producer()
        try await producer.send(Message(topic: topic, text: "creates the topic"))
        let sending = Task {
            for number in 1..<count { try await producer.send(Message(topic: topic, text: "\(number)")) }
        }
        var members: [DefaultMQPushConsumer] = []
        for round in 0..<6 {
            let next = newMember()
            try await next.start()
            members.append(next)
            if round % 2 == 1 { await members.removeFirst().shutdown() }
        }
        try await sending.value
        #expect(await eventually(within: .seconds(60), isDone))
        for member in members { await member.shutdown() }
        await producer.shutdown()
    }

    @Test func orderIsKeptAndNothingRepeatedWhileMembersComeAndGo() async throws {
        try await withCluster { cluster in
            let ledger = Ledger()
            let count = 600
            try await Self.exercise(cluster, "OrderlyMembers", count: count) {
                let member = Self.member(cluster, "orderly-members", "OrderlyMembers")
                member.registerMessageListener(orderly: { messages, context in
                    ledger.began(context.messageQueue)
                    for _ in 0..<10 { await Task.yield() }
                    ledger.ended(context.messageQueue, messages[0].queueOffset)
                    return .success
                })
                return member
            } isDone: {
                ledger.count >= count
            }
            #expect(ledger.count == count && ledger.overlaps == 0)
            for (queue, offsets) in ledger.offsets { #expect(offsets == Array(0..<Int64(offsets.count)), "\(queue)") }
        }
    }

    @Test func nothingIsRepeatedWhileMembersComeAndGo() async throws {
        try await withCluster { cluster in
            let ledger = Ledger()
            let count = 600
            try await Self.exercise(cluster, "Members", count: count) {
                let member = Self.member(cluster, "members", "Members")
                member.registerMessageListener { messages, context in
                    for _ in 0..<10 { await Task.yield() }
                    ledger.ended(context.messageQueue, messages[0].queueOffset)
                    return .consumeSuccess
                }
                return member
            } isDone: {
                ledger.count >= count
            }
            for (queue, offsets) in ledger.offsets { #expect(offsets.sorted() == Array(0..<Int64(offsets.count)), "\(queue)") }
            #expect(ledger.count == count)
        }
    }

    @Test func membersOfAnotherKindAreRefused() async throws {
        try await withCluster { cluster in
            let received = Collected<MessageExt>()
            let first = try await cluster.consumer("kinds", "Kinds", into: received)
            let producer = try await cluster.producer()
            try await producer.send(Message(topic: "Kinds", text: "x"))
            #expect(await eventually { received.count == 1 })

            let orderly = Self.member(cluster, "kinds", "Kinds")
            orderly.registerMessageListener(orderly: { _, _ in .success })
            let other = try #require(await failure { () throws(MQError) in try await orderly.start() })
            #expect(other.code == .invalidConfiguration && other.message.contains("\(first.runtime.clientID) has a concurrent listener"))
            #expect(other.advice.contains("same kind of listener"))

            var configuration = Self.configuration("kinds")
            configuration.messageModel = .broadcasting
            configuration.localOffsetDirectory = cluster.directory + "/offsets"
            let broadcasting = DefaultMQPushConsumer(
                configuration, client: ClientConfiguration(nameServers: [cluster.address]), subscriptions: [Subscription("Kinds")])
            broadcasting.registerMessageListener { _, _ in .consumeSuccess }
            let model = try #require(await failure { () throws(MQError) in try await broadcasting.start() })
            #expect(model.message.contains("CLUSTERING") && model.advice.contains("messageModel"))

            // Alone it may.
            await first.shutdown()
            try await orderly.start()
            await orderly.shutdown()
            await producer.shutdown()
        }
    }

    @Test func aListenerMustBeOneOfBoth() async {
        struct Both: MessageListenerConcurrently, MessageListenerOrderly {
            func consumeMessage(_: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus {
                .consumeSuccess
            }
            func consumeMessage(_: [MessageExt], context: ConsumeOrderlyContext) async throws -> ConsumeOrderlyStatus { .success }
        }
        struct Neither: MessageListener {}
        for (listener, word) in [(Both() as any MessageListener, "at once"), (Neither(), "Neither")] {
            let consumer = DefaultMQPushConsumer(
                ConsumerConfiguration(group: "g"), client: ClientConfiguration(nameServers: ["127.0.0.1:1"]), listener: listener)
            #expect(await failure { () throws(MQError) in try await consumer.start() }?.message.contains(word) == true)
        }
    }
}
