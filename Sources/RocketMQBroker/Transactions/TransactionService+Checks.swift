import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// What is done for messages that stay undecided. A bounded number at a time, so that sends come in between.
extension TransactionService {
    /// Messages handled in one go, and the pause after it.
    static let mostAtOnce = 64
    static let pause: Duration = .milliseconds(5)
    /// A producer that has so many bytes to read yet is not asked more: it would get them late, and in the end lose its connection.
    static let mostUnreadBytes = 1 << 20

    /// Looks for messages whose producers are to be asked.
    func check() {
        // The last look is still being worked off.
        guard !isWorking else { return }
        let due = index.due(at: loop.clock.wallMilliseconds, configuration.rules) { [self] in
            !producersToAsk(ofGroup: $0).isEmpty
        }
        if !index.undecided.isEmpty {
            log.debug("\(index.undecided.count) undecided transactions, \(due.count) to be looked at now")
        }
        enqueue(due)
    }

    func enqueue(_ actions: [TransactionAction]) {
        guard !actions.isEmpty else { return }
        work += actions
        guard !isWorking else { return }
        isWorking = true
        goOn()
    }

    private func goOn() {
        var handled = 0
        while nextWork < work.count {
            guard handled < Self.mostAtOnce else {
                loop.schedule(after: Self.pause) { [weak self] in self?.goOn() }
                return
            }
            handled += 1
            let action = work[nextWork]
            nextWork += 1
            guard index.undecided[action.queueOffset] != nil, !index.isBusy(action.queueOffset) else { continue }
            // The message may be handed over within this call, also when the first attempt wanted the disk.
            var isInline = true
            var isDone = false
            readHalf(at: action.queueOffset) { [weak self] found in
                isDone = true
                guard let self else { return }
                take(action, found)
                if !isInline { goOn() }
            }
            isInline = false
            if !isDone { return }
        }
        work = []
        nextWork = 0
        isWorking = false
    }

    private func take(_ action: TransactionAction, _ found: borrowing HalfRead) {
        // It may have been decided while the disk was read.
        guard let half = index.undecided[action.queueOffset], !index.isBusy(action.queueOffset) else { return }
        do throws(SendRefusal) {
            switch found {
            case .failed(let error): throw SendRefusal(error)
            case .missing: lose(half, "its record is gone")
            case .record(let bytes):
                guard let message = try? StoredMessage(record: bytes) else { return lose(half, "its record is damaged") }
                switch action {
                // Those who were to be asked have enough to answer: the next look finds the message again.
                case .ask:
                    guard !producersToAsk(ofGroup: half.group).isEmpty else { return }
                    try moveOn(half, message, checks: half.checks + 1, asks: true)
                case .carry: try moveOn(half, message, checks: half.checks, asks: false)
                case .setAside: try setAside(half, message)
                case .close: try close(half.queueOffset, isFirst: true)
                }
            }
        } catch {
            log.log(
                .error, limitedBy: "looking at undecided transactions",
                "undecided transactions cannot be looked at for now, the next time is in \(configuration.checkInterval): \(error.remark)")
            work = []
            nextWork = 0
        }
    }

    private func lose(_ half: HalfMessage, _ why: String) {
        log.log(
            .error, limitedBy: "lost half message",
            "the transaction of producer group \(half.group) with the half message at queue offset \(half.queueOffset) can never be "
                + "decided: \(why)")
        index.lost(half.queueOffset)
    }

    // MARK: Actions

    /// Stores a copy that takes the message's place, so that what was done is known after a restart and the place of the
    /// old one need not be remembered; then asks about the copy.
    private func moveOn(_ half: HalfMessage, _ message: StoredMessage, checks: Int, asks: Bool) throws(SendRefusal) {
        let copy = message.copied(checks: checks)
        let place = try stage(copy)
        let operation = try stageOperation(deciding: half.queueOffset)
        var moved = half
        (moved.queueOffset, moved.physicalOffset, moved.size) = (place.queueOffset, place.physicalOffset, place.size)
        moved.heldSince = min(half.heldSince, half.bornTimestamp)
        moved.checks = checks
        moved.isCopy = true
        index.setBusy(half.queueOffset, true)
        round.afterCommit { [self, moved] failure in
            guard failure == nil else { return index.setBusy(half.queueOffset, false) }
            index.stored(moved)
            index.decided(half.queueOffset, operation: operation.queueOffset)
            if asks { ask(copy, moved, place) }
        }
    }

    /// The group's producers that are there and read what they are sent.
    private func producersToAsk(ofGroup group: String) -> [ClientMember] {
        clients.producers(ofGroup: group)?.filter {
            !$0.connection.stream.isClosed && $0.connection.stream.output.count <= Self.mostUnreadBytes
        } ?? []
    }

    /// Asks one of the group's producers; each in turn.
    private func ask(_ message: StoredMessage, _ half: HalfMessage, _ place: Appended) {
        let live = producersToAsk(ofGroup: half.group)
        guard !live.isEmpty else { return }
        turn &+= 1
        let producer = live[Int(UInt(bitPattern: turn) % UInt(live.count))]
        let body: [UInt8]
        do throws(SendRefusal) { body = try message.checkBody(at: place, storeHost: storeHost) } catch {
            log.log(.error, limitedBy: "half message without a place", "a producer of group \(half.group) is not asked: \(error.remark)")
            return
        }
        var request = RemotingCommand.request(.checkTransactionState, body: body)
        request.fields = [
            "tranStateTableOffset": "\(place.queueOffset)", "commitLogOffset": "\(place.physicalOffset)",
            "offsetMsgId": OffsetMessageID(storeHost: storeHost, commitLogOffset: place.physicalOffset).description,
        ]
        if let key = message.properties[PropertyName.uniqueKey] {
            request.fields["msgId"] = key
            request.fields["transactionId"] = key
        }
        producer.connection.sendOneway(request)
        log.debug(
            "asked producer \(producer.name) of group \(half.group) about transaction \(message.properties[PropertyName.uniqueKey] ?? "")")
    }

    private func setAside(_ half: HalfMessage, _ message: StoredMessage) throws(SendRefusal) {
        var moved = message
        moved.topic = topics.findOrCreate(SystemTopic.transactionCheckMaxTime, queues: 1).name
        moved.queueID = 0
        _ = try stage(moved)
        try close(half.queueOffset, isFirst: false)
        log.log(
            .warning, limitedBy: "transactions set aside",
            "transaction \(message.properties[PropertyName.uniqueKey] ?? "") of producer group \(half.group) is undecided after \(half.checks) "
                + "questions: its message is in topic \(moved.topic) now; mqadmin resumeTransaction (request 323) "
                + "has its producers asked again")
    }

    private func close(_ halfOffset: Int64, isFirst: Bool) throws(SendRefusal) {
        let operation = try stageOperation(deciding: halfOffset, isFirst: isFirst)
        index.setBusy(halfOffset, true)
        round.afterCommit { [self] failure in
            if failure == nil {
                index.decided(halfOffset, operation: operation.queueOffset)
            } else {
                index.setBusy(halfOffset, false)
            }
        }
    }

    // MARK: Asking again

    /// Takes a message that was set aside back among the undecided, as if it had never been asked about.
    func resume(_ record: RawSpan, _ completion: @escaping (SendRefusal?) -> Void) throws(SendRefusal) {
        let message: StoredMessage
        do throws(MalformedBytes) { message = try StoredMessage(record: record) } catch {
            throw SendRefusal(.systemError, "the message cannot be read: \(error)")
        }
        guard message.topic == SystemTopic.transactionCheckMaxTime else {
            throw SendRefusal(
                .systemError,
                "the message is one of topic \(message.topic): only those of \(SystemTopic.transactionCheckMaxTime) can be resumed")
        }
        let copy = message.copied(checks: 0)
        _ = try copy.realPlace()
        let properties = copy.properties.encoded()
        let half = HalfMessage(
            Appended(queueOffset: 0, physicalOffset: 0, size: 0), bornTimestamp: copy.fields.bornTimestamp,
            storeTimestamp: round.wallMilliseconds, properties: properties.span.bytes)
        guard index.copy(of: half) == nil else { throw SendRefusal(.systemError, "the transaction is among the undecided ones already") }
        guard !index.wasCommitted(half) else { throw SendRefusal(.transactionShouldCommit, "the transaction was committed already") }
        halfStaged(try stage(copy), copy.fields, properties: properties.span.bytes)
        round.afterCommit { completion($0.map { SendRefusal($0) }) }
    }
}
