import RocketMQProtocol

/// How the local part of a transaction ended.
public enum LocalTransactionState: Sendable, Hashable {
    /// The message is delivered.
    case commit
    /// The message is dropped.
    case rollback
    /// Not known now: the broker asks again later, at most `transactionCheckMax` times.
    case unknown

    /// `commitOrRollback` of END_TRANSACTION (37).
    var code: MessageSystemFlag.Transaction {
        switch self {
        case .commit: .committed
        case .rollback: .rolledBack
        case .unknown: .none
        }
    }
}

/// The local part of transactions: what has to happen exactly if a message is delivered.
public protocol TransactionListener: Sendable {
    /// Does the local part, when the broker has the message safely and out of sight. Best in one database transaction that
    /// also notes `transactionID`, so that `checkLocalTransaction` can find out whether it happened. A throw counts as
    /// `.unknown`.
    func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState

    /// Finds out how the local part ended, since the broker never heard: this process or another of the group may have done it,
    /// or still be at it. Answer `.rollback` only when it is certain that it will not happen any more. A throw counts as
    /// `.unknown`. `message.transactionID` is the id that `executeLocalTransaction` got.
    func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState
}

/// What became of a message sent in a transaction.
public struct TransactionSendResult: Sendable {
    /// Where the broker keeps the message out of sight.
    public var sendResult: SendResult
    /// What `executeLocalTransaction` answered, `.unknown` when it threw, `.rollback` when the half message was not stored as promised.
    public var localTransactionState: LocalTransactionState
    /// What `executeLocalTransaction` threw.
    public var localTransactionError: (any Error)?

    public var transactionID: String { sendResult.messageID }
}
