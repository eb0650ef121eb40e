import RocketMQBase
import RocketMQProtocol
import Synchronization
import Testing

@testable import RocketMQClient

@Suite struct ProducerTests {
    let message = Message(topic: "T", tag: "TagA", keys: ["k"], text: "hello")

    @Test func aSendSaysWhereTheMessageIs() async throws {
        let broker = try ScriptedServer { Scripts.stored($0, offset: 42) }
        let (producer, nameServer) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        let result = try await producer.send(message)
        #expect(result.status == .sendOK && result.queueOffset == 42 && result.messageQueue.brokerName == "broker-0")
        #expect(result.offsetMessageID == "7F00000100002A9F0000000000000000" && result.regionID == "DefaultRegion")
        let request = try #require(broker.requests(.sendMessageV2).first)
        #expect(request.fields["b"] == "T" && request.fields["a"] == "pg" && request.body == Array("hello".utf8))
        let properties = MessageProperties(decoding: request.fields["i"] ?? "")
        #expect(properties["UNIQ_KEY"] == result.messageID && result.messageID.count == 32)
        #expect(properties["WAIT"] == "true" && properties["TAGS"] == "TagA" && properties["KEYS"] == "k")
        #expect(request.fields["e"] == "\(result.messageQueue.queueID)" && request.fields["n"] == "broker-0")
        await producer.shutdown()
        #expect(broker.requests(.unregisterClient).first?.fields == ["clientID": producer.runtime.clientID, "producerGroup": "pg"])
        #expect(nameServer.requests(.getRouteinfoByTopic).first?.fields["topic"] == "T")
    }

    @Test func anotherBrokerIsTriedAfterARefusal() async throws {
        let refusing = try ScriptedServer { _ in .answer(.response(.systemError, "disk full")) }
        let storing = try ScriptedServer(Scripts.storing)
        let (producer, _) = try Scripts.producer(brokers: [refusing, storing])
        try await producer.start()
        for _ in 0..<8 { #expect(try await producer.send(message).messageQueue.brokerName == "broker-1") }
        // In turn: half of the first attempts go to the broker that refuses.
        #expect((3...4).contains(refusing.requests(.sendMessageV2).count))
        await producer.shutdown()
    }

    @Test func anotherBrokerIsTriedWhenOneIsGoneOrCutsTheConnection() async throws {
        for reply in [ScriptedServer.Reply.closeConnection, .answer(.response(.serviceNotAvailable, "shutting down"))] {
            let broken = try ScriptedServer { _ in reply }
            let storing = try ScriptedServer(Scripts.storing)
            let (producer, _) = try Scripts.producer(brokers: [broken, storing])
            try await producer.start()
            for _ in 0..<4 { #expect(try await producer.send(message).messageQueue.brokerName == "broker-1") }
            await producer.shutdown()
        }
        let storing = try ScriptedServer(Scripts.storing)
        let nameServer = try ScriptedServer(
            Scripts.nameServer(["T": Scripts.route([("gone", try unusedAddress()), ("up", storing.address)])]))
        let producer = DefaultMQProducer(group: "pg", nameServers: [nameServer.address])
        try await producer.start()
        for _ in 0..<4 { #expect(try await producer.send(message).messageQueue.brokerName == "up") }
        await producer.shutdown()
    }

    @Test func aRefusalThatNoBrokerWouldGetAroundIsFinal() async throws {
        let broker = try ScriptedServer { _ in .answer(.response(.messageIllegal, "message too large")) }
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message) })
        #expect(error.code == .invalidMessage && error.responseCode == .messageIllegal && !error.isRetriable)
        #expect(error.topic == "T" && error.brokerName == "broker-0" && error.brokerAddress == broker.address)
        #expect(broker.requests(.sendMessageV2).count == 1)
        #expect("\(error)".contains("message too large") && "\(error)".contains("maxMessageSize"))
        await producer.shutdown()
    }

    @Test func afterAllAttemptsTheErrorNamesThem() async throws {
        let brokers = try (0..<2).map { _ in try ScriptedServer { _ in .answer(.response(.systemError, "no")) } }
        let (producer, _) = try Scripts.producer(brokers: brokers)
        try await producer.start()
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message) })
        #expect(error.message.hasPrefix("after 3 attempts (broker-") && error.responseCode == .systemError)
        #expect(brokers.map { $0.requests(.sendMessageV2).count }.reduce(0, +) == 3)
        await producer.shutdown()
    }

    @Test func aQueueOfTheCallersChoiceIsNotReplaced() async throws {
        let broker = try ScriptedServer { _ in .answer(.response(.systemError, "no")) }
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        let queue = MessageQueue(topic: "T", brokerName: "broker-0", queueID: 1)
        #expect(await failure { () throws(MQError) in try await producer.send(message, to: queue) } != nil)
        #expect(await failure { () throws(MQError) in try await producer.send(message, selecting: .hash(of: "x")) } != nil)
        #expect(await failure { () throws(MQError) in try await producer.send(message, selecting: { queues, _ in queues[0] }) } != nil)
        #expect(broker.requests(.sendMessageV2).count == 3)
        let elsewhere = MessageQueue(topic: "T", brokerName: "nowhere", queueID: 1)
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message, to: elsewhere) })
        #expect(error.code == .brokerNotFound && error.brokerName == "nowhere")
        await producer.shutdown()
    }

    @Test(.timeLimit(.minutes(15))) func aSilentBrokerEndsInATimeOut() async throws {
        let isSilent = Mutex(false)
        let broker = try ScriptedServer { isSilent.withLock { $0 } ? .silence : Scripts.storing($0) }
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        // The route is known and the connection there, however busy the machine: what takes time from now on is the broker.
        _ = try await producer.send(message, timeout: .seconds(600))
        isSilent.withLock { $0 = true }
        let clock = ContinuousClock()
        let start = clock.now
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message, timeout: .milliseconds(300)) })
        #expect(clock.now - start >= .milliseconds(300))
        #expect(error.code == .timedOut && error.isRetriable && error.brokerAddress == broker.address)
        #expect("\(error)".contains("topic T") && "\(error)".contains("broker-0"))
        await producer.shutdown()
    }

    @Test func withAnAttemptTimeoutAHangingBrokerLeavesTimeForAnother() async throws {
        let hanging = try ScriptedServer { _ in .silence }
        let storing = try ScriptedServer(Scripts.storing)
        // However slow the machine makes the one that stores.
        let (producer, _) = try Scripts.producer(brokers: [hanging, storing]) {
            $0.attemptTimeout = .milliseconds(100)
            $0.retryTimesWhenSendFailed = 100
            $0.sendTimeout = .seconds(600)
        }
        try await producer.start()
        for _ in 0..<4 { #expect(try await producer.send(message).messageQueue.brokerName == "broker-1") }
        await producer.shutdown()
    }

    @Test func storedButNotFlushedIsASuccessThatSaysSo() async throws {
        let codes: [(ResponseCode, SendStatus)] = [
            (.flushDiskTimeout, .flushDiskTimeout), (.flushSlaveTimeout, .flushSlaveTimeout), (.slaveNotAvailable, .slaveNotAvailable),
        ]
        for (code, status) in codes {
            let broker = try ScriptedServer { Scripts.stored($0, code: code) }
            let (producer, _) = try Scripts.producer(brokers: [broker])
            try await producer.start()
            #expect(try await producer.send(message).status == status)
            #expect(broker.requests(.sendMessageV2).count == 1)
            await producer.shutdown()
        }
        let broker = try ScriptedServer { Scripts.stored($0, code: .flushDiskTimeout) }
        let (careful, _) = try Scripts.producer(brokers: [broker]) { $0.retryAnotherBrokerWhenNotStoreOK = true }
        try await careful.start()
        #expect(try await careful.send(message).status == .flushDiskTimeout)
        #expect(broker.requests(.sendMessageV2).count == 3)
        await careful.shutdown()
    }

    @Test func latencyFaultToleranceLeavesARefusingBrokerAlone() async throws {
        let refusing = try ScriptedServer { _ in .answer(.response(.systemError, "no")) }
        let storing = try ScriptedServer(Scripts.storing)
        let (producer, _) = try Scripts.producer(brokers: [refusing, storing]) { $0.sendLatencyFaultEnable = true }
        try await producer.start()
        for _ in 0..<20 { try await producer.send(message) }
        #expect(refusing.requests(.sendMessageV2).count == 1)
        await producer.shutdown()
    }

    @Test func largeBodiesAreCompressed() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        let body = Array(String(repeating: "RocketMQ ", count: 1000).utf8)
        try await producer.send(Message(topic: "T", body: body))
        try await producer.send(Message(topic: "T", body: Array(body.prefix(4095))))
        var random = RandomSource(seed: 1)
        let noise = (0..<8192).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        try await producer.send(Message(topic: "T", body: noise))
        let requests = broker.requests(.sendMessageV2)
        // What does not get smaller goes as it is.
        #expect(requests.map { $0.fields["f"] } == ["769", "0", "0"] && requests[2].body == noise)
        #expect(requests[0].body.count < 500)
        #expect(try CompressionType.zlib.decompress(requests[0].body, limit: 1 << 20) == body)
        #expect(requests[1].body.count == 4095)
        await producer.shutdown()
    }

    @Test func aOnewaySendIsMarkedAndNotAnswered() async throws {
        let broker = try ScriptedServer { _ in .silence }
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        try await producer.sendOneway(message)
        #expect(await broker.wait(for: .sendMessageV2))
        #expect(broker.requests(.sendMessageV2).first?.isOneway == true)
        await producer.shutdown()
    }

    @Test func manyOnTheirWayAreBounded() async throws {
        let broker = try ScriptedServer { _ in .silence }
        let (producer, _) = try Scripts.producer(brokers: [broker]) {
            $0.maxInFlight = 3
            $0.sendTimeout = .milliseconds(500)
        }
        try await producer.start()
        let pending = (0..<5).map { _ in producer.sendAsync(message) }
        let outcomes = await [pending[3].outcome, pending[4].outcome]
        for case .failure(let error) in outcomes { #expect(error.code == .tooManyInFlight && error.isRetriable) }
        #expect(await broker.wait(for: .sendMessageV2, count: 3))
        broker.follow(Scripts.storing)
        // Waits for the time-outs of the first three, then finds room.
        let late = await producer.sendWhenRoom(message)
        #expect(try await late.result.status == .sendOK)
        for sent in pending[..<3] { #expect(await failure { () throws(MQError) in try await sent.result }?.code == .timedOut) }
        await producer.shutdown()
    }

    @Test func aStreamOfResultsKeepsTheOrder() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        let messages = (0..<500).map { number in
            var message = Message(topic: "T", text: "\(number)")
            message.uniqueKey = "id-\(number)"
            return message
        }
        var ids: [String] = []
        for await outcome in producer.send(each: messages, inFlight: 7) { ids.append(try outcome.get().messageID) }
        #expect(ids == messages.map { $0.uniqueKey ?? "" })
        await producer.shutdown()
    }

    @Test func shutdownWaitsForWhatIsOnItsWay() async throws {
        let broker = try ScriptedServer { _ in .silence }
        let (producer, _) = try Scripts.producer(brokers: [broker]) { $0.sendTimeout = .milliseconds(300) }
        try await producer.start()
        let pending = producer.sendAsync(message)
        #expect(await broker.wait(for: .sendMessageV2))
        await producer.shutdown()
        #expect(pending.current != nil)
        let error = try #require(await failure { () throws(MQError) in try await producer.send(message) })
        #expect(error.code == .shutDown)
    }
}
