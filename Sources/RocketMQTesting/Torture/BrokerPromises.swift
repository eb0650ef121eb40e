import RocketMQProtocol

/// A message that a client asked a broker to take, and what its answers promise of it.
final class MessageWish {
    enum Kind {
        case plain, delayed, timed
        /// Sent back by a consumer.
        case retry, deadLetter
        /// Seen when its transaction is committed.
        case half(isCommit: Bool)
    }
    let kind: Kind
    /// Where consumers find it.
    let topic: String
    let queueID: Int32
    let key: String
    let body: String
    /// Consumers must not see it before; milliseconds since 1970.
    let due: Int64
    /// Whether the answer waits for the disk, so that the promise outlives a loss of power.
    var isDurable: Bool
    /// Answered with success, and not lost since in a way in which it may be.
    var isPromised = false
    /// Where a plain message is, as its answer says.
    var queueOffset: Int64?
    /// It may be seen: not while its transaction is open, nor when it was taken back.
    var maySee: Bool
    /// Its topic was deleted, or it was taken back: it need not be seen.
    var isGivenUp = false
    /// With which it can be taken back.
    var recallHandle: String?
    /// Of a half message: where it is, and whether a commit was answered with success.
    var halfPlace: (queueOffset: Int64, commitLogOffset: Int64)?
    var isCommitted = false

    init(_ kind: Kind, topic: String, queueID: Int32, key: String, body: String, due: Int64 = .min, isDurable: Bool) {
        self.kind = kind
        self.topic = topic
        self.queueID = queueID
        self.key = key
        self.body = body
        self.due = due
        self.isDurable = isDurable
        if case .half = kind { maySee = false } else { maySee = true }
    }

    var isHalf: Bool { if case .half = kind { true } else { false } }

    /// Whether it must be there, when everything that is due by `time` was delivered.
    ///
    /// - Parameter isFinal: the broker has asked about every open transaction and was answered.
    func mustSee(at time: Int64, isFinal: Bool) -> Bool {
        guard isPromised, !isGivenUp, due <= time else { return false }
        if case .half(let isCommit) = kind { return isCommit && (isFinal || isCommitted) }
        return true
    }

    /// The power is gone, or the disk has lost what was not durable.
    func losePower() {
        isCommitted = false
        if !isDurable { isPromised = false }
    }
}

/// What is known of an entry of one of the broker's tables that is changed by requests.
struct KnownEntry<Value: Equatable> {
    /// As it was for certain, if none of the later changes came through.
    private(set) var certain: Value
    /// After changes that were asked for and not answered, the oldest first.
    private(set) var later: [(request: Int32, value: Value)] = []

    init(_ value: Value) { certain = value }

    var last: Value { later.last?.value ?? certain }

    mutating func asked(_ request: Int32, _ value: Value) { later.append((request, value)) }

    /// The request was answered with success: its change is durable, and so are all before it.
    mutating func acknowledged(_ request: Int32) {
        guard let index = later.firstIndex(where: { $0.request == request }) else { return }
        certain = later[index].value
        later.removeFirst(index + 1)
    }

    func allows(_ value: Value) -> Bool { value == certain || later.contains { $0.value == value } }

    /// A new process has this value.
    mutating func found(_ value: Value) { self = KnownEntry(value) }
}

/// What the history knows of a topic that exists.
struct KnownTopic: Equatable {
    /// `nil` where the topic was made by a message: any number.
    var queues: Int32?
    /// Of the attribute `flush.disk.type`.
    var flushes: Bool?

    init(queues: Int32?, flushes: Bool? = nil) {
        self.queues = queues
        self.flushes = flushes
    }

    static func == (left: Self, right: Self) -> Bool {
        left.flushes == right.flushes && (left.queues == nil || right.queues == nil || left.queues == right.queues)
    }

    init(_ config: TopicConfig) {
        queues = config.writeQueueNums
        flushes = config.attributes["flush.disk.type"].map { $0 == "SYNC_FLUSH" }
    }
}

/// The offsets that a group committed of a queue, oldest first, since the last that is known to be stored.
struct KnownOffsets {
    struct Commit {
        var offset: Int64
        /// Nanoseconds of the monotonic clock.
        var time: Int64
    }
    var isStored = false
    var commits: [Commit] = []
    /// Its topic was deleted: it may be gone.
    var mayBeGone = false

    /// All that was committed by then has been stored.
    mutating func stored(before time: Int64) {
        guard let last = commits.lastIndex(where: { $0.time < time }) else { return }
        commits.removeFirst(last)
        isStored = true
    }

    func allows(_ offset: Int64?, queueEnd: Int64) -> Bool {
        guard let offset else { return !isStored || mayBeGone }
        // The end of the queue stands for what lies beyond it.
        return commits.contains { $0.offset == offset || $0.offset > offset && offset == queueEnd }
    }
}
