import RocketMQClient

/// The local part of a transaction, and the answer to a broker that asks for its outcome. Two connections: a check that waits for
/// a local part under way elsewhere holds up no other local part here.
struct OrderLedger: TransactionListener {
    let orders: PostgresConnection
    let checks: PostgresConnection
    struct GivenUp: Error {}

    func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState {
        let amount = String(decoding: message.body, as: UTF8.self)
        Steps.reached("the broker has the message out of sight")
        do {
            try await orders.transaction { database in
                let claimed = try database.query(
                    "INSERT INTO message_transactions (id, outcome) VALUES ($1, 'done') ON CONFLICT (id) DO NOTHING RETURNING id",
                    [transactionID])
                guard claimed.count == 1 else { throw GivenUp() }
                try database.query("INSERT INTO orders (id, amount) VALUES ($1, $2)", [message.keys[0], amount])
                Steps.reached("the order is inserted and not committed")
            }
        } catch is GivenUp {
            return .rollback
        }
        // Everything else is thrown on: the outcome is unknown then, and the broker asks. Also when the connection was lost in COMMIT.
        Steps.reached("the order is committed and the broker not told")
        return .commit
    }

    func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState {
        guard let id = message.transactionID else { return .unknown }
        try await checks.query(
            "INSERT INTO message_transactions (id, outcome) VALUES ($1, 'abandoned') ON CONFLICT (id) DO NOTHING", [id])
        let outcome = try await checks.query("SELECT outcome FROM message_transactions WHERE id = $1", [id])
        guard outcome.count == 1 else { return .unknown }
        return outcome[0][0] == "done" ? .commit : .rollback
    }
}
