import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Finds again what a damaged page of a run held: the log has the records of all messages that wait. What is found counts
/// when it is, byte for byte, what the page's checksum says. Belongs to the loop.
final class TimerRepair {
    /// A page that is to be had again.
    struct Wanted: Sendable {
        let page: Int64
        let input: TimerRunInput
        /// Offsets of its messages in the timer's queue, and of those that its recalls take back, lie in this range.
        let queueOffsets: ClosedRange<Int64>
        /// Its first key, and that of the page after it.
        let first: TimerKey
        let end: TimerKey?

        init(_ page: Int64, of run: TimerRun) {
            self.page = page
            input = run.input
            queueOffsets = run.info.firstQueueOffset...max(run.info.firstQueueOffset, run.info.lastQueueOffset)
            first = input.fences[Int(page)].key
            end = Int(page) + 1 < input.fences.count ? input.fences[Int(page) + 1].key : nil
        }

        func holds(_ key: TimerKey) -> Bool { key >= first && end.map { key < $0 } ?? true && queueOffsets.contains(key.order >> 1) }
    }

    private let store: MessageStore
    private let queue: ConsumeQueue
    private let fileSystem: any FileSystem
    private let loop: any EventLoop
    private let worker: any BackgroundWorker
    private var records = ByteBuffer(capacity: 4096)
    /// The broker ends: nothing is begun any more, and what has begun ends without a result.
    private(set) var isStopped = false

    /// Between two parts of the queue, so that sends come in between.
    private static let pause: Duration = .milliseconds(2)
    private static let limits = ReadLimits(messages: 512, bytes: 1 << 20)

    init(store: MessageStore, queue: ConsumeQueue, fileSystem: any FileSystem, loop: any EventLoop, worker: any BackgroundWorker) {
        self.store = store
        self.queue = queue
        self.fileSystem = fileSystem
        self.loop = loop
        self.worker = worker
    }

    func stop() { isStopped = true }

    private final class Search {
        let wanted: Wanted
        let others: [TimerRunInput]
        var elsewhere: Set<TimerKey>
        var found: [TimerKey: TimerEntry] = [:]
        /// One beyond the last record of the queue that is looked at.
        let end: Int64
        let completion: (Result<[TimerEntry], FileSystemError>?) -> Void

        init(
            _ wanted: Wanted, others: [TimerRunInput], elsewhere: Set<TimerKey>, end: Int64,
            completion: @escaping (Result<[TimerEntry], FileSystemError>?) -> Void
        ) {
            self.wanted = wanted
            self.others = others
            self.elsewhere = elsewhere
            self.end = end
            self.completion = completion
        }
    }

    /// Finds what the page held, and writes it to its place. `completion` gets `nil` when the broker ends meanwhile.
    ///
    /// - Parameters:
    ///   - others: the other runs, which stay open as long.
    ///   - inMemory: those of the page's keys that belong to entries in memory.
    func find(
        _ wanted: Wanted, others: [TimerRunInput], inMemory: Set<TimerKey>,
        completion: @escaping (Result<[TimerEntry], FileSystemError>?) -> Void
    ) {
        let search = Search(wanted, others: others, elsewhere: inMemory, end: queue.maxOffset, completion: completion)
        // A recall comes after what it takes back.
        go(search, from: max(wanted.queueOffsets.lowerBound, queue.minOffset))
    }

    private func go(_ search: Search, from offset: Int64) {
        guard !isStopped else { return search.completion(nil) }
        guard offset < search.end else { return assemble(search) }
        records.removeAll()
        let result = store.read(queue, from: offset, limits: Self.limits, filter: .all, into: &records)
        guard result == .needsDisk else { return take(search, offset, result, records) }
        store.readFromDisk(queue, from: offset, limits: Self.limits, filter: .all) { [self] in take(search, offset, $0, $1) }
    }

    private func take(_ search: Search, _ offset: Int64, _ result: ReadResult, _ found: borrowing ByteBuffer) {
        var next = offset
        switch result {
        case .found(let after, _):
            found.withBytes { Self.collect($0, search) }
            next = after
        case .noMatch(let after), .offsetTooSmall(let after): next = max(after, offset + 1)
        case .later, .needsDisk: break
        case .atEnd, .offsetTooLarge, .emptyQueue: return assemble(search)
        case .failed(let error): return search.completion(.failure(failure(search, error.description)))
        }
        loop.schedule(after: Self.pause) { [self] in go(search, from: next) }
    }

    private static func collect(_ bytes: RawSpan, _ search: Search) {
        var at = 0
        while at < bytes.byteCount {
            guard case .record(let record) = MessageRecord.find(in: bytes, at: at, verifyingChecksum: true) else { return }
            at = record.range.upperBound
            guard let timer = TimerRecord(record, in: bytes), search.wanted.holds(timer.entry.key) else { continue }
            search.found[timer.entry.key] = timer.entry
        }
    }

    private func failure(_ search: Search, _ why: String) -> FileSystemError {
        TimerRunFile.damaged(search.wanted.input.file, "is damaged in its page \(search.wanted.page), which cannot be had again: \(why)")
    }

    // MARK: Putting together

    private func assemble(_ search: Search) {
        let (wanted, others, inMemory, found) = (search.wanted, search.others, search.elsewhere, search.found)
        let carried = LoopBound((repair: self, search: search), on: loop)
        worker.run { [loop, fileSystem] in
            let elsewhere = others.reduce(inMemory) { $0.union(Self.keys(of: $1, wanted)) }
            let entries = Self.put(found, elsewhere, into: wanted)
            if let entries { Self.write(entries, wanted, fileSystem) }
            loop.execute {
                let (repair, search) = carried.value
                search.completion(
                    entries.map { .success($0) }
                        ?? .failure(repair.failure(search, "the log does not have what it held, or not that alone")))
            }
        }
    }

    /// Those keys of the page that belong to entries of another run. A page of that which is damaged too says nothing: the
    /// checksum tells in the end.
    private static func keys(of other: TimerRunInput, _ wanted: Wanted) -> Set<TimerKey> {
        var keys: Set<TimerKey> = []
        for number in other.fences.indices {
            let isBefore = number + 1 < other.fences.count && other.fences[number + 1].key <= wanted.first
            guard !isBefore, wanted.end.map({ other.fences[number].key < $0 }) ?? true else { continue }
            for entry in (try? TimerRunFile.page(Int64(number), of: other)) ?? [] where wanted.holds(entry.key) {
                keys.insert(entry.key)
            }
        }
        return keys
    }

    /// The entries of the page; `nil` when they are not those that it held.
    private static func put(_ found: [TimerKey: TimerEntry], _ elsewhere: Set<TimerKey>, into wanted: Wanted) -> [TimerEntry]? {
        let own = found.filter { !elsewhere.contains($0.key) }
        // A message and its recall in one run were left out of it.
        let entries = own.values.filter { own[TimerKey(wake: $0.key.wake, order: $0.key.order ^ 1)] == nil }.sorted { $0.key < $1.key }
        guard entries.count == TimerRunLayout.entries(inPage: wanted.page, of: wanted.input.count) else { return nil }
        return TimerRunFile.entries(TimerRunFile.bytes(of: entries), page: wanted.page, wanted.input.fences)
    }

    /// Where it fails the page is mended in memory alone.
    private static func write(_ entries: [TimerEntry], _ wanted: Wanted, _ fileSystem: any FileSystem) {
        guard let file = try? fileSystem.open(wanted.input.file.path, .update) else { return }
        defer { file.close() }
        let bytes = TimerRunFile.bytes(of: entries)
        bytes.withUnsafeBytes { try? file.write($0, at: TimerRunFile.offset(ofPage: wanted.page)) }
        try? file.synchronize()
    }
}
