import RocketMQProtocol
import Testing

@testable import RocketMQClient

@Suite struct NamespaceTests {
    @Test func namesAreWrappedAsByTheReference() {
        let namespace = Namespace("INST")
        let pairs = [("T", "INST%T"), ("%RETRY%g", "%RETRY%INST%g"), ("%DLQ%g", "%DLQ%INST%g")]
        for (plain, wrapped) in pairs {
            #expect(namespace.wrap(plain) == wrapped && namespace.wrap(wrapped) == wrapped && namespace.unwrap(wrapped) == plain)
        }
        for name in ["TBW102", "RMQ_SYS_TRACE_TOPIC", "rmq_sys_x", "CID_RMQ_SYS_TRANS"] { #expect(namespace.wrap(name) == name) }
        #expect(namespace.unwrap("OTHER%T") == "OTHER%T" && namespace.unwrap("%RETRY%OTHER%g") == "%RETRY%OTHER%g")
        #expect(Namespace(nil).wrap("T") == "T" && Namespace("").unwrap("INST%T") == "INST%T")
    }

    @Test func aNamespaceIsInvisibleToThoseInIt() async throws {
        try await withCluster { cluster in
            var client = ClientConfiguration(nameServers: [cluster.address])
            client.namespace = "INST"
            let producer = DefaultMQProducer(ProducerConfiguration(group: "pg"), client: client)
            try await producer.start()
            let result = try await producer.send(Message(topic: "Tenant", keys: ["inside"], text: "x"))
            #expect(result.messageQueue.topic == "Tenant")
            try await producer.send(Message(topic: "Tenant", keys: ["chosen"], text: "x"), to: result.messageQueue)
            let outside = try await cluster.producer()
            try await outside.send(Message(topic: "Tenant", keys: ["outside"], text: "x"))
            let all = Collected<MessageExt>()
            let seer = try await cluster.consumer("seer", "INST%Tenant", into: all)

            var configuration = ConsumerConfiguration(group: "tenants")
            configuration.consumeFromWhere = .firstOffset
            let received = Collected<MessageExt>()
            let consumer = DefaultMQPushConsumer(configuration, client: client, subscriptions: [Subscription("Tenant")])
            consumer.registerMessageListener { messages, context in
                received.append(messages[0])
                #expect(context.messageQueue.topic == "Tenant" || messages[0].reconsumeTimes > 0)
                context.delayLevelWhenNextConsume = 1
                return messages[0].reconsumeTimes == 0 && messages[0].keys == ["inside"] ? .reconsumeLater : .consumeSuccess
            }
            try await consumer.start()
            // Once more through %RETRY%INST%tenants, under its own topic.
            #expect(await eventually(within: .seconds(30)) { received.count == 3 })
            #expect(await consumer.assignedQueues.allSatisfy { ["Tenant", "%RETRY%tenants"].contains($0.topic) })
            await consumer.shutdown()
            #expect(received.all.allSatisfy { $0.topic == "Tenant" && $0.properties["INSTANCE_ID"] == "INST" })
            #expect(received.all.flatMap(\.keys).sorted() == ["chosen", "inside", "inside"])
            #expect(await eventually { all.count == 2 })
            await seer.shutdown()
            await outside.shutdown()
            await producer.shutdown()
        }
    }

    @Test func pullConsumersAreInTheirNamespace() async throws {
        try await withCluster { cluster in
            var client = ClientConfiguration(nameServers: [cluster.address])
            client.namespace = "INST"
            let producer = DefaultMQProducer(ProducerConfiguration(group: "pg"), client: client)
            try await producer.start()
            let sent = try await producer.send(Message(topic: "Pulled", text: "inside"))
            let outside = try await cluster.producer()
            try await outside.send(Message(topic: "Pulled", text: "outside"))

            let member = DefaultLitePullConsumer(.fromTheFirst("readers"), client: client, subscriptions: [Subscription("Pulled")])
            try await member.start()
            let messages = try await member.poll(timeout: .seconds(60))
            #expect(messages.map(\.topic) == ["Pulled"] && messages.map(\.messageID) == [sent.messageID])
            #expect(await member.assignment.contains(sent.messageQueue))
            try await member.commit(messages[0])
            #expect(try await member.committed(sent.messageQueue) == 1)
            try await member.pause([sent.messageQueue])
            try await member.resume([sent.messageQueue])
            try await member.seek(sent.messageQueue, to: .begin)
            #expect(try await member.poll(timeout: .seconds(60)).map(\.messageID) == [sent.messageID])
            await member.shutdown()

            let own = DefaultLitePullConsumer(.fromTheFirst("owners"), client: client)
            try await own.assign([sent.messageQueue])
            try await own.start()
            #expect(try await own.fetchMessageQueues("Pulled").contains(sent.messageQueue))
            #expect(try await own.poll(timeout: .seconds(60)).map(\.messageID) == [sent.messageID])
            await own.shutdown()
            // The group is another one than that outside.
            let plain = DefaultLitePullConsumer(
                .fromTheFirst("readers"), client: ClientConfiguration(nameServers: [cluster.address]),
                subscriptions: [Subscription("Pulled")])
            try await plain.start()
            let others = try await plain.poll(timeout: .seconds(60))
            #expect(others.count == 1 && others[0].messageID != sent.messageID)
            await plain.shutdown()
            await outside.shutdown()
            await producer.shutdown()
        }
    }

    @Test func requestsAreAnsweredInANamespace() async throws {
        try await withCluster { cluster in
            var client = ClientConfiguration(nameServers: [cluster.address])
            client.namespace = "INST"
            let producer = DefaultMQProducer(ProducerConfiguration(group: "askers"), client: client)
            try await producer.start()
            // Creates the topic.
            try await producer.send(Message(topic: "Questions", tag: "plain", text: "x"))
            let answering = DefaultMQProducer(ProducerConfiguration(group: "answerers"), client: client)
            try await answering.start()
            let consumer = DefaultMQPushConsumer(
                ConsumerConfiguration(group: "questions"), client: client, subscriptions: [Subscription("Questions")])
            consumer.registerMessageListener { messages, _ in
                for message in messages where message.tag == nil { try await answering.reply(to: message, body: Array("yes".utf8)) }
                return .consumeSuccess
            }
            try await consumer.start()
            let reply = try await producer.request(Message(topic: "Questions", text: "?"), timeout: .seconds(20))
            #expect(reply.body == Array("yes".utf8))
            await consumer.shutdown()
            await answering.shutdown()
            await producer.shutdown()
        }
    }

    @Test func aNameThatCannotBeIsRefused() async {
        var client = ClientConfiguration(nameServers: ["127.0.0.1:1"])
        client.namespace = "a%b"
        let producer = DefaultMQProducer(ProducerConfiguration(group: "pg"), client: client)
        #expect(await failure { () throws(MQError) in try await producer.start() }?.message.contains("namespace") == true)
    }
}
