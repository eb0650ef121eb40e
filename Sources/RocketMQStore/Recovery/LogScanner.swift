import RocketMQBase
import RocketMQProtocol

/// Goes through the log record by record, checking each, with large sequential reads.
struct LogScanner: ~Copyable {
    enum Step {
        /// A good record; its bytes are given by `withRecord`, and its ranges count from its beginning.
        case record(MessageRecord, at: Int64)
        /// Bytes that are no record, between good ones; where the next good one starts.
        case hole(from: Int64, to: Int64)
        /// The log ends here; whether whole records follow all the same, torn off from it.
        case end(at: Int64, hasMore: Bool)
    }

    private let files: [LogFile]
    private let trust: LogTrust
    private var fileIndex: Int
    private(set) var position: Int64
    private var lastTimestamp: Int64 = 0
    private var buffer: UnsafeMutableRawBufferPointer
    private var bufferStart: Int64 = 0
    private var bufferCount = 0
    /// Told how far a search through bad bytes is: it may take long.
    private let progress: StartProgress?

    static let readSize = 4 << 20

    init(files: [LogFile], from start: Int64, trust: LogTrust, progress: StartProgress? = nil) {
        self.files = files
        self.trust = trust
        self.progress = progress
        position = start
        fileIndex = files.firstIndex { $0.end > start } ?? files.count
        // Files may be missing before it.
        if fileIndex < files.count { position = max(position, files[fileIndex].base) }
        buffer = .allocate(byteCount: Self.readSize, alignment: 4096)
    }

    deinit { buffer.deallocate() }

    /// The bytes of the record that the last step returned.
    func withRecord<Result>(_ record: MessageRecord, at offset: Int64, _ body: (RawSpan) -> Result) -> Result {
        let start = Int(offset - bufferStart)
        return body(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + record.size)]).bytes)
    }

    /// A glance at what stands at a place beyond the last step's, when that has been read already: topic and queue of a record, if
    /// it is one. Nothing of it is checked. Returns where the next one starts; `nil` when that cannot be said.
    func glance(at offset: Int64, _ body: (RawSpan, Int32) -> Void) -> Int64? {
        let start = Int(offset - bufferStart)
        guard start >= 0, start < bufferCount else { return nil }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[start..<bufferCount]).bytes
        guard case .record(let record) = MessageRecord.find(in: bytes, at: 0, verifyingChecksum: false) else { return nil }
        body(bytes.extracting(record.topic), record.fields.queueID)
        return offset + Int64(record.size)
    }

    mutating func next() throws(StoreError) -> Step {
        while fileIndex < files.count {
            let file = files[fileIndex]
            guard file.end - position >= Int64(MessageRecord.endOfFileSize) else {
                toNextFile()
                continue
            }
            try load(MessageRecord.endOfFileSize, in: file)
            let bytes = available
            guard bytes.count >= MessageRecord.endOfFileSize else { return try afterBad() }
            let size = Int(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
            if UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) == MessageRecord.endOfFileMagic {
                // The rest of a file is empty. Anything but its exact size is no blank of this place.
                guard Int64(size) == file.end - position else { return try afterBad() }
                toNextFile()
                continue
            }
            if let record = try goodRecord(size, in: file) {
                defer { position += Int64(record.size) }
                lastTimestamp = record.fields.storeTimestamp
                return .record(record, at: position)
            }
            return try afterBad()
        }
        return .end(at: position, hasMore: false)
    }

    private mutating func toNextFile() {
        position = files[fileIndex].end
        fileIndex += 1
        if fileIndex < files.count { position = max(position, files[fileIndex].base) }
    }

    private var available: UnsafeRawBufferPointer {
        let start = Int(position - bufferStart)
        return UnsafeRawBufferPointer(rebasing: buffer[start..<max(start, bufferCount)])
    }

    private mutating func goodRecord(_ size: Int, in file: LogFile) throws(StoreError) -> MessageRecord? {
        guard size >= MessageRecord.smallest, Int64(size) <= file.end - position else { return nil }
        try load(size, in: file)
        let bytes = available
        guard bytes.count >= size else { return nil }
        guard case .record(let record) = MessageRecord.find(in: bytes.bytes, at: 0, verifyingChecksum: true) else { return nil }
        let fields = record.fields
        guard fields.physicalOffset == position, fields.queueOffset >= 0, fields.queueID >= 0, !record.topic.isEmpty else { return nil }
        if position >= trust.durableEnd, isTorn(record, bytes.bytes, in: file) { return nil }
        return record
    }

    /// Whether a sector of the record's properties never reached the disk. The checksum does not cover them; but nothing else
    /// than zeros can be where nothing was written, and no properties are so.
    private func isTorn(_ record: MessageRecord, _ bytes: RawSpan, in file: LogFile) -> Bool {
        let sector = 512
        let start = Int(position - file.base)
        var next = (start + record.topic.upperBound + sector - 1) / sector * sector - start
        while next < record.size {
            let fragment = max(next, record.properties.lowerBound)..<min(next + sector, record.size)
            if !fragment.isEmpty, bytes.isZero(fragment) { return true }
            next += sector
        }
        return false
    }

    /// Brings `count` bytes from `position` on into the buffer, as far as the file has them.
    private mutating func load(_ count: Int, in file: LogFile) throws(StoreError) {
        let start = position - bufferStart
        if start >= 0, start + Int64(count) <= Int64(bufferCount) { return }
        if count > buffer.count {
            buffer.deallocate()
            buffer = .allocate(byteCount: count + Self.readSize, alignment: 4096)
        }
        let wanted = Int(min(Int64(buffer.count), file.end - position))
        let handle = try file.handle()
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
        let place = position - file.base
        bufferStart = position
        bufferCount = 0
        bufferCount = try storing { () throws(FileSystemError) in try handle.read(at: place, into: target) }
    }

    // MARK: Bad bytes

    private mutating func afterBad() throws(StoreError) -> Step {
        let (bad, badFile) = (position, fileIndex)
        if trust.isEndKnown, bad >= trust.durableEnd { return .end(at: bad, hasMore: false) }
        let found = try search()
        switch trust.verdict(at: bad, next: found, lastTimestamp: lastTimestamp) {
        case .hole(let resume):
            position = resume
            fileIndex = files.firstIndex { $0.end > resume } ?? files.count
            if fileIndex < files.count { position = max(position, files[fileIndex].base) }
            return .hole(from: bad, to: resume)
        case .end:
            position = bad
            fileIndex = badFile
            return .end(at: bad, hasMore: found != nil)
        }
    }

    /// The next good record behind `position`, wherever in the log that is.
    private mutating func search() throws(StoreError) -> (offset: Int64, storeTimestamp: Int64)? {
        position += 1
        while fileIndex < files.count {
            let file = files[fileIndex]
            if let found = try search(in: file) { return found }
            toNextFile()
        }
        return nil
    }

    private mutating func search(in file: LogFile) throws(StoreError) -> (offset: Int64, storeTimestamp: Int64)? {
        let handle = try file.handle()
        while file.end - position >= Int64(MessageRecord.smallest) {
            let place = position - file.base
            // Where nothing was ever written there is nothing to be found.
            guard let data = try storing({ () throws(FileSystemError) in try handle.nextData(from: place) }) else { return nil }
            position = max(position, file.base + data)
            guard file.end - position >= Int64(MessageRecord.smallest) else { return nil }
            try progress?.tell("what follows damaged bytes of the commit log is looked for, now at offset \(position)")
            try load(MessageRecord.smallest, in: file)
            let bytes = available
            guard bytes.count >= MessageRecord.smallest else { return nil }
            guard let candidate = RecordSearch.candidate(in: bytes.bytes, from: 0) else {
                position += Int64(bytes.count - MessageRecord.smallest + 1)
                continue
            }
            position += Int64(candidate)
            let size = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: candidate, as: Int32.self)))
            if RecordLayout.isRecord(bytes.bytes.extracting(candidate..<bytes.count), size: Int32(truncatingIfNeeded: size), at: position),
                let record = try goodRecord(size, in: file)
            {
                return (position, record.fields.storeTimestamp)
            }
            position += 1
        }
        return nil
    }
}
