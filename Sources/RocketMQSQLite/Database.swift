import CSQLite

/// A connection to an SQLite database. Calls block while SQLite works, and the type is not `Sendable`: one task or one
/// actor has it at a time. `SharedDatabase` is one that many tasks can use.
///
/// ```swift
/// let database = try Database("/var/lib/shop/orders.db")
/// try database.executeScript("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, amount INTEGER NOT NULL)")
/// try database.transaction { database in
///     try database.run("INSERT INTO orders VALUES (?, ?)", "42", 1990)
/// }
/// let amount = try database.firstRow("SELECT amount FROM orders WHERE id = ?", "42")?.get("amount", as: Int.self)
/// ```
public final class Database {
    /// How a database is opened.
    public struct Configuration: Sendable {
        /// How long a call waits for other connections' locks before it fails with `.busy`.
        public var busyTimeout: Duration = .seconds(5)
        /// Write-ahead log: readers and one writer do not wait for each other. Off for file systems of the network.
        public var usesWriteAheadLog = true
        /// A committed transaction is on the disk (`synchronous=FULL`). Off, a power cut may take the last ones, whole.
        public var isDurable = true
        /// Statements that write are refused; the file must exist.
        public var isReadOnly = false
        /// How many statements of `run`, `rows` and `firstRow` are kept prepared.
        public var statementCacheSize = 64

        public init() {}
    }

    /// Of the file, or `:memory:`.
    public let path: String
    private let connection: Connection
    private let cacheSize: Int
    private var cache: [String: Statement] = [:]
    private var depth = 0

    /// Opens the file, which is created when it is missing; its directory must exist. `":memory:"` is a database that goes
    /// with the connection.
    public init(_ path: String, _ configuration: Configuration = Configuration()) throws(SQLiteError) {
        self.path = path
        cacheSize = max(0, configuration.statementCacheSize)
        connection = try Connection(path, readOnly: configuration.isReadOnly)
        let (seconds, attoseconds) = configuration.busyTimeout.components
        let milliseconds = Double(seconds) * 1000 + Double(attoseconds) / 1e15
        sqlite3_busy_timeout(connection.handle, Int32(max(0, min(milliseconds, Double(Int32.max / 2)))))
        if configuration.usesWriteAheadLog, !configuration.isReadOnly { try useWriteAheadLog() }
        try executeScript("PRAGMA synchronous=\(configuration.isDurable ? "FULL" : "NORMAL"); PRAGMA foreign_keys=ON")
    }

    private func useWriteAheadLog() throws(SQLiteError) {
        let sql = "PRAGMA journal_mode=WAL"
        for attempt in 1... {
            do throws(SQLiteError) {
                let mode: String? = try Statement(sql, on: connection).firstRow()?.get(0)
                guard mode == "wal" || mode == "memory" else {
                    throw connection.error(
                        SQLITE_ERROR, "its file system has no write-ahead log, only journal mode \(mode ?? "")", sql: sql)
                }
                return
            } catch {
                // The change of mode does not wait for others that make it at the same time: wait for them with a lock.
                guard error.code == .busy, attempt < 10 else { throw error }
                try executeScript("BEGIN IMMEDIATE; COMMIT")
            }
        }
    }

    // MARK: Statements

    /// Prepares one statement for many runs. `run`, `rows` and `firstRow` keep theirs prepared by themselves.
    public func prepare(_ sql: String) throws(SQLiteError) -> Statement { try Statement(sql, on: connection) }

    /// Runs statements that are separated by semicolons and have no parameters: schemas, pragmas.
    public func executeScript(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(connection.handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw connection.error(code, sql: sql) }
    }

    /// Runs a statement for its effect. Returns how many rows it inserted, changed or deleted.
    @discardableResult
    public func run(_ sql: String, _ values: any SQLiteConvertible...) throws(SQLiteError) -> Int {
        try cached(sql).run(values)
    }

    /// All rows of a statement's answer.
    public func rows(_ sql: String, _ values: any SQLiteConvertible...) throws(SQLiteError) -> [Row] {
        try cached(sql).rows(values)
    }

    /// The first row of a statement's answer; `nil` when it has none.
    public func firstRow(_ sql: String, _ values: any SQLiteConvertible...) throws(SQLiteError) -> Row? {
        try cached(sql).firstRow(values)
    }

    /// The row id of the last INSERT on this connection.
    public var lastInsertedRowID: Int64 { sqlite3_last_insert_rowid(connection.handle) }

    private func cached(_ sql: String) throws(SQLiteError) -> Statement {
        if let statement = cache[sql] { return statement }
        let statement = try Statement(sql, on: connection)
        // Programs have few statements; one that makes up its SQL each time must not fill the memory.
        if cache.count >= cacheSize { cache.removeAll() }
        if cacheSize > 0 { cache[sql] = statement }
        return statement
    }

    // MARK: Transactions

    /// How a transaction begins.
    public enum TransactionKind: String, Sendable {
        /// Takes the lock for writing at once, so that it cannot fail with `.busy` in its middle.
        case immediate = "IMMEDIATE"
        /// Takes locks when they are needed: for transactions that only read.
        case deferred = "DEFERRED"
    }

    /// From `BEGIN` until `COMMIT` or `ROLLBACK`.
    public var isInTransaction: Bool { sqlite3_get_autocommit(connection.handle) == 0 }

    /// Runs `body` in a transaction: committed when it returns, undone when it throws or when the commit fails. Within another
    /// transaction it is a part of that one which can be undone alone.
    @discardableResult
    public func transaction<Result>(_ kind: TransactionKind = .immediate, _ body: (Database) throws -> Result) throws -> Result {
        let isOuter = !isInTransaction
        depth += 1
        defer { depth -= 1 }
        try executeScript(isOuter ? "BEGIN \(kind.rawValue)" : "SAVEPOINT level\(depth)")
        do {
            let result = try body(self)
            try executeScript(isOuter ? "COMMIT" : "RELEASE level\(depth)")
            return result
        } catch {
            // SQLite undoes some failures by itself (a full disk); there is nothing left to undo then.
            if isInTransaction { try executeScript(isOuter ? "ROLLBACK" : "ROLLBACK TO level\(depth); RELEASE level\(depth)") }
            throw error
        }
    }
}
