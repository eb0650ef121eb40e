import RocketMQBase
import RocketMQProtocol

// Transactions: 323, 9102.
extension AdminClient {
    /// 9102, which only brokers of this project answer: undecided transactions, the oldest first.
    /// - Parameters:
    ///   - group: those of this producer group alone.
    ///   - count: 1 to 256.
    ///   - last: only those behind this one of an earlier answer.
    public func undecidedTransactions(
        ofGroup group: String?, most count: Int, after last: UndecidedTransaction? = nil, atBroker address: String
    ) async throws(AdminError) -> UndecidedTransactionReport {
        let action = "list the undecided transactions"
        let server = AdminServer.broker(address)
        var fields = ["count": "\(count)"]
        fields["producerGroup"] = group
        if let last { (fields["afterTime"], fields["afterOffset"]) = ("\(last.since)", "\(last.queueOffset)") }
        let response = try await answer(to: .request(.listUndecidedTransactions, fields), from: server, doing: action, timeout: timeout * 3)
        guard response.responseCode != .requestCodeNotSupported else {
            throw AdminError(
                .refused, "cannot \(action): \(server) is of another make or an older release",
                remedy: "what was asked about too often is in topic TRANS_CHECK_MAX_TIME_TOPIC: see --setAside",
                responseCode: response.responseCode)
        }
        guard response.responseCode == .success else { throw AdminError(response, doing: action, at: server) }
        return try Self.decode(response.body, server, doing: action)
    }

    /// 323: takes a half message that was set aside back among the undecided.
    /// - Parameter id: of its message in `TRANS_CHECK_MAX_TIME_TOPIC`.
    public func resumeTransaction(_ id: OffsetMessageID, atBroker address: String) async throws(AdminError) {
        _ = try await call(
            .request(.resumeCheckHalfMessage, ["msgId": "\(id)"]), .broker(address),
            doing: "have the transaction of message \(id) taken up again"
        )
    }
}
