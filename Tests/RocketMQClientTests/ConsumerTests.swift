import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

@Suite struct ConsumerTests {
    @Test func consumesFromTheFirstOffsetAndCommitsAtTheEnd() async throws {
        let broker = try ScriptedBroker(queues: 2)
        broker.store("T", queueID: 0, count: 70)
        broker.store("T", queueID: 1, count: 30)
        let ids = Collected<String>()
        let consumer = broker.consumer { messages, context in
            #expect(context.messageQueue.brokerName == ScriptedBroker.name)
            for message in messages { ids.append(message.messageID) }
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await consumer.assignedQueues.map(\.description) == ["T@broker-a:0", "T@broker-a:1"])
        #expect(await eventually { ids.count == 100 })
        await consumer.shutdown()
        #expect(Set(ids.all).count == 100)
        #expect(broker.offset("T", 0) == 70 && broker.offset("T", 1) == 30)
        #expect(broker.server.requests(.unregisterClient).first?.fields["consumerGroup"] == "cg")
    }

    @Test func brokersHearOfTheSubscriptionBeforeTheFirstPull() async throws {
        let broker = try ScriptedBroker()
        let consumer = broker.consumer(filter: .tags("A", "B")) { _, _ in .consumeSuccess }
        try await consumer.start()
        #expect(await broker.server.wait(for: .pullMessage))
        let codes = broker.server.requests.map(\.requestCode)
        let (heartbeat, pull) = (codes.firstIndex(of: .heartBeat), codes.firstIndex(of: .pullMessage))
        #expect(try #require(heartbeat) < #require(pull))
        let data = try HeartbeatData(decoding: broker.server.requests(.heartBeat)[0].body)
        #expect(data.clientID == consumer.runtime.clientID)
        let group = try #require(data.consumerDataSet.first)
        #expect(group.groupName == "cg" && group.consumeFromWhere == .firstOffset && group.consumeType == .passively)
        let subscriptions = Dictionary(uniqueKeysWithValues: group.subscriptionDataSet.map { ($0.topic, $0) })
        #expect(Set(subscriptions.keys) == ["T", "%RETRY%cg"])
        #expect(subscriptions["T"]?.tagsSet == ["A", "B"] && subscriptions["T"]?.codeSet == [65, 66])
        #expect(broker.server.requests(.pullMessage)[0].fields["subVersion"] == subscriptions["T"].map { "\($0.subVersion)" })
        await consumer.shutdown()
    }

    @Test func tagsAreComparedAgainHere() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", tag: "A", count: 2)
        broker.store("T", tag: "other", count: 3)
        broker.store("T", count: 1)
        broker.store("T", tag: "A", count: 1)
        broker.store("T", tag: "other", count: 1)
        let offsets = Collected<Int64>()
        let consumer = broker.consumer(filter: .tags("A")) { messages, _ in
            for message in messages { offsets.append(message.queueOffset) }
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { offsets.count == 3 })
        await consumer.shutdown()
        #expect(offsets.all.sorted() == [0, 1, 6])
        #expect(broker.offset("T") == 8)
    }

    @Test func whatFailsGoesBackToTheBrokerAndIsPassed() async throws {
        struct Broken: Error {}
        let broker = try ScriptedBroker()
        broker.store("T", count: 3)
        let consumer = broker.consumer({ $0.maxReconsumeTimes = 5 }) { messages, context in
            switch messages[0].queueOffset {
            case 0: throw Broken()
            case 1:
                context.delayLevelWhenNextConsume = 4
                return .reconsumeLater
            default: return .consumeSuccess
            }
        }
        try await consumer.start()
        #expect(await eventually { broker.sentBack.count == 2 })
        await consumer.shutdown()
        let back = broker.sentBack.sorted { ($0.fields["originMsgId"] ?? "") < ($1.fields["originMsgId"] ?? "") }
        let captured = try CapturedFrameTests.frame("0296-json-CONSUMER_SEND_MSG_BACK-send-msg-back-request")
        #expect(Set(back[0].fields.keys) == Set(captured.fields.keys))
        #expect(back[0].fields["offset"] == "7" && back[0].fields["delayLevel"] == "0" && back[0].fields["maxReconsumeTimes"] == "5")
        #expect(back[0].fields["originMsgId"] == "T-0-0" && back[0].fields["originTopic"] == "T" && back[0].fields["group"] == "cg")
        #expect(back[1].fields["offset"] == "1007" && back[1].fields["delayLevel"] == "4")
        #expect(broker.offset("T") == 3)
    }

    @Test func onlyTheMessagesAfterTheAckIndexGoBack() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let sizes = Collected<Int>()
        let consumer = broker.consumer({ $0.consumeMessageBatchMaxSize = 4 }) { messages, context in
            sizes.append(messages.count)
            if messages[0].queueOffset == 4 { context.ackIndex = 1 }
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { broker.sentBack.count == 2 && sizes.count == 3 })
        await consumer.shutdown()
        #expect(sizes.all.sorted() == [2, 4, 4])
        #expect(Set(broker.sentBack.map { $0.fields["offset"]! }) == ["6007", "7007"])
        #expect(broker.offset("T") == 10)
    }

    @Test func whenTheBrokerDoesNotTakeItBackTheListenerGetsItAgain() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 1)
        broker.override { $0.requestCode == .consumerSendMsgBack ? .answer(.response(.systemError, "no")) : nil }
        let deliveries = Collected<Int32>()
        let consumer = broker.consumer { messages, _ in
            deliveries.append(messages[0].reconsumeTimes)
            return deliveries.count > 1 ? .consumeSuccess : .reconsumeLater
        }
        try await consumer.start()
        #expect(await eventually { deliveries.count == 2 })
        #expect(deliveries.all == [0, 1])
        await consumer.shutdown()
        #expect(broker.offset("T") == 1)
    }

    @Test func aRetriedMessageComesUnderItsOwnTopic() async throws {
        let broker = try ScriptedBroker()
        let retry = SystemTopic.retry(of: "cg")
        broker.store(retry, properties: ["RETRY_TOPIC": "T"])
        broker.nameServer.follow(
            Scripts.nameServer([
                "T": Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 1),
                retry: Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 1),
            ]))
        let topics = Collected<String>()
        let consumer = broker.consumer { messages, context in
            topics.append(messages[0].topic)
            #expect(context.messageQueue.topic == retry)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { topics.count == 1 })
        await consumer.shutdown()
        #expect(topics.all == ["T"] && broker.offset(retry) == 1)
    }

    @Test(
        arguments: [
            (ConsumeFromWhere.lastOffset, 60), (.firstOffset, 20), (.timestamp, 40),
        ] as [(ConsumeFromWhere, Int64)])
    func aGroupWithoutAPositionBeginsWhereItWasTold(_ from: ConsumeFromWhere, _ expected: Int64) async throws {
        let broker = try ScriptedBroker()
        broker.change { $0.first[ScriptedBroker.key("T")] = 20 }
        broker.store("T", count: 40)
        let consumer = broker.consumer({ $0.consumeFromWhere = from }) { _, _ in .consumeSuccess }
        try await consumer.start()
        #expect(await broker.server.wait(for: .pullMessage))
        #expect(broker.server.requests(.pullMessage).first?.fields["queueOffset"] == "\(expected)")
        await consumer.shutdown()

        let again = broker.consumer({ $0.consumeFromWhere = from }) { _, _ in .consumeSuccess }
        broker.change { $0.offsets[ScriptedBroker.key("T")] = 33 }
        try await again.start()
        let group = again.runtime.clientID
        #expect(await eventually { broker.server.requests(.pullMessage).contains { $0.fields["queueOffset"] == "33" } }, "\(group)")
        await again.shutdown()
    }
}
