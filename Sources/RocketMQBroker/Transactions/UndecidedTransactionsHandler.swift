import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Tells tools which transactions are undecided, the oldest first (9102, which the reference does not have).
final class UndecidedTransactionsHandler: AdministrationHandler {
    let codes: [RequestCode] = [.listUndecidedTransactions]
    /// Transactions in one answer.
    static let mostAtOnce = 256
    private let transactions: TransactionService
    private let brokerName: String

    init(transactions: TransactionService, brokerName: String) {
        self.transactions = transactions
        self.brokerName = brokerName
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let count = try request.optionalNumber("count", as: Int.self) ?? Self.mostAtOnce
        guard 1...Self.mostAtOnce ~= count else { throw InvalidRequest("count is \(count), it must be 1 to \(Self.mostAtOnce)") }
        var last: (since: Int64, queueOffset: Int64)?
        if let since = try request.optionalNumber("afterTime", as: Int64.self) {
            last = (since, try request.number("afterOffset"))
        }
        let group = request.optionalText("producerGroup")
        let (found, total) = transactions.index.oldest(ofGroup: group, count: count, after: last)
        let report = UndecidedTransactionReport(
            brokerName: brokerName, time: transactions.loop.clock.wallMilliseconds, total: total,
            mostChecks: transactions.configuration.rules.mostChecks, transactions: [])
        let later = AnswerLater(request, from: connection)
        describe(found[...], report) { later.send(.success(body: $0.encoded())) }
        return nil
    }

    /// Adds the messages to the report, one after the other: what they say of themselves may have to come from the disk.
    private func describe(
        _ halves: ArraySlice<HalfMessage>, _ report: UndecidedTransactionReport,
        _ completion: @escaping (UndecidedTransactionReport) -> Void
    ) {
        var (report, halves) = (report, halves)
        while let half = halves.popFirst() {
            var isInline = true
            var description: UndecidedTransaction?
            transactions.readHalf(at: half.queueOffset) { [self, report, halves] found in
                let described = describe(half, found)
                guard !isInline else { return description = described }
                var report = report
                report.transactions.append(described)
                describe(halves, report, completion)
            }
            isInline = false
            guard let description else { return }
            report.transactions.append(description)
        }
        completion(report)
    }

    private func describe(_ half: HalfMessage, _ found: borrowing TransactionService.HalfRead) -> UndecidedTransaction {
        let producers = transactions.clients.producers(ofGroup: half.group) ?? []
        var description = UndecidedTransaction(
            transactionID: "", producerGroup: half.group, topic: "", keys: "",
            offsetMessageID: OffsetMessageID(storeHost: transactions.storeHost, commitLogOffset: half.physicalOffset).description,
            queueOffset: half.queueOffset, bornTimestamp: half.bornTimestamp, since: half.heldSince, checks: half.checks,
            producers: producers.count { !$0.connection.stream.isClosed })
        // A record that cannot be read is listed all the same.
        switch found {
        case .record(let bytes):
            guard let message = try? StoredMessage(record: bytes) else { return description }
            description.transactionID = message.properties[PropertyName.uniqueKey] ?? ""
            description.topic = message.properties[PropertyName.realTopic] ?? ""
            description.keys = message.properties[PropertyName.keys] ?? ""
        case .missing, .failed: break
        }
        return description
    }
}
