import RocketMQClient
import RocketMQSQLite

/// The local part of a transaction: the order, and with it, in the same transaction of the database, the transaction's
/// outcome. So whoever asks the database later knows what became of it.
struct OrderPlacement: TransactionListener {
    let shop: Shop
    let stops: Bool

    func executeLocalTransaction(for message: Message, transactionID: String) async throws -> LocalTransactionState {
        if stops { Steps.reached("the broker has the message out of sight") }
        let amount = Int(String(decoding: message.body, as: UTF8.self)) ?? 0
        guard amount > 0 else { return .rollback }
        let placed = try await shop.place(order: message.keys[0], amount: amount, transactionID: transactionID) {
            if stops { Steps.reached("the order is inserted and not committed") }
        }
        if stops { Steps.reached("the order is committed and the broker not told") }
        return placed ? .commit : .rollback
    }

    func checkLocalTransaction(for message: MessageExt) async throws -> LocalTransactionState {
        guard let transactionID = message.transactionID else { return .unknown }
        let isPlaced = try await shop.settle(transactionID)
        print("asked about order \(message.keys.joined()): \(isPlaced ? "placed" : "not placed")")
        return isPlaced ? .commit : .rollback
    }
}

/// Ships each order once, however often it is told of it.
struct Shipping: MessageListenerConcurrently {
    let shop: Shop

    func consumeMessage(_ messages: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus {
        for message in messages { try await shop.ship(message.keys[0]) }
        return .consumeSuccess
    }
}

/// The shop's database.
struct Shop: Sendable {
    private let database: SharedDatabase

    init(_ path: String) async throws {
        database = try SharedDatabase(path)
        try await database.perform {
            try $0.executeScript(
                """
                CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, amount INTEGER NOT NULL);
                CREATE TABLE IF NOT EXISTS transactions (
                    id TEXT PRIMARY KEY, outcome TEXT NOT NULL CHECK (outcome IN ('placed', 'abandoned')));
                CREATE TABLE IF NOT EXISTS shipments (order_id TEXT PRIMARY KEY);
                """)
        }
    }

    /// Inserts the order; false when there is one of that id, or when the transaction was given up in the meantime.
    func place(order: String, amount: Int, transactionID: String, beforeCommit: @Sendable () -> Void) async throws -> Bool {
        do {
            try await database.transaction { database in
                try database.run("INSERT INTO transactions (id, outcome) VALUES (?, 'placed')", transactionID)
                try database.run("INSERT INTO orders (id, amount) VALUES (?, ?)", order, amount)
                beforeCommit()
            }
            return true
        } catch let error as SQLiteError where error.code == .constraint {
            return false
        }
    }

    /// What became of a transaction. One that has not placed its order by now never will: its place is taken.
    func settle(_ transactionID: String) async throws -> Bool {
        try await database.transaction { database in
            try database.run("INSERT INTO transactions (id, outcome) VALUES (?, 'abandoned') ON CONFLICT DO NOTHING", transactionID)
            return try database.firstRow("SELECT outcome FROM transactions WHERE id = ?", transactionID)?.get(0) == "placed"
        }
    }

    func ship(_ order: String) async throws {
        try await database.perform { database in
            try database.run("INSERT INTO shipments (order_id) VALUES (?) ON CONFLICT DO NOTHING", order)
        }
    }

    /// The orders that were placed, and those that were shipped.
    func agreement() async throws -> (placed: [String], shipped: [String]) {
        try await database.perform { database in
            let placed = try database.rows("SELECT id FROM orders ORDER BY id").map { row in try row.get(0, as: String.self) }
            let shipped = try database.rows("SELECT order_id FROM shipments ORDER BY order_id").map { row in try row.get(0, as: String.self)
            }
            return (placed, shipped)
        }
    }
}
