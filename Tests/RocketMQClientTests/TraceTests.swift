import RocketMQBase
import RocketMQProtocol
import Synchronization
import Testing

@testable import RocketMQClient

/// Hooks and message trace of producers.
@Suite(.serialized) struct TraceTests {
    static let traceTopic = "RMQ_SYS_TRACE_TOPIC"

    /// A broker for topic `T` and the trace topic, and a producer of it.
    func producer(
        _ script: @escaping ScriptedServer.Script = Scripts.storing, change: (inout ProducerConfiguration) -> Void = { _ in }
    ) throws -> (DefaultMQProducer, ScriptedServer, MemoryLogSink) {
        let broker = try ScriptedServer(script)
        let route = Scripts.route([("broker-0", broker.address)])
        let nameServer = try ScriptedServer(Scripts.nameServer(["T": route, Self.traceTopic: route]))
        var configuration = ProducerConfiguration(group: "pg")
        configuration.trace = TraceConfiguration()
        configuration.trace?.flushInterval = .milliseconds(20)
        change(&configuration)
        var client = ClientConfiguration(nameServers: [nameServer.address])
        let sink = MemoryLogSink()
        client.logSink = sink
        return (DefaultMQProducer(configuration, client: client), broker, sink)
    }

    static func traces(_ broker: ScriptedServer) -> [RemotingCommand] {
        broker.requests(.sendMessageV2).filter { $0.fields["b"] == traceTopic }
    }

    static func records(_ request: RemotingCommand) throws -> [TraceRecord] {
        let flag = MessageSystemFlag(rawValue: Int32(request.fields["f"] ?? "") ?? 0)
        let body = flag.contains(.compressed) ? try CompressionType.zlib.decompress(request.body, limit: 1 << 24) : request.body
        return TraceRecord.decodeAll(body)
    }

    @Test func whatIsSentIsTracedInTheBackground() async throws {
        let (producer, broker, _) = try producer()
        try await producer.start()
        let first = try await producer.send(Message(topic: "T", tag: "A", keys: ["k1", "k2"], text: "hello"))
        var delayed = Message(topic: "T", text: "later")
        delayed.delayLevel = 3
        let second = try await producer.send(delayed)
        #expect(await broker.wait { $0.contains { $0.fields["b"] == Self.traceTopic } })
        await producer.shutdown()
        let traces = Self.traces(broker)
        let records = try traces.flatMap(Self.records)
        #expect(records.map(\.messageID) == [first.messageID, second.messageID])
        guard case .published(let it) = records[0] else { throw TraceRecordMissing() }
        #expect(it.group == "pg" && it.topic == "T" && it.tags == "A" && it.keys == "k1 k2" && it.bodyLength == 5 && it.kind == .normal)
        #expect(it.storeHost == broker.address && it.regionID == "DefaultRegion" && it.offsetMessageID == first.offsetMessageID)
        #expect(it.isSuccess && it.timestamp > 1_700_000_000_000 && it.costMilliseconds >= 0)
        guard case .published(let it) = records[1] else { throw TraceRecordMissing() }
        #expect(it.kind == .delayed && it.keys == nil)
        let keys = Set(traces.flatMap { MessageProperties(decoding: $0.fields["i"] ?? "")["KEYS"]?.split(separator: " ") ?? [] })
        #expect(keys == [Substring(first.messageID), Substring(second.messageID), "k1", "k2"])
        #expect(traces[0].fields["a"]?.hasPrefix("_INNER_TRACE_PRODUCER-pg") == true)
    }

    struct TraceRecordMissing: Error {}

    @Test func aBrokerCanTurnTracingOff() async throws {
        let (producer, broker, _) = try producer { request in
            guard case .answer(var answer) = Scripts.storing(request) else { return .silence }
            answer.fields["TRACE_ON"] = "false"
            return .answer(answer)
        }
        try await producer.start()
        let result = try await producer.send(Message(topic: "T", text: "x"))
        #expect(!result.isTraceOn)
        await producer.shutdown()
        #expect(Self.traces(broker).isEmpty)
    }

    /// Nothing is lost at the end, and a thousand records fit into few messages, each with keys that a broker takes.
    @Test func aShutdownSendsWhatWaits() async throws {
        let (producer, broker, _) = try producer(change: { $0.trace?.flushInterval = .seconds(3600) })
        try await producer.start()
        var ids: Set<String> = []
        for await outcome in producer.send(each: (0..<1000).map { Message(topic: "T", keys: ["key-\($0)"], text: "x") }, inFlight: 100) {
            ids.insert(try outcome.get().messageID)
        }
        await producer.shutdown()
        let traces = Self.traces(broker)
        #expect(traces.count < 20)
        #expect(Set(try traces.flatMap(Self.records).map(\.messageID)) == ids)
        #expect(traces.allSatisfy { ($0.fields["i"]?.utf8.count ?? 0) < 32_000 })
        // The last to leave the broker is the one that was traced.
        let left = broker.requests(.unregisterClient).compactMap { $0.fields["producerGroup"] }
        #expect(left.last == "pg" && left.count == 2)
    }

    @Test func aTraceTopicThatHangsCostsNoSendAndBoundedMemory() async throws {
        let (producer, broker, sink) = try producer(
            { request in request.fields["b"] == Self.traceTopic ? .silence : Scripts.storing(request) },
            change: {
                $0.trace?.maxBufferedBytes = 1 << 16
                $0.trace?.flushInterval = .milliseconds(1)
            })
        try await producer.start()
        var sent = 0
        for await outcome in producer.send(each: (0..<1000).map { _ in Message(topic: "T", text: "x") }, inFlight: 100) {
            _ = try outcome.get()
            sent += 1
        }
        #expect(sent == 1000)
        #expect(sink.messages.contains { $0.contains("message trace drops records") && $0.contains("traceTopicEnable") })
        let waiting = try Self.traces(broker).flatMap(Self.records).reduce(0) { $0 + $1.encoded.utf8.count }
        #expect(waiting <= 1 << 16)
        broker.follow(Scripts.storing)
        await producer.shutdown()
    }

    @Test func wrongSettingsAreRefused() async throws {
        let (producer, _, _) = try producer(change: { $0.trace?.topic = "not a topic" })
        let error = try #require(await failure { () throws(MQError) in try await producer.start() })
        #expect(error.code == .invalidConfiguration && error.description.contains("trace"))
    }

    // MARK: Hooks

    /// Notes what it is told.
    final class Notes: SendMessageHook, EndTransactionHook {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }

        func beforeSend(_ context: SendMessageContext) {
            lines.withLock { $0.append("before \(context.attempt) \(context.messageQueue.brokerName) \(context.kind)") }
        }

        func afterSend(_ context: SendMessageContext, took: Duration, result: Result<SendResult, MQError>) {
            let what: String
            switch result {
            case .success(let result): what = "\(result.status) \(result.queueOffset)"
            case .failure(let error): what = "\(error.code)"
            }
            lines.withLock { $0.append("after \(context.attempt) \(what)\(context.isOneway ? " one-way" : "")") }
        }

        func endTransaction(_ context: EndTransactionContext) {
            lines.withLock { $0.append("end \(context.state) \(context.topic) \(context.keys ?? "")") }
        }
    }

    @Test func hooksSeeEveryAttempt() async throws {
        let notes = Notes()
        let calls = Mutex(0)
        let script: ScriptedServer.Script = { request in
            guard request.requestCode == .sendMessageV2 else { return .answer(.success()) }
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            return call == 1 ? .answer(.response(.systemError, "busy")) : Scripts.stored(request, offset: 7)
        }
        let (producer, _, _) = try producer(
            script,
            change: {
                $0.trace = nil
                $0.sendHooks = [notes]
            })
        try await producer.start()
        try await producer.send(Message(topic: "T", text: "x"))
        try await producer.sendOneway(Message(topic: "T", text: "x"))
        await producer.shutdown()
        #expect(
            notes.all == [
                "before 1 broker-0 normal", "after 1 refused", "before 2 broker-0 normal", "after 2 SEND_OK 7", "before 1 broker-0 normal",
                "after 1 SEND_OK -1 one-way",
            ])
    }

    @Test func aTransactionIsTracedFromHalfToOutcome() async throws {
        try await withCluster { cluster in
            let notes = Notes()
            var configuration = ProducerConfiguration(group: "tg")
            configuration.trace = TraceConfiguration()
            configuration.sendHooks = [notes]
            configuration.transactionHooks = [notes]
            let producer = TransactionMQProducer(
                configuration, client: ClientConfiguration(nameServers: [cluster.address]), listener: Committing())
            try await producer.start()
            let sent = try await producer.sendMessageInTransaction(Message(topic: "Traced", keys: ["order-1"], text: "x"))
            await producer.shutdown()
            #expect(notes.all.filter { $0.contains("transactionHalf") || $0.hasPrefix("end") }.last == "end commit Traced order-1")
            let reader = DefaultLitePullConsumer(
                ConsumerConfiguration.fromTheFirst("readers"), client: ClientConfiguration(nameServers: [cluster.address]),
                subscriptions: [Subscription(Self.traceTopic)])
            try await reader.start()
            var records: [TraceRecord] = []
            while records.count < 2 {
                let messages = try await reader.poll(timeout: .seconds(60))
                guard !messages.isEmpty else { break }
                #expect(messages.allSatisfy { $0.keys.contains(sent.sendResult.messageID) && $0.keys.contains("order-1") })
                records += messages.flatMap { TraceRecord.decodeAll($0.body) }
            }
            await reader.shutdown()
            #expect(records.count == 2 && records.allSatisfy { $0.messageID == sent.sendResult.messageID })
            guard case .published(let half)? = records.first, case .transactionEnded(let end)? = records.last else {
                throw TraceRecordMissing()
            }
            #expect(half.kind == .transactionHalf && end.state == "COMMIT_MESSAGE" && !end.isFromCheck && end.group == "tg")
        }
    }

    /// Notes what it is told of calls.
    final class CallNotes: ConsumeMessageHook {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }

        func beforeConsume(_ context: ConsumeMessageContext) {
            lines.withLock { $0.append("before \(context.consumerGroup) \(context.messages.map(\.topic)) \(context.messageQueue.topic)") }
        }
        func afterConsume(_ context: ConsumeMessageContext, took: Duration, outcome: ConsumeReturnType) {
            lines.withLock { $0.append("after \(context.requestID.isEmpty) \(outcome)") }
        }
    }

    /// Reads trace records until `isEnough`.
    static func stored(
        _ cluster: LocalCluster, until isEnough: ([TraceRecord]) -> Bool
    ) async throws -> [(record: TraceRecord, keys: [String])] {
        let reader = DefaultLitePullConsumer(
            ConsumerConfiguration.fromTheFirst("trace-readers"), client: ClientConfiguration(nameServers: [cluster.address]),
            subscriptions: [Subscription(traceTopic)])
        try await reader.start()
        var records: [(record: TraceRecord, keys: [String])] = []
        while !isEnough(records.map(\.record)) {
            let messages = try await reader.poll(timeout: .seconds(60))
            guard !messages.isEmpty else { break }
            for message in messages { records += TraceRecord.decodeAll(message.body).map { ($0, message.keys) } }
        }
        await reader.shutdown()
        return records
    }

    @Test(arguments: [false, true]) func aConsumerTracesEachCallAndTellsHooks(isOrderly: Bool) async throws {
        try await withCluster { cluster in
            let notes = CallNotes()
            let producer = try await cluster.producer()
            let sent = try await producer.send(Message(topic: "Consumed", keys: ["order-1"], text: "x"))
            var configuration = ConsumerConfiguration.fromTheFirst("cg")
            configuration.trace = TraceConfiguration()
            configuration.consumeHooks = [notes]
            configuration.suspendCurrentQueueTime = .milliseconds(10)
            let consumer = DefaultMQPushConsumer(
                configuration, client: ClientConfiguration(nameServers: [cluster.address]), subscriptions: [Subscription("Consumed")])
            let calls = Mutex(0)
            // At first it fails: in order it comes again at once, else after ten seconds.
            let isFirst: @Sendable () -> Bool = {
                calls.withLock { calls in
                    calls += 1
                    return calls == 1
                }
            }
            if isOrderly {
                consumer.registerMessageListener(orderly: { _, _ in isFirst() ? .suspendCurrentQueueAMoment : .success })
            } else {
                consumer.registerMessageListener { _, context in
                    context.delayLevelWhenNextConsume = 1
                    return isFirst() ? .reconsumeLater : .consumeSuccess
                }
            }
            try await consumer.start()
            #expect(await eventually { notes.all.count == 4 })
            await consumer.shutdown()
            await producer.shutdown()
            #expect(notes.all.filter { $0.hasPrefix("before") }.allSatisfy { $0.hasPrefix("before cg [\"Consumed\"]") })
            #expect(notes.all.filter { $0.hasPrefix("after") } == ["after false failed", "after false success"])

            let records = try await Self.stored(cluster) { $0.count >= 4 }
            #expect(records.allSatisfy { $0.record.messageID == sent.messageID })
            #expect(records.allSatisfy { $0.keys.contains(sent.messageID) && $0.keys.contains("order-1") })
            var (starts, ends): ([TraceRecord.ConsumptionStart], [TraceRecord.ConsumptionEnd]) = ([], [])
            for record in records.map(\.record) {
                if case .consuming(let it) = record { starts.append(it) }
                if case .consumed(let it) = record { ends.append(it) }
            }
            #expect(starts.map(\.retryTimes) == [0, 1] && starts.allSatisfy { $0.group == "cg" && $0.keys == "order-1" })
            #expect(ends.map(\.outcome) == [.failed, .success] && ends.map(\.isSuccess) == [false, true])
            #expect(starts.map(\.requestID) == ends.map(\.requestID) && Set(starts.map(\.requestID)).count == 2)
        }
    }

    @Test func aPullConsumerTracesWhatItHandsOut() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            let first = try await producer.send(Message(topic: "Read", text: "1"))
            var configuration = ConsumerConfiguration.fromTheFirst("cg")
            configuration.trace = TraceConfiguration()
            let notes = CallNotes()
            configuration.consumeHooks = [notes]
            let consumer = DefaultLitePullConsumer(
                configuration, client: ClientConfiguration(nameServers: [cluster.address]), subscriptions: [Subscription("Read")])
            try await consumer.start()
            #expect(try await consumer.poll(timeout: .seconds(60)).count == 1)
            // Done at once, as far as hooks are concerned.
            #expect(notes.all.count == 2)
            let second = try await producer.send(Message(topic: "Read", text: "2"))
            for try await message in consumer.messages {
                #expect(message.messageID == second.messageID && notes.all.count == 3)
                break
            }
            #expect(await eventually { notes.all.count == 4 })
            await consumer.shutdown()
            await producer.shutdown()
            let records = try await Self.stored(cluster) { $0.count >= 4 }.map(\.record)
            #expect(records.map(\.messageID) == [first.messageID, first.messageID, second.messageID, second.messageID])
        }
    }

    struct Committing: TransactionListener {
        func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState { .commit }
        func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState { .commit }
    }
}

extension ConsumerConfiguration {
    static func fromTheFirst(_ group: String) -> ConsumerConfiguration {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        return configuration
    }
}
