import RocketMQBase
import RocketMQBroker
import RocketMQProtocol
import RocketMQStore

/// Good bytes to be damaged: made once, by a store and a broker that run in memory.
struct FuzzMaterial: Sendable {
    /// Records as they lie in the log, each by itself.
    var records: [[UInt8]] = []
    var batch: [UInt8] = []
    var requests: [RemotingCommand] = []
    /// The broker's tables and other JSON, with their names.
    var tables: [(String, [UInt8])] = []
    /// Files of a store that was stopped, and of the same that was killed, and the messages in both.
    var cleanStore = MemoryFileSystem()
    var killedStore = MemoryFileSystem()
    var messages: Set<String> = []
    var broker = MemoryFileSystem()

    static let wall: Int64 = 1_800_000_000_000
    static let shared = Result { () throws(TortureFailure) in try FuzzMaterial() }

    static var configuration: StoreConfiguration {
        var configuration = StoreConfiguration(rootDirectory: "/disk/store")
        configuration.commitLogFileSize = 8192
        configuration.maxRecordSize = 4096
        configuration.windowSegmentSize = 4096
        configuration.windowSegments = 2
        configuration.consumeQueueFileEntries = 8
        configuration.indexSlots = 12
        configuration.indexEntries = 40
        return configuration
    }

    private static func failure(_ what: String) -> TortureFailure {
        TortureFailure(kind: "fuzz", seed: 0, what: "what is to be damaged cannot be made: \(what)", steps: [])
    }

    private init() throws(TortureFailure) {
        do { try makeStore() } catch { throw Self.failure("\(error)") }
        do { try makeBroker() } catch { throw Self.failure("\(error)") }
        do { try makeBatch() } catch { throw Self.failure("\(error)") }
        requests = Self.makeRequests(batch)
        for path in broker.paths where path.hasSuffix(".json") { tables.append((path, broker.bytes(path) ?? [])) }
        tables += requests.filter { $0.body.first == UInt8(ascii: "{") }.map { ($0.requestCode.description, $0.body) }
        guard !records.isEmpty, !tables.isEmpty else { throw Self.failure("there are no records or tables") }
    }

    // MARK: A store

    private mutating func makeStore() throws(StoreError) {
        let files = MemoryFileSystem()
        let loop = TestLoop(clock: ManualClock(wallMilliseconds: Self.wall))
        defer { loop.abandon() }
        let workers = StoreWorkers(flusher: loop, readers: loop, housekeeper: loop)
        let store = try MessageStore.open(
            Self.configuration, fileSystem: files, clock: loop.clock, loop: loop, workers: workers
        ) { _, _ in }
        for number in 0..<60 {
            let (topic, queueID) = (number % 3 == 0 ? "Other" : "T", Int32(number % 2))
            let host: SocketAddress = number % 7 == 0 ? SocketAddress(host: .ipv6(1, 2), port: 9) : .loopback(port: 5000)
            let fields = MessageFields(
                bornTimestamp: Self.wall, bornHost: host, storeTimestamp: loop.clock.wallMilliseconds,
                storeHost: .loopback(port: 10911), tagsCode: 7)
            let body = Array("\(number) ".utf8) + [UInt8](repeating: UInt8(ascii: "z"), count: number * 37 % 500)
            let properties = Array("UNIQ_KEY\u{1}U\(number)\u{2}KEYS\u{1}k\(number % 5)\u{2}TAGS\u{1}t".utf8)
            let queue = store.queue(topic: topic, id: queueID)
            let appended = try store.append(fields, body: body.span.bytes, properties: properties.span.bytes, to: queue)
            try store.commit()
            var record = ByteBuffer()
            guard try store.readMessage(at: appended.physicalOffset, into: &record) else { continue }
            records.append(record.copyBytes())
            messages.insert("\(topic)-\(queueID):\(appended.queueOffset) \(String(decoding: body, as: UTF8.self))")
            loop.advance(by: .milliseconds(700))
        }
        store.requestFlush()
        loop.settle()
        killedStore = files.copy()
        try store.close()
        cleanStore = files.copy()
        killedStore.synchronizeAll()
        cleanStore.synchronizeAll()
    }

    // MARK: A broker

    static func startBroker(_ files: MemoryFileSystem, _ loop: TestLoop) throws(BrokerError) -> Broker {
        var settings = SettingsValues(BrokerSettings.schema)
        let texts = [
            "storePathRootDir": "/disk/store", "brokerName": "broker-a", "mappedFileSizeCommitLog": "65536",
            "mappedFileSizeConsumeQueue": "2000", "maxMessageSize": "4096", "listenPort": "10911", "maxHashSlotNum": "16",
            "maxIndexNum": "64", "messageDelayLevel": "1s 5s 10s", "transactionCheckInterval": "1000",
        ]
        do {
            for (name, text) in texts { try settings.set(name, text: text, origin: .chosen("a test")) }
        } catch { throw BrokerError("\(error)") }
        settings.expandHome("/home")
        var configuration = BrokerConfiguration(
            settings: settings, advertisedHost: "127.0.0.1", storeHost: .ipv4(0x7F00_0001), name: "broker-a", seed: 1)
        configuration.limitTimerIndex(entriesInMemory: 4, runs: 2, logTail: 1 << 20)
        let workers = BrokerWorkers(store: StoreWorkers(flusher: loop, readers: loop, housekeeper: loop), tables: loop)
        return try Broker.start(
            configuration, fileSystem: files, loop: loop, workers: workers,
            log: Logger(component: "broker", threshold: LogThreshold(.error), sink: MemoryLogSink(), clock: loop.clock))
    }

    private mutating func makeBroker() throws {
        let loop = TestLoop(clock: ManualClock(wallMilliseconds: Self.wall - 60_000))
        defer { loop.abandon() }
        let running = try Self.startBroker(broker, loop)
        loop.settle()
        guard let client = loop.connectClient() else { return }
        // Twice, so that each table has a copy before it.
        for round in 0..<2 {
            for request in Self.makeRequests(try batchBytes()) {
                client.send(request)
                loop.settle()
            }
            for number in 0..<12 {
                let properties = "UNIQ_KEY\u{1}timer\(round)\(number)\u{2}TIMER_DELAY_MS\u{1}\(number * 9000 + 1)"
                client.send(Self.send("T", "later\(number)", properties))
                loop.settle()
            }
            loop.advance(by: .seconds(20))
        }
        _ = client.takeAnswers()
        withExtendedLifetime(running) {}
        broker = broker.copy()
        broker.synchronizeAll()
    }

    private mutating func makeBatch() throws { batch = try batchBytes() }

    private func batchBytes() throws -> [UInt8] {
        var output = ByteBuffer()
        for number in 0..<3 {
            var message = Message(topic: "T", body: Array("body \(number)".utf8))
            message.properties["UNIQ_KEY"] = "B\(number)"
            try MessageBatch.append(message, to: &output)
        }
        return output.copyBytes()
    }

    // MARK: Requests

    private static func send(_ topic: String, _ body: String, _ properties: String, code: RequestCode = .sendMessageV2) -> RemotingCommand {
        .request(
            code,
            [
                "a": "producers", "b": topic, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1800000000000", "h": "0",
                "i": properties, "j": "0", "k": "false", "m": code == .sendBatchMessage ? "true" : "false",
            ], body: Array(body.utf8))
    }

    private static func makeRequests(_ batch: [UInt8]) -> [RemotingCommand] {
        let queue = ["topic": "T", "queueId": "0"]
        var group = SubscriptionGroupConfig(groupName: "g")
        group.retryMaxTimes = 3
        let heartbeat = HeartbeatData(
            clientID: "c",
            producerDataSet: [ProducerData(groupName: "producers")],
            consumerDataSet: [
                ConsumerData(
                    groupName: "g",
                    subscriptionDataSet: (try? SubscriptionData(topic: "T", expression: "a || b", subVersion: 1)).map { [$0] } ?? [])
            ])
        var batched = send("T", "", "", code: .sendBatchMessage)
        batched.body = batch
        func pull(_ expression: String, _ type: String) -> RemotingCommand {
            .request(
                .pullMessage,
                queue.merging(
                    [
                        "consumerGroup": "g", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "7", "commitOffset": "1",
                        "suspendTimeoutMillis": "1000", "subscription": expression, "subVersion": "1", "expressionType": type,
                    ]) { $1 })
        }
        return [
            send("T", "plain", "UNIQ_KEY\u{1}K1\u{2}TAGS\u{1}a\u{2}KEYS\u{1}x y"), send("T", "delayed", "UNIQ_KEY\u{1}K2\u{2}DELAY\u{1}2"),
            send("T", "timed", "UNIQ_KEY\u{1}K3\u{2}TIMER_DELIVER_MS\u{1}1800000009000"),
            send("T", "half", "UNIQ_KEY\u{1}K4\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers"), send("%RETRY%g", "r", "RETRY_TOPIC\u{1}T"),
            batched, pull("*", "TAG"), pull("a || b", "TAG"), pull("a > 5 AND b IN ('x', 'y') OR NOT c BETWEEN 1 AND 2.5", "SQL92"),
            .request(
                .updateAndCreateTopic,
                [
                    "topic": "T", "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4", "perm": "6",
                    "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": "+retention.time=12h",
                ]),
            .request(.updateAndCreateSubscriptiongroup, body: group.encoded()), .request(.heartBeat, body: heartbeat.encoded()),
            .request(.updateConsumerOffset, queue.merging(["consumerGroup": "g", "commitOffset": "1"]) { $1 }),
            .request(.queryConsumerOffset, queue.merging(["consumerGroup": "g"]) { $1 }), .request(.getMaxOffset, queue),
            .request(.getMinOffset, queue), .request(.getEarliestMsgStoretime, queue),
            .request(.searchOffsetByTimestamp, queue.merging(["timestamp": "1800000000000", "boundaryType": "UPPER"]) { $1 }),
            .request(.viewMessageById, ["offset": "0"]),
            .request(.queryMessage, ["topic": "T", "key": "x", "maxNum": "32", "beginTimestamp": "0", "endTimestamp": "1900000000000"]),
            .request(
                .consumerSendMsgBack,
                [
                    "group": "g", "offset": "0", "delayLevel": "1", "originMsgId": "i", "originTopic": "T", "unitMode": "false",
                    "maxReconsumeTimes": "16",
                ]),
            .request(
                .endTransaction,
                [
                    "producerGroup": "producers", "tranStateTableOffset": "0", "commitLogOffset": "0", "commitOrRollback": "8",
                    "fromTransactionCheck": "false", "msgId": "K4",
                ]),
            .request(
                .recallMessage,
                [
                    "topic": "T", "producerGroup": "producers",
                    "recallHandle": RecallHandle(topic: "T", brokerName: "broker-a", due: 1_800_000_009_000, key: "K3", queueOffset: 0)
                        .text,
                ]),
            .request(.getConsumerListByGroup, ["consumerGroup": "g"]), .request(.getConsumeStats, ["consumerGroup": "g", "topic": "T"]),
            .request(.getTopicStatsInfo, ["topic": "T"]), .request(.getBrokerRuntimeInfo), .request(.getAllDelayOffset),
            .request(
                .invokeBrokerToResetOffset, ["topic": "T", "group": "g", "timestamp": "1800000000000", "isForce": "true"]),
            .request(
                .lockBatchMq,
                body: Array(
                    #"{"consumerGroup":"g","clientId":"c","mqSet":[{"topic":"T","brokerName":"broker-a","queueId":0}]}"#.utf8)),
            .request(.updateBrokerConfig, body: Array("flushIntervalCommitLog=400\nfileReservedTime=48\n".utf8)),
            .request(.deleteSubscriptiongroup, ["groupName": "other", "removeOffset": "true"]),
            .request(.deleteTopicInBroker, ["topic": "Other"]),
        ]
    }
}
