import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Where a group stood in a queue with messages for it, and from when on it was seen there.
struct LaggingQueue {
    var offset: Int64
    var since: MonotonicTime
}

/// How far one group has come in the queues of one topic. Hot paths may keep it; confined to the broker's loop.
final class GroupTopicOffsets {
    fileprivate(set) var byQueue: [Int32: Int64]
    /// The table's mark that something is to be stored.
    private let state: State
    /// Its group or topic was deleted, or its offsets were replaced: look it up again.
    fileprivate(set) var isRemoved = false

    /// Messages that commits moved over since the start, for the rate.
    private var consumed: Int64 = 0
    private var older: Mark?
    private var newer: Mark?
    private var lastCommit: MonotonicTime?
    /// Queues that had messages for the group when they were last looked at: see `GroupWatch`.
    var lagging: [Int32: LaggingQueue] = [:]

    private struct Mark {
        var time: MonotonicTime
        var consumed: Int64
    }

    /// What all entries of a table share.
    fileprivate final class State {
        var isDirty = false
        /// The time, a few seconds old at most: commits do not ask the clock.
        var now = MonotonicTime(nanoseconds: 0)
    }

    fileprivate init(_ byQueue: [Int32: Int64], state: State) {
        self.byQueue = byQueue
        self.state = state
    }

    func offset(queueID: Int32) -> Int64? { byQueue[queueID] }

    /// Takes what the consumer says, smaller than before or not: resets come this way too.
    func commit(queueID: Int32, offset: Int64) {
        if let previous = byQueue.updateValue(offset, forKey: queueID) {
            if previous == offset { return }
            if offset > previous { consumed &+= offset &- previous }
        }
        state.isDirty = true
        lastCommit = state.now
        if let newer, state.now - newer.time < .seconds(30) { return }
        older = newer
        newer = Mark(time: state.now, consumed: consumed)
    }

    /// How fast the group consumes: over the last half to whole minute, 0 when it said nothing for a minute.
    func messagesPerSecond(_ now: MonotonicTime) -> Double {
        guard let start = older ?? newer, let lastCommit, now - lastCommit <= .seconds(60), now > start.time else { return 0 }
        return Double(max(0, consumed &- start.consumed)) * 1_000_000_000 / Double((now - start.time).inNanoseconds)
    }
}

/// How far all consumer groups have come. Confined to the broker's loop.
final class ConsumerOffsetTable {
    /// By group, then topic.
    private var table: [String: [String: GroupTopicOffsets]] = [:]
    private let state = GroupTopicOffsets.State()
    private let dataVersion: DataVersion?

    init(loaded: ConsumerOffsetSerializeWrapper?) {
        dataVersion = loaded?.dataVersion
        for (key, offsets) in loaded?.offsetTable ?? [:] {
            // Neither names of topics nor of groups have an @.
            guard let at = key.firstIndex(of: "@") else { continue }
            let (topic, group) = (String(key[..<at]), String(key[key.index(after: at)...]))
            // No group can be at a place before the first: a consumer would wait there for ever.
            table[group, default: [:]][topic] = GroupTopicOffsets(offsets.filter { $0.value >= 0 }, state: state)
        }
    }

    // MARK: Hot

    /// The offset of the next message that the group will consume of the queue; `nil` when it never said.
    func offset(group: String, topic: String, queueID: Int32) -> Int64? { table[group]?[topic]?.byQueue[queueID] }

    func commit(group: String, topic: String, queueID: Int32, offset: Int64) {
        entry(group: group, topic: topic).commit(queueID: queueID, offset: offset)
    }

    /// The group's offsets in the topic, created when there are none: for callers that keep it.
    func entry(group: String, topic: String) -> GroupTopicOffsets {
        if let entry = table[group]?[topic] { return entry }
        let entry = GroupTopicOffsets([:], state: state)
        table[group, default: [:]][topic] = entry
        return entry
    }

    func existingEntry(group: String, topic: String) -> GroupTopicOffsets? { table[group]?[topic] }

    // MARK: For tools

    /// Groups that have offsets, in no order.
    var groupNames: some Collection<String> { table.keys }

    /// Topics of which the group has offsets, sorted.
    func topics(ofGroup group: String) -> [String] { table[group].map { $0.keys.sorted() } ?? [] }

    /// Groups that have offsets of the topic, sorted.
    func groups(ofTopic topic: String) -> [String] { table.filter { $0.value[topic] != nil }.keys.sorted() }

    /// Who reads which topic, and how far. What is left of a topic that is no more counts too.
    func readers() -> Readers {
        var readers: Readers = [:]
        for (group, topics) in table {
            for (topic, entry) in topics where !entry.byQueue.isEmpty && !SystemTopic.closedToClients.contains(topic) {
                readers[topic, default: []].append(GroupProgress(group: group, offsets: entry.byQueue))
            }
        }
        return readers
    }

    /// Gives `target` the offsets that `source` has in the topic.
    func copy(topic: String, from source: String, to target: String) {
        guard let entry = table[source]?[topic], source != target else { return }
        table[target]?[topic]?.isRemoved = true
        table[target, default: [:]][topic] = GroupTopicOffsets(entry.byQueue, state: state)
        state.isDirty = true
    }

    func remove(group: String) {
        guard let removed = table.removeValue(forKey: group) else { return }
        for entry in removed.values { entry.isRemoved = true }
        state.isDirty = true
    }

    /// Returns whether there was anything to remove.
    func remove(topic: String) -> Bool {
        var isChanged = false
        for group in Array(table.keys) {
            guard let entry = table[group]?.removeValue(forKey: topic) else { continue }
            entry.isRemoved = true
            isChanged = true
            if table[group]?.isEmpty == true { table[group] = nil }
        }
        if isChanged { state.isDirty = true }
        return isChanged
    }

    /// An offset beyond the end of its queue.
    struct Overrun: Equatable {
        var group: String
        var topic: String
        var queueID: Int32
        var offset: Int64
        var queueEnd: Int64
    }

    /// Moves offsets that lie beyond the end of their queues back to it, and returns what they were: a loss of power may take
    /// messages away that a group had read, and those that come in their places must not be passed over.
    func moveBack(_ queueEnd: (_ topic: String, _ queueID: Int32) -> Int64) -> [Overrun] {
        var moved: [Overrun] = []
        for (group, topics) in table {
            for (topic, entry) in topics {
                for (queueID, offset) in entry.byQueue {
                    let end = queueEnd(topic, queueID)
                    guard offset > end else { continue }
                    entry.byQueue[queueID] = end
                    state.isDirty = true
                    moved.append(Overrun(group: group, topic: topic, queueID: queueID, offset: offset, queueEnd: end))
                }
            }
        }
        return moved.sorted { ($0.group, $0.topic, $0.queueID) < ($1.group, $1.topic, $1.queueID) }
    }

    /// The time, a few seconds old at most.
    var now: MonotonicTime { state.now }

    /// Tells the table the time, every few seconds.
    func tick(_ now: MonotonicTime) { state.now = now }

    // MARK: Storing

    /// Whether offsets changed since `takeSnapshot`.
    var isDirty: Bool { state.isDirty }

    /// All offsets as they are stored and sent.
    var wrapper: ConsumerOffsetSerializeWrapper {
        var offsets: [String: [Int32: Int64]] = [:]
        for (group, topics) in table {
            for (topic, entry) in topics where !entry.byQueue.isEmpty {
                offsets[ConsumerOffsetSerializeWrapper.key(topic: topic, group: group)] = entry.byQueue
            }
        }
        return ConsumerOffsetSerializeWrapper(offsetTable: offsets, dataVersion: dataVersion)
    }

    /// As `wrapper`, for writing it to the file: later changes count as new ones.
    func takeSnapshot() -> ConsumerOffsetSerializeWrapper {
        state.isDirty = false
        return wrapper
    }
}
