import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Where consumers of either kind begin with a queue, whatever a broker answers.
@Suite struct StartingPlaceTests {
    static let places: [ConsumeFromWhere: String] = [.firstOffset: "20", .timestamp: "40", .lastOffset: "60"]

    /// The offset of the first pull of a consumer of a topic with the offsets 20 to 60.
    func firstPull(isPulling: Bool, from: ConsumeFromWhere, _ broker: ScriptedBroker) async throws -> String? {
        broker.change { $0.first[ScriptedBroker.key("T")] = 20 }
        broker.store("T", count: 40)
        if isPulling {
            var configuration = ConsumerConfiguration(group: "cg")
            configuration.consumeFromWhere = from
            let consumer = DefaultLitePullConsumer(
                configuration, client: ClientConfiguration(nameServers: [broker.nameServer.address]), subscriptions: [Subscription("T")])
            try await consumer.start()
            let reader = Task { try await consumer.poll(timeout: .seconds(60)) }
            #expect(await broker.server.wait(for: .pullMessage))
            await consumer.shutdown()
            _ = await reader.result
        } else {
            let consumer = broker.consumer({ $0.consumeFromWhere = from }) { _, _ in .consumeSuccess }
            try await consumer.start()
            #expect(await broker.server.wait(for: .pullMessage))
            await consumer.shutdown()
        }
        return broker.server.requests(.pullMessage).first?.fields["queueOffset"]
    }

    @Test(arguments: [false, true], ["-1", "-2", "-9223372036854775808"])
    func aNegativePositionIsNoneYet(isPulling: Bool, offset: String) async throws {
        for (from, expected) in Self.places {
            let broker = try ScriptedBroker()
            broker.override { $0.requestCode == .queryConsumerOffset ? .answer(.success(["offset": offset])) : nil }
            #expect(try await firstPull(isPulling: isPulling, from: from, broker) == expected, "\(from)")
        }
    }

    /// As brokers answer that have nothing of a queue yet.
    @Test(arguments: [false, true]) func negativeEndsOfAQueueAreItsBeginning(isPulling: Bool) async throws {
        for from in Self.places.keys {
            let broker = try ScriptedBroker()
            let codes: [RequestCode] = [.queryConsumerOffset, .getMinOffset, .getMaxOffset, .searchOffsetByTimestamp]
            broker.override { codes.contains($0.requestCode) ? .answer(.success(["offset": "-1"])) : nil }
            #expect(try await firstPull(isPulling: isPulling, from: from, broker) == "0", "\(from)")
        }
    }

    @Test func anAnswerWithoutAnOffsetIsNoPosition() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 3)
        broker.override { $0.requestCode == .queryConsumerOffset ? .answer(.success(["offset": "many"])) : nil }
        let received = Collected<Int64>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(broker.server.requests(.pullMessage).isEmpty)
        // It asks again.
        broker.override(nil)
        #expect(await eventually { received.count == 3 })
        await consumer.shutdown()
    }

    @Test(arguments: [ResponseCode.success, .pullNotFound, .pullRetryImmediately, .pullOffsetMoved])
    func aPullIsNeverAnsweredWithANegativePlace(_ code: ResponseCode) throws {
        let queue = ScriptedBroker.queue()
        for next in [nil, "-1", "x", "-9223372036854775808"] {
            let response = RemotingCommand.response(code, nil, next.map { ["nextBeginOffset": $0] } ?? [:])
            guard case .failed(let error) = PullAnswer(response, queue: queue, context: .init(topic: "T", group: "cg")) else {
                Issue.record("\(next ?? "none") was taken for a place")
                continue
            }
            #expect(error.code == .malformedAnswer && error.description.contains("nextBeginOffset"))
        }
    }

    @Test func aPullConsumerReadsAQueueThatIsAddedFromItsBeginning() async throws {
        let broker = try ScriptedBroker(queues: 1)
        broker.store("T", count: 5)
        var configuration = ConsumerConfiguration(group: "cg")
        configuration.consumeFromWhere = .lastOffset
        configuration.rebalanceInterval = .milliseconds(50)
        let consumer = DefaultLitePullConsumer(
            configuration, client: ClientConfiguration(nameServers: [broker.nameServer.address]), subscriptions: [Subscription("T")])
        try await consumer.start()
        broker.store("T", queueID: 1, count: 3)
        // One whose beginning is gone came with a broker that was away: it is older than the group.
        broker.change { $0.first[ScriptedBroker.key("T", 2)] = 7 }
        broker.store("T", queueID: 2, count: 3)
        broker.nameServer.follow(Scripts.nameServer(["T": Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 3)]))
        consumer.runtime.execute { $0.refreshRoutes() }
        #expect(await eventually { await consumer.assignment.count == 3 })
        broker.store("T", queueID: 2, count: 1)
        var read: [String] = []
        for try await message in consumer.messages {
            read.append("\(message.queueID):\(message.queueOffset)")
            if read.count == 4 { break }
        }
        #expect(read.sorted() == ["1:0", "1:1", "1:2", "2:10"])
        await consumer.shutdown()
    }
}
