import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// A store over files in memory, with small files and time in the test's hands.
final class StoreHarness {
    var files: any FileSystem
    let loop = TestLoop(clock: ManualClock(wallMilliseconds: 1_800_000_000_000))
    /// The store's housekeeper; passes its work on to the loop unless it is told to hold it.
    let housekeeper: HeldWorker
    var configuration: StoreConfiguration
    private(set) var store: MessageStore
    private(set) var reports: Reports

    final class Reports { var lines: [(StoreReportLevel, String)] = [] }

    init(files: any FileSystem = MemoryFileSystem(), _ adjust: (inout StoreConfiguration) -> Void = { _ in }) throws {
        self.files = files
        configuration = StoreConfiguration(rootDirectory: "/store")
        configuration.commitLogFileSize = 64 << 10
        configuration.consumeQueueFileEntries = 50
        configuration.maxRecordSize = 32 << 10
        configuration.windowSegmentSize = 16 << 10
        configuration.windowSegments = 3
        configuration.indexSlots = 50
        configuration.indexEntries = 200
        adjust(&configuration)
        if !(files is MemoryFileSystem) {
            // How full the disk is on which the tests run is not their matter.
            configuration.retention.cleanRatio = 1
            configuration.retention.forcedCleanRatio = 1
            configuration.retention.refuseRatio = 1
        }
        let reports = Reports()
        self.reports = reports
        housekeeper = HeldWorker(loop)
        store = try Self.open(configuration, files, loop, housekeeper, reports)
    }

    private static func open(
        _ configuration: StoreConfiguration, _ files: any FileSystem, _ loop: TestLoop, _ housekeeper: HeldWorker, _ reports: Reports,
        _ interruption: StartInterruption = StartInterruption()
    ) throws -> MessageStore {
        let workers = StoreWorkers(flusher: loop, readers: loop, housekeeper: housekeeper)
        return try MessageStore.open(
            configuration, fileSystem: files, clock: loop.clock, loop: loop, workers: workers, interruption: interruption
        ) { reports.lines.append(($0, $1)) }
    }

    var memory: MemoryFileSystem { files as! MemoryFileSystem }

    func closeAndOpen() throws {
        loop.settle()
        try store.close()
        store = try Self.open(configuration, files, loop, housekeeper, reports)
    }

    /// Opens what is there, as the next process does.
    func open() throws { store = try Self.open(configuration, files, loop, housekeeper, reports) }

    /// Goes on with what a process leaves that is killed now.
    func kill(_ interruption: StartInterruption = StartInterruption(), _ change: (MemoryFileSystem) -> Void = { _ in }) throws {
        let left = memory.copy()
        change(left)
        files = left
        reports.lines = []
        store = try Self.open(configuration, files, loop, housekeeper, reports, interruption)
    }

    /// Goes on after a loss of power that, as it happens, took nothing but what `change` takes.
    func losePower(_ change: (MemoryFileSystem) -> Void = { _ in }) throws {
        let kept = memory.copy()
        kept.synchronizeAll()
        var random = RandomSource(seed: 1)
        let left = kept.afterPowerLoss(&random)
        change(left)
        files = left
        reports.lines = []
        store = try Self.open(configuration, files, loop, housekeeper, reports)
    }

    var now: Int64 { loop.clock.wallMilliseconds }

    @discardableResult
    func append(
        _ topic: String = "T", _ id: Int32 = 0, _ body: String, tags: String? = nil, keys: String? = nil, flag: Int32 = 0,
        systemFlag: Int32 = 0,
        storeTimestamp: Int64? = nil, extra: String = ""
    ) throws -> Appended {
        var properties = "UNIQ_KEY\u{1}\(topic)-\(id)-\(body.prefix(40))"
        if let tags { properties += "\u{2}TAGS\u{1}\(tags)" }
        if let keys { properties += "\u{2}KEYS\u{1}\(keys)" }
        let fields = MessageFields(
            flag: flag, systemFlag: systemFlag, bornTimestamp: now - 5, bornHost: .loopback(port: 5000),
            storeTimestamp: storeTimestamp ?? now,
            storeHost: .loopback(port: 10911), tagsCode: tags.map { Int64(JavaHash.hash($0)) } ?? 0)
        let queue = store.queue(topic: topic, id: id)
        let (body, bytes, more) = (Array(body.utf8), Array(properties.utf8), Array(extra.utf8))
        return try store.append(
            fields, body: body.span.bytes, properties: bytes.span.bytes, extraProperties: more.span.bytes, to: queue)
    }

    /// Appends and commits, one message a commit.
    func send(_ bodies: [String], to topic: String = "T", _ id: Int32 = 0) throws {
        for body in bodies {
            try append(topic, id, body)
            try store.commit()
        }
    }

    /// Bodies of all messages of a queue from `offset` on, read batch by batch as a consumer would; checks that each says
    /// the queue offset at which it was found.
    func bodies(_ topic: String = "T", _ id: Int32 = 0, from offset: Int64? = nil, filter: MessageFilter = .all, batch: Int = 7) throws
        -> [String]
    {
        try records(topic, id, from: offset, filter: filter, batch: batch).map(\.body)
    }

    struct Found: Equatable {
        var body: String
        var topic: String
        var properties: String
        var fields: MessageRecordFields
    }

    func records(_ topic: String = "T", _ id: Int32 = 0, from offset: Int64? = nil, filter: MessageFilter = .all, batch: Int = 7) throws
        -> [Found]
    {
        guard let queue = store.existingQueue(topic: topic, id: id) else { return [] }
        var next = offset ?? queue.minOffset
        var found: [Found] = []
        let limits = ReadLimits(messages: batch, bytes: 256 << 10)
        for _ in 0..<100_000 {
            var output = ByteBuffer()
            var result = store.read(queue, from: next, limits: limits, filter: filter, into: &output)
            var bytes = output.copyBytes()
            if result == .needsDisk {
                var isCalled = false
                store.readFromDisk(queue, from: next, limits: limits, filter: filter) { answer, buffer in
                    (result, bytes, isCalled) = (answer, buffer.copyBytes(), true)
                }
                loop.settle()
                #expect(isCalled)
            }
            switch result {
            case .found(let after, let count):
                let parsed = try Self.parse(bytes)
                #expect(parsed.count == count)
                for record in parsed { #expect(record.fields.queueOffset >= next && record.fields.queueOffset < after) }
                found += parsed
                next = after
            case .noMatch(let after):
                #expect(after > next)
                next = after
            case .atEnd, .emptyQueue: return found
            default:
                Issue.record("read of \(topic)-\(id) at \(next): \(result)")
                return found
            }
        }
        Issue.record("no end of \(topic)-\(id)")
        return found
    }

    static func parse(_ bytes: [UInt8]) throws -> [Found] {
        var found: [Found] = []
        var position = 0
        while position < bytes.count {
            let span = bytes.span.bytes
            guard case .record(let record) = MessageRecord.find(in: span, at: position, verifyingChecksum: true) else {
                Issue.record("no good record at byte \(position) of what was read")
                return found
            }
            found.append(
                Found(
                    body: span.string(record.body), topic: span.string(record.topic), properties: span.string(record.properties),
                    fields: record.fields))
            position = record.range.upperBound
        }
        return found
    }
}

func numbered(_ range: Range<Int>, size: Int = 0) -> [String] {
    range.map { "message \($0) " + String(repeating: "x", count: size) }
}
