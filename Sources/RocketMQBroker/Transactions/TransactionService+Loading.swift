import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Finds at the start what is undecided. Costs what lies behind the noted progress; half messages that are decided are not
/// read.
extension TransactionService {
    /// To be called once, before anything is stored. Waits for the disk.
    ///
    /// - Parameter maxRecordSize: bytes of the largest record that there may be.
    func load(maxRecordSize: Int) throws(StoreError) {
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
        try findInterrupted(tail: 2 * Int64(maxRecordSize) + 4 << 20)
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

    /// Finds what a loss of power has cut in two: a message that was committed, or set aside, and not the operation record
    /// behind it. It is at the end of what is left of the log, and nobody may have it done a second time.
    ///
    /// - Parameter tail: bytes of the end of the log in which it is.
    private func findInterrupted(tail: Int64) throws(StoreError) {
        var byPlace: [Int64: Int64] = [:]
        var byKey: [UInt64: Int64] = [:]
        for half in index.undecided.values {
            byPlace[half.physicalOffset] = half.queueOffset
            if half.key != 0 { byKey[half.key] = half.queueOffset }
        }
        guard var first = byPlace.keys.min() else { return }
        let operations = operationQueue.queue
        if operations.maxOffset > 0, let last = store.entry(operations, at: operations.maxOffset - 1) {
            first = max(first, last.physicalOffset)
        }
        try store.forEachRecord(inLast: tail, notBefore: first) { record, bytes in
            let isCommit = record.fields.systemFlag.transaction == .committed
            let place = record.fields.preparedTransactionOffset
            let isSetAside = !isCommit && bytes.equals(record.topic, "TRANS_CHECK_MAX_TIME_TOPIC")
            guard isCommit ? byPlace[place] != nil : isSetAside else { return }
            let found = HalfMessage(record, in: bytes)
            guard let offset = isCommit ? byPlace[place] : byKey[found.key], let half = index.undecided[offset],
                isCommit ? half.key == found.key && half.bornTimestamp == found.bornTimestamp : half.isSameMessage(as: found)
            else { return }
            index.found(offset, isCommit: isCommit ? true : nil)
            interrupted.append(offset)
        }
        guard !interrupted.isEmpty else { return }
        log.warning(
            "\(interrupted.count) transactions had ended at the last crash, which took away the records that say so: they are stored again")
    }

    /// Stores the operation records that were lost; what cannot be stored is tried again.
    func closeInterrupted() {
        let offsets = interrupted
        interrupted = []
        for (index, offset) in offsets.enumerated() {
            let operation: Appended
            do throws(SendRefusal) { operation = try stageOperation(deciding: offset, isFirst: true) } catch {
                interrupted += offsets[index...]
                return log.log(
                    .error, limitedBy: "interrupted transactions", "that transactions have ended cannot be stored for now: \(error.remark)")
            }
            round.afterCommit { [self] failure in
                guard failure == nil else { return interrupted.append(offset) }
                self.index.decided(offset, operation: operation.queueOffset)
            }
        }
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
            try progress.tell("\(offset) of \(queue.maxOffset) messages of \(queue.topic) looked through for undecided transactions")
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
