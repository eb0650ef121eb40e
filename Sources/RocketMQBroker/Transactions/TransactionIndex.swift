/// What is due for an undecided half message.
enum TransactionAction: Equatable {
    /// Ask a producer of its group how the transaction ended.
    case ask(Int64)
    /// It was asked for often enough: set it aside for people to look at.
    case setAside(Int64)
    /// It stays undecided while many others come and go: store it anew, so that progress can pass it.
    case carry(Int64)
    /// It is decided or stands elsewhere already, and no operation record says so.
    case close(Int64)

    /// Its place in the half queue.
    var queueOffset: Int64 {
        switch self {
        case .ask(let offset), .setAside(let offset), .carry(let offset), .close(let offset): offset
        }
    }
}

/// When undecided half messages are asked about, and how often.
struct TransactionRules: Equatable {
    /// `transactionTimeOut`, in milliseconds.
    var timeout: Int64 = 6000
    /// `transactionCheckMax`.
    var mostChecks = 15
    /// Half messages that may lie between the first undecided one and the newest before the first is carried forward;
    /// four for each undecided one are allowed beyond that.
    var longestTail: Int64 = 100_000
}

/// The undecided half messages: whatever costs time or memory here is in proportion to them, not to all that were sent.
///
/// Knows what is committed only. A half message that is being decided is `busy` from the staging of its outcome to the
/// commit, so that a second outcome in the same tick waits.
struct TransactionIndex {
    /// By queue offset.
    private(set) var undecided: [Int64: HalfMessage] = [:]
    /// Where the newest copy of a message is, by key.
    private var copies: [UInt64: Int64] = [:]
    /// Undecided messages of each group; its keys are the one instance of each name.
    private(set) var groups: [String: Int] = [:]
    private var busy: Set<Int64> = []
    /// All half messages before it are decided.
    private(set) var firstUndecided: Int64
    /// One beyond the newest half message.
    private(set) var nextHalf: Int64
    private var operations: OperationTrail
    private var outcomes = RecentOutcomes()
    /// Of copies, by `HalfMessage.identity`.
    private var commits = RecentOutcomes()

    /// Starts with nothing undecided before these offsets of the two queues.
    init(firstHalf: Int64, firstOperation: Int64) {
        firstUndecided = firstHalf
        nextHalf = firstHalf
        operations = OperationTrail(first: firstOperation)
    }

    // MARK: What happened

    /// A half message is stored.
    mutating func stored(_ half: HalfMessage) {
        var half = half
        if let known = groups.index(forKey: half.group) {
            half.group = groups[known].key
            groups.values[known] += 1
        } else {
            groups[half.group] = 1
        }
        undecided[half.queueOffset] = half
        nextHalf = max(nextHalf, half.queueOffset + 1)
        if half.isCopy, half.key != 0 { copies[half.key] = half.queueOffset }
    }

    /// The half queue has been read up to here.
    mutating func read(upTo nextHalf: Int64) { self.nextHalf = max(self.nextHalf, nextHalf) }

    /// An operation record that decides the half message is stored; `isCommit` when it is known how.
    mutating func decided(_ half: Int64, operation: Int64, isCommit: Bool? = nil) {
        operations.note(operation, decides: half)
        busy.remove(half)
        if let isCommit { outcomes.note(half, isCommit: isCommit) }
        if isCommit == true, let copy = undecided[half], copy.isCopy, copy.key != 0 { commits.note(copy.identity, isCommit: true) }
        forget(half)
    }

    /// It was decided before the start, and no operation record says so.
    mutating func found(_ half: Int64, isCommit: Bool?) {
        if let isCommit { outcomes.note(half, isCommit: isCommit) }
        forget(half)
    }

    /// An operation record of earlier that decides half messages up to this one.
    mutating func noteOperation(_ operation: Int64, decides half: Int64) { operations.note(operation, decides: half) }

    /// The record of a half message is gone: nothing can be decided any more.
    mutating func lost(_ half: Int64) {
        busy.remove(half)
        forget(half)
    }

    private mutating func forget(_ offset: Int64) {
        guard let half = undecided.removeValue(forKey: offset) else { return }
        if copies[half.key] == offset { copies[half.key] = nil }
        guard let known = groups.index(forKey: half.group) else { return }
        if groups.values[known] == 1 {
            groups.remove(at: known)
        } else {
            groups.values[known] -= 1
        }
    }

    // MARK: Looking up

    func isBusy(_ offset: Int64) -> Bool { busy.contains(offset) }
    mutating func setBusy(_ offset: Int64, _ isBusy: Bool) {
        if isBusy { busy.insert(offset) } else { busy.remove(offset) }
    }

    /// The undecided copy that took the place of a message which the caller read.
    func copy(of half: HalfMessage) -> HalfMessage? {
        guard half.key != 0, let offset = copies[half.key], let copy = undecided[offset], copy.isSameMessage(as: half) else { return nil }
        return copy
    }

    /// How the message was decided a short while ago; `nil` when that was long ago, or never.
    func recentOutcome(_ offset: Int64) -> Bool? { outcomes[offset] }

    /// Whether a copy of the message was committed a short while ago: what was set aside must not be committed twice.
    func wasCommitted(_ half: HalfMessage) -> Bool { half.key != 0 && commits[half.identity] == true }

    /// The broker's clock at which the oldest undecided message was stored, in milliseconds.
    var oldestHeldSince: Int64? { undecided.values.lazy.map(\.heldSince).min() }

    /// The oldest undecided messages, the oldest first.
    ///
    /// - Parameters:
    ///   - group: those of this producer group alone.
    ///   - count: how many at most.
    ///   - last: only those behind this one: since when it is undecided, and its place in the queue.
    /// - Returns: these, and how many there are in all.
    func oldest(
        ofGroup group: String?, count: Int, after last: (since: Int64, queueOffset: Int64)?
    ) -> (found: [HalfMessage], total: Int) {
        var found: [HalfMessage] = []
        for half in undecided.values where group == nil || half.group == group {
            let place = (half.heldSince, half.queueOffset)
            if let last, place <= (last.since, last.queueOffset) { continue }
            if found.count >= count {
                guard let newest = found.last, place < (newest.heldSince, newest.queueOffset) else { continue }
                found.removeLast()
            }
            let index = found.firstIndex { place < ($0.heldSince, $0.queueOffset) } ?? found.count
            found.insert(half, at: index)
        }
        return (found, group.map { groups[$0] ?? 0 } ?? undecided.count)
    }

    // MARK: What is to do

    /// What to do now, in the order of the queue. Groups without a producer are not asked, and that is no check: the
    /// message waits until one is there.
    func due(at now: Int64, _ rules: TransactionRules, isReachable: (String) -> Bool) -> [TransactionAction] {
        let reachable = Set(groups.keys.filter(isReachable))
        var actions: [TransactionAction] = []
        for half in undecided.values where half.isDue(at: now, timeout: rules.timeout) {
            if half.checks >= rules.mostChecks {
                actions.append(.setAside(half.queueOffset))
            } else if reachable.contains(half.group) {
                actions.append(.ask(half.queueOffset))
            }
        }
        return actions.sorted { $0.queueOffset < $1.queueOffset }
    }

    /// Messages to carry forward, since most of what came after them is decided.
    mutating func laggards(_ rules: TransactionRules) -> [TransactionAction] {
        advance()
        guard nextHalf - firstUndecided > rules.longestTail + 4 * Int64(undecided.count) else { return [] }
        let limit = nextHalf - rules.longestTail
        return undecided.keys.filter { $0 < limit }.sorted().map { .carry($0) }
    }

    /// Messages to carry forward before the log up to `physicalOffset` is deleted.
    func stored(before physicalOffset: Int64) -> [TransactionAction] {
        undecided.values.filter { $0.physicalOffset < physicalOffset }.map(\.queueOffset).sorted().map { .carry($0) }
    }

    /// From where both queues have to be read at the next start. To be asked between commits.
    mutating func progress() -> (half: Int64, operation: Int64) {
        advance()
        return (firstUndecided, operations.first)
    }

    private mutating func advance() {
        while firstUndecided < nextHalf, undecided[firstUndecided] == nil { firstUndecided += 1 }
        operations.advance(to: firstUndecided)
    }
}

/// The last few thousand outcomes: a producer that repeats one because its answer got lost is told that all is well.
struct RecentOutcomes {
    private var outcomes: [Int64: Bool] = [:]
    private var order: [Int64] = []
    private var oldest = 0
    static let capacity = 4096

    subscript(offset: Int64) -> Bool? { outcomes[offset] }

    mutating func note(_ offset: Int64, isCommit: Bool) {
        guard outcomes.updateValue(isCommit, forKey: offset) == nil else { return }
        if order.count < Self.capacity {
            order.append(offset)
        } else {
            outcomes[order[oldest]] = nil
            order[oldest] = offset
            oldest = (oldest + 1) % Self.capacity
        }
    }
}
