import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// A topic of this broker with its queues. Confined to the broker's loop.
final class Topic {
    // What every send needs comes first, and lies together.
    /// Queues that exist for clients: ids below this are legal.
    private(set) var queueCount: Int32 = 0
    /// Whether clients may send to it: the broker's own topics are written by the broker alone.
    let mayClientsSend: Bool
    /// Whether its permissions allow writing, and whether its messages have several tags.
    private(set) var isWritable = false
    private(set) var isMultiTag = false
    /// `%RETRY%…`: sends to it are retries that a consumer could not hand back.
    let isRetry: Bool
    /// `SYNC_FLUSH` or not, where the topic has its own mind (`flush.disk.type`).
    private(set) var isFlushSynchronous: Bool?
    /// Answers that wait until this new topic is in its file and the nameservers know it; `nil` when that is so.
    var answersAwaitingRoute: [DelayedAnswer]?
    /// Messages and bytes stored since the start, for statistics.
    var storedMessages: Int64 = 0
    var storedBytes: Int64 = 0
    /// When it was made; `nil` when the broker knew it at its start.
    let createdAt: MonotonicTime?
    /// What lies before it in the log belongs to a topic of the same name that was deleted.
    let firstPhysicalOffset: Int64
    let name: String
    private(set) var config: TopicConfig
    /// What `WorkStatistics` remembers of them, and what each group got of the topic.
    var history: WorkHistory?
    private(set) var groupWork: [String: GroupWork] = [:]

    private let nameBytes: [UInt8]
    /// Of the name, for `QueueHints`.
    let hintHash: UInt64
    private var queues: [TopicQueue?] = []
    private let store: MessageStore

    /// Answers of one connection, whole frames.
    struct DelayedAnswer {
        var connection: ServerConnection
        var bytes: [UInt8]

        /// In place of a success to each an error: the topic may not outlive this process.
        func refused(_ remark: String) -> [UInt8] {
            var output = ByteBuffer(capacity: bytes.count)
            let span = bytes.span.bytes
            var at = 0
            while at + 4 <= span.byteCount {
                let end = at + 4 + Int(span.bigEndian(Int32.self, at: at))
                if let answer = try? RemotingCommand(frame: span.extracting((at + 4)..<end)) {
                    var refusal = answer.responseCode == .success ? RemotingCommand.response(.systemError, remark) : answer
                    (refusal.opaque, refusal.serialization, refusal.flag) = (answer.opaque, answer.serialization, answer.flag)
                    refusal.encode(into: &output)
                }
                at = end
            }
            return output.copyBytes()
        }
    }

    init(config: TopicConfig, store: MessageStore, createdAt: MonotonicTime? = nil) {
        self.createdAt = createdAt
        // Queues that are there already go on: they outlived the table of topics, or the topic was made again at once.
        firstPhysicalOffset = createdAt == nil || !store.queues(topic: config.topicName).isEmpty ? 0 : store.stagedOffset
        name = config.topicName
        let bytes = Array(config.topicName.utf8)
        nameBytes = bytes
        hintHash = QueueHints.hash(bytes.span.bytes)
        self.config = config
        self.store = store
        mayClientsSend = !SystemTopic.closedToClients.contains(config.topicName)
        isRetry = config.topicName.hasPrefix(SystemTopic.retryPrefix)
        takeAttributes()
    }

    func update(_ config: TopicConfig) {
        self.config = config
        takeAttributes()
    }

    private func takeAttributes() {
        queueCount = max(config.readQueueNums, config.writeQueueNums)
        isWritable = config.perm.contains(.write)
        isMultiTag = config.topicFilterType == .multiTag
        // Requests with values that mean nothing are refused; in the file they count as absent.
        let attributes = config.attributes.isEmpty ? TopicAttributes() : (try? TopicAttributes(config.attributes)) ?? TopicAttributes()
        isFlushSynchronous = attributes.isFlushSynchronous
        store.setRetention(ofTopic: name, milliseconds: attributes.retentionMilliseconds)
    }

    func isNamed(_ bytes: RawSpan) -> Bool {
        guard bytes.byteCount == nameBytes.count else { return false }
        return nameBytes.withUnsafeBytes { name in bytes.equals(name.bytes) }
    }

    func withNameBytes<Result>(_ body: (RawSpan) -> Result) -> Result { nameBytes.withUnsafeBytes { body($0.bytes) } }

    /// Where a message goes that was sent to a queue a while ago: the topic may have fewer by now, and nobody reads beyond them.
    func readableQueue(_ id: Int32) -> Int32 {
        id >= config.readQueueNums && config.writeQueueNums > 0 ? id % config.writeQueueNums : id
    }

    /// The queue with what the broker keeps of it, made when first needed. The caller has checked the id.
    func brokerQueue(_ id: Int32) -> TopicQueue {
        let index = Int(id)
        if index < queues.count, let queue = queues[index] { return queue }
        while queues.count <= index { queues.append(nil) }
        let made = TopicQueue(store.queue(topic: name, id: id), topic: self)
        queues[index] = made
        return made
    }

    /// What the group got of the topic so far.
    func work(ofGroup group: String) -> GroupWork {
        if let work = groupWork[group] { return work }
        let work = GroupWork()
        groupWork[group] = work
        return work
    }

    func forgetWork(ofGroup group: String) { groupWork[group] = nil }

    /// Those of its queues that were asked for.
    var knownQueues: [TopicQueue] { queues.compactMap { $0 } }

    /// The last pull of the group from a queue, when there was one.
    func puller(ofGroup group: String, queueID: Int32) -> QueuePuller? {
        guard Int(queueID) < queues.count else { return nil }
        return queues[Int(queueID)]?.pullers.first { $0.group.name == group }
    }

    /// Lets go of the queues: the topic was removed.
    func forget() {
        queues = []
        store.setRetention(ofTopic: name, milliseconds: nil)
    }

    /// As `forget`, at the end of the broker; with what waits in its queues.
    func releaseQueues() {
        for queue in knownQueues { queue.waiting = [] }
        queues = []
    }

    func queue(_ id: Int32) -> ConsumeQueue { brokerQueue(id).queue }

    /// The queue, when it ever had a message or was asked for.
    func existingQueue(_ id: Int32) -> ConsumeQueue? { store.existingQueue(topic: name, id: id) }
}

/// A consume queue with the pulls that wait for its next message.
final class TopicQueue {
    let queue: ConsumeQueue
    /// The cycle with the topic ends when the topic is removed: see `Topic.forget`, and `releaseQueues` at the end.
    let topic: Topic
    /// For `QueueHints`: its key there, and where its topic lies.
    let hintKey: UInt64
    let topicAddress: UInt
    var waiting: [WaitingPull] = []
    /// In the list of queues whose waiting pulls are looked at after the commit.
    var isListed = false
    /// How many of them are done and only not removed yet.
    var doneWaiting = 0
    /// Who pulled last, of each group that does.
    private(set) var pullers: [QueuePuller] = []

    /// Groups remembered for a queue; of more than that the one that pulled longest ago is forgotten.
    private static let mostPullers = 64

    init(_ queue: ConsumeQueue, topic: Topic) {
        self.queue = queue
        self.topic = topic
        hintKey = QueueHints.key(topic.hintHash, queue.id)
        topicAddress = UInt(bitPattern: Unmanaged.passUnretained(topic).toOpaque())
    }

    /// An order that does not change from run to run.
    func precedes(_ other: TopicQueue) -> Bool { (topic.name, queue.id) < (other.topic.name, other.queue.id) }

    /// Notes a pull from `offset`, for those who ask why a group does not get on. Returns where what it gets is counted.
    @inline(__always)
    func pulled(by group: SubscriptionGroup, _ connection: ServerConnection, from offset: Int64, at time: MonotonicTime) -> GroupWork {
        for index in pullers.indices where pullers[index].group === group {
            if pullers[index].connection != connection.id { pullers[index].firstOffset = offset }
            pullers[index].connection = connection.id
            pullers[index].peer = connection.peer
            pullers[index].time = time
            return pullers[index].work
        }
        let work = topic.work(ofGroup: group.name)
        add(QueuePuller(group: group, connection: connection.id, peer: connection.peer, firstOffset: offset, time: time, work: work))
        return work
    }

    @inline(never)
    private func add(_ puller: QueuePuller) {
        pullers.removeAll { $0.group.isRemoved }
        if pullers.count >= Self.mostPullers, let oldest = pullers.indices.min(by: { pullers[$0].time < pullers[$1].time }) {
            pullers.remove(at: oldest)
        }
        pullers.append(puller)
    }
}

/// The last pull of a group from a queue.
struct QueuePuller {
    let group: SubscriptionGroup
    var connection: UInt64
    var peer: SocketAddress
    /// Where that connection's first pull began.
    var firstOffset: Int64
    /// A few seconds old at most when it was noted.
    var time: MonotonicTime
    let work: GroupWork
}
