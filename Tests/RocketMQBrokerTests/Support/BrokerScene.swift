import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

/// A whole broker as programs start it, over files in memory, with time, disk and network in the test's hands.
final class BrokerScene {
    static let nameServer = "10.0.0.1:9876"

    let loop: TestLoop
    let files: MemoryFileSystem
    /// Syncs of the log run here; `hold()` makes the disk slow.
    let flusher = TestWorker()
    let logSink = MemoryLogSink()
    let nameServer = TestServer()
    private(set) var broker: Broker
    let settings: SettingsValues
    /// What it was made with.
    let texts: [String: String]
    /// Stays in one piece while a test goes through its frames.
    let producer: TestClient

    /// - Parameter changes: to what the broker is started with.
    init(
        _ texts: [String: String] = [:], files: MemoryFileSystem = MemoryFileSystem(), hasNameServer: Bool = false,
        later: Duration = .zero, clock: ManualClock = ManualClock(), changes: (inout BrokerConfiguration) -> Void = { _ in }
    ) throws {
        loop = TestLoop(clock: clock)
        self.files = files
        self.texts = texts
        // For a start some time after that of the scene before.
        loop.advance(by: later)
        var settings = SettingsValues(BrokerSettings.schema)
        var wanted = [
            "storePathRootDir": "/store", "brokerName": "broker-a", "messageIndexEnable": "false", "mappedFileSizeCommitLog": "1048576",
            "mappedFileSizeConsumeQueue": "20000", "maxMessageSize": "65536", "listenPort": "10911",
        ]
        if hasNameServer { wanted["namesrvAddr"] = Self.nameServer }
        wanted.merge(texts) { $1 }
        for (name, text) in wanted { try settings.set(name, text: text, origin: .chosen("a test")) }
        settings.expandHome("/home")
        self.settings = settings
        loop.servers[Self.nameServer] = nameServer
        broker = try Self.start(settings, loop, files, flusher, logSink, changes)
        loop.settle()
        producer = try #require(loop.connectClient())
    }

    private static func start(
        _ settings: SettingsValues, _ loop: TestLoop, _ files: MemoryFileSystem, _ flusher: TestWorker, _ sink: MemoryLogSink,
        _ changes: (inout BrokerConfiguration) -> Void
    ) throws -> Broker {
        var configuration = BrokerConfiguration(
            settings: settings, advertisedHost: "127.0.0.1", storeHost: .ipv4(0x7F00_0001), name: "broker-a", seed: 7)
        changes(&configuration)
        let workers = BrokerWorkers(store: StoreWorkers(flusher: flusher, readers: loop, housekeeper: loop), tables: loop)
        return try Broker.start(
            configuration, fileSystem: files, loop: loop, workers: workers,
            log: Logger(component: "broker", threshold: LogThreshold(.debug), sink: sink, clock: loop.clock))
    }

    func client() throws -> TestClient { try #require(loop.connectClient()) }

    // MARK: Sending

    /// A send (310) with the fields that the reference's producer sets.
    func sendRequest(
        _ topic: String, _ body: String = "body", queue: Int32 = 0, properties: String = "UNIQ_KEY\u{1}K1", extra: [String: String] = [:],
        oneway: Bool = false
    ) -> RemotingCommand {
        var fields = [
            "a": "producers", "b": topic, "c": "TBW102", "d": "4", "e": "\(queue)", "f": "0", "g": "\(loop.clock.wallMilliseconds)",
            "h": "0", "i": properties, "j": "0", "k": "false", "m": "false",
        ]
        fields.merge(extra) { $1 }
        var request = RemotingCommand.request(.sendMessageV2, fields, body: Array(body.utf8))
        if oneway { request.flag |= FrameFormat.onewayFlag }
        return request
    }

    func batchRequest(_ topic: String, _ messages: [(body: String, properties: String)], queue: Int32 = 0) -> RemotingCommand {
        var request = sendRequest(topic, queue: queue, properties: "", extra: ["m": "true"])
        request.code = RequestCode.sendBatchMessage.rawValue
        var body = ByteBuffer()
        for message in messages {
            body.append(bigEndian: Int32(22 + message.body.utf8.count + message.properties.utf8.count))
            body.append(bigEndian: 0 as Int64)
            body.append(bigEndian: 0 as Int32)
            body.append(bigEndian: Int32(message.body.utf8.count))
            body.append(utf8: message.body)
            body.append(bigEndian: Int16(message.properties.utf8.count))
            body.append(utf8: message.properties)
        }
        request.body = body.copyBytes()
        return request
    }

    /// Creates a topic as tools do.
    func createTopic(_ name: String, queues: Int = 4, perm: Int = 6) throws {
        let answer = try client().call(
            .updateAndCreateTopic,
            [
                "topic": name, "defaultTopic": "TBW102", "readQueueNums": "\(queues)", "writeQueueNums": "\(queues)", "perm": "\(perm)",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
            ])
        try #require(answer.responseCode == .success, "\(answer.remark ?? "")")
    }

    /// Sends and expects it to be stored; returns the answer.
    @discardableResult
    func store(
        _ topic: String, _ body: String = "body", queue: Int32 = 0, properties: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> RemotingCommand {
        let answer = try producer.call(sendRequest(topic, body, queue: queue, properties: properties))
        try #require(answer.responseCode == .success, "\(answer.remark ?? "")", sourceLocation: sourceLocation)
        return answer
    }

    // MARK: Pulling

    func pullRequest(
        _ topic: String, _ offset: Int64, queue: Int32 = 0, group: String = "consumers", expression: String = "*", most: Int = 32,
        waiting: Int64 = 0, commit: Int64? = nil, type: String = "TAG"
    ) -> RemotingCommand {
        .request(
            .pullMessage,
            [
                "consumerGroup": group, "topic": topic, "queueId": "\(queue)", "queueOffset": "\(offset)", "maxMsgNums": "\(most)",
                "sysFlag": "\(4 | (waiting > 0 ? 2 : 0) | (commit == nil ? 0 : 1))", "commitOffset": "\(commit ?? 0)",
                "suspendTimeoutMillis": "\(waiting)", "subscription": expression, "subVersion": "1", "expressionType": type,
            ])
    }

    /// The messages of a queue from its start on, pulled as a consumer would; none when there is no such topic.
    func messages(_ topic: String, queue: Int32 = 0, from offset: Int64 = 0, most: Int = 32) throws -> [MessageExt] {
        let client = try client()
        var next = offset
        var found: [MessageExt] = []
        for _ in 0..<100_000 {
            let answer = try client.call(pullRequest(topic, next, queue: queue, group: "readers", most: most))
            if answer.responseCode == .pullRetryImmediately {
                next = try answer.number("nextBeginOffset")
                continue
            }
            guard answer.responseCode == .success else {
                #expect([.pullNotFound, .pullOffsetMoved, .topicNotExist].contains(answer.responseCode), "\(answer.remark ?? "")")
                return found
            }
            found += try MessageExt.decodeAll(answer.body)
            next = try answer.number("nextBeginOffset")
        }
        Issue.record("no end of \(topic)-\(queue)")
        return found
    }

    func bodies(_ topic: String, queue: Int32 = 0, from offset: Int64 = 0) throws -> [String] {
        try messages(topic, queue: queue, from: offset).map { String(decoding: $0.body, as: UTF8.self) }
    }

    // MARK: Life

    /// Stops in good order.
    func stop() throws {
        var outcome: BrokerError??
        broker.stop { outcome = .some($0) }
        for _ in 0..<100 where outcome == nil { loop.advance(by: .milliseconds(100)) }
        let ended = try #require(outcome)
        #expect(ended == nil, "\(ended.map(\.description) ?? "")")
        loop.settle()
    }
}
