import RocketMQBase
import RocketMQProtocol

/// The young end of the log, for those who need to know at the start what came last.
extension MessageStore {
    /// Whether a flush failed: what is not flushed yet never will be in this run.
    public var hasFlushFailed: Bool { upkeep.hasFlushFailed }

    /// One beyond everything staged: the next record goes there, or behind a blank at the end of a file.
    public var stagedOffset: Int64 { max(log.writtenOffset, log.segments.last.map { $0.base + Int64($0.count) } ?? 0) }

    /// Calls `use` with each record that was stored at `timestamp` (milliseconds) or later, in the order of the log; the
    /// ranges of a record count from its beginning, which is that of the bytes. Blocks while it reads that part of the log,
    /// and some more: for the start. Finds the place by halving, which takes the order of the log for that of time.
    public func forEachRecord(
        storedAtOrAfter timestamp: Int64, _ use: (MessageRecord, RawSpan) -> Void
    ) throws(StoreError) {
        let end = log.writtenOffset
        var start = log.minOffset
        for file in log.files.reversed() where file.base < end {
            guard let first = try firstRecord(in: file, from: file.base, end: min(file.end, end)) else { continue }
            start = file.base
            guard first.timestamp >= timestamp else {
                start = try lastRecord(before: timestamp, in: file, end: min(file.end, end))
                break
            }
        }
        var scanner = LogScanner(files: log.files, from: start, trust: LogTrust(durableEnd: end, isEndKnown: true))
        let progress = startProgress()
        while true {
            try progress.tell(
                "\((scanner.position - start) >> 20) of \((end - start) >> 20) MiB of the commit log looked through for the newest messages"
            )
            switch try scanner.next() {
            case .end: return
            case .hole: continue
            case .record(let record, let position):
                guard position < end else { return }
                guard record.fields.storeTimestamp >= timestamp else { continue }
                scanner.withRecord(record, at: position) { use(record, $0) }
            }
        }
    }

    /// Calls `use` with the records of the last `bytes` of the log, in its order, and none before `offset`, where a record
    /// starts. Waits for the disk: for the start of a broker.
    public func forEachRecord(
        inLast bytes: Int64, notBefore offset: Int64, _ use: (MessageRecord, RawSpan) -> Void
    ) throws(StoreError) {
        let end = log.writtenOffset
        var start = max(offset, log.minOffset)
        if start < end - bytes, let file = log.file(holding: end - bytes) {
            start = try firstRecord(in: file, from: end - bytes, end: min(file.end, end))?.position ?? min(file.end, end)
        }
        try forEachRecord(from: start, use)
    }

    /// Bytes looked through at a time for the beginning of a record, and the distance at which the search ends.
    private static let searchSize = 256 << 10

    private struct Found {
        var position: Int64
        var timestamp: Int64
    }

    /// Where a record starts that is older than `timestamp`, as close before it as halving comes.
    private func lastRecord(before timestamp: Int64, in file: LogFile, end: Int64) throws(StoreError) -> Int64 {
        var low = file.base
        var high = end
        while high - low > Int64(Self.searchSize) {
            let middle = low + (high - low) / 2
            if let found = try firstRecord(in: file, from: middle, end: high), found.timestamp < timestamp {
                low = found.position
            } else {
                high = middle
            }
        }
        return low
    }

    /// The first record that starts at `start` or later.
    private func firstRecord(in file: LogFile, from start: Int64, end: Int64) throws(StoreError) -> Found? {
        let handle = try file.handle()
        var position = start
        while position < end {
            let wanted = Int(min(Int64(Self.searchSize), end - position))
            let bytes = try readExactly(handle, at: position - file.base, count: wanted)
            let span = bytes.span.bytes
            var index = 0
            while index + MessageRecord.smallest <= span.byteCount {
                let place = position + Int64(index)
                let head = span.extracting(index..<span.byteCount)
                let size = head.bigEndian(Int32.self, at: 0)
                if size >= MessageRecord.smallest, RecordLayout.isRecord(head, size: size, at: place),
                    let timestamp = RecordLayout.storeTimestamp(head)
                {
                    return Found(position: place, timestamp: timestamp)
                }
                index += 1
            }
            // A head may lie across the border.
            guard span.byteCount == wanted, position + Int64(wanted) < end else { return nil }
            position += Int64(max(1, wanted - MessageRecord.smallest - 16))
        }
        return nil
    }
}
