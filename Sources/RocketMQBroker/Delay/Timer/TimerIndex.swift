import RocketMQBase
import RocketMQStore

/// All messages that wait for their time, in bounded memory: the newest in a heap, the others in runs, files in which they
/// stand in the order of their times. The next one is the least of the heads of all. Confined to the broker's loop.
///
/// What is taken out counts when it is finished: until then a crash leaves it where it was. Since entries leave a run in its
/// order, one key a run says for good what has left it.
final class TimerIndex {
    struct Limits {
        /// Entries in memory that make a new run.
        var entriesInMemory = 131_072
        /// Runs beyond which some are merged.
        var runs = 8
        /// Bytes of the log that a start may have to go through again.
        var logTail: Int64 = 256 << 20
    }

    enum Source {
        case memory, frozen
        case run(TimerRun)
    }

    /// An entry on its way out.
    struct Taken {
        var entry: TimerEntry
        fileprivate var source: Source
        /// Where the message was that this takes back.
        fileprivate var recalled: (key: TimerKey, source: Source)?
        /// There is nothing to be done for it.
        var isVoid: Bool { entry.isRecall }
    }

    /// The heap that is being written as a run.
    struct Frozen {
        var heap: TimerEntryHeap
        var done: TimerKey?
        var queueOffset: Int64
        var logOffset: Int64
    }

    private let directory: String
    private let fileSystem: any FileSystem
    private let loop: any EventLoop
    private let worker: any BackgroundWorker
    let log: Logger
    var limits = Limits()

    private(set) var memory = TimerEntryHeap()
    private(set) var frozen: Frozen?
    private(set) var runs: [TimerRun] = []
    private var nextRunID: Int64 = 1
    /// Files that are not needed any more once a manifest says so.
    private(set) var obsolete: [Int64] = []
    /// A run is being written or mended, or runs are being merged.
    var isBusy = false
    /// What finds again what a damaged page held; see TimerIndex+Damage.
    var repair: TimerRepair?
    var damagedPages: [(run: TimerRun, page: Int64)] = []
    /// To be done as soon as nothing is on its way out.
    private var whenQuiet: [() -> Void] = []
    private var outstanding = 0
    private var lastFailure: MonotonicTime?
    /// Called when entries are there that were not before.
    var onReady: (() -> Void)?

    /// Messages that wait.
    private(set) var pending: Int64 = 0
    /// Records of the timer's queue from here on are known in memory alone.
    private(set) var queueOffset: Int64 = 0
    /// From here on the log must be gone through at the next start.
    private(set) var logOffset: Int64 = 0

    init(directory: String, fileSystem: any FileSystem, loop: any EventLoop, worker: any BackgroundWorker, log: Logger) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.loop = loop
        self.worker = worker
        self.log = log
    }

    // MARK: Putting in

    func insert(_ entry: TimerEntry) {
        memory.insert(entry)
        pending += entry.isRecall ? -1 : 1
    }

    // MARK: Taking out

    /// The least entry up to `now`, taken out. `nil` when there is none, or when the disk is asked first: `onReady` then says
    /// when to try again.
    func takeNext(upTo now: Int64) -> Taken? {
        guard let (entry, source) = least(), entry.key.wake <= now else { return nil }
        remove(from: source)
        outstanding += 1
        guard entry.isRecall else { return Taken(entry: entry, source: source) }
        let message = TimerKey(wake: entry.key.wake, order: entry.key.order | 1)
        if let place = placeOfHead(message) {
            remove(from: place)
            return Taken(entry: entry, source: source, recalled: (message, place))
        }
        // What it takes back left before it; it was counted all the same.
        pending += 1
        return Taken(entry: entry, source: source)
    }

    /// What was taken out is dealt with for good.
    func finish(_ taken: Taken) {
        if !taken.isVoid { pending -= 1 }
        mark(taken.entry.key, taken.source)
        if let recalled = taken.recalled { mark(recalled.key, recalled.source) }
        outstanding -= 1
        if outstanding == 0 { quiet() }
    }

    private func mark(_ key: TimerKey, _ source: Source) {
        switch source {
        case .memory: return
        case .frozen: frozen?.done = key
        case .run(let run): run.finish(key)
        }
    }

    private func quiet() {
        guard !whenQuiet.isEmpty else { return }
        let work = whenQuiet
        whenQuiet = []
        for item in work { item() }
    }

    /// Nothing is on its way out.
    var isQuiet: Bool { outstanding == 0 }

    private func least() -> (TimerEntry, Source)? {
        var best: (TimerEntry, Source)?
        if let first = memory.first { best = (first, .memory) }
        if let first = frozen?.heap.first, best.map({ first.key < $0.0.key }) ?? true { best = (first, .frozen) }
        var limit: TimerKey?
        for run in runs {
            switch run.head {
            case .entry(let first): if best.map({ first.key < $0.0.key }) ?? true { best = (first, .run(run)) }
            case .atEnd: continue
            case .loading(let from): limit = min(limit ?? from, from)
            }
        }
        if let limit, let first = best, first.0.key >= limit { return nil }
        return best
    }

    /// Where an entry is that no other can come before.
    private func placeOfHead(_ key: TimerKey) -> Source? {
        if memory.first?.key == key { return .memory }
        if frozen?.heap.first?.key == key { return .frozen }
        for run in runs {
            if case .entry(let first) = run.head, first.key == key { return .run(run) }
        }
        return nil
    }

    private func remove(from source: Source) {
        switch source {
        case .memory: _ = memory.removeFirst()
        case .frozen: _ = frozen?.heap.removeFirst()
        case .run(let run): run.advance()
        }
    }

    // MARK: Looking; see TimerIndex+Looking too

    /// No waiting message's record lies before it in the log.
    var minPhysicalOffset: Int64 {
        var least = Int64.max
        if !memory.isEmpty { least = memory.minPhysicalOffset }
        if let frozen, !frozen.heap.isEmpty { least = min(least, frozen.heap.minPhysicalOffset) }
        for run in runs where !run.isAtEnd || run.failure != nil { least = min(least, run.info.minPhysicalOffset) }
        return least
    }

    /// Entries in memory.
    var entriesInMemory: Int { memory.count + (frozen?.heap.count ?? 0) }

    // MARK: Writing runs

    /// Writes what is in memory as a run when it is much, and moves the marks of the next start forward. To be called every
    /// so often; does nothing while something is on its way out.
    ///
    /// - Parameters:
    ///   - queueEnd: the end of the timer's queue, all of which is known here.
    ///   - logEnd: the end of the log then.
    func lookAfter(queueEnd: Int64, logEnd: Int64, isForced: Bool = false) {
        guard isQuiet, !isBusy else { return }
        if !damagedPages.isEmpty, repairNext() { return }
        dropEmptyRuns()
        if memory.isEmpty {
            (queueOffset, logOffset) = (queueEnd, logEnd)
        } else if isForced || memory.count >= limits.entriesInMemory || queueEnd - queueOffset >= 2 * Int64(limits.entriesInMemory)
            || logEnd - logOffset >= limits.logTail
        {
            return freeze(queueEnd, logEnd)
        }
        if runs.count > limits.runs { merge() }
    }

    private func dropEmptyRuns() {
        for run in runs where run.isAtEnd { discard(run) }
        runs.removeAll { $0.isAtEnd }
    }

    private func discard(_ run: TimerRun) {
        run.close()
        obsolete.append(run.info.id)
    }

    /// What came from a worker that may have found a damaged page.
    private func failed(_ failure: TimerRunFailure) {
        guard let page = failure.page, let run = runs.first(where: { $0.info.id == page.run }) else { return failed(failure.file) }
        run.noteDamage(ofPage: page.number, failure.file)
    }

    private func mayTry() -> Bool { lastFailure.map { loop.clock.monotonicNow - $0 >= .seconds(5) } ?? true }

    private func failed(_ error: FileSystemError) {
        lastFailure = loop.clock.monotonicNow
        log.log(.error, limitedBy: "timer runs", "the index of waiting messages is not written for now, they stay in memory: \(error)")
    }

    private func newRunID() -> Int64 {
        defer { nextRunID += 1 }
        return nextRunID
    }

    private func freeze(_ queueEnd: Int64, _ logEnd: Int64) {
        guard mayTry() else { return }
        isBusy = true
        let entries = memory.entries
        frozen = Frozen(heap: memory, queueOffset: queueEnd, logOffset: logEnd)
        memory = TimerEntryHeap()
        write({ [directory, fileSystem] id throws(TimerRunFailure) in
            do throws(FileSystemError) {
                return try TimerRunFile.write(entries, id: id, directory: directory, fileSystem: fileSystem)
            } catch { throw TimerRunFailure(file: error) }
        }) { [unowned self] result in frozenIsWritten(result) }
    }

    private func frozenIsWritten(_ result: Result<(info: TimerRunInfo, fences: [TimerFence]), TimerRunFailure>) {
        isBusy = false
        guard let old = frozen else { return }
        do throws(TimerRunFailure) {
            if let run = try open(result.get(), done: old.done) { runs.append(run) }
            (queueOffset, logOffset) = (old.queueOffset, old.logOffset)
            frozen = nil
        } catch {
            failed(error)
            // Back to where they were; what came in the meantime goes on top.
            var heap = old.heap
            for entry in memory.entries { heap.insert(entry) }
            memory = heap
            frozen = nil
        }
        onReady?()
    }

    /// `nil` when nothing is left in it.
    private func open(
        _ written: (info: TimerRunInfo, fences: [TimerFence]), done: TimerKey?
    ) throws(TimerRunFailure) -> TimerRun? {
        guard written.info.count > 0 else {
            obsolete.append(written.info.id)
            return nil
        }
        do throws(FileSystemError) {
            let run = try TimerRun(
                written.info, fences: written.fences, done: done, directory: directory, fileSystem: fileSystem, loop: loop, worker: worker)
            attend(run)
            return run
        } catch { throw TimerRunFailure(file: error) }
    }

    private func attend(_ run: TimerRun) {
        run.onLoaded = { [unowned self] in onReady?() }
        run.onDamaged = { [unowned self, unowned run] page, error in damaged(run, page, error) }
    }

    /// Runs `work` on the worker; its outcome is dealt with when nothing is on its way out.
    private func write(
        _ work: @escaping @Sendable (Int64) throws(TimerRunFailure) -> (info: TimerRunInfo, fences: [TimerFence]),
        _ completion: @escaping (Result<(info: TimerRunInfo, fences: [TimerFence]), TimerRunFailure>) -> Void
    ) {
        let id = newRunID()
        let carried = LoopBound((index: self, completion: completion), on: loop)
        worker.run { [loop] in
            let result: Result<(info: TimerRunInfo, fences: [TimerFence]), TimerRunFailure>
            do throws(TimerRunFailure) { result = .success(try work(id)) } catch { result = .failure(error) }
            loop.execute {
                let (index, completion) = carried.value
                index.whenQuiet.append { completion(result) }
                if index.isQuiet { index.quiet() }
            }
        }
    }

    /// Merges the newest runs up to one that is much larger than all of them: each entry is merged a few times only.
    private func merge() {
        guard mayTry() else { return }
        var first = runs.count - 1
        var total = runs[first].info.count - runs[first].position
        while first > 0 {
            let older = runs[first - 1].info.count - runs[first - 1].position
            guard older <= 2 * total || runs.count - first < 2 else { break }
            total += older
            first -= 1
        }
        let chosen = Array(runs[first...])
        guard chosen.allSatisfy({ $0.failure == nil }) else { return }
        isBusy = true
        let inputs = chosen.map(\.input)
        let before = chosen.map(\.done)
        write({ [directory, fileSystem] id throws(TimerRunFailure) in
            try TimerRunFile.merge(inputs, id: id, directory: directory, fileSystem: fileSystem)
        }) { [unowned self] result in
            isBusy = false
            // Of the merged run that has left already which left the others since: its beginning.
            let left = zip(chosen, before).compactMap { run, before in run.done == before ? nil : run.done }.max()
            do throws(TimerRunFailure) {
                let merged = try open(result.get(), done: left)
                guard let place = runs.firstIndex(where: { $0 === chosen[0] }) else { return }
                runs.removeSubrange(place..<(place + chosen.count))
                if let merged { runs.insert(merged, at: place) }
                for run in chosen { discard(run) }
            } catch { failed(error) }
            onReady?()
        }
    }

    // MARK: For the start

    /// Takes over what was found, and writes what is too much for memory or cannot be found again. Blocks.
    func load(
        _ found: [TimerRun], nextRunID: Int64, queueOffset: Int64, logOffset: Int64
    ) throws(FileSystemError) {
        // An attempt before this one may have found a part of it.
        (memory, pending) = (TimerEntryHeap(), 0)
        runs = found
        self.nextRunID = nextRunID
        (self.queueOffset, self.logOffset) = (queueOffset, logOffset)
        for run in found {
            do throws(TimerLookupInterruption) { pending += try run.waiting(upTo: nil, mayWait: true).count } catch { throw error.reason }
        }
        for run in found { attend(run) }
    }

    /// Writes what is in memory, at once, when it is much. The marks stay: `endWriting` must follow.
    func writeIfMuch() throws(FileSystemError) {
        if memory.count >= limits.entriesInMemory { try writeMemory() }
    }

    /// Writes what is in memory and moves the marks to the ends of the timer's queue and of the log.
    func endWriting(queueEnd: Int64, logEnd: Int64) throws(FileSystemError) {
        try writeMemory()
        (queueOffset, logOffset) = (queueEnd, logEnd)
    }

    private func writeMemory() throws(FileSystemError) {
        guard !memory.isEmpty else { return }
        let written = try TimerRunFile.write(memory.entries, id: newRunID(), directory: directory, fileSystem: fileSystem)
        do throws(TimerRunFailure) {
            if let run = try open(written, done: nil) { runs.append(run) }
        } catch { throw error.file }
        memory = TimerEntryHeap()
    }

    /// For the manifest: what is in use. A run of which all is on its way out is.
    var state: (runs: [(info: TimerRunInfo, done: TimerKey?)], nextRunID: Int64) {
        (runs.filter { !$0.isAtEnd || !isQuiet }.map { ($0.info, $0.done) }, nextRunID)
    }

    /// Hands over the files to be removed when the manifest made from `state` now is durable.
    func takeObsolete() -> [Int64] {
        defer { obsolete = [] }
        return obsolete
    }

    /// Why a part of what waits cannot be read.
    var damage: FileSystemError? { runs.lazy.compactMap(\.failure).first }
}
