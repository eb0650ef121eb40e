import RocketMQBase
import RocketMQProtocol
import Synchronization

/// A file of the log, for reading from any thread.
struct LogPart: Sendable {
    var base: Int64
    var size: Int64
    var file: any OpenFile
    var end: Int64 { base + size }
}

/// Builds the index behind the log, away from the loop, and answers lookups. Every entrance takes a lock that is held for
/// one step; nothing of it is on the way of a send.
final class IndexBuilder: Sendable {
    private struct State: ~Copyable {
        var files: [IndexFile] = []
        /// The keys of every message before it are in.
        var indexedOffset: Int64 = 0
        /// Up to this place of the last file's log the keys were in when it was opened: such messages are not put again.
        var skippedThrough: Int64 = -1
    }
    private let state: Mutex<State>
    private let directory: String
    private let geometry: IndexFile.Geometry
    private let fileSystem: any FileSystem
    private let clock: any SystemClock

    init(directory: String, geometry: IndexFile.Geometry, fileSystem: any FileSystem, clock: any SystemClock) {
        self.directory = directory
        self.geometry = geometry
        self.fileSystem = fileSystem
        self.clock = clock
        state = Mutex(State())
    }

    /// What is known of the state of the files at the start.
    enum Trust: Sendable {
        /// A clean stop: the files are as they say. Ours tells how far they reach, the reference's last entry does otherwise.
        case all(indexedOffset: Int64?)
        /// After a crash: entries of messages before the offset were durable.
        case before(Int64)
        /// After a crash of the reference: files whose last message is newer than this go.
        case filesUntil(timestamp: Int64)
    }

    /// Loads the files. Blocks, after a crash for as long as reading the last file takes.
    func load(_ trust: Trust, logStart: Int64, logEnd: Int64) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            try storing { () throws(FileSystemError) in try fileSystem.createDirectoryDurably(directory) }
            var files: [IndexFile] = []
            for name in try storing({ () throws(FileSystemError) in try fileSystem.list(directory) }) {
                guard name.utf8.count == 17, name.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { continue }
                let path = directory + "/" + name
                let file = try IndexFile(opening: path, expected: geometry, fileSystem: fileSystem)
                switch (file, trust) {
                case (nil, _): try storing { () throws(FileSystemError) in try fileSystem.remove(path) }
                case (let file?, .filesUntil(let timestamp)) where file.header.endTimestamp > timestamp:
                    try storing { () throws(FileSystemError) in try fileSystem.remove(path) }
                case (let file?, .before(let offset)) where file.isEmpty || file.header.endOffset >= offset || !file.isFull:
                    try file.rebuild(before: offset)
                    if file.isEmpty {
                        try storing { () throws(FileSystemError) in try fileSystem.remove(path) }
                    } else {
                        files.append(file)
                    }
                case (let file?, _): files.append(file)
                }
            }
            // Going on behind the last entry would always be right. Where we know better it saves time, unless it is so
            // little that a file that was lost may as well be looked for.
            let last = files.last { !$0.isEmpty }
            var indexed = last?.header.endOffset ?? logStart
            // When a file is full some keys of its last message may have gone to the next one, which may be lost.
            state.skippedThrough = last.map { $0.isFull ? $0.header.endOffset - 1 : $0.header.endOffset } ?? -1
            switch trust {
            case .all(let offset?), .before(let offset): if offset - indexed > 1 << 30, !files.isEmpty { indexed = offset }
            default: break
            }
            state.files = files
            state.indexedOffset = min(max(indexed, logStart), logEnd)
        }
    }

    var indexedOffset: Int64 { state.withLock { $0.indexedOffset } }
    /// Store timestamp and offset of the newest message in the index.
    var newest: (timestamp: Int64, physicalOffset: Int64) {
        state.withLock { state in
            let header = state.files.last { !$0.isEmpty }?.header
            return (header?.endTimestamp ?? 0, header?.endOffset ?? 0)
        }
    }

    // MARK: Building

    /// Goes on through the log, for `byteLimit` bytes at most, and returns how far it is.
    func advance(_ parts: [LogPart], to end: Int64, byteLimit: Int) throws(StoreError) -> Int64 {
        try state.withLock { (state) throws(StoreError) in
            let stop = min(end, state.indexedOffset + Int64(byteLimit))
            while state.indexedOffset < stop {
                guard let part = parts.first(where: { state.indexedOffset < $0.end }) else { break }
                if state.indexedOffset < part.base { state.indexedOffset = part.base }
                let wanted = min(end, part.end) - state.indexedOffset
                let read = Int(min(wanted, Int64(max(byteLimit, 64 << 10))))
                let bytes = try readExactly(part.file, at: state.indexedOffset - part.base, count: read)
                let used = try index(bytes, part, end: end, &state, isAll: Int64(bytes.count) == wanted)
                if used == 0 { break }
            }
            return state.indexedOffset
        }
    }

    /// Puts in the keys of the records in `bytes`, and returns how many bytes that were.
    private func index(_ bytes: [UInt8], _ part: LogPart, end: Int64, _ state: inout State, isAll: Bool) throws(StoreError) -> Int {
        let span = bytes.span.bytes
        var position = 0
        while bytes.count - position >= MessageRecord.endOfFileSize {
            switch MessageRecord.find(in: span, at: position, verifyingChecksum: false) {
            case .record(let record) where record.fields.physicalOffset == state.indexedOffset:
                if state.indexedOffset > state.skippedThrough { try put(record, span, &state) }
                position += record.size
                state.indexedOffset += Int64(record.size)
            case .incomplete where !isAll:
                if position > 0 { return position }
                // Larger than one step reads: take it whole.
                let whole = Int(span.bigEndian(Int32.self, at: 0))
                let larger = try readExactly(part.file, at: state.indexedOffset - part.base, count: whole)
                guard larger.count == whole, whole > bytes.count else { fallthrough }
                return try index(larger, part, end: end, &state, isAll: true)
            default:
                // The end of the file, or damage, behind which the next file goes on.
                state.indexedOffset = min(part.end, end)
                return bytes.count
            }
        }
        if isAll, bytes.count - position < MessageRecord.endOfFileSize, position < bytes.count {
            state.indexedOffset += Int64(bytes.count - position)
        }
        return position
    }

    private func put(_ record: MessageRecord, _ bytes: RawSpan, _ state: inout State) throws(StoreError) {
        guard record.fields.systemFlag.transaction != .rolledBack else { return }
        let topicHash = JavaHash.hash(bytes.extracting(record.topic))
        let prefix = topicHash &* 31 &+ 35
        let properties = bytes.extracting(record.properties)
        if let range = MessageProperties.range(of: PropertyName.uniqueKey, in: properties) {
            try put(JavaHash.hash(properties.extracting(range), continuing: prefix), record, &state)
        }
        guard let range = MessageProperties.range(of: PropertyName.keys, in: properties) else { return }
        let keys = properties.extracting(range)
        var start = 0
        while start < keys.byteCount {
            var end = start
            while end < keys.byteCount, keys.byte(at: end) != 0x20 { end += 1 }
            if end > start { try put(JavaHash.hash(keys.extracting(start..<end), continuing: prefix), record, &state) }
            start = end + 1
        }
    }

    private func put(_ hash: Int32, _ record: MessageRecord, _ state: inout State) throws(StoreError) {
        if state.files.last?.isFull ?? true {
            try state.files.last?.flush()
            state.files.append(try IndexFile(creating: nextPath(state.files.last?.path), geometry: geometry, fileSystem: fileSystem))
        }
        try state.files.last?.put(
            hash: JavaHash.nonNegative(hash), physicalOffset: record.fields.physicalOffset, storeTimestamp: record.fields.storeTimestamp)
    }

    /// The time as `yyyyMMddHHmmssSSS`, later than that of the file before in any case.
    private func nextPath(_ last: String?) -> String {
        var name = utcText(milliseconds: clock.wallMilliseconds).filter(\.isNumber)
        if let last, let number = Int64(last.suffix(17)), let own = Int64(name), own <= number { name = String(number + 1) }
        return directory + "/" + name
    }

    /// Writes what is in memory and makes it durable; returns up to where.
    func synchronize() throws(StoreError) -> Int64 {
        try state.withLock { (state) throws(StoreError) in
            for file in state.files { try file.synchronize() }
            // Files may be new.
            try storing { () throws(FileSystemError) in try fileSystem.synchronizeDirectory(directory) }
            return state.indexedOffset
        }
    }

    // MARK: Looking up

    /// Places of messages that may have the key, newest first, `limit` of them at most: hashes of other keys may be the same.
    func candidates(
        topic: String, key: String, from begin: Int64, through end: Int64, olderThan: Int64, limit: Int
    ) throws(StoreError) -> [Int64] {
        let hash = JavaHash.nonNegative(JavaHash.hash(topic + "#" + key))
        return try state.withLock { (state) throws(StoreError) in
            var found: [Int64] = []
            for file in state.files.reversed() where file.mayHold(from: begin, through: end) && file.header.beginOffset < olderThan {
                try file.select(hash: hash, from: begin, through: end, olderThan: olderThan, limit: limit, into: &found)
                if found.count >= limit { break }
            }
            return found
        }
    }

    // MARK: Retention

    /// Removes files whose messages are all gone.
    func removeFiles(before minPhysical: Int64) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            while state.files.count > 1, let first = state.files.first, first.isFull, first.header.endOffset < minPhysical {
                try storing { () throws(FileSystemError) in try fileSystem.remove(first.path) }
                state.files.removeFirst()
            }
        }
    }
}
