import RocketMQBase
import RocketMQProtocol

/// Which messages of a store that the reference wrote (5.x) still wait for their time. Its wheel and its log of timers are
/// not read: `config/timercheck` says how far it was, and the records of the timer's queue say the rest.
struct ReferenceTimers {
    /// Messages that were due before it were delivered (`lastReadTimeMs`)...
    private let deliveredBefore: Int64
    /// ...when their records lie before this offset of the queue (`lastTimerQueueOffset`).
    private let readUpTo: Int64
    /// Messages that were taken back.
    private var recalled: Set<Identity> = []
    /// Of messages that were stored anew the newest copy: how many there were.
    private var copies: [Identity: Int64] = [:]

    private struct Identity: Hashable {
        var key: String
        var due: Int64
    }

    /// The check point of a store; `nil` when it has none, as those of 4.x and this broker's own, or one that cannot be: it has no
    /// checksum. Then all timed messages count as waiting, so that some come again and none is missing.
    static func of(
        _ rootDirectory: String, _ fileSystem: any FileSystem, queueEnd: Int64, now: Int64, _ log: Logger
    ) -> ReferenceTimers? {
        let path = rootDirectory + "/config/timercheck"
        let why: String
        do throws(FileSystemError) {
            guard let bytes = try fileSystem.contents(of: path, atMost: 1 << 20) else { return nil }
            if let found = ReferenceTimers(bytes) {
                if found.deliveredBefore <= now + Self.clockTolerance, found.readUpTo <= queueEnd { return found }
                why = "tells of messages that were not stored yet, or of a time to come"
            } else {
                why = "is damaged"
            }
        } catch { why = "cannot be read: \(error)" }
        log.warning(
            "the file \(path) \(why): messages with a time of their own that may have been delivered already are delivered again")
        return nil
    }
    /// A minute: clocks are set.
    private static let clockTolerance: Int64 = 60_000

    /// `nil` when the bytes are not a check point.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 32 else { return nil }
        deliveredBefore = bytes.span.bytes.bigEndian(Int64.self, at: 0)
        readUpTo = bytes.span.bytes.bigEndian(Int64.self, at: 16)
        guard deliveredBefore >= 0, readUpTo >= 0 else { return nil }
    }

    private static func identity(_ due: Int64, _ properties: RawSpan) -> Identity? {
        if let recalled = MessageProperties.value(of: PropertyName.timerDeleteUniqueKey, in: properties) {
            return Identity(key: recalled, due: due)
        }
        guard let topic = MessageProperties.value(of: PropertyName.realTopic, in: properties),
            let key = MessageProperties.value(of: PropertyName.uniqueKey, in: properties)
        else { return nil }
        return Identity(key: topic + "+" + key, due: due)
    }

    private static func copyNumber(_ properties: RawSpan) -> Int64 {
        MessageProperties.value(of: PropertyName.timerRollTimes, in: properties).flatMap { Int64($0) } ?? 0
    }

    private static func due(_ properties: RawSpan) -> Int64? {
        MessageProperties.value(of: PropertyName.timerOutMilliseconds, in: properties).flatMap { Int64($0) }
    }

    /// Takes a record of the timer's queue into account; all of them before the first question.
    mutating func note(_ record: MessageRecord, in bytes: RawSpan) {
        let properties = bytes.extracting(record.properties)
        guard let due = Self.due(properties) else { return }
        if Self.isRecall(properties) {
            if let identity = Self.identity(due, properties) { recalled.insert(identity) }
            return
        }
        let number = Self.copyNumber(properties)
        guard number > 0, let identity = Self.identity(due, properties) else { return }
        copies[identity] = max(copies[identity] ?? 0, number)
    }

    private static func isRecall(_ properties: RawSpan) -> Bool {
        MessageProperties.value(of: PropertyName.timerDeleteUniqueKey, in: properties) != nil
    }

    /// Whether the message of this record waits.
    func isPending(_ record: MessageRecord, in bytes: RawSpan) -> Bool {
        let properties = bytes.extracting(record.properties)
        guard let due = Self.due(properties) else { return true }
        if Self.isRecall(properties) { return false }
        if due < deliveredBefore, record.fields.queueOffset < readUpTo { return false }
        guard !recalled.isEmpty || !copies.isEmpty, let identity = Self.identity(due, properties) else { return true }
        return !recalled.contains(identity) && Self.copyNumber(properties) >= copies[identity] ?? 0
    }
}
