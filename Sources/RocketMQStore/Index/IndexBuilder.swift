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
    struct State: ~Copyable {
        var files: [IndexFile] = []
        /// The keys of every message before it are in.
        var indexedOffset: Int64 = 0
        /// Up to this place of the last file's log the keys were in when it was opened: such messages are not put again.
        var skippedThrough: Int64 = -1
        /// The newest name that was ever seen: no file gets one of those before it.
        var lastName: Int64 = 0
        /// The list on the disk says more than may be believed.
        var isListOutdated = false
        /// What the store's log should say.
        var notes: [String] = []
        var isClosed = false
    }
    let state: Mutex<State>
    let root: String
    var directory: String { root + "/index" }
    var checksumDirectory: String { root + "/" + Self.checksumDirectoryName }
    static let checksumDirectoryName = "index-checksums"
    let geometry: IndexFile.Geometry
    let fileSystem: any FileSystem
    let clock: any SystemClock

    /// - Parameter root: the store's directory.
    init(root: String, geometry: IndexFile.Geometry, fileSystem: any FileSystem, clock: any SystemClock) {
        self.root = root
        self.geometry = geometry
        self.fileSystem = fileSystem
        self.clock = clock
        state = Mutex(State())
    }

    var indexedOffset: Int64 { state.withLock { $0.indexedOffset } }
    /// Store timestamp and offset of the newest message in the index.
    var newest: (timestamp: Int64, physicalOffset: Int64) {
        state.withLock { state in
            let header = state.files.last { !$0.isEmpty }?.header
            return (header?.endTimestamp ?? 0, header?.endOffset ?? 0)
        }
    }

    /// What there is to be said since this was last asked.
    func takeNotes() -> [String] {
        state.withLock { state in
            defer { state.notes = [] }
            return state.notes
        }
    }

    // MARK: Building

    /// Goes on through the log, for `byteLimit` bytes at most, and returns how far it is.
    func advance(_ parts: [LogPart], to end: Int64, byteLimit: Int) throws(StoreError) -> Int64 {
        try state.withLock { (state) throws(StoreError) in
            guard !state.isClosed else { return state.indexedOffset }
            let stop = min(end, state.indexedOffset + Int64(byteLimit))
            while state.indexedOffset < stop {
                guard let part = parts.first(where: { state.indexedOffset < $0.end }) else { break }
                if state.indexedOffset < part.base { state.indexedOffset = part.base }
                let wanted = min(end, part.end) - state.indexedOffset
                let read = Int(min(wanted, Int64(max(byteLimit, 64 << 10))))
                let bytes = try readExactly(part.file, at: state.indexedOffset - part.base, count: read)
                let used = try index(bytes, part, end: end, &state, isAll: Int64(bytes.count) == wanted)
                if used > 0 { continue }
                // Somebody cut the file.
                guard bytes.count < read else { break }
                state.indexedOffset = min(part.end, end)
            }
            if let last = state.files.indices.last, state.files[last].isDamaged { try drop(from: last, &state) }
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
            case .incomplete(let whole) where !isAll && Int64(whole) <= min(part.end, end) - state.indexedOffset:
                if position > 0 { return position }
                // Larger than one step reads: take it whole.
                let larger = try readExactly(part.file, at: state.indexedOffset - part.base, count: whole)
                guard larger.count == whole, whole > bytes.count else { return 0 }
                return try index(larger, part, end: end, &state, isAll: Int64(whole) == min(end, part.end) - state.indexedOffset)
            case .endOfFile(let count) where Int64(count) == part.end - state.indexedOffset:
                state.indexedOffset = min(part.end, end)
                return bytes.count
            default:
                // Damage: what follows it is found by its keys all the same.
                let next = RecordSearch.next(in: span, after: position, at: state.indexedOffset - Int64(position))
                let found = next ?? (isAll ? bytes.count : max(position + 1, bytes.count - MessageRecord.smallest))
                state.indexedOffset += Int64(found - position)
                position = found
                if next == nil { return position }
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
            if let last = state.files.last {
                try last.flush()
                saveChecksums(last)
            }
            // Somebody may have removed it under us.
            if !fileSystem.isDirectory(directory) { try makeDirectory(&state) }
            state.files.append(try IndexFile(creating: nextPath(&state), geometry: geometry, fileSystem: fileSystem))
        }
        try state.files.last?.put(
            hash: JavaHash.nonNegative(hash), physicalOffset: record.fields.physicalOffset, storeTimestamp: record.fields.storeTimestamp)
    }

    /// The time as `yyyyMMddHHmmssSSS`, later than that of any file before in any case.
    private func nextPath(_ state: inout State) -> String {
        let now = Int64(utcText(milliseconds: clock.wallMilliseconds).filter(\.isNumber)) ?? 0
        state.lastName = max(now, state.lastName + 1)
        return directory + "/" + IndexFile.text(ofName: state.lastName)
    }

    /// Writes what is in memory, makes it durable, and then lists it.
    ///
    /// - Parameter isLast: of a clean stop: nothing is put in any more, however late a worker comes.
    func synchronize(isLast: Bool = false) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            guard !state.isClosed else { return }
            state.isClosed = isLast
            do throws(StoreError) {
                try dropOddFiles(&state)
                try writeList(&state)
            } catch {
                // It may have been removed in between.
                guard !fileSystem.isDirectory(directory) else { throw error }
                try dropOddFiles(&state)
                try writeList(&state)
            }
            if isLast, let last = state.files.last { saveChecksums(last) }
        }
    }

    private func writeList(_ state: inout State) throws(StoreError) {
        for file in state.files {
            try file.synchronize()
            // Of those that a start found full, and rebuilt.
            if file.isFull { saveChecksums(file) }
        }
        if !fileSystem.isDirectory(directory) { try makeDirectory(&state) }
        var list = IndexList(indexedOffset: state.indexedOffset, rows: [])
        for file in state.files where !file.isEmpty {
            list.rows.append(IndexList.Row(name: file.name, header: file.header, times: file.times))
        }
        try storing { () throws(FileSystemError) in
            // Files may be new.
            try fileSystem.synchronizeDirectory(directory)
            try fileSystem.replaceDurably(root + "/" + IndexList.fileName, with: list.encoded(), keepingBackup: false)
        }
        state.isListOutdated = false
    }

    /// The list on the disk says more than is true. Where there is no room for another it goes: without one the next start
    /// believes nothing of the index.
    func replaceList(_ state: inout State) throws(StoreError) {
        do throws(StoreError) { try writeList(&state) } catch  where error.code == .noSpace {
            try remove(root + "/" + IndexList.fileName)
            try storing { () throws(FileSystemError) in try fileSystem.synchronizeDirectory(root) }
            state.notes.append("the index is built anew after the next crash, unless there is room for its list by then: \(error)")
        }
    }

    // MARK: Looking up

    /// Places of messages that may have the key, newest first, `limit` of them at most: hashes of other keys may be the same.
    /// `nil` when a file turned out to be damaged: it is gone then with those that follow it, and `advance` builds them anew.
    func candidates(
        topic: String, key: String, from begin: Int64, through end: Int64, olderThan: Int64, limit: Int
    ) throws(StoreError) -> [Int64]? {
        let hash = JavaHash.nonNegative(JavaHash.hash(topic + "#" + key))
        return try state.withLock { (state) throws(StoreError) -> [Int64]? in
            var found: [Int64] = []
            for index in state.files.indices.reversed() {
                let file = state.files[index]
                guard file.mayHold(from: begin, through: end), file.header.beginOffset < olderThan else { continue }
                guard try file.select(hash: hash, from: begin, through: end, olderThan: olderThan, limit: limit, into: &found) else {
                    try drop(from: index, &state)
                    return nil
                }
                if found.count >= limit { break }
            }
            return found
        }
    }

    private func drop(from index: Int, _ state: inout State) throws(StoreError) {
        state.notes.append(
            "the index file \(state.files[index].path) is damaged, it and what follows it are built anew from the commit log")
        for file in state.files[index...].reversed() { try remove(file.path) }
        state.files.removeSubrange(index...)
        forgetChecksums(but: state.files)
        // Some keys of the last message may have been in what is gone. To find it twice by others does no harm.
        state.indexedOffset = min(state.indexedOffset, state.files.last?.header.endOffset ?? 0)
        state.skippedThrough = -1
        try replaceList(&state)
    }

    // MARK: Looking after the files

    /// Finds files that were removed or cut behind our back: they are built anew.
    func lookAfterFiles() throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            guard !state.isClosed else { return }
            try dropOddFiles(&state)
        }
    }

    private func dropOddFiles(_ state: inout State) throws(StoreError) {
        guard let index = state.files.firstIndex(where: { !$0.isAsItWas }) else { return }
        state.notes.append("the index file \(state.files[index].path) was removed, replaced or cut while the broker had it open")
        try drop(from: index, &state)
    }

    // MARK: Retention

    /// Removes files whose messages are all gone.
    func removeFiles(before minPhysical: Int64) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            while state.files.count > 1, let first = state.files.first, first.isFull, first.header.endOffset < minPhysical {
                try remove(first.path)
                try? fileSystem.remove(checksumPath(first))
                state.files.removeFirst()
            }
        }
    }

    // MARK: Files

    func makeDirectory(_ state: inout State) throws(StoreError) {
        if let kind = fileSystem.kind(of: directory), kind != .directory {
            let kept = try PutAside(root: root, fileSystem: fileSystem).move(directory)
            state.notes.append("\(directory) is \(kind.text) and no directory, it is now \(kept); the index is built anew")
        }
        try storing { () throws(FileSystemError) in try fileSystem.createDirectoryDurably(directory) }
    }

    func remove(_ path: String) throws(StoreError) {
        do throws(FileSystemError) { try fileSystem.remove(path) } catch  where error.code == .notFound { return } catch {
            guard let kind = fileSystem.kind(of: path), kind != .file else { throw StoreError(error) }
            _ = try PutAside(root: root, fileSystem: fileSystem).move(path)
        }
    }

    func checksumPath(_ file: IndexFile) -> String { checksumDirectory + "/" + IndexFile.text(ofName: file.name) }

    func saveChecksums(_ file: IndexFile) {
        try? fileSystem.createDirectory(checksumDirectory)
        file.saveChecksums(checksumPath(file), fileSystem)
    }

    /// Removes checksums of files that are not there any more.
    func forgetChecksums(but files: [IndexFile]) {
        let kept = Set(files.map { IndexFile.text(ofName: $0.name) })
        for name in (try? fileSystem.list(checksumDirectory)) ?? [] where !kept.contains(name) {
            try? fileSystem.remove(checksumDirectory + "/" + name)
        }
    }
}
