import RocketMQBase
import RocketMQProtocol

/// Why a step of a lookup does not go on. The store begins it again when it may.
public enum LookupInterruption: Error {
    /// Bytes have to come from the disk.
    case needsDisk
    /// It has looked at much: others have their turn.
    case yields
    /// The reader has the reason.
    case failed
}

/// What stands at a place of the log that somebody asked for.
public enum PlaceInLog: Sendable, Equatable {
    case record([UInt8])
    /// A message was there, and damage took it: what is known of it, for whoever asked.
    case lost(String)
    /// No record starts there.
    case nothing
}

/// What a lookup looks at messages with. Belongs to the loop.
///
/// It never waits for the disk, unless it was made to: what is not in memory interrupts the step, is fetched on a worker and
/// found when the step runs again. It keeps what steps have read until they are done.
public final class LookupReader {
    /// A place in a file whose bytes are wanted.
    struct Wanted: Sendable {
        var path: String
        /// When it is open.
        var file: (any OpenFile)?
        var position: Int64
        var count: Int
        /// A file that is missing counts as empty.
        var mayBeMissing: Bool
    }
    private struct Place: Hashable {
        var path: String
        var position: Int64
    }
    private struct Kept {
        /// How many were asked for; there may be fewer.
        var wanted: Int
        var bytes: [UInt8]
    }

    private unowned let store: MessageStore
    private let mayWait: Bool
    private var kept: [Place: Kept] = [:]
    /// Why a step failed.
    private(set) var failure: StoreError?
    /// What interrupted steps.
    private var wanted: [Wanted] = []
    private var repair: QueueRepair?
    /// Reads in this turn.
    private var reads = 0
    /// Some tenths of a millisecond.
    private static let readsOfATurn = 64
    /// Entries of a queue that are read together, so that a search that passes over holes is quick.
    private static let entriesOfABlock: Int64 = 200
    /// Bytes of a record that are read at first: most are smaller.
    private static let firstRead = 4096

    init(_ store: MessageStore, mayWait: Bool) {
        self.store = store
        self.mayWait = mayWait
    }

    /// One that waits for the disk: for the start, and where nobody else waits. What it has read stays until `forget`.
    public convenience init(waitingFor store: MessageStore) { self.init(store, mayWait: true) }

    // MARK: What lookups ask

    /// The entry of a message; `nil` when there is none at the offset.
    public func entry(_ queue: ConsumeQueue, at offset: Int64) throws(LookupInterruption) -> QueueEntry? {
        guard offset >= queue.minOffset, offset < queue.maxOffset else { return nil }
        if let recent = queue.recentEntry(offset) { return recent }
        let files = queue.files
        let base = files.base(of: offset)
        let first = (offset - base) / Self.entriesOfABlock * Self.entriesOfABlock
        let end = min(first + Self.entriesOfABlock, files.entriesPerFile, queue.writtenOffset - base)
        let index = Int(offset - base - first) * QueueEntry.byteCount
        guard base + end > offset else { return nil }
        let block = try bytes(
            Wanted(
                path: files.path(base: base), file: files.openHandle(base: base), position: first * Int64(QueueEntry.byteCount),
                count: Int(end - first) * QueueEntry.byteCount, mayBeMissing: true),
            atLeast: index + QueueEntry.byteCount)
        let entry = block.count < index + QueueEntry.byteCount ? nil : block.withUnsafeBytes { QueueEntry(from: $0.baseAddress! + index) }
        if let entry, !entry.isVoid, !entry.isFiller { return entry }
        return try repaired(queue, at: offset, isEmpty: entry?.isFiller ?? false)
    }

    /// The entry, when its queue's files had to be repaired first: where the start did not look at them.
    private func repaired(_ queue: ConsumeQueue, at offset: Int64, isEmpty: Bool) throws(LookupInterruption) -> QueueEntry? {
        guard queue.files.isUnchecked, !store.isKnownLost(queue, offset),
            case .repair(let job)? = store.repair(of: queue, at: offset, isEmpty: isEmpty)
        else { return nil }
        guard mayWait else {
            repair = job
            throw .needsDisk
        }
        while true {
            let outcome = job.step()
            store.repairEnded(job, outcome)
            switch outcome {
            case .unfinished: continue
            case .failed(let error):
                failure = error
                throw .failed
            case .done:
                forget()
                return try entry(queue, at: offset)
            }
        }
    }

    /// Store timestamp of the message at a queue offset in milliseconds; `nil` when there is none.
    public func storeTimestamp(_ queue: ConsumeQueue, at offset: Int64) throws(LookupInterruption) -> Int64? {
        guard let entry = try entry(queue, at: offset) else { return nil }
        return try storeTimestamp(of: entry)
    }

    private func storeTimestamp(of entry: QueueEntry) throws(LookupInterruption) -> Int64? {
        let (place, log) = (entry.physicalOffset, store.log)
        guard place >= log.minOffset else { return nil }
        let wanted = min(Int(entry.size), MessageRecord.smallest)
        if let window = log.windowBytes(at: place, size: wanted) { return Self.timestamp(window.bytes, entry.size, at: place) }
        guard let file = log.file(holding: place), place + Int64(entry.size) <= log.writtenOffset else { return nil }
        let head = try bytes(of: file, at: place, wanted)
        return Self.timestamp(head.span.bytes, entry.size, at: place)
    }

    private static func timestamp(_ bytes: RawSpan, _ size: Int32, at place: Int64) -> Int64? {
        RecordLayout.isRecord(bytes, size: size, at: place) ? RecordLayout.storeTimestamp(bytes) : nil
    }

    /// Store timestamp of the oldest message in the log; `nil` when there is none.
    public func earliestStoreTimestamp() throws(LookupInterruption) -> Int64? {
        guard let file = store.log.files.first, file.base < store.log.writtenOffset else { return nil }
        let head = try bytes(of: file, at: file.base, MessageRecord.smallest)
        guard head.count == MessageRecord.smallest else { return nil }
        return Self.timestamp(head.span.bytes, head.span.bytes.bigEndian(Int32.self, at: 0), at: file.base)
    }

    /// The first message stored at `timestamp` or later; the queue's `maxOffset` when all are older. Exact where the store
    /// timestamps of the queue do not run backwards.
    public func firstOffset(_ queue: ConsumeQueue, atOrAfter timestamp: Int64) throws(LookupInterruption) -> Int64 {
        try boundary(queue) { $0 >= timestamp }
    }

    /// The last message stored at `timestamp` or before; `nil` when all are newer.
    public func lastOffset(_ queue: ConsumeQueue, atOrBefore timestamp: Int64) throws(LookupInterruption) -> Int64? {
        let next = try boundary(queue) { $0 > timestamp }
        return next > queue.minOffset ? next - 1 : nil
    }

    /// The first offset whose message is beyond, by halving. Holes count as what lies after them, messages that the log no
    /// longer has as older than all.
    private func boundary(_ queue: ConsumeQueue, _ isBeyond: (Int64) -> Bool) throws(LookupInterruption) -> Int64 {
        var low = queue.minOffset
        var high = queue.maxOffset
        while low < high {
            let middle = low + (high - low) / 2
            var probe = middle
            var found: Int64?
            while probe < high, found == nil {
                if let entry = try entry(queue, at: probe) {
                    found = .min
                    if entry.physicalOffset >= store.log.minOffset { found = try storeTimestamp(of: entry) }
                }
                probe += 1
            }
            if let found, !isBeyond(found) { low = probe } else { high = middle }
        }
        return low
    }

    /// The record that starts at a physical offset. `nil` when none starts there, as with an offset into the middle of one, or
    /// the message that was there is lost.
    public func message(at physicalOffset: Int64) throws(LookupInterruption) -> [UInt8]? {
        if case .record(let record) = try find(at: physicalOffset) { return record }
        return nil
    }

    /// What stands at a physical offset.
    public func find(at physicalOffset: Int64) throws(LookupInterruption) -> PlaceInLog {
        let log = store.log
        guard physicalOffset >= log.minOffset, physicalOffset < log.writtenOffset, let file = log.file(holding: physicalOffset) else {
            return .nothing
        }
        let most = min(file.end, log.writtenOffset) - physicalOffset
        guard most >= Int64(MessageRecord.smallest) else { return .nothing }
        let head = try bytes(of: file, at: physicalOffset, Int(min(most, Int64(Self.firstRead))))
        guard head.count >= MessageRecord.smallest else { return .nothing }
        let size = head.span.bytes.bigEndian(Int32.self, at: 0)
        guard size >= MessageRecord.smallest, Int64(size) <= most, RecordLayout.isRecord(head.span.bytes, size: size, at: physicalOffset)
        else {
            // What stands for several lost messages is zeros behind its head.
            guard head.span.bytes.isZero(0..<MessageRecord.smallest), try isCovered(physicalOffset, in: file) else { return .nothing }
            return .lost(LostRecord.reason(at: physicalOffset))
        }
        let record = Int(size) <= head.count ? Array(head[..<Int(size)]) : try bytes(of: file, at: physicalOffset, Int(size))
        guard case .record(let found) = MessageRecord.find(in: record.span.bytes, at: 0, verifyingChecksum: true) else {
            return .lost("the record at commit log offset \(physicalOffset) is damaged: its checksum does not fit it (\(file.path))")
        }
        if LostRecord.stands(found.fields) { return .lost(LostRecord.reason(found, record.span.bytes)) }
        return .record(record)
    }

    /// Whether a record that stands for lost messages reaches over a place.
    private func isCovered(_ place: Int64, in file: LogFile) throws(LookupInterruption) -> Bool {
        let start = max(file.base, place - Int64(LostRecord.largest))
        let before = try bytes(of: file, at: start, Int(place - start) + MessageRecord.smallest)
        let span = before.span.bytes
        var position = 0
        while let candidate = RecordSearch.candidate(in: span, from: position), start + Int64(candidate) < place {
            let head = span.extracting(candidate..<span.byteCount)
            let size = head.bigEndian(Int32.self, at: 0)
            if RecordLayout.isRecord(head, size: size, at: start + Int64(candidate)), start + Int64(candidate) + Int64(size) > place,
                head.bigEndian(Int32.self, at: MessageRecord.Layout.flag) == LostRecord.mark
            {
                return true
            }
            position = candidate + 1
        }
        return false
    }

    // MARK: Reading

    private func bytes(of file: LogFile, at physicalOffset: Int64, _ count: Int) throws(LookupInterruption) -> [UInt8] {
        try bytes(
            Wanted(path: file.path, file: file.opened, position: physicalOffset - file.base, count: count, mayBeMissing: false),
            atLeast: count)
    }

    /// - Parameter count: so many of what is wanted must have been asked for, if they were before.
    private func bytes(_ place: Wanted, atLeast count: Int) throws(LookupInterruption) -> [UInt8] {
        if let known = kept[Place(path: place.path, position: place.position)], known.wanted >= count { return known.bytes }
        let found = mayWait ? fetchNow(place) : inMemory(place)
        if failure != nil { throw .failed }
        guard let found else {
            guard reads <= Self.readsOfATurn else { throw .yields }
            wanted.append(place)
            throw .needsDisk
        }
        keep(found, place)
        return found
    }

    private func fetchNow(_ place: Wanted) -> [UInt8]? {
        do throws(StoreError) { return try Self.fetch(place, store.fileSystem) } catch { failure = error }
        return nil
    }

    /// `nil` when it is not in memory, or enough was read in this turn.
    private func inMemory(_ place: Wanted) -> [UInt8]? {
        reads += 1
        guard reads <= Self.readsOfATurn, let file = place.file else { return nil }
        var failed: FileSystemError?
        var read: Int?
        let bytes = [UInt8](unsafeUninitializedCapacity: place.count) { memory, count in
            do throws(FileSystemError) {
                read = try file.readIfCached(at: place.position, into: UnsafeMutableRawBufferPointer(memory))
            } catch { failed = error }
            count = read ?? 0
        }
        if let failed, place.mayBeMissing, failed.code == .isDirectory { return [] }
        if let failed { failure = StoreError(failed) }
        return read == nil ? nil : bytes
    }

    /// Gets the bytes, where that may block.
    static func fetch(_ place: Wanted, _ fileSystem: any FileSystem) throws(StoreError) -> [UInt8] {
        var file = place.file
        if file == nil {
            do throws(FileSystemError) { file = try fileSystem.open(place.path, .read) } catch {
                if [.notFound, .isDirectory, .wrongKind].contains(error.code), place.mayBeMissing { return [] }
                throw StoreError(error)
            }
        }
        guard let file else { return [] }
        do { return try readExactly(file, at: place.position, count: place.count) } catch {
            if place.mayBeMissing, fileSystem.isDirectory(place.path) { return [] }
            throw error
        }
    }

    /// What was fetched for `wanted`.
    func keep(_ bytes: [UInt8], _ place: Wanted) {
        kept[Place(path: place.path, position: place.position)] = Kept(wanted: place.count, bytes: bytes)
    }

    func takeWanted() -> [Wanted] {
        defer { wanted = [] }
        return wanted
    }

    func takeRepair() -> QueueRepair? {
        defer { repair = nil }
        return repair
    }

    // MARK: Turns

    func beginTurn() { reads = 0 }

    /// A step counts as a read: there may be very many that find all in memory.
    func stepEnded() { reads += 1 }

    var isTurnOver: Bool { reads >= Self.readsOfATurn }

    /// Gives back the memory of what was read.
    public func forget() { kept.removeAll(keepingCapacity: true) }
}
