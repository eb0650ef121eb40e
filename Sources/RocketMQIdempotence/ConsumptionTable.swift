import RocketMQSQLite

/// The marks in an SQLite database: one row for each message that was consumed, or is being consumed. For transactions of
/// your own:
///
/// ```swift
/// try database.transaction { database in
///     guard try ConsumptionTable.mark(key, in: database, nowMilliseconds: now) else { return }    // consumed before
///     try database.run("INSERT INTO bills …")
/// }
/// ```
public enum ConsumptionTable {
    static let name = "rocketmq_consumption"

    /// Creates the table when it is not there.
    public static func create(in database: Database) throws {
        try database.transaction { database in
            try database.executeScript(
                """
                CREATE TABLE IF NOT EXISTS \(name) (
                    consumer_group TEXT NOT NULL, message_key TEXT NOT NULL, claim INTEGER, at_ms INTEGER NOT NULL,
                    PRIMARY KEY (consumer_group, message_key)
                ) WITHOUT ROWID;
                CREATE INDEX IF NOT EXISTS \(name)_by_time ON \(name) (consumer_group, at_ms);
                """)
        }
    }

    /// Marks the message as consumed. `false` when it was before, or when another consumer has it claimed at
    /// `leaseStartMilliseconds` or later. To be called in the transaction that does what the message asks for: both are then
    /// there, or neither.
    public static func mark(
        _ key: ConsumptionKey, in database: Database, nowMilliseconds: Int64, leaseStartMilliseconds: Int64 = .max
    ) throws -> Bool {
        try database.run(
            """
            INSERT INTO \(name) (consumer_group, message_key, claim, at_ms) VALUES (?1, ?2, NULL, ?3)
            ON CONFLICT DO UPDATE SET claim = NULL, at_ms = ?3 WHERE claim IS NOT NULL AND at_ms < ?4
            """, key.group, key.key, nowMilliseconds, leaseStartMilliseconds) == 1
    }

    /// The row of a message: its claim (`nil`: consumed) and its time.
    static func find(_ key: ConsumptionKey, in database: Database) throws -> (claim: Int64?, atMilliseconds: Int64)? {
        let row = try database.firstRow(
            "SELECT claim, at_ms FROM \(name) WHERE consumer_group = ? AND message_key = ?", key.group, key.key)
        return try row.map { (try $0.get(0), try $0.get(1)) }
    }
}
