import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// A random history of a message store on a disk that fails, with a model of what the store has promised. Everything
/// follows from the seed.
///
/// The model is a list of messages in the order of the log. What is found after a start must be the beginning of that list:
/// at least up to the last message acknowledged when the process was killed, and up to what `flushedOffset` said when the
/// power was lost.
public final class StoreHistory {
    /// A message that was staged, and where.
    struct Sent {
        var topic: String
        var queueID: Int32
        var queueOffset: Int64
        var physicalOffset: Int64
        var end: Int64
        var number: Int
        var body: String
        var properties: String
        var keys: [String]
        var storeTimestamp: Int64
    }
    enum End { case kill, powerLoss }

    let seed: UInt64
    var random: RandomSource
    var counts = TortureCounts()
    let clock = ManualClock(wallMilliseconds: 1_800_000_000_000)
    var files = MemoryFileSystem()
    var loop: TestLoop
    var flusher = TestWorker()
    var store: MessageStore?
    var configuration = StoreConfiguration(rootDirectory: "/disk/store")
    /// Whether faults of the disk are part of this history, and damage at rest at its end.
    let hasFaults: Bool
    let hasBitFlips: Bool

    // The model.
    var acknowledged: [Sent] = []
    /// Those of a commit that failed, or was under way at the end: all, some of the first, or none may be there.
    var uncertain: [Sent] = []
    /// Said to be durable.
    var flushedEnd: Int64 = 0
    /// How many of the acknowledged must be found at the next start.
    var required = 0
    /// Since the last completed start the power was lost, or a sync failed: what was not flushed may be there in pieces.
    var mayBeTorn = false
    /// The oldest place of the log that must still be there.
    var minPhysical: Int64 = 0
    var nextNumber = 0

    private let isVerbose: Bool
    private var steps: [String] = []
    var reports: [(StoreReportLevel, String)] = []

    private init(seed: UInt64, isVerbose: Bool) {
        self.seed = seed
        self.isVerbose = isVerbose
        random = RandomSource(seed: seed)
        hasFaults = seed % 3 == 1
        hasBitFlips = seed % 8 == 5
        loop = TestLoop(clock: clock)
        let fileSize = Int64([4096, 8192, 16_384].randomElement(using: &random) ?? 4096)
        configuration.commitLogFileSize = fileSize
        configuration.maxRecordSize = Int(fileSize) / 2
        configuration.windowSegmentSize = [1024, 4096].randomElement(using: &random) ?? 1024
        configuration.windowSegments = 2
        configuration.consumeQueueFileEntries = Int64([3, 8, 40].randomElement(using: &random) ?? 8)
        configuration.checkpointInterval = .seconds(2)
        configuration.isIndexEnabled = seed % 4 != 0
        configuration.indexSlots = 12
        configuration.indexEntries = [8, 40].randomElement(using: &random) ?? 8
        configuration.openQueueFiles = 3
        configuration.queuesCheckedAtStart = seed % 7 < 3 ? 0 : 1000
        configuration.retention.reservedHours = 1
        configuration.writesRecordChecksums = seed % 5 == 2
        configuration.flushDirtyBytes = 6000
    }

    /// Runs the history of a seed. Throws with all its steps when a promise does not hold.
    @discardableResult
    public static func run(seed: UInt64) throws(TortureFailure) -> TortureCounts {
        let history = StoreHistory(seed: seed, isVerbose: false)
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
        let history = StoreHistory(seed: seed, isVerbose: true)
        try history.run()
        return history.steps
    }

    // MARK: The course of it

    private func run() throws(TortureFailure) {
        counts.histories = 1
        defer { loop.abandon() }
        try open()
        for _ in 0..<chance(2...5) {
            if chance(0...9) < 6 { files.dieAfter(changes: chance(0...140)) }
            var left = chance(2...14)
            while left > 0, !files.hasDied {
                try act()
                noteProgress()
                left -= 1
            }
            try end()
            if hasBitFlips, chance(0...2) == 0 { return try openDamaged() }
            try open()
        }
        files.setFault(nil)
        try stop()
        try open()
    }

    /// What the store says is durable, and what it has deleted.
    private func noteProgress() {
        guard let store else { return }
        minPhysical = max(minPhysical, store.minPhysicalOffset)
        if !files.hasDied { flushedEnd = max(flushedEnd, store.flushedOffset) }
    }

    /// The system has thrown away what was not durable: nobody can promise it any more.
    func pagesWereDropped() {
        required = min(required, acknowledged.count { $0.end <= flushedEnd })
        mayBeTorn = true
    }

    func chance(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    func note(_ text: @autoclosure () -> String) {
        if isVerbose { steps.append(text()) }
    }

    func failure(_ what: String) -> TortureFailure { TortureFailure(kind: "store", seed: seed, what: what, steps: steps) }

    // MARK: Ends

    private func end() throws(TortureFailure) {
        files.setFault(nil)
        if files.hasDied || chance(0...9) < 7 { crash() } else { try stop() }
    }

    /// The process is gone, and perhaps the power.
    func crash(_ end: End? = nil) {
        loop.abandon()
        store = nil
        loseProcess(end)
    }

    private func loseProcess(_ end: End? = nil) {
        let end = end ?? (Bool.random(using: &random) ? .kill : .powerLoss)
        if end == .kill {
            note("kill\(files.hasDied ? " in the middle of a change" : "")")
            counts.kills += 1
            files = files.copy()
        } else {
            note("power loss\(files.hasDied ? " in the middle of a change" : ""), durable is \(flushedEnd)")
            counts.powerLosses += 1
            files = files.afterPowerLoss(&random)
            pagesWereDropped()
        }
    }

    private func stop() throws(TortureFailure) {
        guard let store else { return }
        flusher.release()
        loop.settle()
        noteProgress()
        var problem: StoreError?
        do throws(StoreError) { try store.close() } catch { problem = error }
        if files.hasDied { return crash() }
        if let problem {
            // After a failed flush a close says so; what is there is what a kill leaves.
            guard hasFaults else { throw failure("the store cannot be closed: \(problem)") }
            return crash()
        }
        note("clean stop")
        counts.cleanStops += 1
        loop.abandon()
        // The mark stays after a sync failed.
        if !files.exists("/disk/store/abort") { flushedEnd = store.writtenOffset }
        self.store = nil
        loseProcess()
    }

    // MARK: Starts

    /// Opens the store, perhaps after starts that end in their middle, and checks what is found.
    func open() throws(TortureFailure) {
        for _ in 0..<4 where chance(0...9) < 4 {
            files.dieAfter(changes: chance(0...30))
            let problem = openOnce()
            guard files.hasDied else {
                files.dieAfter(changes: nil)
                if let problem { throw failure("the store cannot be opened: \(problem)") }
                return try check()
            }
            counts.endsInRecovery += 1
            note("the start ends in its middle")
            crash()
        }
        if hasFaults, chance(0...9) < 2 {
            let after = chance(0...40)
            note("one call fails while the store is opened")
            counts.faults += 1
            let fault = OneFault(after: after, seed: random.next())
            files.setFault(fault.answer)
            let problem = openOnce()
            files.setFault(nil)
            if fault.hasFailedSync { pagesWereDropped() }
            if let problem {
                note("the start fails: \(problem)")
                crash()
            } else {
                return try check()
            }
        }
        if let problem = openOnce() { throw failure("the store cannot be opened: \(problem)") }
        try check()
    }

    func openOnce() -> StoreError? {
        loop = TestLoop(clock: clock)
        flusher = TestWorker()
        reports = []
        let workers = StoreWorkers(flusher: flusher, readers: loop, housekeeper: loop)
        do throws(StoreError) {
            store = try MessageStore.open(configuration, fileSystem: files, clock: clock, loop: loop, workers: workers) {
                [unowned self] level, line in
                reports.append((level, line))
                note("  \(level): \(line)")
            }
            return nil
        } catch { return error }
    }
}
