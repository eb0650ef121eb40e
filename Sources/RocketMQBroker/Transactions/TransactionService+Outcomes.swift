import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// How a producer says that a transaction ended, and of which half message.
struct TransactionOutcome {
    var producerGroup: String
    /// `tranStateTableOffset`: the half message's place in its queue.
    var queueOffset: Int64
    /// Its place in the log.
    var commitLogOffset: Int64
    var isCommit: Bool
}

/// Outcomes: a commit stores the message where its producer sent it, and both kinds store that the half message is decided.
extension TransactionService {
    /// Decides a half message; `completion` is called when that is committed, or with the reason why it cannot be.
    func end(_ outcome: TransactionOutcome, _ completion: @escaping (SendRefusal?) -> Void) {
        readHalf(at: outcome.queueOffset) { [self] found in
            do throws(SendRefusal) {
                switch found {
                case .record(let record): try decide(outcome, record, completion)
                case .missing:
                    throw SendRefusal(
                        .systemError, "there is no half message at queue offset \(outcome.queueOffset): it is wrong, or the message is gone"
                    )
                case .failed(let error):
                    throw SendRefusal(.systemError, "the half message at queue offset \(outcome.queueOffset) cannot be read: \(error)")
                }
            } catch {
                completion(error)
            }
        }
    }

    private func decide(_ outcome: TransactionOutcome, _ bytes: RawSpan, _ completion: @escaping (SendRefusal?) -> Void) throws(SendRefusal)
    {
        let message: StoredMessage
        let read: HalfMessage
        do throws(MalformedBytes) {
            message = try StoredMessage(record: bytes)
            read = HalfMessage(try MessageRecord.parse(bytes, at: 0), in: bytes)
        } catch { throw SendRefusal(.systemError, "the half message at queue offset \(outcome.queueOffset) cannot be read: \(error)") }
        guard read.group == outcome.producerGroup else {
            throw SendRefusal(
                .systemError, "the half message at queue offset \(outcome.queueOffset) is not of producer group \(outcome.producerGroup)")
        }
        guard read.physicalOffset == outcome.commitLogOffset else {
            throw SendRefusal(
                .systemError,
                "the half message at queue offset \(outcome.queueOffset) is not at commit log offset \(outcome.commitLogOffset)")
        }
        if index.isBusy(outcome.queueOffset) {
            // Something is under way with it that the end of this tick settles.
            round.afterCommit { [self] _ in loop.schedule(after: .zero) { [self] in end(outcome, completion) } }
        } else if index.undecided[outcome.queueOffset] != nil {
            try settle(outcome, message, completion)
        } else if let copy = index.copy(of: read) {
            // Its producer was asked about it in the meantime, and the copy that was stored then stands for it now.
            var outcome = outcome
            (outcome.queueOffset, outcome.commitLogOffset) = (copy.queueOffset, copy.physicalOffset)
            end(outcome, completion)
        } else if index.recentOutcome(outcome.queueOffset) == outcome.isCommit {
            completion(nil)
        } else {
            throw SendRefusal(.systemError, "the transaction of the half message at queue offset \(outcome.queueOffset) has ended already")
        }
    }

    private func settle(
        _ outcome: TransactionOutcome, _ message: StoredMessage, _ completion: @escaping (SendRefusal?) -> Void
    ) throws(SendRefusal) {
        if outcome.isCommit {
            let committed = try message.committed(halfOffset: outcome.commitLogOffset)
            if topics.find(committed.topic) == nil { return makeTopic(of: committed, outcome, completion) }
            do throws(StoreError) {
                let (appended, queue) = try mover.stageCommitted(committed)
                if queue.topic.name == committed.topic, let key = committed.properties[PropertyName.uniqueKey] {
                    onCommitStaged(committed.topic, key, queue.queue.id, appended)
                }
            } catch { throw SendRefusal(error) }
        }
        let operation = try stageOperation(deciding: outcome.queueOffset, isFirst: !outcome.isCommit)
        index.setBusy(outcome.queueOffset, true)
        round.afterCommit { [self] failure in
            if let failure {
                index.setBusy(outcome.queueOffset, false)
                completion(SendRefusal(failure))
            } else {
                index.decided(outcome.queueOffset, operation: operation.queueOffset, isCommit: outcome.isCommit)
                if !outcome.isCommit, let topic = message.properties[PropertyName.realTopic],
                    let key = message.properties[PropertyName.uniqueKey]
                {
                    onRolledBack(topic, key)
                }
                completion(nil)
            }
        }
    }

    /// The topic was deleted in the meantime, or a crash took it away before it was in its file. It is made first, and for
    /// good: nobody is asked again about a message that is committed.
    private func makeTopic(of message: StoredMessage, _ outcome: TransactionOutcome, _ completion: @escaping (SendRefusal?) -> Void) {
        _ = topics.findOrCreate(message.topic, queues: max(topics.defaults.queues, message.queueID + 1))
        whenTopicsSaved { [self] failure in
            if let failure {
                return completion(
                    SendRefusal(
                        .systemError, "the topic \(message.topic) of the transaction cannot be made, it stays undecided: \(failure)"))
            }
            end(outcome, completion)
        }
    }

    // MARK: Staging

    func stage(_ message: StoredMessage, delayLevel: Int = 0) throws(SendRefusal) -> Appended {
        do throws(StoreError) { return try mover.stage(message, delayLevel: delayLevel) } catch { throw SendRefusal(error) }
    }

    /// Stages the operation record behind what it belongs to. When it cannot be, that must not stay either: all that is
    /// staged is taken back.
    func stageOperation(deciding halfOffset: Int64, isFirst: Bool = false) throws(SendRefusal) -> Appended {
        do throws(SendRefusal) {
            return try stage(.operation(deciding: halfOffset, at: round.wallMilliseconds, by: storeHost))
        } catch {
            if !isFirst { round.abort(error) }
            throw error
        }
    }
}
