import RocketMQBase
import RocketMQBroker
import RocketMQProtocol
import RocketMQStore

/// A random history of a whole broker and its clients on a disk that loses power: what its answers promised is there when it
/// runs again. Everything follows from the seed.
///
/// - A send that was answered with success is served in its place after a kill, and after a loss of power where its answer
///   waited for the disk; queues are dense; every record served is whole.
/// - What was sent to be delivered later, or sent back, is delivered once, not early, and not when it was taken back.
/// - A half message is seen when its transaction was committed, once, and never when it was not.
/// - Topics and groups are as the last answered change made them, or a later one that was asked for; offsets are those
///   committed last, or what was committed since they were last stored.
public final class BrokerHistory {
    /// What a request was about.
    enum Request {
        /// Messages; several are a batch.
        case send([MessageWish])
        case recall(MessageWish), commit(MessageWish)
        case topic(String), group(String)
    }
    struct QueueName: Hashable, Comparable, CustomStringConvertible {
        var group: String
        var topic: String
        var queueID: Int32
        var description: String { "\(group) of \(topic)-\(queueID)" }
        static func < (left: Self, right: Self) -> Bool { left.description < right.description }
    }

    let seed: UInt64
    var random: RandomSource
    var counts = TortureCounts()
    let clock = ManualClock(wallMilliseconds: 1_800_000_000_000)
    var files = MemoryFileSystem()
    var loop: TestLoop
    var flusher = TestWorker()
    var broker: Broker?
    var client: TestClient?
    let isSynchronous: Bool
    /// Faults of the disk are part of this history, or damage at its end.
    let hasFaults: Bool
    let hasDamage: Bool
    let deduplicates: Bool
    let sink = MemoryLogSink()

    /// Asked for and not answered, by the request's number.
    var open: [Int32: Request] = [:]
    var wishes: [MessageWish] = []
    var topics: [String: KnownEntry<KnownTopic?>] = [:]
    /// Of groups the most retries.
    var groups: [String: KnownEntry<Int32?>] = [:]
    var offsets: [QueueName: KnownOffsets] = [:]
    /// Messages found at the last look, by topic.
    var found: [String: [MessageExt]] = [:]
    var nextNumber = 0
    /// When this process began to serve, and whether the disk has failed since.
    var startedAt: Int64 = 0
    var hadFault = false
    var fault: OneFault?
    let isVerbose: Bool
    private var steps: [String] = []

    private init(seed: UInt64, isVerbose: Bool) {
        self.seed = seed
        self.isVerbose = isVerbose
        random = RandomSource(seed: seed &+ 0x00B2_04E2)
        isSynchronous = seed % 3 != 0
        hasFaults = seed % 4 == 1
        hasDamage = seed % 4 == 2
        deduplicates = seed % 5 == 3
        loop = TestLoop(clock: clock)
        for name in ["A", "B", "C"] { topics[name] = KnownEntry(nil) }
    }

    /// Runs the history of a seed. Throws with all its steps when a promise does not hold.
    @discardableResult
    public static func run(seed: UInt64) throws(TortureFailure) -> TortureCounts {
        let history = BrokerHistory(seed: seed, isVerbose: false)
        do throws(TortureFailure) {
            try history.run()
            return history.counts
        } catch {
            try replay(seed: seed)
            throw error
        }
    }

    /// As `run`, keeping what is done from the beginning; returns it when nothing goes wrong.
    @discardableResult
    public static func replay(seed: UInt64) throws(TortureFailure) -> [String] {
        let history = BrokerHistory(seed: seed, isVerbose: true)
        try history.run()
        return history.steps
    }

    private func run() throws(TortureFailure) {
        counts.histories = 1
        defer { loop.abandon() }
        try start()
        for _ in 0..<chance(1...4) {
            if chance(0...9) < 5 { files.dieAfter(changes: chance(0...150)) }
            var left = chance(2...16)
            while left > 0, !files.hasDied {
                try act()
                takeAnswers()
                left -= 1
            }
            end()
            if hasDamage, chance(0...3) == 0 {
                try startDamaged()
                break
            }
            try start()
        }
        try finish()
    }

    /// Everything that waits for its time, or for its producer, gets what it waits for.
    private func finish() throws(TortureFailure) {
        flusher.release()
        let last = wishes.map(\.due).max() ?? 0
        let end = max(last + 2000, clock.wallMilliseconds + (wishes.contains(where: \.isHalf) ? 9000 : 2000))
        while clock.wallMilliseconds < end {
            loop.advance(by: .seconds(1))
            takeAnswers(isFinal: true)
            loop.settle()
        }
        takeAnswers(isFinal: true)
        try check(isFinal: true)
    }

    func chance(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    func note(_ text: @autoclosure () -> String) {
        if isVerbose { steps.append(text()) }
    }

    func failure(_ what: String) -> TortureFailure {
        note("the broker's log:")
        if isVerbose { steps += sink.messages.suffix(12).map { "  \($0)" } }
        return TortureFailure(kind: "broker", seed: seed, what: what, steps: steps)
    }

    // MARK: Ends

    private func end() {
        setFault(nil)
        if !files.hasDied, chance(0...3) == 0 {
            var isStopped = false
            flusher.release()
            broker?.stop { _ in isStopped = true }
            for _ in 0..<200 where !isStopped { loop.advance(by: .milliseconds(100)) }
            takeAnswers()
            if isStopped, !files.hasDied {
                note("clean stop")
                counts.cleanStops += 1
                if !hadFault { noteOffsetsStored(before: .max) }
            }
        }
        loseProcess()
    }

    func setFault(_ next: OneFault?) {
        if fault?.hasFailedSync ?? false { for wish in wishes { wish.losePower() } }
        fault = next
        files.setFault(next?.answer)
    }

    private func loseProcess() {
        setFault(nil)
        loop.abandon()
        broker = nil
        client = nil
        open = [:]
        if Bool.random(using: &random) {
            note("kill\(files.hasDied ? " in the middle of a change" : "")")
            counts.kills += 1
            files = files.copy()
        } else {
            note("power loss\(files.hasDied ? " in the middle of a change" : "")")
            counts.powerLosses += 1
            files = files.afterPowerLoss(&random)
            for wish in wishes { wish.losePower() }
        }
        noteTables()
    }

    /// The table files, for those who read the steps.
    private func noteTables() {
        guard isVerbose else { return }
        for path in files.paths where path.hasPrefix("/disk/store/config/topics") {
            let bytes = files.bytes(path) ?? []
            let names = (try? TopicConfigSerializeWrapper(decoding: bytes))?.topicConfigTable.keys.filter { topics[$0] != nil }
            note("  \(path): \(names.map { "\($0.sorted())" } ?? "\(bytes.count) bytes")")
        }
    }

    // MARK: Starts

    private func start() throws(TortureFailure) {
        for _ in 0..<3 where chance(0...9) < 3 {
            files.dieAfter(changes: chance(0...60))
            if let problem = startOnce(), !files.hasDied { throw failure("the broker does not start: \(problem)") }
            loop.settle()
            guard files.hasDied else { break }
            counts.endsInRecovery += 1
            note("the start ends in its middle")
            loseProcess()
        }
        if broker == nil, let problem = startOnce() { throw failure("the broker does not start: \(problem)") }
        try begin()
    }

    func begin() throws(TortureFailure) {
        files.dieAfter(changes: nil)
        loop.settle()
        startedAt = clock.wallMilliseconds
        hadFault = false
        client = loop.connectClient()
        registerProducer()
        try check(isStart: true)
        foundTables()
    }

    /// Starts the broker; returns why it does not.
    func startOnce() -> BrokerError? {
        loop = TestLoop(clock: clock)
        flusher = TestWorker()
        note("start")
        do {
            let workers = BrokerWorkers(store: StoreWorkers(flusher: flusher, readers: loop, housekeeper: loop), tables: loop)
            broker = try Broker.start(
                try configuration(), fileSystem: files, loop: loop, workers: workers,
                log: Logger(component: "broker", threshold: LogThreshold(isVerbose ? .info : .warning), sink: sink, clock: clock))
            return nil
        } catch {
            return error as? BrokerError ?? BrokerError("\(error)")
        }
    }

    private func configuration() throws -> BrokerConfiguration {
        var settings = SettingsValues(BrokerSettings.schema)
        let texts = [
            "storePathRootDir": "/disk/store", "brokerName": "broker-a", "messageIndexEnable": "\(seed % 7 < 3)",
            "mappedFileSizeCommitLog": "16384", "mappedFileSizeConsumeQueue": "200", "maxMessageSize": "4096", "maxHashSlotNum": "16",
            "maxIndexNum": "64", "listenPort": "10911", "flushDiskType": isSynchronous ? "SYNC_FLUSH" : "ASYNC_FLUSH",
            "messageDelayLevel": "1s 5s 10s",
            "timerPrecisionMs": seed % 2 == 0 ? "50" : "400", "flushConsumerOffsetInterval": "\(Self.offsetInterval)",
            "flushDelayOffsetInterval": "700",
            "transactionTimeOut": "2000", "transactionCheckInterval": "1000", "transactionCheckMax": "1000",
            "deduplicationWindow": deduplicates ? "3600000" : "0", "enabledAppendPropCRC": "\(seed % 6 == 4)",
        ]
        for (name, text) in texts { try settings.set(name, text: text, origin: .chosen("a history")) }
        settings.expandHome("/home")
        var configuration = BrokerConfiguration(
            settings: settings, advertisedHost: "127.0.0.1", storeHost: .ipv4(0x7F00_0001), name: "broker-a", seed: seed)
        configuration.limitTimerIndex(entriesInMemory: 4, runs: 2, logTail: seed % 2 == 0 ? 4000 : 1 << 20)
        return configuration
    }

    static let offsetInterval: Int64 = 1000
}
