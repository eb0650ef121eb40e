import RocketMQBase

/// The part of a read that waits for the disk, away from the loop.
extension MessageStore {
    /// As `read`, after it answered `.needsDisk`: fetches what is missing on the readers' worker and calls `completion` on
    /// the loop, with the records. Never answers `.needsDisk`.
    public func readFromDisk(
        _ queue: ConsumeQueue, from offset: Int64, limits: ReadLimits, filter: MessageFilter,
        completion: @escaping (ReadResult, borrowing ByteBuffer) -> Void
    ) {
        let read = DiskRead(queue: queue, offset: offset, limits: limits, filter: filter, completion: completion)
        go(read)
    }

    fileprivate func go(_ read: DiskRead) {
        var output = ByteBuffer(capacity: 4096)
        let result = self.read(
            read.queue, from: read.offset, limits: read.limits, filter: read.filter, fetched: read.fetched, into: &output)
        guard result == .needsDisk else { return read.completion(result, output) }
        guard let need = diskNeed, read.rounds < DiskRead.roundLimit else {
            return read.completion(.failed(StoreError(.disk, "the log changes faster than it can be read")), output)
        }
        diskNeed = nil
        if case .repair(let job) = need { return repair(job, for: read) }
        if case .proof(let proof) = need { return run(proof, for: read) }
        read.rounds += 1
        if case .log(let ranges) = need {
            for range in ranges where coldReads.isOld(range.start, end: log.writtenOffset) { coldReads.spend(range.size) }
        }
        let carried = LoopBound((store: self, read: read), on: loop)
        let fetch = need.fetch
        workers.readers.run { [loop] in
            var fetched = FetchedBytes()
            var failure: StoreError?
            do throws(StoreError) { fetched = try fetch() } catch { failure = error }
            let (done, error) = (fetched, failure)
            loop.execute {
                let (store, read) = carried.value
                if let error { return read.completion(.failed(error), ByteBuffer(capacity: 16)) }
                read.take(done)
                // The next pull goes on where this one ends.
                for piece in done.pieces where piece.bytes.count >= ReadCache.chunkSize / 2 {
                    store.readCache.insert(piece.bytes, from: piece.start)
                }
                store.go(read)
            }
        }
    }
}

extension MessageStore {
    /// One step of a repair, then the read goes on, or asks for the next.
    private func repair(_ job: QueueRepair, for read: DiskRead) {
        let carried = LoopBound((store: self, read: read), on: loop)
        workers.readers.run { [loop] in
            let outcome = job.step()
            loop.execute {
                let (store, read) = carried.value
                store.repairEnded(job, outcome)
                if case .failed(let error) = outcome { return read.completion(.failed(error), ByteBuffer(capacity: 16)) }
                read.fetched.entries = []
                store.go(read)
            }
        }
    }
}

extension MessageStore {
    /// Looks whether a file is the queue's, then the read goes on.
    private func run(_ proof: QueueProof, for read: DiskRead) {
        let carried = LoopBound((store: self, read: read), on: loop)
        workers.readers.run { [loop, fileSystem] in
            var odd: Int64?
            var failure: StoreError?
            do throws(StoreError) { odd = try proof.run(fileSystem) } catch { failure = error }
            let (found, failed) = (odd, failure)
            loop.execute {
                let (store, read) = carried.value
                if let failed { return read.completion(.failed(failed), ByteBuffer(capacity: 16)) }
                if let job = store.proofEnded(read.queue, at: proof.task.piece.offset, odd: found) { return store.repair(job, for: read) }
                store.go(read)
            }
        }
    }
}

/// A read that waits for the disk. Belongs to the loop.
private final class DiskRead {
    let queue: ConsumeQueue
    let offset: Int64
    let limits: ReadLimits
    let filter: MessageFilter
    let completion: (ReadResult, borrowing ByteBuffer) -> Void
    var fetched = FetchedBytes()
    var rounds = 0
    /// Entries, then records; more only when a filter passes over what was fetched.
    static let roundLimit = 64

    init(
        queue: ConsumeQueue, offset: Int64, limits: ReadLimits, filter: MessageFilter,
        completion: @escaping (ReadResult, borrowing ByteBuffer) -> Void
    ) {
        self.queue = queue
        self.offset = offset
        self.limits = limits
        self.filter = filter
        self.completion = completion
    }

    func take(_ more: FetchedBytes) {
        if !more.entries.isEmpty {
            fetched.entries = more.entries
            fetched.entriesStart = more.entriesStart
        }
        fetched.pieces += more.pieces
    }
}

extension DiskNeed {
    /// The work that gets it, to be run where it may block.
    var fetch: @Sendable () throws(StoreError) -> FetchedBytes {
        switch self {
        case .entries(let file, let position, let start, let count):
            return { () throws(StoreError) in
                let bytes = try readExactly(file, at: position, count: count * QueueEntry.byteCount)
                return FetchedBytes(entriesStart: start, entries: bytes)
            }
        case .repair, .proof: return { () throws(StoreError) in FetchedBytes() }
        case .log(let ranges):
            return { () throws(StoreError) in
                var fetched = FetchedBytes()
                for range in ranges {
                    fetched.pieces.append((range.start, try readExactly(range.file, at: range.start - range.base, count: range.size)))
                }
                return fetched
            }
        }
    }
}

/// Up to `count` bytes; fewer only at the end of the file.
func readExactly(_ file: any OpenFile, at position: Int64, count: Int) throws(StoreError) -> [UInt8] {
    var failure: FileSystemError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { memory, written in
        do throws(FileSystemError) {
            written = try file.read(at: position, into: UnsafeMutableRawBufferPointer(memory))
        } catch { failure = error }
    }
    if let failure { throw StoreError(failure) }
    return bytes
}
