import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Sends that were stored before: a client that got no answer, or too late a one, sends the same message again, perhaps to
/// another queue. Each is answered with the first copy's place, when that is stored as durably as promised.
extension SendHandler {
    /// The first copy of a send, when it is young enough and consumers of the topic can still get it.
    @inline(__always)
    func firstCopy(_ identity: SendIdentity, _ topic: Topic) -> DeduplicationWindow.Entry? {
        guard let first = deduplication?.find(identity, at: round.wallMilliseconds), isThere(first, topic) else { return nil }
        return first
    }

    /// Whether a copy went neither with a topic that was deleted and made again, nor with a queue that was taken away, nor by
    /// retention. What still waits goes to the topic as it will be then.
    @inline(never)
    private func isThere(_ copy: DeduplicationWindow.Entry, _ topic: Topic) -> Bool {
        if copy.isDetour { return copy.physicalOffset >= store.minPhysicalOffset }
        return copy.physicalOffset >= max(topic.firstPhysicalOffset, store.minPhysicalOffset)
            && (0..<topic.queueCount).contains(copy.queueID) && copy.queueOffset >= topic.queue(copy.queueID).minOffset
    }

    /// Remembers a staged message; forgotten again when it is not committed.
    func remember(_ identity: SendIdentity, _ appended: Appended, _ timestamp: Int64, queueID: Int32, isDetour: Bool = false) {
        guard let deduplication else { return }
        if deduplication.stagedCount == 0 {
            round.afterCommit { deduplication.settle(isCommitted: $0 == nil) }
        }
        deduplication.insert(
            DeduplicationWindow.Entry(
                identity: identity, physicalOffset: appended.physicalOffset, queueOffset: appended.queueOffset, timestamp: timestamp,
                queueID: queueID, size: appended.size, isDetour: isDetour))
    }

    /// A message that waited is staged in its topic.
    func delivered(_ identity: SendIdentity, _ appended: Appended, queueID: Int32) {
        guard let deduplication else { return }
        if deduplication.stagedDeliveries.isEmpty {
            round.afterCommit { deduplication.settleDeliveries(isCommitted: $0 == nil) }
        }
        deduplication.noteDelivered(.init(identity: identity, queueID: queueID, appended: appended))
    }

    /// Has those who put what waited into its topic, or drop it, tell of it.
    func followDeliveries(_ delays: DelayService, _ transactions: TransactionService) {
        transactions.onRolledBack = { [weak self] in self?.deduplication?.forget(topic: $0, key: $1) }
        guard let deduplication else { return }
        delays.release.onStaged = { [weak self] topic, key, queue, appended in
            guard let self, !topic.isRetry else { return }
            let identity = topic.withNameBytes { deduplication.identity(topic: $0, key: key) }
            delivered(identity, appended, queueID: queue.queue.id)
        }
        delays.release.onDropped = { deduplication.forget(deduplication.identity(topic: $0, key: $1)) }
        transactions.onCommitStaged = { [weak self] topic, key, queueID, appended in
            let (topic, key) = (Array(topic.utf8), Array(key.utf8))
            self?.delivered(deduplication.identity(topic: topic.span.bytes, key: key.span.bytes), appended, queueID: queueID)
        }
    }

    /// Answers a send whose message is stored already.
    func answerAgain(
        _ first: DeduplicationWindow.Entry, _ header: borrowing HeaderTable, _ found: StoredProperties, _ sent: RawSpan, _ topic: Topic,
        from connection: ServerConnection
    ) {
        deduplication?.noteRecognised()
        guard !header.isOneway else { return }
        round.holdAgain(header.answerTo, for: connection, topic: topic, until: first.end, waitsForFlush: !found.doesNotWait) { output in
            var answer = FrameBuilder(&output, response: .success, to: header.answerTo)
            appendMessageID(first.physicalOffset, &answer, &output)
            answer.field("queueId", decimal: Int64(first.queueID), into: &output)
            answer.field("queueOffset", decimal: first.queueOffset, into: &output)
            if let key = found.uniqueKey { answer.field("transactionId", bytes: sent.extracting(key), into: &output) }
            finish(&answer, &output)
        }
    }
}
