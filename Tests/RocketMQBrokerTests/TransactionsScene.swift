import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore
import RocketMQSystem
import Testing

@testable import RocketMQBroker

/// All parts of a broker over a store in a temporary directory, with time and network in the test's hands.
final class TransactionsScene {
    let folder: TestFolder
    let root: String
    let loop = TestLoop()
    let sink = MemoryLogSink()
    let files = FailingFileSystem()
    let parts: BrokerParts
    private let settings: [String: String]
    private let server: RemotingServer
    private var timer: (any ScheduledCall)?
    static let topic = "T"
    static let group = "PG"

    /// - Parameters:
    ///   - started: how far the clock is at the start.
    ///   - root: the store's directory within the folder.
    init(_ settings: [String: String] = [:], folder: TestFolder? = nil, root: String = "", started: Duration = .zero) throws {
        let folder = try folder ?? TestFolder()
        self.folder = folder
        self.root = folder.path + root
        self.settings = settings
        loop.testClock.advance(by: started)
        var values = SettingsValues(BrokerSettings.schema)
        var all = [
            "storePathRootDir": self.root, "mappedFileSizeCommitLog": "1048576", "fileReservedTime": "1000",
            "transactionCheckInterval": "1000",
        ]
        all.merge(settings) { $1 }
        for (name, text) in all { try values.set(name, text: text, origin: .builtIn) }
        let configuration = BrokerConfiguration(
            settings: values, advertisedHost: "127.0.0.1", storeHost: .ipv4(0x7F00_0001), name: "broker-a", seed: 1)
        let worker = TestWorker()
        let log = Logger(component: "broker", threshold: LogThreshold(.debug), sink: sink, clock: loop.clock)
        parts = try BrokerParts(
            configuration, storeHost: .loopback(port: 10911), fileSystem: files, loop: loop,
            workers: BrokerWorkers(store: StoreWorkers(flusher: worker, readers: worker, housekeeper: worker), tables: worker), log: log)
        let dispatcher = RequestDispatcher(log: log)
        dispatcher.parts = parts
        var limits = RemotingServer.Limits()
        limits.idle = .seconds(1_000_000)
        server = RemotingServer(loop: loop, limits: limits, handler: dispatcher) { _ in }
        _ = try server.start(on: .loopback(port: 10911))
        parts.start()
        timer = loop.scheduleRepeatedly(every: .milliseconds(5)) { [parts] in parts.round.endTick() }
        parts.topics.update(TopicConfig(topicName: Self.topic, readQueueNums: 4, writeQueueNums: 4))
        settle()
    }

    /// What another process finds after this one was killed now.
    func crashed() throws -> TransactionsScene {
        let copy = try TestFolder()
        try FileManager.default.removeItem(atPath: copy.path)
        try FileManager.default.copyItem(atPath: folder.path, toPath: copy.path)
        return try TransactionsScene(
            settings, folder: copy, root: String(root.dropFirst(folder.path.count)),
            started: .nanoseconds(loop.testClock.monotonicNow.nanoseconds))
    }

    /// Stops in good order and starts again.
    func restarted() throws -> TransactionsScene {
        var failure: BrokerError?
        var isDone = false
        parts.stop {
            failure = $0
            isDone = true
        }
        settle()
        advance(.seconds(4))
        timer?.cancel()
        try #require(isDone)
        if let failure { throw failure }
        return try TransactionsScene(
            settings, folder: folder, root: String(root.dropFirst(folder.path.count)),
            started: .nanoseconds(loop.testClock.monotonicNow.nanoseconds))
    }

    // MARK: Time

    /// Does all that needs no time.
    func settle() {
        for _ in 0..<4 {
            loop.settle()
            parts.round.endTick()
        }
        loop.settle()
    }

    func advance(_ duration: Duration) {
        settle()
        loop.advance(by: duration)
        settle()
    }

    // MARK: Clients

    func client() throws -> TestClient { try #require(loop.connectClient()) }

    /// A producer of the group that has sent a heartbeat.
    func producer(_ group: String = TransactionsScene.group) throws -> TestClient {
        let client = try client()
        let data = HeartbeatData(clientID: "p\(client.stream.id)", producerDataSet: [ProducerData(groupName: group)])
        #expect(try call(client, .request(.heartBeat, body: data.encoded())).responseCode == .success)
        return client
    }

    func call(_ client: TestClient, _ request: RemotingCommand) throws -> RemotingCommand {
        let opaque = client.send(request)
        settle()
        return try #require(client.takeAnswer(to: opaque))
    }

    struct Half {
        var answer: RemotingCommand
        var key: String
        var queueOffset: Int64
        var commitLogOffset: Int64
    }

    func sendRequest(_ body: String, key: String, queue: Int = 1, properties: MessageProperties = [:]) -> RemotingCommand {
        var all: MessageProperties = ["KEYS": "k", "TRAN_MSG": "true", "UNIQ_KEY": key, "WAIT": "true", "PGROUP": Self.group, "TAGS": "A"]
        for entry in properties { all[entry.name] = entry.value }
        let fields = [
            "a": Self.group, "b": Self.topic, "c": "TBW102", "d": "4", "e": "\(queue)", "f": "4",
            "g": "\(loop.clock.wallMilliseconds)", "h": "7", "i": all.encodedText, "j": "0", "k": "false", "m": "false",
        ]
        return .request(.sendMessageV2, fields, body: Array(body.utf8))
    }

    /// Sends a half message that is accepted.
    func sendHalf(_ client: TestClient, _ body: String, queue: Int = 1, properties: MessageProperties = [:]) throws -> Half {
        let key = "KEY-\(body.suffix(16))"
        let answer = try call(client, sendRequest(body, key: key, queue: queue, properties: properties))
        try #require(answer.responseCode == .success, "\(answer.remark ?? "")")
        let id = try OffsetMessageID(#require(answer.fields["msgId"]))
        return Half(
            answer: answer, key: key, queueOffset: try #require(answer.fields["queueOffset"].flatMap { Int64($0) }),
            commitLogOffset: id.commitLogOffset)
    }

    func endRequest(_ half: Half, _ state: Int, group: String = TransactionsScene.group) -> RemotingCommand {
        .request(
            .endTransaction,
            [
                "producerGroup": group, "tranStateTableOffset": "\(half.queueOffset)", "commitLogOffset": "\(half.commitLogOffset)",
                "commitOrRollback": "\(state)", "fromTransactionCheck": "false", "msgId": half.key,
            ])
    }

    func end(_ client: TestClient, _ half: Half, _ state: Int, group: String = TransactionsScene.group) throws -> RemotingCommand {
        try call(client, endRequest(half, state, group: group))
    }

    /// What the producer was asked about, with the message in the body.
    func takeChecks(_ client: TestClient) throws -> [(half: Half, request: RemotingCommand, message: MessageExt)] {
        try client.takeRequests().filter { $0.requestCode == .checkTransactionState }.map { request in
            let message = try #require(try MessageExt.decodeAll(request.body).first)
            let half = Half(
                answer: request, key: request.fields["msgId"] ?? "", queueOffset: try request.number("tranStateTableOffset"),
                commitLogOffset: try request.number("commitLogOffset"))
            return (half, request, message)
        }
    }

    // MARK: The store

    /// All messages of a queue.
    func messages(_ topic: String = TransactionsScene.topic, _ queue: Int32 = 1) throws -> [MessageExt] {
        guard let queue = parts.store.existingQueue(topic: topic, id: queue) else { return [] }
        var output = ByteBuffer(capacity: 1024)
        let result = parts.store.read(
            queue, from: queue.minOffset, limits: ReadLimits(messages: 10_000, bytes: 1 << 24), filter: .all, into: &output)
        try #require(result != .needsDisk)
        return try output.withBytes { try MessageExt.decodeAll($0) }
    }

    func bodies(_ topic: String = TransactionsScene.topic, _ queue: Int32 = 1) throws -> [String] {
        try messages(topic, queue).map { String(decoding: $0.body, as: UTF8.self) }
    }

    var undecided: [Int64] { parts.transactions.index.undecided.keys.sorted() }
}

/// The machine's files, with a log that cannot be written, or is not in memory at the first look, when the test says so.
///
/// `@unchecked Sendable` holds because a test uses it on one thread alone.
final class FailingFileSystem: FileSystem, @unchecked Sendable {
    private let real = LinuxFileSystem()
    var failsLogWrites = false
    /// Every second read that must not wait finds the bytes only on the disk.
    var isHesitant = false
    fileprivate var looks = 0

    func open(_ path: String, _ mode: FileMode) throws(FileSystemError) -> any OpenFile {
        let file = try real.open(path, mode)
        return path.contains("/commitlog/") ? FailingFile(file, self) : file
    }
    func list(_ directory: String) throws(FileSystemError) -> [String] { try real.list(directory) }
    func isDirectory(_ path: String) -> Bool { real.isDirectory(path) }
    func exists(_ path: String) -> Bool { real.exists(path) }
    func createDirectory(_ path: String) throws(FileSystemError) { try real.createDirectory(path) }
    func remove(_ path: String) throws(FileSystemError) { try real.remove(path) }
    func removeDirectory(_ path: String) throws(FileSystemError) { try real.removeDirectory(path) }
    func rename(_ source: String, to target: String) throws(FileSystemError) { try real.rename(source, to: target) }
    func synchronizeDirectory(_ path: String) throws(FileSystemError) { try real.synchronizeDirectory(path) }
    func space(at path: String) throws(FileSystemError) -> (total: UInt64, available: UInt64) { (1 << 40, 1 << 39) }
}

private final class FailingFile: OpenFile, @unchecked Sendable {
    private let real: any OpenFile
    private let owner: FailingFileSystem
    var path: String { real.path }

    init(_ real: any OpenFile, _ owner: FailingFileSystem) {
        self.real = real
        self.owner = owner
    }

    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int {
        try real.read(at: offset, into: buffer)
    }
    func readIfCached(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) throws(FileSystemError) -> Int? {
        owner.looks += 1
        return owner.isHesitant && owner.looks % 2 == 1 ? nil : try real.readIfCached(at: offset, into: buffer)
    }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileSystemError) {
        if owner.failsLogWrites { throw FileSystemError(operation: "write", path: path, code: .noSpace, reason: "No space left on device") }
        try real.write(bytes, at: offset)
    }
    func synchronize() throws(FileSystemError) { try real.synchronize() }
    func size() throws(FileSystemError) -> Int64 { try real.size() }
    func truncate(to size: Int64) throws(FileSystemError) { try real.truncate(to: size) }
    func allocate(at offset: Int64, count: Int64) throws(FileSystemError) {}
    func lockExclusively() throws(FileSystemError) { try real.lockExclusively() }
    func close() { real.close() }
}
