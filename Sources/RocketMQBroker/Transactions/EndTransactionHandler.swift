import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Takes the outcomes of transactions (37), and questions about messages that were set aside up again (323).
final class EndTransactionHandler: AdministrationHandler {
    let codes: [RequestCode] = [.endTransaction, .resumeCheckHalfMessage]
    private let transactions: TransactionService
    private let store: MessageStore
    private let log: Logger

    init(transactions: TransactionService, store: MessageStore, log: Logger) {
        self.transactions = transactions
        self.store = store
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        if request.requestCode == .resumeCheckHalfMessage { return try resume(request, connection) }
        var outcome = TransactionOutcome(
            producerGroup: try request.text("producerGroup"), queueOffset: try request.number("tranStateTableOffset"),
            commitLogOffset: try request.number("commitLogOffset"), isCommit: false)
        let state = try request.number("commitOrRollback", as: Int32.self)
        switch MessageSystemFlag.Transaction(rawValue: state) {
        case .committed: outcome.isCommit = true
        case .rolledBack: outcome.isCommit = false
        case .some(.none):
            // Undecided still: it will be asked about. The reference does not answer either.
            log.debug("producer group \(outcome.producerGroup) does not know yet how transaction \(request.fields["msgId"] ?? "") ended")
            return nil
        case .prepared, nil: throw InvalidRequest("\(state) is no outcome of a transaction: 8 commits, 12 rolls back, 0 leaves it open")
        }
        let later = AnswerLater(request, from: connection)
        transactions.end(outcome) { [log] refusal in
            guard let refusal else { return later.send(.success()) }
            log.log(
                .warning, limitedBy: "refused outcome",
                "an outcome of producer group \(outcome.producerGroup) (\(connection.peer)) is refused: \(refusal.remark)")
            later.send(.response(refusal.code, refusal.remark))
        }
        return nil
    }

    private func resume(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let id = try request.text("msgId")
        let offset: Int64
        do throws(MalformedBytes) { offset = try OffsetMessageID(id).commitLogOffset } catch { throw InvalidRequest(error.what) }
        let later = AnswerLater(request, from: connection)
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.message(at: offset) }) { [self] result in
            do throws(SendRefusal) { try resume(id, result, later) } catch { later.send(.response(error.code, error.remark)) }
        }
        return nil
    }

    private func resume(_ id: String, _ found: Result<[UInt8]?, StoreError>, _ later: AnswerLater) throws(SendRefusal) {
        switch found {
        case .failure(let error): throw SendRefusal(.systemError, "message \(id) cannot be read: \(error)")
        case .success(nil): throw SendRefusal(.systemError, "there is no message \(id) on this broker any more")
        case .success(let record?):
            try transactions.resume(record.span.bytes) { refusal in
                later.send(refusal.map { .response($0.code, $0.remark) } ?? .success())
            }
        }
    }
}
