import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQSystem
import Testing

@testable import RocketMQClient

/// What consumers make of topics and expressions that change under them, with real brokers.
@Suite(.serialized) struct TopicChangeTests {
    enum Kind: String, CaseIterable {
        case concurrent, orderly, broadcasting, pull
    }

    /// A consumer of some kind that collects what comes.
    private final class Reader: Sendable {
        let received = Collected<String>()
        let log = MemoryLogSink()
        private let push: DefaultMQPushConsumer?
        private let pull: DefaultLitePullConsumer?
        private let reading: Task<Void, any Error>?

        init(
            _ kind: Kind, _ cluster: LocalCluster, filter: MessageFilter = .all, _ change: (inout ConsumerConfiguration) -> Void = { _ in }
        )
            async throws
        {
            var configuration = ConsumerConfiguration(group: "readers-\(kind)")
            configuration.consumeFromWhere = .firstOffset
            configuration.messageModel = kind == .broadcasting ? .broadcasting : .clustering
            configuration.localOffsetDirectory = cluster.directory + "/positions"
            change(&configuration)
            var client = ClientConfiguration(nameServers: [cluster.address])
            client.requestTimeout = .seconds(60)
            client.logSink = log
            let (received, subscriptions) = (received, [Subscription("T", filter: filter)])
            if kind == .pull {
                let consumer = DefaultLitePullConsumer(configuration, client: client, subscriptions: subscriptions)
                try await consumer.start()
                reading = Task {
                    for try await message in consumer.messages { received.append(String(decoding: message.body, as: UTF8.self)) }
                }
                (push, pull) = (nil, consumer)
            } else {
                let consumer = DefaultMQPushConsumer(configuration, client: client, subscriptions: subscriptions)
                if kind == .orderly {
                    consumer.registerMessageListener(orderly: { messages, _ in
                        for message in messages { received.append(String(decoding: message.body, as: UTF8.self)) }
                        return .success
                    })
                } else {
                    consumer.registerMessageListener { messages, _ in
                        for message in messages { received.append(String(decoding: message.body, as: UTF8.self)) }
                        return .consumeSuccess
                    }
                }
                try await consumer.start()
                (push, pull, reading) = (consumer, nil, nil)
            }
        }

        func subscribe(_ filter: MessageFilter) async throws {
            try await push?.subscribe("T", filter: filter)
            try await pull?.subscribe("T", filter: filter)
        }

        func shutdown() async {
            await push?.shutdown()
            await pull?.shutdown()
            _ = await reading?.result
        }
    }

    private func send(_ producer: DefaultMQProducer, _ cluster: LocalCluster, _ text: String, tag: String? = nil) async throws {
        try await producer.send(
            Message(topic: "T", tag: tag, text: text), to: MessageQueue(topic: "T", brokerName: cluster.brokerName, queueID: 0))
    }

    @Test("A topic that is deleted and made anew under a consumer is read from its beginning", arguments: Kind.allCases)
    func remadeTopic(_ kind: Kind) async throws {
        try await withCluster { cluster in
            await cluster.make("T", queues: 1)
            let producer = try await cluster.producer()
            let reader = try await Reader(kind, cluster)
            for number in 0..<5 { try await send(producer, cluster, "old \(number)") }
            #expect(await eventually(within: .seconds(300)) { reader.received.count == 5 })
            await cluster.delete("T")
            #expect(
                await eventually(within: .seconds(300)) { reader.log.records.contains { $0.message.contains("topic T does not exist") } })
            // As many as the old one had: where the consumer stood in that is the end of the new one.
            await cluster.make("T", queues: 1)
            for number in 0..<5 { try await send(producer, cluster, "new \(number)") }
            #expect(await eventually(within: .seconds(300)) { reader.received.count >= 10 })
            #expect(Set(reader.received.all.dropFirst(5)) == Set((0..<5).map { "new \($0)" }))
            #expect(reader.received.count == 10)
            await reader.shutdown()
            await producer.shutdown()
        }
    }

    @Test(
        "A new expression counts from when it was subscribed to, whatever waits at the broker",
        arguments: [Kind.concurrent, .orderly, .pull])
    func newExpression(_ kind: Kind) async throws {
        try await withCluster { cluster in
            await cluster.make("T", queues: 1)
            let producer = try await cluster.producer()
            let reader = try await Reader(kind, cluster, filter: .tags("A"))
            try await send(producer, cluster, "a0", tag: "A")
            #expect(await eventually(within: .seconds(300)) { reader.received.all == ["a0"] })
            try await reader.subscribe(.all)
            try await send(producer, cluster, "b0", tag: "B")
            #expect(await eventually(within: .seconds(300)) { reader.received.all == ["a0", "b0"] })
            try await reader.subscribe(.tags("A"))
            try await send(producer, cluster, "b1", tag: "B")
            try await send(producer, cluster, "a1", tag: "A")
            #expect(await eventually(within: .seconds(300)) { reader.received.count == 3 })
            #expect(reader.received.all == ["a0", "b0", "a1"])
            await reader.shutdown()
            await producer.shutdown()
        }
    }

    @Test("A bad expression for assigned queues is refused with its place, and the one before stays")
    func badExpressionForAssignedQueues() async throws {
        try await withCluster { cluster in
            await cluster.make("T", queues: 1)
            let producer = try await cluster.producer()
            for tag in ["A", "B"] { try await send(producer, cluster, tag, tag: tag) }
            let queue = MessageQueue(topic: "T", brokerName: cluster.brokerName, queueID: 0)
            func consumer(_ expression: String) async throws -> DefaultLitePullConsumer {
                var client = ClientConfiguration(nameServers: [cluster.address])
                client.requestTimeout = .seconds(60)
                let consumer = DefaultLitePullConsumer(ConsumerConfiguration(group: "assigned"), client: client)
                try await consumer.assign([queue], filter: .sql(expression))
                return consumer
            }
            let wrong = try await consumer("TAGS =")
            let error = await #expect(throws: MQError.self) { try await wrong.start() }
            #expect(error?.code == .invalidSubscription && error.map { "\($0)" }?.contains("at character 7") == true)
            let right = try await consumer("TAGS = 'B'")
            try await right.start()
            await #expect(throws: MQError.self) { try await right.assign([queue], filter: .sql("TAGS IN (5)")) }
            try await right.seek(queue, to: .begin)
            #expect(try await right.poll(timeout: .seconds(300)).map { String(decoding: $0.body, as: UTF8.self) } == ["B"])
            await right.shutdown()
            await producer.shutdown()
        }
    }

    @Test("A time of the future leads to the end of a queue, and not to its last message")
    func futureTime() async throws {
        try await withCluster { cluster in
            await cluster.make("T", queues: 1)
            let producer = try await cluster.producer()
            for number in 0..<3 { try await send(producer, cluster, "old \(number)") }
            let queue = MessageQueue(topic: "T", brokerName: cluster.brokerName, queueID: 0)
            let pull = DefaultLitePullConsumer(group: "seeking", nameServers: [cluster.address])
            try await pull.assign([queue])
            try await pull.start()
            let future = LinuxClock().wallMilliseconds + 3_600_000
            try await pull.seek(queue, to: .timestamp(milliseconds: future))
            #expect(try await pull.position(queue) == 3)
            #expect(try await pull.offsetForTimestamp(queue, milliseconds: future) == 3)
            #expect(try await pull.offsetForTimestamp(queue, milliseconds: 0) == 0)
            await pull.shutdown()
            let reader = try await Reader(.concurrent, cluster) {
                $0.consumeFromWhere = .timestamp
                $0.consumeTimestampMilliseconds = future
            }
            try await send(producer, cluster, "new")
            #expect(await eventually(within: .seconds(300)) { reader.received.count > 0 })
            #expect(reader.received.all == ["new"])
            await reader.shutdown()
            await producer.shutdown()
        }
    }

    @Test("The -1 of Java programs for the default number of retries is explained, and does not mean none at all")
    func negativeRetries() async throws {
        var configuration = ConsumerConfiguration(group: "cg")
        configuration.maxReconsumeTimes = -1
        let error = #expect(throws: MQError.self) { try configuration.check() }
        #expect(error?.code == .invalidConfiguration && error.map { "\($0)" }?.contains("nil is what -1 is in Java") == true)
        configuration.maxReconsumeTimes = 0
        try configuration.check()
    }
}
