import RocketMQBase

/// How far a group has come in a topic.
public struct GroupProgress: Sendable {
    public var group: String
    /// By queue, the offset of the next message that the group will read. Queues of which it never said are not counted.
    public var offsets: [Int32: Int64]

    public init(group: String, offsets: [Int32: Int64]) {
        self.group = group
        self.offsets = offsets
    }
}

/// Who reads which topics: groups by topic.
public typealias Readers = [String: [GroupProgress]]

/// What groups have not read yet, as far as it matters to retention.
struct UnreadMessages: Sendable {
    /// Physical offset of the first message that a group has not read.
    var floor: Int64
    var topic = ""
    var group = ""
}

/// Counts messages that went unread, by group and topic.
struct UnreadLosses: Sendable {
    private struct Reader: Hashable {
        var group: String
        var topic: String
    }
    private var counts: [Reader: Int64] = [:]
    private static let mostNamed = 8

    var isEmpty: Bool { counts.isEmpty }

    /// The messages of a queue from `first` up to `end` are gone.
    mutating func note(_ topic: String, _ id: Int32, from first: Int64, to end: Int64, _ readers: Readers) {
        guard end > first, let groups = readers[topic] else { return }
        for progress in groups {
            guard let offset = progress.offsets[id], offset < end else { continue }
            counts[Reader(group: progress.group, topic: topic), default: 0] += end - max(offset, first)
        }
    }

    /// `group g of topic t 120, …`, those with the most first.
    var text: String {
        let sorted = counts.sorted { ($0.value, $1.key.group, $1.key.topic) > ($1.value, $0.key.group, $0.key.topic) }
        var parts = sorted.prefix(Self.mostNamed).map { "group \($0.key.group) of topic \($0.key.topic) \($0.value)" }
        if sorted.count > parts.count { parts.append("\(sorted.count - parts.count) more groups") }
        return parts.joined(separator: ", ")
    }
}

/// A queue as it stood when work on it away from the loop began.
struct QueueSnapshot: Sendable {
    var place: QueuePlace
    var entriesPerFile: Int64
    var minOffset: Int64
    var writtenOffset: Int64
    var maxOffset: Int64
    var isUnchecked: Bool

    init(_ queue: ConsumeQueue) {
        place = queue.files.place
        entriesPerFile = queue.files.entriesPerFile
        minOffset = queue.minOffset
        writtenOffset = queue.writtenOffset
        maxOffset = queue.maxOffset
        isUnchecked = queue.files.isUnchecked
    }

    /// The first entry with a message from `offset` on, looked for among a few, and its offset; `nil` when there is none, or
    /// no file.
    func entry(from offset: Int64, _ fileSystem: any FileSystem) throws(StoreError) -> (offset: Int64, entry: QueueEntry)? {
        guard offset < writtenOffset else { return nil }
        let base = offset - offset % entriesPerFile
        let count = min(64, min(writtenOffset, base + entriesPerFile) - offset)
        let size = Int64(QueueEntry.byteCount)
        let file: any OpenFile
        do { file = try fileSystem.open(place.path(base: base * size), .read) } catch {
            if error.code == .notFound { return nil }
            throw StoreError(error)
        }
        defer { file.close() }
        let bytes = try readExactly(file, at: (offset - base) * size, count: Int(count * size))
        return bytes.withUnsafeBytes { raw in
            for index in 0..<(raw.count / QueueEntry.byteCount) {
                let entry = QueueEntry(from: raw.baseAddress! + index * QueueEntry.byteCount)
                if !entry.isVoid, !entry.isFiller { return (offset + Int64(index), entry) }
            }
            return nil
        }
    }
}

extension MessageStore {
    /// Finds the first message that a group has not read, in the background.
    func findUnread(_ completion: @escaping (UnreadMessages) -> Void) {
        let readers = groupProgress?() ?? [:]
        // Entries that are not in their files yet are of messages behind it.
        let none = UnreadMessages(floor: upkeep.queuesWrittenOffset)
        var snapshots: [QueueSnapshot] = []
        for topic in readers.keys { snapshots += topics[topic]?.values.map(QueueSnapshot.init) ?? [] }
        let (queues, carried) = (snapshots, LoopBound((store: self, completion: completion), on: loop))
        workers.housekeeper.run { [loop, fileSystem] in
            var found = none
            var failure: StoreError?
            do throws(StoreError) {
                for queue in queues { try Self.lower(&found, queue, readers, fileSystem) }
            } catch { failure = error }
            let (unread, error) = (found, failure)
            loop.execute {
                let (store, completion) = carried.value
                guard !store.upkeep.isClosed else { return }
                guard let error else { return completion(unread) }
                store.retention.isUnderWay = false
                store.report(.warning, "expired files stay, it cannot be found out whether groups have read them: \(error)")
            }
        }
    }

    private static func lower(
        _ found: inout UnreadMessages, _ queue: QueueSnapshot, _ readers: Readers, _ fileSystem: any FileSystem
    ) throws(StoreError) {
        var slowest: (group: String, offset: Int64)?
        for progress in readers[queue.place.topic] ?? [] {
            if let offset = progress.offsets[queue.place.id], offset < slowest?.offset ?? .max { slowest = (progress.group, offset) }
        }
        guard let slowest, slowest.offset < queue.maxOffset,
            let (_, entry) = try queue.entry(from: max(slowest.offset, queue.minOffset), fileSystem), entry.physicalOffset < found.floor
        else { return }
        found = UnreadMessages(floor: entry.physicalOffset, topic: queue.place.topic, group: slowest.group)
    }

    /// Says once for each file why it stays.
    func sayKept(_ file: LogFile, _ unread: UnreadMessages) {
        guard retention.keptFile != file.base else { return }
        retention.keptFile = file.base
        let who =
            unread.group.isEmpty
            ? "it is not known yet who has read them" : "group \(unread.group) has not read topic \(unread.topic)"
        report(
            .warning,
            "\(file.path) and the files behind it have expired and stay (keepUnreadMessages=true): \(who); "
                + "consume, skip with mqadmin resetOffsetByTime, or delete the group")
    }
}
