import RocketMQSystem

/// A database that any task can use: its connection belongs to this actor, which works on a thread of its own, so that a
/// slow disk holds up no other task.
///
/// ```swift
/// let orders = try SharedDatabase("orders.db")
/// try await orders.transaction { try $0.run("INSERT INTO orders VALUES (?, ?)", "42", 1990) }
/// let count = try await orders.perform { try $0.firstRow("SELECT count(*) FROM orders")!.get(0, as: Int.self) }
/// ```
///
/// One transaction runs at a time. Several `SharedDatabase`s of one file, in one process or many, are fine: each waits for the
/// others' transactions, `busyTimeout` at most.
public actor SharedDatabase {
    /// Of the file, or `:memory:`.
    public nonisolated let path: String
    private let executor: ThreadExecutor
    private let database: Database

    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Opens the file, blocking; creates it when it is missing.
    public init(_ path: String, _ configuration: Database.Configuration = Database.Configuration()) throws(SQLiteError) {
        self.path = path
        executor = ThreadExecutor(name: "sqlite")
        database = try Database(path, configuration)
    }

    /// Runs `body` with the connection, alone. What it runs is committed statement by statement.
    @discardableResult
    public func perform<Result: Sendable>(_ body: @Sendable (Database) throws -> Result) throws -> Result {
        try body(database)
    }

    /// Runs `body` in a transaction: committed when it returns, undone when it throws.
    @discardableResult
    public func transaction<Result: Sendable>(
        _ kind: Database.TransactionKind = .immediate, _ body: @Sendable (Database) throws -> Result
    ) throws -> Result {
        try database.transaction(kind, body)
    }
}

/// Runs an actor's jobs on one thread.
private final class ThreadExecutor: SerialExecutor {
    private let thread: WorkerThread

    init(name: String) { thread = WorkerThread(name: name) }

    func enqueue(_ job: UnownedJob) {
        let executor = asUnownedSerialExecutor()
        thread.run { job.runSynchronously(on: executor) }
    }
}
