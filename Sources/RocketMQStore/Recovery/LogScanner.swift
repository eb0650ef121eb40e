import RocketMQBase
import RocketMQProtocol

/// Goes through the log record by record, checking each, with large sequential reads.
struct LogScanner: ~Copyable {
    enum Step {
        /// A good record; its bytes are given by `withRecord`, and its ranges count from its beginning.
        case record(MessageRecord, at: Int64)
        /// Bytes that are no record, between good ones; where the next good one starts.
        case hole(from: Int64, to: Int64)
        /// No more records from here on.
        case end(at: Int64)
    }

    private let files: [LogFile]
    /// A bad record before it is damage in the middle; at or after it, the end of the log.
    private let trustedEnd: Int64
    private var fileIndex: Int
    private(set) var position: Int64
    private var buffer: UnsafeMutableRawBufferPointer
    private var bufferStart: Int64 = 0
    private var bufferCount = 0

    static let readSize = 4 << 20

    init(files: [LogFile], from start: Int64, trustedEnd: Int64) {
        self.files = files
        self.trustedEnd = trustedEnd
        position = start
        fileIndex = files.firstIndex { $0.end > start } ?? files.count
        if let first = files.first, start < first.base { position = first.base }
        buffer = .allocate(byteCount: Self.readSize, alignment: 4096)
    }

    deinit { buffer.deallocate() }

    /// The bytes of the record that the last step returned.
    func withRecord<Result>(_ record: MessageRecord, at offset: Int64, _ body: (RawSpan) -> Result) -> Result {
        let start = Int(offset - bufferStart)
        return body(UnsafeRawBufferPointer(rebasing: buffer[start..<(start + record.size)]).bytes)
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
            guard bytes.count >= MessageRecord.endOfFileSize else { return try afterBad(in: file) }
            let size = Int(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
            if UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) == MessageRecord.endOfFileMagic {
                // The rest of a file is empty. Anything but its exact size is no blank of this place.
                guard Int64(size) == file.end - position else { return try afterBad(in: file) }
                toNextFile()
                continue
            }
            if let record = try goodRecord(size, in: file) {
                defer { position += Int64(record.size) }
                return .record(record, at: position)
            }
            return try afterBad(in: file)
        }
        return .end(at: position)
    }

    private mutating func toNextFile() {
        position = files[fileIndex].end
        fileIndex += 1
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
        if position >= trustedEnd, isTorn(record, bytes.bytes, in: file) { return nil }
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

    /// The end, or, in front of `trustedEnd`, the next good record.
    private mutating func afterBad(in file: LogFile) throws(StoreError) -> Step {
        guard position < trustedEnd else { return .end(at: position) }
        let from = position
        position += 1
        while position < min(file.end - Int64(MessageRecord.smallest), trustedEnd) {
            try load(MessageRecord.smallest, in: file)
            let bytes = available
            guard bytes.count >= MessageRecord.smallest else { break }
            let size = Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))
            if RecordLayout.isRecord(bytes.bytes, size: size, at: position), try goodRecord(Int(size), in: file) != nil {
                return .hole(from: from, to: position)
            }
            position += 1
        }
        if file.end >= trustedEnd {
            // Nothing good until there: the log goes on where it was known to reach.
            position = trustedEnd
            return .hole(from: from, to: trustedEnd)
        }
        toNextFile()
        return .hole(from: from, to: position)
    }
}

extension RawSpan {
    fileprivate func isZero(_ range: Range<Int>) -> Bool {
        for index in range where byte(at: index) != 0 { return false }
        return true
    }
}
