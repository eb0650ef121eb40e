import RocketMQClient
import Testing

/// User code as it should read; that it compiles is most of the test.
@Suite struct ContractTests {
    func bill(_ message: MessageExt) async throws {}

    @Test func theFirstMinute() async throws {
        try await withCluster { cluster in
            let producer = DefaultMQProducer(group: "quickstart", nameServers: [cluster.address])
            try await producer.start()
            let result = try await producer.send(Message(topic: "TopicTest", tag: "TagA", keys: ["order-42"], body: Array("hello".utf8)))
            #expect("\(result.status) \(result.messageQueue) \(result.queueOffset)".hasPrefix("SEND_OK TopicTest@local:"))
            await producer.shutdown()

            let consumer = DefaultMQPushConsumer(group: "billing", nameServers: [cluster.address])
            try await consumer.subscribe("TopicTest", filter: .tags("TagA", "TagB"))
            let billed = Collected<String>()
            consumer.registerMessageListener { (messages: [MessageExt], context: ConsumeConcurrentlyContext) in
                for message in messages {
                    try await bill(message)
                    billed.append(message.messageID)
                }
                return .consumeSuccess
            }
            try await consumer.start()
            #expect(await eventually { billed.all == [result.messageID] })
            await consumer.shutdown()
        }
    }

    @Test func sendsOfAllKinds() async throws {
        try await withCluster { cluster in
            let client = ClientConfiguration(nameServers: [cluster.address])
            var producing = ProducerConfiguration(group: "order-producers")
            producing.sendTimeout = .seconds(2)
            let producer = DefaultMQProducer(producing, client: client)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await producer.run() }
                try await producer.waitUntilStarted()
                let orderID = 42
                var message = Message(topic: "Orders", tag: "paid", keys: ["\(orderID)"], text: "x")
                try await producer.send(message, selecting: .hash(of: orderID))
                try await producer.send(message, selecting: .random)
                try await producer.send(message, selecting: .machineRoom("room1"))
                try await producer.send(message, selecting: { queues, message in queues[message.body.count % queues.count] })
                try await producer.send(contentsOf: [message, message])
                try await producer.sendOneway(message)
                let pending = producer.sendAsync(message)
                #expect(try await pending.result.status == .sendOK)
                message.delayLevel = 3
                #expect(try await producer.send(message).status == .sendOK)
                do throws(MQError) {
                    try await producer.send(Message(topic: "SCHEDULE_TOPIC_XXXX", text: "x"))
                } catch {
                    #expect(error.code == .invalidMessage && error.responseCode == nil && error.brokerAddress == nil && !error.isRetriable)
                }
                group.cancelAll()
            }
        }
    }
}
