import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Pull consumers with a real broker.
@Suite(.serialized) struct LitePullEndToEndTests {
    func consumer(
        _ cluster: LocalCluster, _ group: String, _ topics: String..., change: (inout ConsumerConfiguration) -> Void = { _ in }
    ) -> DefaultLitePullConsumer {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        change(&configuration)
        return DefaultLitePullConsumer(
            configuration, client: ClientConfiguration(nameServers: [cluster.address]), subscriptions: topics.map { Subscription($0) })
    }

    @Test func membersShareTheQueuesAndGoOnWhereTheOthersStopped() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            for number in 0..<200 { try await producer.send(Message(topic: "Audit", keys: ["\(number)"], text: "x")) }
            let read = Collected<String>()
            let (first, second) = (consumer(cluster, "audit", "Audit"), consumer(cluster, "audit", "Audit"))
            let readers = [first, second].map { consumer in
                Task { for try await message in consumer.messages { read.append(message.keys[0]) } }
            }
            try await first.start()
            try await second.start()
            #expect(
                await eventually {
                    let shares = await [first.assignment, second.assignment]
                    return shares.map(\.count) == [2, 2] && Set(shares.joined()).count == 4
                })
            #expect(await eventually { Set(read.all).count == 200 })
            await first.shutdown()
            for number in 200..<300 { try await producer.send(Message(topic: "Audit", keys: ["\(number)"], text: "x")) }
            #expect(await eventually { Set(read.all).count == 300 })
            await second.shutdown()
            for reader in readers { try await reader.value }
            // A third one finds everything done.
            let third = consumer(cluster, "audit", "Audit")
            try await third.start()
            try await producer.send(Message(topic: "Audit", keys: ["last"], text: "x"))
            #expect(try await third.poll(timeout: .seconds(60)).map { $0.keys[0] } == ["last"])
            await third.shutdown()
            await producer.shutdown()
        }
    }

    @Test func filtersTimesAndSeeksWorkOnAssignedQueues() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            var middle: Int64 = 0
            for number in 0..<40 {
                var message = Message(topic: "Pulled", tag: number.isMultiple(of: 2) ? "even" : "odd", text: "x")
                message.properties["number"] = "\(number)"
                try await producer.send(message, selecting: .hash(of: "one queue"))
                if number == 19 { middle = try await storeTime(cluster) + 1 }
            }
            let consumer = consumer(cluster, "assigned")
            let sql = MessageFilter.sql("number >= 30")
            let queues = try await started(cluster, "probe") { try await $0.fetchMessageQueues("Pulled") }
            #expect(queues.count == 4)
            try await consumer.assign(queues, filter: sql)
            try await consumer.start()
            var numbers: [Int] = []
            while numbers.count < 10 {
                numbers += try await consumer.poll(timeout: .seconds(60)).compactMap { Int($0.properties["number"] ?? "") }
            }
            #expect(numbers == Array(30..<40))
            try await consumer.commit()
            var committed: [Int64] = []
            for queue in queues { if let offset = try await consumer.committed(queue), offset > 0 { committed.append(offset) } }
            #expect(committed == [40])
            var times: Set<Int64> = []
            for queue in queues { times.insert(try await consumer.offsetForTimestamp(queue, milliseconds: middle)) }
            #expect(times == [0, 20])
            await consumer.shutdown()
            let wrong = self.consumer(cluster, "wrong")
            try await wrong.subscribe("Pulled", filter: .sql("number >>> 3"))
            let error = try #require(await failure { () throws(MQError) in try await wrong.start() })
            #expect(error.code == .invalidSubscription, "\(error)")
            await producer.shutdown()
        }
    }

    /// When the newest message of the topic was stored.
    func storeTime(_ cluster: LocalCluster) async throws -> Int64 {
        try await started(cluster, "times") { consumer in
            let queues = try await consumer.fetchMessageQueues("Pulled")
            try await consumer.assign(queues)
            var newest: Int64 = 0
            var count = 0
            while count < 20 {
                let messages = try await consumer.poll(timeout: .seconds(60))
                count += messages.count
                newest = max(newest, messages.map(\.storeTimestamp).max() ?? 0)
            }
            return newest
        }
    }

    func started<Value: Sendable>(
        _ cluster: LocalCluster, _ group: String, _ work: (DefaultLitePullConsumer) async throws -> Value
    ) async throws -> Value {
        let consumer = consumer(cluster, group)
        try await consumer.assign([])
        try await consumer.start()
        let value = try await work(consumer)
        await consumer.shutdown()
        return value
    }

    @Test func toolsSeeAPullConsumer() async throws {
        try await withCluster { cluster in
            let consumer = consumer(cluster, "tools", "Tools")
            try await consumer.start()
            let info = await withCheckedContinuation { continuation in
                consumer.runtime.execute { continuation.resume(returning: $0.consumers["tools"]?.runningInfo()) }
            }
            #expect(info?.properties["PROP_CONSUME_TYPE"] == "CONSUME_ACTIVELY")
            await consumer.shutdown()
        }
    }
}
