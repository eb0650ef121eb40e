import RocketMQBase
import RocketMQProtocol

/// Reads of consecutive messages of a queue: from the window, from what the system has in memory, or from the disk.
extension MessageStore {
    /// Appends whole records from queue offset `offset` on to `output`, as many as the limits and the filter allow. Never
    /// waits for the disk: what would need it is answered `.needsDisk`, with nothing appended.
    public func read(
        _ queue: ConsumeQueue, from offset: Int64, limits: ReadLimits, filter: borrowing MessageFilter, into output: inout ByteBuffer
    ) -> ReadResult {
        read(queue, from: offset, limits: limits, filter: filter, fetched: nil, into: &output)
    }

    func read(
        _ queue: ConsumeQueue, from offset: Int64, limits: ReadLimits, filter: borrowing MessageFilter, fetched: FetchedBytes?,
        into output: inout ByteBuffer
    ) -> ReadResult {
        if queue.maxOffset == 0 { return .emptyQueue }
        if offset < queue.minOffset { return .offsetTooSmall(minOffset: queue.minOffset) }
        if offset == queue.maxOffset { return .atEnd }
        if offset > queue.maxOffset { return .offsetTooLarge(maxOffset: queue.maxOffset) }

        var next = offset
        let scanEnd = min(queue.maxOffset, offset + Int64(max(limits.scannedEntries, 1)))
        let minPhysical = log.minOffset
        var count = 0
        var bytes = 0
        // Of the last entry that came from a file: entries are in the order of the log.
        var lastPlace: Int64 = -1
        scan: while next < scanEnd, count < max(limits.messages, 1) {
            let entry: QueueEntry
            var isFromFile = false
            if let recent = queue.recentEntry(next) {
                entry = recent
            } else {
                isFromFile = true
                switch olderEntry(queue, next, fetched) {
                case .entry(let found) where !cannotBe(found, after: &lastPlace) || isKnownLost(queue, next): entry = found
                case .entry(let found) where found.isFiller:
                    if let need = repair(of: queue, at: next, isEmpty: true) {
                        if count > 0 { break scan }
                        diskNeed = need
                        return .needsDisk
                    }
                    next += 1
                    continue
                case .entry, .void:
                    if !isKnownLost(queue, next), let need = repair(of: queue, at: next) {
                        if count > 0 { break scan }
                        diskNeed = need
                        return .needsDisk
                    }
                    next += 1
                    continue
                case .needsDisk:
                    if count > 0 { break scan }
                    return .needsDisk
                case .failed(let error):
                    if count > 0 { break scan }
                    return .failed(error)
                }
            }
            // A deleted message, a filler, or one that is known to be lost.
            if entry.isVoid || entry.isFiller || entry.physicalOffset < minPhysical
                || entry.physicalOffset > log.writtenOffset - Int64(entry.size)
            {
                next += 1
                continue
            }
            if !filter.matches(tagsCode: entry.tagsCode) {
                if isFromFile, let need = proof(of: queue, at: next) {
                    if count > 0 { break scan }
                    // What was passed over was of another file.
                    if next > offset { return .noMatch(nextOffset: next) }
                    diskNeed = need
                    return .needsDisk
                }
                next += 1
                continue
            }
            if count > 0, bytes + Int(entry.size) > limits.bytes { break }
            if let window = log.windowBytes(at: entry.physicalOffset, size: Int(entry.size)) {
                if appendRecord(window.bytes, entry, filter, &output) {
                    count += 1
                    bytes += Int(entry.size)
                }
            } else {
                switch appendOlder(entry, queue, next, limits, filter, fetched, &output) {
                case .appended:
                    count += 1
                    bytes += Int(entry.size)
                case .skipped: break
                case .later(let wait):
                    if count > 0 { break scan }
                    // What a filter passed over need not be looked at again.
                    return next > offset ? .noMatch(nextOffset: next) : .later(wait)
                case .damaged:
                    if !isKnownLost(queue, next), let need = repair(of: queue, at: next) {
                        if count > 0 { break scan }
                        diskNeed = need
                        return .needsDisk
                    }
                case .needsDisk:
                    if count > 0 { break scan }
                    return .needsDisk
                case .failed(let error):
                    if count > 0 { break scan }
                    return .failed(error)
                }
            }
            next += 1
        }
        return count > 0 ? .found(nextOffset: next, count: count) : .noMatch(nextOffset: next)
    }

    /// Appends the record when it is one and the filter wants it.
    @inline(__always)
    private func appendRecord(
        _ record: RawSpan, _ entry: QueueEntry, _ filter: borrowing MessageFilter, _ output: inout ByteBuffer
    ) -> Bool {
        guard RecordLayout.isRecord(record, size: entry.size, at: entry.physicalOffset) else {
            noteUnreadable(entry)
            return false
        }
        if let matches = filter.matchesRecord, !matches(record) { return false }
        if RecordLayout.mayExpire(record), hasExpired(record) { return false }
        output.append(record)
        return true
    }

    @inline(never)
    private func hasExpired(_ record: RawSpan) -> Bool { RecordLayout.expiry(record).map { $0 <= clock.wallMilliseconds } ?? false }

    /// As above for bytes that come from a file: checked whole, since disks and other programs make mistakes.
    private func appendFromFile(
        _ bytes: RawSpan, _ entry: QueueEntry, _ queue: ConsumeQueue, _ offset: Int64, _ filter: borrowing MessageFilter,
        _ output: inout ByteBuffer
    ) -> RecordResult {
        switch finding(bytes, entry, queue, offset) {
        case .intact: appendRecord(bytes, entry, filter, &output) ? .appended : .skipped
        case .lost: .skipped
        case .damaged: .damaged
        }
    }

    private enum Finding { case intact, lost, damaged }

    private func finding(_ bytes: RawSpan, _ entry: QueueEntry, _ queue: ConsumeQueue, _ offset: Int64) -> Finding {
        guard case .record(let record) = MessageRecord.find(in: bytes, at: 0, verifyingChecksum: true), record.fields.queueOffset == offset,
            record.fields.queueID == queue.id, record.size == Int(entry.size), record.fields.physicalOffset == entry.physicalOffset,
            isSame(bytes.extracting(record.topic), queue.topicBytes)
        else { return .damaged }
        // What stands for a lost message was told of when it was lost.
        return RecordLayout.entersQueue(record.fields.systemFlag.rawValue) ? .intact : .lost
    }

    @inline(__always)
    private func isSame(_ bytes: RawSpan, _ topic: UnsafeRawBufferPointer) -> Bool {
        bytes.byteCount == topic.count && bytes.withUnsafeBytes { $0.elementsEqual(topic) }
    }

    /// Whether an entry of a file is none: empty, out of the log, or before the one before it.
    private func cannotBe(_ entry: QueueEntry, after last: inout Int64) -> Bool {
        guard !entry.isFiller, !entry.isVoid, entry.physicalOffset > last, entry.physicalOffset <= log.writtenOffset - Int64(entry.size),
            entry.physicalOffset >= log.minOffset || retention.isUnderWay
        else { return true }
        last = entry.physicalOffset
        return false
    }

    private func noteUnreadable(_ entry: QueueEntry) {
        report(.error, "no record of \(entry.size) bytes lies at offset \(entry.physicalOffset) of the commit log, it is passed over")
    }

    // MARK: Entries

    private enum EntryResult {
        case entry(QueueEntry), void, needsDisk, failed(StoreError)
    }

    private func olderEntry(_ queue: ConsumeQueue, _ offset: Int64, _ fetched: FetchedBytes?) -> EntryResult {
        if let entry = fetched?.entry(offset) ?? entryScratch.entry(queue, offset) { return .entry(entry) }
        do {
            guard let (file, position) = try queue.files.handleForReading(offset) else { return .void }
            let end = min(queue.writtenOffset, queue.files.base(of: offset) + queue.files.entriesPerFile)
            let count = min(Int64(EntryScratch.capacity), end - offset)
            guard count > 0 else { return .void }
            entryScratch.clear()
            var read: Int?
            try storing { () throws(FileSystemError) in
                read = try readEntries(file, position, Int(count))
            }
            guard let read, read >= QueueEntry.byteCount else {
                if read != nil { return .void }
                diskNeed = .entries(file: file, position: position, start: offset, count: Int(count))
                return .needsDisk
            }
            entryScratch.queue = queue
            entryScratch.start = offset
            entryScratch.count = read / QueueEntry.byteCount
        } catch {
            return .failed(error)
        }
        if let entry = entryScratch.entry(queue, offset) { return .entry(entry) }
        return .void
    }

    private func readEntries(_ file: any OpenFile, _ position: Int64, _ count: Int) throws(FileSystemError) -> Int? {
        var failure: FileSystemError?
        var read: Int?
        entryScratch.bytes.withUnsafeMutableBytes { memory in
            let wanted = UnsafeMutableRawBufferPointer(rebasing: memory[..<(count * QueueEntry.byteCount)])
            do throws(FileSystemError) { read = try file.readIfCached(at: position, into: wanted) } catch { failure = error }
        }
        // A directory in the place of a file: what writes to it puts it aside.
        if failure?.code == .isDirectory { return 0 }
        if let failure { throw failure }
        return read
    }

    // MARK: Records behind the window

    private enum RecordResult {
        case appended, skipped, damaged, needsDisk, later(Duration), failed(StoreError)
    }

    private func appendOlder(
        _ entry: QueueEntry, _ queue: ConsumeQueue, _ offset: Int64, _ limits: ReadLimits, _ filter: borrowing MessageFilter,
        _ fetched: FetchedBytes?, _ output: inout ByteBuffer
    ) -> RecordResult {
        let size = Int(entry.size)
        guard let file = log.file(holding: entry.physicalOffset),
            entry.physicalOffset + Int64(size) <= min(log.writtenOffset, file.end)
        else { return .damaged }
        if let pieces = fetched?.pieces {
            for piece in pieces where entry.physicalOffset >= piece.start {
                let start = Int(entry.physicalOffset - piece.start)
                guard start + size <= piece.bytes.count else { continue }
                return piece.bytes.withUnsafeBytes {
                    appendFromFile(
                        UnsafeRawBufferPointer(rebasing: $0[start..<(start + size)]).bytes, entry, queue, offset, filter, &output)
                }
            }
        }
        if let result = appendCached(entry, queue, offset, filter, &output) { return result }
        let isOld = limits.mayBeDelayed && coldReads.isOld(entry.physicalOffset, end: log.writtenOffset)
        if isOld, fetched == nil, let wait = coldReads.wait(at: clock.monotonicNow, end: log.writtenOffset) { return .later(wait) }
        do {
            let handle = try file.handle()
            let position = entry.physicalOffset - file.base
            if size < ReadCache.chunkSize, isDense(queue, offset, entry, fetched) {
                let wanted = Int(min(Int64(ReadCache.chunkSize), min(file.end, log.writtenOffset) - entry.physicalOffset))
                // Copying much of what no processor's cache holds takes its time: where it is old, the worker has that.
                let isLoaded =
                    try isOld
                    ? false
                    : storing { () throws(FileSystemError) in
                        try readCache.load(from: entry.physicalOffset, size: wanted) { memory throws(FileSystemError) in
                            try handle.readIfCached(at: position, into: memory)
                        }
                    }
                if isLoaded, let result = appendCached(entry, queue, offset, filter, &output) { return result }
                diskNeed = .log([LogRange(file: handle, base: file.base, start: entry.physicalOffset, size: wanted)])
                return .needsDisk
            }
            if isOld {
                diskNeed = .log(sparseRanges(queue, offset, limits, filter, fetched))
                return .needsDisk
            }
            return try appendExactly(entry, queue, offset, limits, filter, fetched, handle, position, &output)
        } catch {
            return .failed(error)
        }
    }

    private func appendCached(
        _ entry: QueueEntry, _ queue: ConsumeQueue, _ offset: Int64, _ filter: borrowing MessageFilter, _ output: inout ByteBuffer
    ) -> RecordResult? {
        guard let (chunk, start) = readCache.chunk(holding: entry.physicalOffset, size: Int(entry.size)) else { return nil }
        // The array is shared with the cache for the time of this call, which does not change it.
        return chunk.withUnsafeBytes { bytes in
            let record = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + Int(entry.size))]).bytes
            return appendFromFile(record, entry, queue, offset, filter, &output)
        }
    }

    /// Reads one record straight into the output.
    private func appendExactly(
        _ entry: QueueEntry, _ queue: ConsumeQueue, _ offset: Int64, _ limits: ReadLimits, _ filter: borrowing MessageFilter,
        _ fetched: FetchedBytes?, _ handle: any OpenFile, _ position: Int64, _ output: inout ByteBuffer
    ) throws(StoreError) -> RecordResult {
        let size = Int(entry.size)
        let start = output.count
        var isWhole = false
        try storing { () throws(FileSystemError) in
            _ = try output.appendUnsafe(upTo: size) { memory throws(FileSystemError) -> Int in
                let read = try handle.readIfCached(at: position, into: memory)
                isWhole = read == size
                return isWhole ? size : 0
            }
        }
        guard isWhole else {
            diskNeed = .log(sparseRanges(queue, offset, limits, filter, fetched))
            return .needsDisk
        }
        var isDamaged = false
        let isWanted = output.withBytes { all in
            let record = all.extracting(start..<(start + size))
            let finding = finding(record, entry, queue, offset)
            isDamaged = finding == .damaged
            guard finding == .intact else { return false }
            if RecordLayout.mayExpire(record), hasExpired(record) { return false }
            return filter.matchesRecord?(record) ?? true
        }
        if !isWanted { output.truncate(to: start) }
        return isDamaged ? .damaged : isWanted ? .appended : .skipped
    }

    private func knownEntry(_ queue: ConsumeQueue, _ offset: Int64, _ fetched: FetchedBytes?) -> QueueEntry? {
        queue.recentEntry(offset) ?? fetched?.entry(offset) ?? entryScratch.entry(queue, offset)
    }

    /// Whether the queue's next messages lie close enough in the log for one large read to serve several.
    private func isDense(_ queue: ConsumeQueue, _ offset: Int64, _ entry: QueueEntry, _ fetched: FetchedBytes?) -> Bool {
        let ahead: Int64 = 8
        guard let later = knownEntry(queue, offset + ahead, fetched) else { return false }
        let distance = later.physicalOffset - entry.physicalOffset
        return distance > 0 && distance < Int64(ReadCache.chunkSize / 2)
    }

    /// The places of the records that this read would go on to, near ones merged.
    private func sparseRanges(
        _ queue: ConsumeQueue, _ offset: Int64, _ limits: ReadLimits, _ filter: borrowing MessageFilter,
        _ fetched: FetchedBytes?
    ) -> [LogRange] {
        var ranges: [LogRange] = []
        var bytes = 0
        var wanted = max(limits.messages, 1)
        var next = offset
        while wanted > 0, next < min(queue.maxOffset, offset + Int64(EntryScratch.capacity)) {
            guard let entry = knownEntry(queue, next, fetched) else { break }
            next += 1
            if entry.isVoid || entry.isFiller || !filter.matches(tagsCode: entry.tagsCode) { continue }
            guard let file = log.file(holding: entry.physicalOffset),
                entry.physicalOffset + Int64(entry.size) <= min(log.writtenOffset, file.end),
                let handle = try? file.handle()
            else { continue }
            if !ranges.isEmpty, bytes + Int(entry.size) > max(limits.bytes, ReadCache.chunkSize) { break }
            bytes += Int(entry.size)
            wanted -= 1
            if let last = ranges.indices.last, ranges[last].base == file.base {
                let end = ranges[last].start + Int64(ranges[last].size)
                if entry.physicalOffset >= end, entry.physicalOffset - end < 16 << 10 {
                    ranges[last].size = Int(entry.physicalOffset - ranges[last].start) + Int(entry.size)
                    continue
                }
            }
            ranges.append(LogRange(file: handle, base: file.base, start: entry.physicalOffset, size: Int(entry.size)))
        }
        return ranges
    }
}
