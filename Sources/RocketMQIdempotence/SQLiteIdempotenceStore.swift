import RocketMQSQLite

/// Marks in an SQLite database: for consumers of one machine, in one process or many. Given the database of the user's own
/// tables, processing and marking are one transaction (`consumeOnce`).
public struct SQLiteIdempotenceStore: IdempotenceStore {
    /// Where the marks are: transactions on it can hold the user's tables too.
    public let database: SharedDatabase

    /// Uses a database, and creates its table there when it is missing.
    public init(_ database: SharedDatabase) async throws {
        self.database = database
        try await database.perform { try ConsumptionTable.create(in: $0) }
    }

    /// With a database file of its own.
    public init(path: String) async throws { try await self.init(SharedDatabase(path)) }

    /// Runs `body` in one transaction with the mark, unless the message was consumed before. What `body` does is either there
    /// with the mark, or undone and not marked.
    public func consumeOnce<Result: Sendable>(
        _ key: ConsumptionKey, nowMilliseconds: Int64, leaseStartMilliseconds: Int64 = .max,
        _ body: @Sendable (Database) throws -> Result
    ) async throws -> OnceOutcome<Result> {
        try await database.transaction { database in
            let isNew = try ConsumptionTable.mark(
                key, in: database, nowMilliseconds: nowMilliseconds, leaseStartMilliseconds: leaseStartMilliseconds)
            guard isNew else {
                let found = try ConsumptionTable.find(key, in: database)
                return found?.claim == nil ? .duplicate : .takenByAnother(sinceMilliseconds: found?.atMilliseconds ?? 0)
            }
            return .consumed(try body(database))
        }
    }

    /// What became of `consumeOnce`.
    public enum OnceOutcome<Result: Sendable>: Sendable {
        case consumed(Result)
        case duplicate
        case takenByAnother(sinceMilliseconds: Int64)
    }

    // MARK: IdempotenceStore

    public func claim(_ key: ConsumptionKey, nowMilliseconds: Int64, leaseStartMilliseconds: Int64) async throws -> ConsumptionClaim {
        try await database.transaction { database in
            let granted = try database.firstRow(
                """
                INSERT INTO \(ConsumptionTable.name) (consumer_group, message_key, claim, at_ms) VALUES (?1, ?2, random(), ?3)
                ON CONFLICT DO UPDATE SET claim = random(), at_ms = ?3 WHERE claim IS NOT NULL AND at_ms < ?4
                RETURNING claim
                """, key.group, key.key, nowMilliseconds, leaseStartMilliseconds)
            if let granted { return .granted(token: try granted.get(0)) }
            guard let found = try ConsumptionTable.find(key, in: database), found.claim != nil else { return .consumed }
            return .takenByAnother(sinceMilliseconds: found.atMilliseconds)
        }
    }

    public func complete(_ key: ConsumptionKey, token: Int64, nowMilliseconds: Int64) async throws {
        try await database.transaction { database in
            try database.run(
                """
                INSERT INTO \(ConsumptionTable.name) (consumer_group, message_key, claim, at_ms) VALUES (?1, ?2, NULL, ?3)
                ON CONFLICT DO UPDATE SET claim = NULL, at_ms = ?3
                """, key.group, key.key, nowMilliseconds)
        }
    }

    public func release(_ key: ConsumptionKey, token: Int64) async throws {
        try await database.perform { database in
            try database.run(
                "DELETE FROM \(ConsumptionTable.name) WHERE consumer_group = ? AND message_key = ? AND claim = ?", key.group, key.key, token
            )
        }
    }

    public func removeMarks(ofGroup group: String, beforeMilliseconds: Int64, limit: Int) async throws -> Int {
        try await database.transaction { database in
            try database.run(
                """
                DELETE FROM \(ConsumptionTable.name) WHERE consumer_group = ?1 AND message_key IN
                    (SELECT message_key FROM \(ConsumptionTable.name) WHERE consumer_group = ?1 AND at_ms < ?2 ORDER BY at_ms LIMIT ?3)
                """, group, beforeMilliseconds, limit)
        }
    }
}
