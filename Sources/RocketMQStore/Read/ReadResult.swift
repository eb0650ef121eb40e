import RocketMQBase

/// What a read found. Offsets are queue offsets.
public enum ReadResult: Equatable, Sendable {
    /// `count` whole records were appended to the buffer; go on at `nextOffset`.
    case found(nextOffset: Int64, count: Int)
    /// Nothing the filter lets through up to `nextOffset`, where to go on.
    case noMatch(nextOffset: Int64)
    /// The asked offset was deleted; the oldest left is `minOffset`.
    case offsetTooSmall(minOffset: Int64)
    /// The asked offset is beyond the end, `maxOffset`.
    case offsetTooLarge(maxOffset: Int64)
    /// The asked offset is the next that will be written.
    case atEnd
    /// The queue never had a message.
    case emptyQueue
    /// The bytes are not in memory, and nothing was appended: call `readFromDisk`.
    case needsDisk
    /// The messages are old, and much was read of such already: ask again after this time. Only where the limits allow it.
    case later(Duration)
    /// The disk failed; other queues may be fine.
    case failed(StoreError)
}

/// Which messages of a queue a reader wants.
public struct MessageFilter {
    /// Hashes of the wanted tags; `nil` for all.
    public var tagsCodes: [Int64]?
    /// Looked at when the tags fit: the whole record.
    public var matchesRecord: ((RawSpan) -> Bool)?

    public init(tagsCodes: [Int64]? = nil, matchesRecord: ((RawSpan) -> Bool)? = nil) {
        self.tagsCodes = tagsCodes
        self.matchesRecord = matchesRecord
    }

    public static var all: MessageFilter { MessageFilter() }

    @inline(__always)
    func matches(tagsCode: Int64) -> Bool {
        guard let tagsCodes else { return true }
        for wanted in tagsCodes where wanted == tagsCode { return true }
        return false
    }
}

/// How much a read may return and look at.
public struct ReadLimits: Sendable {
    public var messages: Int
    /// Bytes of all records; the first is returned whatever its size.
    public var bytes: Int
    /// Entries looked at before giving up with `noMatch`.
    public var scannedEntries = 4096
    /// Whether the read may have to wait for its share when it is of old messages while others are stored.
    public var mayBeDelayed = false

    public init(messages: Int, bytes: Int, scannedEntries: Int = 4096) {
        self.messages = messages
        self.bytes = bytes
        self.scannedEntries = scannedEntries
    }
}
