import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Transactions of this broker: keeps their half messages out of sight until a producer says how they ended, and asks when
/// none does. In the reference's layout: half messages lie in `RMQ_SYS_TRANS_HALF_TOPIC`, an operation record in
/// `RMQ_SYS_TRANS_OP_HALF_TOPIC` says of each that it is decided, and the offsets of a consumer group say from where both
/// have to be read at the next start. Confined to the broker's loop.
final class TransactionService {
    struct Configuration: Equatable {
        var rules = TransactionRules()
        /// `transactionCheckInterval`.
        var checkInterval: Duration = .seconds(60)
    }

    /// The group whose offsets are the progress, as in the reference.
    static let group = "CID_RMQ_SYS_TRANS"
    /// How often progress is noted.
    static let progressInterval: Duration = .seconds(1)

    var configuration: Configuration {
        didSet { if configuration.checkInterval != oldValue.checkInterval, checkTimer != nil { scheduleChecks() } }
    }
    let storeHost: SocketAddress
    let store: MessageStore
    let topics: TopicTable
    let clients: ClientTable
    let round: CommitRound
    let mover: MessageMover
    let loop: any EventLoop
    let log: Logger
    private let offsets: ConsumerOffsetTable

    let halfQueue: TopicQueue
    let operationQueue: TopicQueue
    var index: TransactionIndex
    /// What is to be done and was not yet, in order; see TransactionService+Checks.
    var work: [TransactionAction] = []
    var nextWork = 0
    var isWorking = false
    /// Found at the start: copies of these count, or what they are copies of is decided.
    var superseded: [TransactionAction] = []
    /// Found at the start: these are decided, and no operation record says so.
    var interrupted: [Int64] = []
    /// Called with the topic and the key of a message that was rolled back.
    var onRolledBack: (String, String) -> Void = { _, _ in }
    /// Called with topic, `UNIQ_KEY` and queue of a committed message that is staged in its topic, and where.
    var onCommitStaged: (String, String, Int32, Appended) -> Void = { _, _, _, _ in }
    /// Calls back when the file of topics holds those that there are now, or with why it does not.
    var whenTopicsSaved: (@escaping (TableFileError?) -> Void) -> Void = { $0(nil) }
    /// Turns through the producers of a group.
    var turn = 0

    private var stagedHalves: [HalfMessage] = []
    private var isHalfAwaited = false
    private var checkTimer: (any ScheduledCall)?
    private var progressTimer: (any ScheduledCall)?
    /// Progress that counts when the log is durable up to `end`: what a loss of power takes away must be read again.
    private var candidate: (half: Int64, operation: Int64, end: Int64)?

    init(
        _ configuration: Configuration, storeHost: SocketAddress, store: MessageStore, topics: TopicTable, offsets: ConsumerOffsetTable,
        clients: ClientTable, round: CommitRound, mover: MessageMover, loop: any EventLoop, log: Logger
    ) {
        self.configuration = configuration
        self.storeHost = storeHost
        self.store = store
        self.topics = topics
        self.offsets = offsets
        self.clients = clients
        self.round = round
        self.mover = mover
        self.loop = loop
        self.log = log
        halfQueue = topics.findOrCreate(SystemTopic.transactionHalf, queues: 1).brokerQueue(0)
        operationQueue = topics.findOrCreate(SystemTopic.transactionOperation, queues: 1).brokerQueue(0)
        index = TransactionIndex(
            firstHalf: Self.start(of: halfQueue, offsets), firstOperation: Self.start(of: operationQueue, offsets))
    }

    /// Where to begin to read: what was noted, as far as the queue has it.
    private static func start(of queue: TopicQueue, _ offsets: ConsumerOffsetTable) -> Int64 {
        let known = offsets.offset(group: group, topic: queue.topic.name, queueID: 0) ?? 0
        return min(max(known, queue.queue.minOffset), queue.queue.maxOffset)
    }

    // MARK: Running

    func start() {
        scheduleChecks()
        progressTimer = loop.scheduleRepeatedly(every: Self.progressInterval) { [unowned self] in noteProgress() }
        // Before anything else is stored: what is durable of that then says that this is too.
        closeInterrupted()
        enqueue(superseded)
        superseded = []
    }

    /// To be called before the offsets are stored for the last time.
    func stop() {
        checkTimer?.cancel()
        progressTimer?.cancel()
        checkTimer = nil
        work = []
        nextWork = 0
        noteProgress()
    }

    private func scheduleChecks() {
        checkTimer?.cancel()
        checkTimer = loop.scheduleRepeatedly(every: configuration.checkInterval) { [unowned self] in check() }
    }

    private func noteProgress() {
        publishCandidate()
        if candidate == nil {
            let (half, operation) = index.progress()
            candidate = (half, operation, store.writtenOffset)
            publishCandidate()
        }
        if checkTimer != nil { closeInterrupted() }
        if !isWorking, checkTimer != nil { enqueue(index.laggards(configuration.rules)) }
    }

    private func publishCandidate() {
        guard let known = candidate, store.flushedOffset >= known.end else { return }
        candidate = nil
        // A broker that never had a transaction has nothing to note.
        guard known.half > 0 else { return }
        offsets.commit(group: Self.group, topic: halfQueue.topic.name, queueID: 0, offset: known.half)
        offsets.commit(group: Self.group, topic: operationQueue.topic.name, queueID: 0, offset: known.operation)
    }

    /// Undecided messages are carried out of the way of retention. A log that takes no more messages cannot have that.
    func mayDelete(upTo end: Int64) -> Bool {
        let carried = index.stored(before: end)
        guard !carried.isEmpty, store.refusal == nil else { return true }
        if !isWorking { enqueue(carried) }
        return false
    }

    // MARK: Half messages

    /// A half message was staged; it counts when it is committed. To be called before the next one is staged.
    ///
    /// - Parameter properties: as they are stored.
    func halfStaged(_ place: Appended, _ fields: MessageFields, properties: RawSpan) {
        let half = HalfMessage(
            place, bornTimestamp: fields.bornTimestamp, storeTimestamp: fields.storeTimestamp, properties: properties)
        if half.isImmunityOdd { tellOfImmunity(half, properties) }
        stagedHalves.append(half)
        guard !isHalfAwaited else { return }
        isHalfAwaited = true
        round.afterCommit { [unowned self] failure in
            isHalfAwaited = false
            if failure == nil {
                for half in stagedHalves { index.stored(half) }
            }
            stagedHalves.removeAll(keepingCapacity: stagedHalves.capacity <= 4096)
        }
    }

    private func tellOfImmunity(_ half: HalfMessage, _ properties: RawSpan) {
        let name = PropertyName.checkImmunityTimeInSeconds
        let sent = (MessageProperties.value(of: name, in: properties) ?? "").prefix(40)
        let meaning = half.immunity.map { "\($0 / 1000) s" } ?? "transactionTimeOut, \(configuration.rules.timeout) ms,"
        log.log(
            .warning, limitedBy: "odd immunity times",
            "producers of group \(half.group) send transactions with \(name)=\(sent): \(meaning) is taken. "
                + "It is a number of seconds from 0 to \(HalfMessage.longestImmunity)")
    }

    // MARK: Visibility

    /// For the broker's runtime table (28).
    var runtimeEntries: [String: String] {
        [
            "transactionUndecidedCount": "\(index.undecided.count)",
            "transactionOldestUndecidedTimestamp": "\(index.oldestHeldSince ?? -1)",
        ]
    }

    // MARK: Reading

    enum HalfRead: ~Escapable {
        case record(RawSpan)
        /// No record of that queue is there.
        case missing
        case failed(StoreError)
    }

    /// Reads the record at an offset of the half queue and calls `use` with it: before this returns true, or later.
    func readHalf(at offset: Int64, _ use: @escaping (HalfRead) -> Void) {
        var record = ByteBuffer(capacity: 1024)
        let limits = ReadLimits(messages: 1, bytes: 1, scannedEntries: 1)
        let result = store.read(halfQueue.queue, from: offset, limits: limits, filter: .all, into: &record)
        guard result == .needsDisk else { return Self.hand(result, record, use) }
        store.readFromDisk(halfQueue.queue, from: offset, limits: limits, filter: .all) { Self.hand($0, $1, use) }
    }

    private static func hand(_ result: ReadResult, _ record: borrowing ByteBuffer, _ use: (HalfRead) -> Void) {
        switch result {
        case .found: record.withBytes { use(.record($0)) }
        case .failed(let error): use(.failed(error))
        default: use(.missing)
        }
    }
}

extension BrokerConfiguration {
    var transactions: TransactionService.Configuration {
        TransactionService.Configuration(
            rules: TransactionRules(
                timeout: Int64(settings[BrokerSettings.transactionTimeOut]), mostChecks: settings[BrokerSettings.transactionCheckMax]),
            checkInterval: .milliseconds(settings[BrokerSettings.transactionCheckInterval]))
    }
}
