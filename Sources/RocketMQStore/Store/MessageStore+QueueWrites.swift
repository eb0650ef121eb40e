import RocketMQBase

/// Consume queue entries on their way to their files. State only; the work is in the extension of `MessageStore`.
struct QueueWrites {
    /// Handed to the worker, in this order, and not heard of since.
    struct Handed {
        var number: Int
        var queues: [ConsumeQueue]
        /// Of each queue, the first offset in the batch and the one behind its last.
        var ranges: [Range<Int64>]
    }
    var underWay: [Handed] = []
    private(set) var lastNumber = 0
    /// The last batch that the pass must wait for, when all of its queues are handed over.
    var lastOfPass: Int?
    /// Batches of a pass that may be under way at a time, and of queues that are written early: they are memory.
    static let limit = 4
    static let earlyLimit = 64

    mutating func next() -> Int {
        lastNumber += 1
        return lastNumber
    }
}

/// Writing consume queues behind: the loop hands copies of entries to the housekeeper, and takes note when they are in the
/// kernel. Until then they are read from memory.
extension MessageStore {
    func noteDirty(_ queue: ConsumeQueue) {
        if !queue.isDirty, !queue.isAbandoned {
            queue.isDirty = true
            upkeep.dirtyQueues.append(queue)
        }
        if queue.isWritingDue, queueWrites.underWay.count < QueueWrites.earlyLimit, !queue.isAbandoned { handOver([queue]) }
    }

    /// Begins a pass over all dirty queues when it is time, and goes on with one that has begun.
    func writeQueuesBehind(_ now: MonotonicTime) {
        if upkeep.passStartedAt == nil {
            // With very many queues seldom: opening their files is dearer than the entries are large.
            let interval = max(configuration.queueWriteInterval, .microseconds(upkeep.dirtyQueues.count * 250))
            let memory = queueFiles.memory
            // Not again and again where the last pass failed.
            let isMemoryWanted = memory.isWritingDue && upkeep.entriesSincePass > memory.fewEntries
            guard now - upkeep.lastPass >= interval || isMemoryWanted else { return }
            upkeep.lastPass = now
            upkeep.entriesSincePass = 0
            upkeep.passStartedAt = log.writtenOffset
            upkeep.passTimestamp = lastStoreTimestamp
            upkeep.passTable = makeTableForCheckpoint(now)
            let due = upkeep.dirtyQueues
            upkeep.dirtyQueues = []
            upkeep.pass = due
            queueWrites.lastOfPass = nil
        }
        handOverPass()
        endPassIfDone()
    }

    /// Hands batches over, as many as may be under way.
    private func handOverPass() {
        while !upkeep.pass.isEmpty, queueWrites.underWay.count < QueueWrites.limit {
            var queues: [ConsumeQueue] = []
            while queues.count < QueueBatch.mostQueues, let queue = upkeep.pass.popLast() {
                queues.append(queue)
                // Many entries fill a batch like many queues do.
                if queue.isWritingDue { break }
            }
            handOver(queues)
            for queue in queues {
                queue.isDirty = queue.handedOffset < queue.maxOffset
                if queue.isDirty { upkeep.pass.append(queue) }
            }
        }
    }

    /// The housekeeper is slower than messages come, and their entries have all the memory that they may have: who brings more
    /// waits for some to be written, here and now.
    @inline(never)
    func writeSomeQueues() {
        guard !upkeep.hasReportedQueueFailure else { return }
        for _ in 0..<Self.queuesOfTick {
            let ofPass = upkeep.pass.popLast()
            guard let queue = ofPass ?? upkeep.takeDirtyQueue() else { break }
            queue.isDirty = false
            // A failure shows again, and is told of, when the housekeeper comes to the queue.
            do { try queue.writeBehind() } catch {
                queue.isDirty = true
                if ofPass == nil { upkeep.dirtyQueues.insert(queue, at: 0) } else { upkeep.pass.insert(queue, at: 0) }
                break
            }
        }
        endPassIfDone()
    }

    /// Hundreds of messages come in a tick at most; each of these queues has dozens of entries when memory is short.
    private static var queuesOfTick: Int { 8 }

    /// Copies what these queues have to write, and lets the housekeeper write it.
    private func handOver(_ queues: [ConsumeQueue]) {
        var batch = QueueBatch()
        var handed = QueueWrites.Handed(number: queueWrites.next(), queues: [], ranges: [])
        for queue in queues where queue.handedOffset < queue.maxOffset {
            handed.queues.append(queue)
            handed.ranges.append(queue.handedOffset..<queue.maxOffset)
            queue.handOver(to: &batch)
        }
        guard !handed.queues.isEmpty else { return }
        let number = handed.number
        queueWrites.underWay.append(handed)
        let store = LoopBound(self, on: loop)
        let (writer, pieces) = (queueFiles.writer, batch)
        workers.housekeeper.run { [loop] in
            let (written, failure) = writer.write(pieces)
            loop.execute { store.value.batchEnded(number, written: written, failure) }
        }
    }

    private func batchEnded(_ number: Int, written: Int, _ failure: StoreError?) {
        // In the order in which they were handed over.
        guard !upkeep.isClosed, let handed = queueWrites.underWay.first, handed.number == number else { return }
        queueWrites.underWay.removeFirst()
        for (index, queue) in handed.queues.enumerated() {
            if index < written {
                queue.wasWritten(handed.ranges[index].lowerBound, until: handed.ranges[index].upperBound)
            } else {
                queue.wasNotWritten()
                guard !queue.isDirty, !queue.isAbandoned else { continue }
                queue.isDirty = true
                upkeep.dirtyQueues.append(queue)
            }
        }
        if queueWrites.underWay.isEmpty { queueFiles.writer.forgetAbandoned() }
        take(queueFiles.writer.takeFindings())
        if let failure { passFailed(failure) }
        handOverPass()
        endPassIfDone()
        scheduleUpkeep()
    }

    /// Its queues stay in memory, and it is tried again later.
    private func passFailed(_ failure: StoreError) {
        if !upkeep.hasReportedQueueFailure {
            upkeep.hasReportedQueueFailure = true
            report(.warning, "a consume queue cannot be written, it is kept in memory: \(failure)")
        }
        upkeep.dirtyQueues.append(contentsOf: upkeep.pass)
        upkeep.pass.removeAll()
        upkeep.passStartedAt = nil
        upkeep.passTable = nil
    }

    /// When every batch handed over until the end of the pass has been written, all entries of messages before its beginning
    /// are in the kernel: those handed over before the pass as well, since none of them failed since it began.
    private func endPassIfDone() {
        guard let start = upkeep.passStartedAt, upkeep.pass.isEmpty else { return }
        let last = queueWrites.lastOfPass ?? queueWrites.lastNumber
        queueWrites.lastOfPass = last
        if let first = queueWrites.underWay.first, first.number <= last { return }
        upkeep.queuesWrittenOffset = start
        upkeep.queuesWrittenTimestamp = upkeep.passTimestamp
        upkeep.writtenTable = upkeep.passTable
        upkeep.passTable = nil
        upkeep.passStartedAt = nil
        upkeep.hasReportedQueueFailure = false
    }
}
