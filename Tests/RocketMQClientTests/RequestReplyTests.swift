import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Requests that are answered by another message, over real brokers and scripted ones.
@Suite(.serialized) struct RequestReplyTests {
    /// A consumer of the topic that replies with what `answer` makes of the request; `nil` for silence.
    func replier(
        _ cluster: LocalCluster, _ topic: String, _ producer: DefaultMQProducer, failures: Collected<MQError> = Collected(),
        _ answer: @escaping @Sendable (MessageExt) -> String?
    ) async throws -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: "repliers")
        configuration.consumeFromWhere = .firstOffset
        let consumer = DefaultMQPushConsumer(
            configuration, client: ClientConfiguration(nameServers: [cluster.address]), subscriptions: [Subscription(topic)])
        consumer.registerMessageListener { messages, _ in
            for message in messages {
                guard let text = answer(message) else { continue }
                do throws(MQError) { try await producer.reply(to: message, text: text) } catch { failures.append(error) }
            }
            return .consumeSuccess
        }
        try await consumer.start()
        return consumer
    }

    @Test func aRequestIsAnswered() async throws {
        try await withCluster { cluster in
            let (asking, answering) = (try await cluster.producer("asking"), try await cluster.producer("answering"))
            let consumer = try await replier(cluster, "Prices", answering) { "price of \(String(decoding: $0.body, as: UTF8.self))" }
            // The first creates the topic, which the consumer is told of at once.
            let first = try await asking.request(Message(topic: "Prices", text: "tea"), timeout: .seconds(60))
            #expect(String(decoding: first.body, as: UTF8.self) == "price of tea")
            #expect(first.topic == "DefaultCluster_REPLY_TOPIC" && first.properties["ARRIVE_TIME"] != nil)
            // Many at once get each its own.
            let areRight = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        let reply = try await asking.request(
                            Message(topic: "Prices", text: "item \(number)"), selecting: .hash(of: "\(number)"), timeout: .seconds(60))
                        return String(decoding: reply.body, as: UTF8.self) == "price of item \(number)"
                    }
                }
                return try await group.reduce(true) { $0 && $1 }
            }
            #expect(areRight)
            // Large ones are compressed on both ways.
            let long = String(repeating: "tea ", count: 5000)
            #expect(try await asking.request(Message(topic: "Prices", text: long), timeout: .seconds(60)).body.count == 9 + long.utf8.count)
            await consumer.shutdown()
            await asking.shutdown()
            await answering.shutdown()
        }
    }

    @Test func withoutAReplyTheRequestTimesOutAndALateReplyIsRefused() async throws {
        try await withCluster { cluster in
            let (asking, answering) = (try await cluster.producer("asking"), try await cluster.producer("answering"))
            let requests = Collected<MessageExt>()
            let consumer = try await replier(cluster, "Silent", answering) { message in
                requests.append(message)
                return nil
            }
            try await asking.send(Message(topic: "Silent", text: "creates the topic"))
            let error = try #require(
                await failure { () throws(MQError) in
                    try await asking.request(Message(topic: "Silent", text: "x"), timeout: .seconds(3))
                })
            #expect(error.code == .timedOut && error.topic == "Silent" && error.description.contains("replies"))
            #expect(await eventually { requests.count == 2 })
            let request = try #require(requests.all.first { MessageUtil.replyToClient(of: $0) != nil })
            let plain = try #require(requests.all.first { MessageUtil.replyToClient(of: $0) == nil })
            // It is still there, and drops what comes too late.
            try await answering.reply(to: request, text: "late")
            await asking.shutdown()
            let refusal = try #require(await failure { () throws(MQError) in try await answering.reply(to: request, text: "too late") })
            #expect(refusal.code == .replyNotDelivered, "\(refusal)")
            #expect(refusal.description.contains(asking.runtime.clientID))
            let noRequest = try #require(await failure { () throws(MQError) in try await answering.reply(to: plain, text: "x") })
            #expect(noRequest.code == .invalidMessage)
            await consumer.shutdown()
            await answering.shutdown()
        }
    }

    @Test func cancellingAndShuttingDownEndTheWait() async throws {
        try await withCluster { cluster in
            let asking = try await cluster.producer("asking")
            try await asking.send(Message(topic: "Nobody", text: "creates the topic"))
            let cancelled = Task { try await asking.request(Message(topic: "Nobody", text: "x"), timeout: .seconds(600)) }
            let stopped = Task { try await asking.request(Message(topic: "Nobody", text: "x"), timeout: .seconds(600)) }
            #expect(await eventually { await waitingReplies(asking) == 2 })
            cancelled.cancel()
            #expect(await eventually { await waitingReplies(asking) == 1 })
            await #expect(throws: MQError.self) { try await cancelled.value }
            await asking.shutdown()
            let error = await #expect(throws: MQError.self) { try await stopped.value }
            #expect(error?.code == .shutDown)
        }
    }

    func waitingReplies(_ producer: DefaultMQProducer) async -> Int {
        await withCheckedContinuation { continuation in
            producer.runtime.execute { continuation.resume(returning: $0.replies.count) }
        }
    }

    @Test func requestAndReplyAreTheReferences() throws {
        let captured = try CapturedFrameTests.frame("0419-json-SEND_MESSAGE_V2-rpc-request-request")
        let request = try CapturedFrameTests.command(for: captured, body: captured.body)
        #expect(request.fields == captured.fields && request.code == captured.code)
        // The reply that the Java client made to it, from the request as its broker delivered it.
        let capturedReply = try CapturedFrameTests.frame("0422-json-SEND_REPLY_MESSAGE_V2-rpc-request-request")
        var properties = MessageProperties(decoding: captured.fields["i"] ?? "")
        properties["CLUSTER"] = "DefaultCluster"
        let host = SocketAddress.loopback(port: 10911)
        let fields = MessageRecordFields(
            queueID: 2, queueOffset: 0, physicalOffset: 1, bornTimestamp: 1, bornHost: host, storeTimestamp: 2, storeHost: host)
        let delivered = MessageExt(topic: "VecRpc", properties: properties, body: captured.body, bodyCRC: 0, storeSize: 1, fields: fields)
        var reply = try MessageUtil.createReplyMessage(to: delivered, body: capturedReply.body)
        let replyProperties = MessageProperties(decoding: capturedReply.fields["i"] ?? "")
        reply.uniqueKey = replyProperties["UNIQ_KEY"]
        let configuration = ProducerConfiguration(group: capturedReply.fields["a"] ?? "")
        let made = try SendRequest(reply, .any, configuration, CapturedFrameTests.runtime).command(
            to: MessageQueue(topic: reply.topic, brokerName: capturedReply.fields["n"] ?? "", queueID: 0), configuration: configuration,
            wallMilliseconds: Int64(capturedReply.fields["g"] ?? "") ?? 0)
        #expect(made.code == capturedReply.code)
        #expect(Set(MessageProperties(decoding: made.fields["i"] ?? "").map(\.name)) == Set(replyProperties.map(\.name)))
        for (name, value) in capturedReply.fields where name != "i" { #expect(made.fields[name] == value, "field \(name)") }
        #expect(made.fields.count == capturedReply.fields.count)
    }

    @Test func theReferencesPushIsUnderstood() throws {
        let captured = try CapturedFrameTests.frame("0424-json-PUSH_REPLY_MESSAGE_TO_CLIENT-rpc-request-request")
        let message = try MessageExt(reply: captured, arrivedAtMilliseconds: 77)
        #expect(message.topic == "DefaultCluster_REPLY_TOPIC" && message.body == captured.body && !message.body.isEmpty)
        #expect(message.properties["CORRELATION_ID"] == "9d2e7025-993c-4cac-b69f-5e393bb3deb9")
        #expect(message.bornHost.description == "127.0.0.1:42320" && message.properties["ARRIVE_TIME"] == "77")
        #expect(throws: InvalidRequest.self) { try MessageExt(reply: .request(.pushReplyMessageToClient), arrivedAtMilliseconds: 1) }
    }
}
