import RocketMQBase
import RocketMQProtocol

/// Lookups of single messages, by place and by time, for requests that are rare.
extension MessageStore {
    /// Looks something up without ever waiting for the disk on the loop. `look` runs on the loop, at once and again each time
    /// when bytes have come that it lacked: let it change nothing. `completion` is called on the loop, before this returns
    /// when all was in memory.
    public func lookUp<Value>(
        _ look: @escaping (LookupReader) throws(LookupInterruption) -> Value, completion: @escaping (Result<Value, StoreError>) -> Void
    ) {
        var found: Value?
        lookUp(
            steps: 1, { (_, reader) throws(LookupInterruption) in found = try look(reader) },
            completion: { failure in
                if let failure { return completion(.failure(failure)) }
                if let found { completion(.success(found)) }
            })
    }

    /// As above, in so many steps, in any order. `step` gets the number of the step, from 0; each runs until it has not been
    /// interrupted, which is when it may note what it found. Others get their turn meanwhile, however many steps there are.
    public func lookUp(
        steps: Int, _ step: @escaping (Int, LookupReader) throws(LookupInterruption) -> Void, completion: @escaping (StoreError?) -> Void
    ) {
        goOn(LookupRun(steps: steps, reader: LookupReader(self, mayWait: false), step: step, completion: completion))
    }

    private func goOn(_ run: LookupRun) {
        guard !upkeep.isClosed else { return run.completion(StoreError(.notWritable, "the store is closed")) }
        run.reader.beginTurn()
        while run.begin() {
            guard !run.reader.isTurnOver else { return goOnLater(run) }
            do throws(StoreError) { try run.round() } catch { return run.completion(error) }
            if let repair = run.reader.takeRepair() { return mend(repair, for: run) }
            let wanted = run.reader.takeWanted()
            if !wanted.isEmpty { return fetch(wanted, for: run) }
        }
        run.completion(nil)
    }

    private func mend(_ repair: QueueRepair, for run: LookupRun) {
        self.run(repair) { [self] failure in
            if let failure { return run.completion(failure) }
            run.reader.forget()
            goOn(run)
        }
    }

    private func goOnLater(_ run: LookupRun) {
        let carried = LoopBound((store: self, run: run), on: loop)
        loop.execute { carried.value.store.goOn(carried.value.run) }
    }

    private func fetch(_ wanted: [LookupReader.Wanted], for run: LookupRun) {
        let carried = LoopBound((store: self, run: run), on: loop)
        workers.readers.run { [loop, fileSystem] in
            var found: [[UInt8]] = []
            var failure: StoreError?
            do throws(StoreError) {
                for place in wanted { found.append(try LookupReader.fetch(place, fileSystem)) }
            } catch { failure = error }
            let (pieces, error) = (found, failure)
            loop.execute {
                let (store, run) = carried.value
                if let error { return run.completion(error) }
                for (place, bytes) in zip(wanted, pieces) { run.reader.keep(bytes, place) }
                store.goOn(run)
            }
        }
    }

    // MARK: At once

    /// Looks something up and waits for the disk where it must: for the start of a broker, and where nobody else waits.
    public func waitFor<Value>(_ look: (LookupReader) throws(LookupInterruption) -> Value) throws(StoreError) -> Value {
        let reader = LookupReader(self, mayWait: true)
        do throws(LookupInterruption) { return try look(reader) } catch {
            throw reader.failure ?? StoreError(.disk, "a lookup did not come to its end")
        }
    }

    /// As those of `LookupReader`, waiting for the disk.
    public func entry(_ queue: ConsumeQueue, at offset: Int64) -> QueueEntry? {
        try? waitFor { (reader) throws(LookupInterruption) in try reader.entry(queue, at: offset) }
    }

    public func storeTimestamp(_ queue: ConsumeQueue, at offset: Int64) throws(StoreError) -> Int64? {
        try waitFor { (reader) throws(LookupInterruption) in try reader.storeTimestamp(queue, at: offset) }
    }

    public func earliestStoreTimestamp() throws(StoreError) -> Int64? {
        try waitFor { (reader) throws(LookupInterruption) in try reader.earliestStoreTimestamp() }
    }

    public func firstOffset(_ queue: ConsumeQueue, atOrAfter timestamp: Int64) throws(StoreError) -> Int64 {
        try waitFor { (reader) throws(LookupInterruption) in try reader.firstOffset(queue, atOrAfter: timestamp) }
    }

    public func lastOffset(_ queue: ConsumeQueue, atOrBefore timestamp: Int64) throws(StoreError) -> Int64? {
        try waitFor { (reader) throws(LookupInterruption) in try reader.lastOffset(queue, atOrBefore: timestamp) }
    }

    /// Appends the record that starts at `physicalOffset` to `output`. False when no record starts there.
    public func readMessage(at physicalOffset: Int64, into output: inout ByteBuffer) throws(StoreError) -> Bool {
        guard let record = try waitFor({ (reader) throws(LookupInterruption) in try reader.message(at: physicalOffset) }) else {
            return false
        }
        output.append(record)
        return true
    }
}

/// A lookup on its way. Belongs to the loop.
private final class LookupRun {
    private let steps: Int
    /// Steps that have begun and are not done, and the first that has not begun.
    private var pending: [Int] = []
    private var next = 0
    /// Steps that run together, so that what they lack is fetched together.
    private static let stepsOfARound = 32
    let reader: LookupReader
    private let step: (Int, LookupReader) throws(LookupInterruption) -> Void
    let completion: (StoreError?) -> Void

    init(
        steps: Int, reader: LookupReader, step: @escaping (Int, LookupReader) throws(LookupInterruption) -> Void,
        completion: @escaping (StoreError?) -> Void
    ) {
        self.steps = steps
        self.reader = reader
        self.step = step
        self.completion = completion
    }

    /// False when all steps are done.
    func begin() -> Bool {
        guard pending.isEmpty else { return true }
        reader.forget()
        let end = min(next + Self.stepsOfARound, steps)
        pending = Array(next..<end)
        next = end
        return !pending.isEmpty
    }

    /// Runs the steps that have begun, until each is done or lacks something or the turn is over.
    func round() throws(StoreError) {
        var left: [Int] = []
        for number in pending {
            do throws(LookupInterruption) {
                try step(number, reader)
                reader.stepEnded()
            } catch {
                left.append(number)
            }
            if let failure = reader.failure { throw failure }
        }
        pending = left
    }
}
