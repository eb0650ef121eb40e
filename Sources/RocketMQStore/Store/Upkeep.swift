import RocketMQBase

/// What the store does by and by: writing queues behind, flushing, checkpoints. State only; the work is in the extensions
/// of `MessageStore`.
struct Upkeep {
    /// A timer is set. Nothing is scheduled while nothing is to be done.
    var isScheduled = false
    var isClosed = false

    var lastFlush: MonotonicTime
    /// Why what the system says of written data proves nothing any more.
    var flushFailure: StoreError?
    var hasFlushFailed: Bool { flushFailure != nil }
    /// Why consume queues or the index could not be made durable: no checkpoint is written any more, the log is flushed as ever.
    var checkpointFailure: StoreError?
    var hasCheckpointFailed: Bool { checkpointFailure != nil }
    /// The last one could not be written, and nothing else is wrong.
    var isCheckpointLate = false
    /// When it was looked last whether the store's files still have their names.
    var lastNameCheck: MonotonicTime
    var isCheckingNames = false

    /// Queues with entries that are not in their files.
    var dirtyQueues: [ConsumeQueue] = []
    private var turn = 0
    /// The pass over them that is under way, from its end, and the log's end when it began.
    var pass: [ConsumeQueue] = []
    var passStartedAt: Int64?
    var lastPass: MonotonicTime
    /// Entries that came since the pass began.
    var entriesSincePass = 0
    /// Every entry of a message before it is in the kernel.
    var queuesWrittenOffset: Int64
    /// Store timestamps of the newest message when the pass began, and of that before `queuesWrittenOffset`.
    var passTimestamp: Int64 = 0
    /// The queues as they were when the pass began, for the checkpoint that may follow it.
    var passTable: QueueTable.Draft?
    /// What a checkpoint at `queuesWrittenOffset` has to write: which queues there must be, and how long they are.
    var writtenTable: QueueTable.Draft?
    var queuesWrittenTimestamp: Int64 = 0
    var hasReportedQueueFailure = false

    /// The note of what is flushed: up to where it is durable itself.
    var durableNote: Int64
    var lastNote: MonotonicTime
    var isSynchronizingNote = false

    var lastCheckpoint: MonotonicTime
    var isCheckpointing = false
    var checkpointedOffset: Int64

    init(now: MonotonicTime, consistentOffset: Int64, durableOffset: Int64, end: Int64, dirtyQueues: [ConsumeQueue]) {
        self.dirtyQueues = dirtyQueues
        lastFlush = now
        lastNameCheck = now
        lastPass = now
        lastCheckpoint = now
        lastNote = now
        durableNote = durableOffset
        queuesWrittenOffset = dirtyQueues.isEmpty ? end : consistentOffset
        checkpointedOffset = consistentOffset
        // What a start has left to be written is written at once, and noted: the next one would go through the log for it again.
        if !dirtyQueues.isEmpty { (lastPass, lastCheckpoint) = (MonotonicTime(nanoseconds: 0), MonotonicTime(nanoseconds: 0)) }
    }

    /// One queue after the other: those taken lately come in again at the end.
    mutating func takeDirtyQueue() -> ConsumeQueue? {
        guard let last = dirtyQueues.indices.last else { return nil }
        turn = turn == .max ? 0 : turn + 1
        dirtyQueues.swapAt(turn % dirtyQueues.count, last)
        return dirtyQueues.removeLast()
    }
}
