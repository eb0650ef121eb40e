import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Starts, stops, routes and refusals that need no broker.
@Suite struct ProducerLifeTests {
    let message = Message(topic: "T", text: "hello")

    @Test func aTopicThatDoesNotExistIsCreatedFromTheTemplate() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let template = Scripts.route([("b", broker.address)], queues: 8)
        let nameServer = try ScriptedServer(Scripts.nameServer(["TBW102": template]))
        let producer = DefaultMQProducer(group: "pg", nameServers: [nameServer.address])
        try await producer.start()
        var queues: Set<Int32> = []
        for _ in 0..<8 { queues.insert(try await producer.send(Message(topic: "New", text: "x")).messageQueue.queueID) }
        #expect(queues == [0, 1, 2, 3])
        #expect(broker.requests(.sendMessageV2).allSatisfy { $0.fields["c"] == "TBW102" && $0.fields["d"] == "4" })
        // As soon as the topic has a route of its own, that one is used.
        nameServer.follow(Scripts.nameServer(["New": Scripts.route([("b", broker.address)], queues: 1)]))
        let moved = await eventually { (try? await producer.send(Message(topic: "New", text: "x")))?.messageQueue.queueID == 0 }
        #expect(moved)
        await producer.shutdown()
    }

    /// Replies and questions about transactions come by connections that the broker knows.
    @Test func aBrokerWhoseConnectionEndedIsToldAnewWhoIsThere() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let nameServer = try ScriptedServer(Scripts.nameServer(["T": Scripts.route([("b", broker.address)])]))
        var client = ClientConfiguration(nameServers: [nameServer.address])
        client.heartbeatBrokerInterval = .seconds(3_600)
        var configuration = ProducerConfiguration(group: "pg")
        configuration.retryTimesWhenSendFailed = 0
        let producer = DefaultMQProducer(configuration, client: client)
        try await producer.start()
        try await producer.send(message)
        let known = broker.requests(.heartBeat).count
        broker.follow { $0.requestCode == .sendMessageV2 ? .closeConnection : Scripts.storing($0) }
        #expect(await failure { () throws(MQError) in try await producer.send(message) } != nil)
        // It asks nothing more of the broker.
        #expect(await broker.wait(for: .heartBeat, count: known + 1))
        await producer.shutdown()
    }

    @Test func aConsumerThatConnectsAnewSaysFirstWhoItIs() async throws {
        let broker = try ScriptedBroker()
        broker.store("T")
        let consumer = broker.consumer { _, _ in .consumeSuccess }
        let (pulls, ended) = (Collected<Int>(), Collected<Int>())
        broker.override { request in
            guard request.requestCode == .pullMessage else { return nil }
            pulls.append(1)
            guard pulls.count == 2 else { return nil }
            ended.append(broker.server.requests.count)
            return .closeConnection
        }
        try await consumer.start()
        #expect(await eventually { pulls.count >= 3 })
        // What was on its way on the old connection may have come still.
        let after = broker.server.requests.dropFirst(ended.all.first ?? 0).map(\.requestCode)
        #expect(after.first { $0 == .heartBeat || $0 == .pullMessage } == .heartBeat, "\(after)")
        await consumer.shutdown()
    }

    @Test func aTopicThatNobodyKnowsIsAnErrorThatSaysWhatToDo() async throws {
        let nameServer = try ScriptedServer(Scripts.nameServer([:]))
        let producer = DefaultMQProducer(group: "pg", nameServers: [nameServer.address])
        try await producer.start()
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message) })
        #expect(error.code == .topicNotFound && error.topic == "T" && !error.isRetriable)
        for part in [nameServer.address, "mqadmin updateTopic", "autoCreateTopicEnable"] { #expect("\(error)".contains(part)) }
        await producer.shutdown()
    }

    @Test func aTopicWithoutWritableQueuesIsNamedAsSuch() async throws {
        var route = Scripts.route([("b", "127.0.0.1:1")])
        route.queueDatas[0].perm = .read
        let nameServer = try ScriptedServer(Scripts.nameServer(["T": route]))
        let producer = DefaultMQProducer(group: "pg", nameServers: [nameServer.address])
        try await producer.start()
        #expect(await failure { () throws(MQError) in try await producer.send(message) }?.code == .noPermission)
        await producer.shutdown()
    }

    @Test func withoutANameServerTheErrorSaysWhereItWasLookedFor() async throws {
        let address = try unusedAddress()
        let producer = DefaultMQProducer(group: "pg", nameServers: [address])
        try await producer.start()
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message) })
        #expect(error.code == .nameServerUnreachable && error.isRetriable && "\(error)".contains("check that mqnamesrv runs at \(address)"))
        await producer.shutdown()
    }

    @Test func theNextNameServerIsAskedWhenOneFailsOrKnowsNothing() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let ignorant = try ScriptedServer(Scripts.nameServer([:]))
        let knowing = try ScriptedServer(Scripts.nameServer(["T": Scripts.route([("b", broker.address)])]))
        for first in [ignorant.address, try unusedAddress()] {
            for addresses in [[first, knowing.address], [knowing.address, first]] {
                let producer = DefaultMQProducer(group: "pg", nameServers: addresses)
                try await producer.start()
                #expect(try await producer.send(message).status == .sendOK)
                await producer.shutdown()
            }
        }
    }

    @Test func aSilentNameServerDoesNotHoldASendBeyondItsTimeOut() async throws {
        let nameServer = try ScriptedServer { _ in .silence }
        let producer = DefaultMQProducer(group: "pg", nameServers: [nameServer.address])
        try await producer.start()
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message, timeout: .milliseconds(200)) })
        #expect(error.code == .timedOut && "\(error)".contains(nameServer.address))
        await producer.shutdown()
    }

    @Test func startAndStopAreCheckedAndRunDoesBoth() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let (producer, _) = try Scripts.producer(brokers: [broker])
        #expect(await failure { () throws(MQError) in try await producer.send(message) }?.code == .notStarted)
        try await producer.start()
        #expect(await failure { () throws(MQError) in try await producer.start() }?.code == .alreadyStarted)
        await producer.shutdown()
        await producer.shutdown()
        #expect(await failure { () throws(MQError) in try await producer.start() }?.code == .shutDown)

        let (running, _) = try Scripts.producer(brokers: [broker])
        let task = Task { try await running.run() }
        try await running.waitUntilStarted()
        try await running.send(message)
        task.cancel()
        try await task.value
        #expect(await failure { () throws(MQError) in try await running.send(message) }?.code == .shutDown)

        let (told, _) = try Scripts.producer(brokers: [broker])
        let other = Task { try await told.run() }
        try await told.waitUntilStarted()
        await told.shutdown()
        try await other.value
    }

    @Test func twoOfOneGroupNeedTwoClients() async throws {
        let runtime = ClientRuntime(ClientConfiguration(nameServers: ["127.0.0.1:1"]))
        let first = DefaultMQProducer(ProducerConfiguration(group: "pg"), runtime: runtime)
        let second = DefaultMQProducer(ProducerConfiguration(group: "pg"), runtime: runtime)
        try await first.start()
        #expect(await failure { () throws(MQError) in try await second.start() }?.code == .alreadyStarted)
        await first.shutdown()
        try await second.start()
        await second.shutdown()
    }

    @Test func wrongConfigurationsAreNamedAtTheStart() async throws {
        func code(_ change: (inout ProducerConfiguration, inout ClientConfiguration) -> Void) async -> MQError? {
            var producing = ProducerConfiguration(group: "pg")
            var client = ClientConfiguration(nameServers: ["127.0.0.1:9876"])
            change(&producing, &client)
            let producer = DefaultMQProducer(producing, client: client)
            return await failure { () throws(MQError) in try await producer.start() }
        }
        #expect(
            await code {
                $0.group = ""; _ = $1
            }?.code == .invalidConfiguration)
        #expect(
            await code {
                $0.group = "a b"; _ = $1
            }?.code == .invalidConfiguration)
        #expect(
            await code {
                $0.group = "DEFAULT_PRODUCER"; _ = $1
            }?.code == .invalidConfiguration)
        #expect(
            await code {
                $0.sendTimeout = .zero; _ = $1
            }?.message.contains("sendTimeout") == true)
        #expect(
            await code {
                _ = $0; $1.nameServers = []
            }?.code == .invalidConfiguration)
        #expect(
            await code {
                _ = $0; $1.nameServers = ["localhost"]
            }?.message.contains("localhost") == true)
    }

    @Test func messagesThatCannotBeSentAreRefusedHere() async throws {
        let producer = DefaultMQProducer(group: "pg", nameServers: ["127.0.0.1:1"])
        try await producer.start()
        func refusal(_ message: Message) async -> MQError? { await failure { () throws(MQError) in try await producer.send(message) } }
        var named = Message(topic: "T", text: "x")
        named.properties["a\u{1}b"] = "c"
        var stuffed = Message(topic: "T", text: "x")
        stuffed.properties["large"] = String(repeating: "x", count: 40_000)
        let wrong: [(Message, String)] = [
            (Message(topic: "", text: "x"), "blank"), (Message(topic: "a b", text: "x"), "letters, digits"),
            (Message(topic: String(repeating: "t", count: 128), text: "x"), "127"), (Message(topic: "TBW102", body: []), "empty"),
            (Message(topic: "SCHEDULE_TOPIC_XXXX", text: "x"), "belongs to the broker"), (Message(topic: "T", body: []), "empty"),
            (Message(topic: "T", body: [UInt8](repeating: 1, count: 4 << 20 + 1)), "maxMessageSize"), (named, "U+0001"),
            (stuffed, "move data into the body"),
        ]
        for (message, text) in wrong {
            let error = await refusal(message)
            #expect(error?.code == .invalidMessage && "\(error!)".contains(text), "\(String(describing: error))")
        }
        await producer.shutdown()
    }
}
