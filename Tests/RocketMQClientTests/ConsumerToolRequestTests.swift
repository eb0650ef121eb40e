import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// What brokers ask of consumers for tools.
@Suite struct ConsumerToolRequestTests {
    @Test func positionsAreToldAndSet() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 10)
        let received = Collected<Int64>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { received.count == 10 })
        let queue = MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: 0)
        let told = await eventually {
            let body = await broker.server.ask(.request(.getConsumerStatusFromClient, ["topic": "T", "group": "cg"]))?.body ?? []
            return (try? GetConsumerStatusBody(decoding: body))?.messageQueueTable == [queue: 10]
        }
        #expect(told)
        let unknown = await broker.server.ask(.request(.getConsumerStatusFromClient, ["topic": "T", "group": "nobody"]))
        #expect(unknown?.responseCode == .systemError && unknown?.remark?.contains("nobody") == true)

        broker.server.push(
            .request(
                .resetConsumerClientOffset, ["topic": "T", "group": "cg", "timestamp": "1", "isForce": "true"],
                body: ResetOffsetBody(offsetTable: [queue: 7]).encoded()))
        #expect(await eventually { received.count == 13 })
        #expect(received.all.suffix(3).sorted() == [7, 8, 9])
        await consumer.shutdown()
        #expect(broker.offset("T") == 10)
    }

    @Test func runningInformationNamesSubscriptionsAndQueues() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        let received = Collected<Int64>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].queueOffset)
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually { received.count == 2 })
        let request = RemotingCommand.request(
            .getConsumerRunningInfo, ["clientId": consumer.runtime.clientID, "consumerGroup": "cg", "jstackEnable": "false"])
        let queue = MessageQueue(topic: "T", brokerName: ScriptedBroker.name, queueID: 0)
        let seen = await eventually {
            let body = await broker.server.ask(request)?.body ?? []
            return (try? ConsumerRunningInfo(decoding: body))?.mqTable[queue]?.commitOffset == 2
        }
        #expect(seen)
        let info = try ConsumerRunningInfo(decoding: try #require(await broker.server.ask(request)).body)
        #expect(info.subscriptionSet.map(\.topic) == ["%RETRY%cg", "T"])
        #expect(info.properties["PROP_CONSUME_TYPE"] == "CONSUME_PASSIVELY")
        #expect(info.properties["PROP_CLIENT_VERSION"] == "V4_9_8")
        // They are of the last minute, which a busy machine may take to get here.
        let status = await eventually(within: .seconds(600)) {
            broker.store("T", count: 1)
            let body = await broker.server.ask(request)?.body ?? []
            guard let status = (try? ConsumerRunningInfo(decoding: body))?.statusTable["T"] else { return false }
            return status.pullTPS > 0 && status.consumeOKTPS > 0 && status.consumeFailedMsgs == 0
        }
        #expect(status)
        #expect(info.statusTable["%RETRY%cg"] == ConsumeStatus())
        await consumer.shutdown()
    }

    @Test func aMessageIsConsumedOnRequest() async throws {
        let broker = try ScriptedBroker()
        broker.store("Elsewhere", count: 1)
        let received = Collected<String>()
        let consumer = broker.consumer { messages, _ in
            received.append(messages[0].messageID)
            return received.count == 1 ? .consumeSuccess : .reconsumeLater
        }
        try await consumer.start()
        var body = ByteBuffer()
        var message: MessageExt?
        broker.change { message = $0.queues[ScriptedBroker.key("Elsewhere")]?.first }
        try message?.encodeRecord(into: &body)
        let request = RemotingCommand.request(
            .consumeMessageDirectly, ["clientId": consumer.runtime.clientID, "consumerGroup": "cg", "brokerName": "x"],
            body: body.copyBytes())
        var outcomes: [ConsumeMessageDirectlyOutcome?] = []
        for _ in 0..<2 {
            let answer = try #require(await broker.server.ask(request))
            outcomes.append(try ConsumeMessageDirectlyResult(decoding: answer.body).consumeResult)
        }
        #expect(outcomes == [.success, .later])
        let other = await broker.server.ask(.request(RequestCode(rawValue: 32_000)))
        #expect(other?.responseCode == .requestCodeNotSupported)
        await consumer.shutdown()
    }
}
