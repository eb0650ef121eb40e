import CPrefetch
import RocketMQBase

/// How serious a line of the store's is.
public enum StoreReportLevel: Sendable { case information, warning, error }

/// Blocking work of the store, each kind in an order of its own. The same worker may serve for all.
public struct StoreWorkers: Sendable {
    /// `fdatasync` of the log.
    public var flusher: any BackgroundWorker
    /// Reads of what the system does not have in memory.
    public var readers: any BackgroundWorker
    /// Index, checkpoint, allocation, deletion.
    public var housekeeper: any BackgroundWorker
    /// Lookups by key: they may read much, and must not hold up those who read old messages.
    public var queries: any BackgroundWorker

    /// - Parameter queries: `readers` when it is `nil`.
    public init(
        flusher: any BackgroundWorker, readers: any BackgroundWorker, housekeeper: any BackgroundWorker,
        queries: (any BackgroundWorker)? = nil
    ) {
        self.flusher = flusher
        self.readers = readers
        self.housekeeper = housekeeper
        self.queries = queries ?? readers
    }
}

/// The messages of a broker on disk, in the reference's layout. Confined to one thread, its event loop's.
///
/// What `append` returns is staged; after `commit()` it is in the kernel and visible to `read`; when `flushedOffset` has
/// passed it, it survives a loss of power. A failed `commit()` takes back everything staged since the last one.
public final class MessageStore {
    public internal(set) var configuration: StoreConfiguration
    let fileSystem: any FileSystem
    let clock: any SystemClock
    let loop: any EventLoop
    let workers: StoreWorkers
    let report: (StoreReportLevel, String) -> Void
    let interruption: StartInterruption

    let log: CommitLog
    var topics: [String: [Int32: ConsumeQueue]] = [:]
    /// The queues of `topics`.
    var roll: QueueRoll
    let queueFiles: QueueFileCache
    let checkpointWriter: CheckpointWriter
    let flushNotes: FlushNotes
    /// Messages of the log from this physical offset on, as it was at the start, are neither in the queue of messages with a
    /// time of delivery nor come from elsewhere (`preparedTransactionOffset`): whoever looks for such need not look there.
    public let ordinaryFrom: Int64
    /// Keep other processes off the root directory and the log.
    let locks: [any OpenFile]

    // Staged since the last commit.
    private var touched: [ConsumeQueue] = []
    /// Where each lies, to be fetched ahead of time.
    private var touchedAddresses: [UInt] = []
    private var hasStaged = false
    private var stagedStoreTimestamp: Int64 = 0
    /// Store timestamp of the newest committed message.
    var lastStoreTimestamp: Int64

    /// Why messages are refused, as long as they are. Reads go on.
    public internal(set) var refusal: StoreError?

    // Flush; see MessageStore+Flush.
    /// Everything before it survives a loss of power.
    public internal(set) var flushedOffset: Int64
    /// Called on the loop when `flushedOffset` has moved, or with the error after which the store refuses messages.
    public var onFlushed: ((StoreError?) -> Void)?
    var isFlushing = false
    var isFlushWanted = false
    var upkeep: Upkeep
    var queueWrites = QueueWrites()
    var allocation: Allocation
    var deletions: TopicDeletions
    var oddLogFiles = OddLogFiles()
    var retention = Retention()
    /// Asked before a file of the log is deleted, with the physical offsets of its first byte and behind its last: whether
    /// nobody needs its messages any more. Unset, age and space decide alone.
    public var mayDeleteFile: ((_ start: Int64, _ end: Int64) -> Bool)?
    /// Asked before messages are deleted: who reads which topics, and how far. Deletions name those who had not read the
    /// messages yet; unset, nobody is known to read.
    public var groupProgress: (() -> Readers)?

    /// `nil` when the settings want none.
    let index: IndexBuilder?
    var indexing: Indexing

    // Reading; see MessageStore+Read.
    var readCache = ReadCache()
    var entryScratch = EntryScratch()
    var diskNeed: DiskNeed?
    var coldReads: ColdReadPace
    var queueRepairs = QueueRepairs()

    init(
        configuration: StoreConfiguration, fileSystem: any FileSystem, clock: any SystemClock, loop: any EventLoop,
        workers: StoreWorkers, locks: [any OpenFile], recovered: RecoveredStore, index: IndexBuilder?, interruption: StartInterruption,
        report: @escaping (StoreReportLevel, String) -> Void
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.clock = clock
        self.loop = loop
        self.workers = workers
        self.report = report
        self.interruption = interruption
        self.locks = locks
        log = recovered.log
        self.index = index
        indexing = Indexing(offset: index?.indexedOffset ?? 0, now: clock.monotonicNow)
        topics = recovered.topics
        roll = QueueRoll(recovered.topics)
        queueFiles = recovered.queueFiles
        checkpointWriter = CheckpointWriter(root: configuration.rootDirectory, fileSystem: fileSystem)
        flushNotes = recovered.notes
        ordinaryFrom = recovered.ordinaryFrom
        lastStoreTimestamp = recovered.lastStoreTimestamp
        flushedOffset = recovered.durableOffset
        upkeep = Upkeep(
            now: clock.monotonicNow, consistentOffset: recovered.consistentOffset, durableOffset: recovered.durableOffset,
            end: recovered.log.writtenOffset,
            dirtyQueues: recovered.dirty)
        deletions = TopicDeletions(
            table: recovered.deletedTopics, writer: DeletedTopicsWriter(root: configuration.rootDirectory, fileSystem: fileSystem))
        allocation = Allocation(end: recovered.log.writtenOffset, now: clock.monotonicNow)
        coldReads = ColdReadPace(
            bytesPerSecond: configuration.coldReadBytesPerSecond, distance: configuration.coldReadDistance,
            end: recovered.log.writtenOffset, now: clock.monotonicNow)
        upkeep.queuesWrittenTimestamp = recovered.checkpoint.queueTimestamp
        touched.reserveCapacity(1024)
        touchedAddresses.reserveCapacity(1024)
    }

    /// Everything before it is in the kernel: it survives the end of the process.
    public var writtenOffset: Int64 { log.writtenOffset }
    /// Physical offset of the first byte that is still there.
    public var minPhysicalOffset: Int64 { log.minOffset }

    // MARK: Queues

    /// The queue, created when it does not exist yet; nothing is written until it has a message. Keep the reference.
    public func queue(topic: String, id: Int32) -> ConsumeQueue {
        if let queue = topics[topic]?[id] { return queue }
        let queue = makeQueue(topic: topic, id: id, minOffset: 0, maxOffset: 0)
        topics[topic, default: [:]][id] = queue
        roll.add(queue)
        return queue
    }

    /// The queue, when it exists.
    public func existingQueue(topic: String, id: Int32) -> ConsumeQueue? { topics[topic]?[id] }

    /// Topics with a queue, in no order.
    public var topicNames: [String] { Array(topics.keys) }
    /// Queues of a topic in the order of their ids.
    public func queues(topic: String) -> [ConsumeQueue] { topics[topic].map { $0.values.sorted { $0.id < $1.id } } ?? [] }

    private func makeQueue(topic: String, id: Int32, minOffset: Int64, maxOffset: Int64) -> ConsumeQueue {
        let place = QueuePlace(root: configuration.rootDirectory + "/consumequeue", topic: topic, id: id)
        let files = QueueFiles(place: place, entriesPerFile: configuration.consumeQueueFileEntries, cache: queueFiles)
        let stored = topics[topic]?.first?.value.storedTopic ?? StoredTopic(topic)
        return ConsumeQueue(stored, id: id, files: files, minOffset: minOffset, maxOffset: maxOffset)
    }

    // MARK: Appending

    /// Stages a message at the end of the log and of its queue.
    ///
    /// - Parameters:
    ///   - properties: in the format of the wire (`name` 1 `value` 2 …).
    ///   - extraProperties: more of them, set behind the others with the separator that may be missing between.
    /// - Throws: `StoreError` when this message cannot be stored; what was staged before it stays staged.
    public func append(
        _ fields: MessageFields, body: RawSpan, properties: RawSpan, extraProperties: RawSpan, to queue: ConsumeQueue
    ) throws(StoreError) -> Appended {
        if refusal != nil { try refuse() }
        guard queue.isStorable else {
            throw StoreError(.illegalTopic, "the topic \(queue.topic) with queue \(queue.id) cannot be stored")
        }
        let form = RecordForm(
            fields, queue: queue, body: body, properties: properties, extra: extraProperties,
            withChecksum: configuration.writesRecordChecksums)
        guard form.propertiesSize <= Int(Int16.max) else {
            throw StoreError(.propertiesTooLong, "\(form.propertiesSize) bytes of properties are more than the \(Int16.max) that fit")
        }
        let (memory, physicalOffset) = try log.reserve(form.size)
        let entersQueue = RecordLayout.entersQueue(fields.systemFlag)
        let queueOffset = entersQueue ? queue.nextOffset : 0
        form.write(
            fields, queue: queue, queueOffset: queueOffset, physicalOffset: physicalOffset, body: body, properties: properties,
            extra: extraProperties, to: memory)
        log.advance(form.size)
        log.prepareNext(form.size)
        hasStaged = true
        stagedStoreTimestamp = fields.storeTimestamp
        let size = Int32(truncatingIfNeeded: form.size)
        if entersQueue {
            queue.stage(QueueEntry(physicalOffset: physicalOffset, size: size, tagsCode: fields.tagsCode))
            if !queue.isTouched {
                queue.isTouched = true
                touched.append(queue)
                touchedAddresses.append(queue.address)
            }
        }
        return Appended(queueOffset: queueOffset, physicalOffset: physicalOffset, size: size)
    }

    /// As above, with no extra properties.
    public func append(
        _ fields: MessageFields, body: RawSpan, properties: RawSpan, to queue: ConsumeQueue
    ) throws(StoreError) -> Appended {
        try append(fields, body: body, properties: properties, extraProperties: RawSpan(), to: queue)
    }

    @inline(never)
    private func refuse() throws(StoreError) {
        if let refusal { throw refusal }
    }

    // MARK: Committing

    /// Writes everything staged, and makes it visible to readers. After an error nothing of it is stored: offsets are as
    /// they were after the last successful commit, and the next commit may succeed.
    public func commit() throws(StoreError) {
        guard hasStaged else { return }
        hasStaged = false
        defer { forgetTouched() }
        do { try log.commit() } catch {
            for queue in touched {
                queue.isTouched = false
                queue.rollBackStaged()
            }
            allocation.until = log.writtenOffset
            if log.hasSyncFailed {
                Self.markDistrust(configuration.rootDirectory, fileSystem)
                flushFailed(error)
            } else {
                report(.error, "messages were refused, the commit log cannot be written: \(error)")
            }
            throw error
        }
        lastStoreTimestamp = stagedStoreTimestamp
        for (index, queue) in touched.enumerated() {
            if index + 8 < touchedAddresses.count { Self.fetch(touchedAddresses[index + 8]) }
            queue.isTouched = false
            upkeep.entriesSincePass += queue.commitStaged()
            noteDirty(queue)
        }
        if queueFiles.memory.isExhausted { writeSomeQueues() }
        afterCommit()
    }

    /// Takes back everything staged since the last commit.
    public func rollBack() {
        guard hasStaged else { return }
        hasStaged = false
        log.rollBack()
        for queue in touched {
            queue.isTouched = false
            queue.rollBackStaged()
        }
        forgetTouched()
    }

    private func forgetTouched() {
        touched.removeAll(keepingCapacity: true)
        touchedAddresses.removeAll(keepingCapacity: true)
    }

    /// What a commit needs of a queue.
    @inline(__always)
    private static func fetch(_ queue: UInt) {
        cprefetch_line(queue)
        cprefetch_line(queue &+ 64)
    }
}
