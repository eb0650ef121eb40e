import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Finds at the start what is undecided. Costs what lies behind the noted progress; half messages that are decided are not
/// read.
extension TransactionService {
    /// To be called once, before anything is stored. Waits for the disk.
    func load() throws(StoreError) {
        var decided: Set<Int64> = []
        let operations = operationQueue.queue
        try forEach(of: operations, from: index.progress().operation, until: { _ in 256 }) { record, bytes in
            let properties = bytes.extracting(record.properties)
            guard MessageProperties.value(of: PropertyName.tags, in: properties) == StoredMessage.operationTag else { return }
            let halves = StoredMessage.decidedOffsets(bytes.extracting(record.body))
            for half in halves where half >= index.firstUndecided { decided.insert(half) }
            if let newest = halves.max() { index.noteOperation(record.fields.queueOffset, decides: newest) }
        }
        try loadHalves(decided)
        guard !index.undecided.isEmpty else { return }
        log.info("\(index.undecided.count) undecided transactions of \(index.groups.count) producer groups were found")
    }

    private func loadHalves(_ decided: Set<Int64>) throws(StoreError) {
        // The newest undecided message of each key: a copy takes the place of one before it.
        var byKey: [UInt64: Int64] = [:]
        var closed: [TransactionAction] = []
        let end = halfQueue.queue.maxOffset
        func toRead(_ offset: Int64) -> Int {
            var count: Int64 = 0
            while count < 256, offset + count < end, !decided.contains(offset + count) { count += 1 }
            return Int(count)
        }
        try forEach(of: halfQueue.queue, from: index.firstUndecided, until: toRead) { record, bytes in
            let half = HalfMessage(record, in: bytes)
            guard !decided.contains(half.queueOffset) else { return }
            index.stored(half)
            // The reference stores a message with its own immunity anew, and lets the operation on the first one count.
            let first = MessageProperties.value(of: PropertyName.transactionPreparedQueueOffset, in: bytes.extracting(record.properties))
            if let first = first.flatMap({ Int64($0) }), decided.contains(first) {
                closed.append(.close(half.queueOffset))
                return
            }
            guard half.key != 0 else { return }
            if half.isCopy, let earlier = byKey[half.key], index.undecided[earlier]?.isSameMessage(as: half) == true {
                closed.append(.close(earlier))
            }
            byKey[half.key] = half.queueOffset
        }
        index.read(upTo: end)
        superseded = closed
    }

    /// Calls `use` with the records from `offset` to the end of the queue, in order. `until` says for each offset how many
    /// are wanted from there on; where it says 0 the offset is passed over.
    private func forEach(
        of queue: ConsumeQueue, from offset: Int64, until count: (Int64) -> Int, _ use: (MessageRecord, RawSpan) -> Void
    ) throws(StoreError) {
        var offset = offset
        var records = ByteBuffer(capacity: 64 << 10)
        let progress = store.startProgress()
        while offset < queue.maxOffset {
            progress.tell("\(offset) of \(queue.maxOffset) messages of \(queue.topic) looked through for undecided transactions")
            let wanted = count(offset)
            guard wanted > 0 else {
                offset += 1
                continue
            }
            records.removeAll()
            let limits = ReadLimits(messages: wanted, bytes: 1 << 20, scannedEntries: wanted)
            switch store.read(queue, from: offset, limits: limits, filter: .all, into: &records) {
            case .found(let next, _), .noMatch(let next): offset = max(next, offset + 1)
            case .offsetTooSmall(let first): offset = max(first, offset + 1)
            case .needsDisk, .later:
                if let entry = store.entry(queue, at: offset) { _ = try store.readMessage(at: entry.physicalOffset, into: &records) }
                offset += 1
            case .failed(let error): throw error
            case .atEnd, .offsetTooLarge, .emptyQueue: return
            }
            records.withBytes { bytes in
                var at = 0
                while at < bytes.byteCount {
                    guard let record = try? MessageRecord.parse(bytes, at: at) else { return }
                    use(record, bytes)
                    at = record.range.upperBound
                }
            }
        }
    }
}
