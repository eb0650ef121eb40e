import Dispatch

/// One connection to PostgreSQL by its own C library. The library waits, so the actor works on a queue of its own and holds up no
/// other task. A connection that was lost is made anew for the next statement.
actor PostgresConnection {
    private let executor = QueueExecutor()
    private let connection: LibPQ.Connection
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// - Parameter info: as of `psql`: `host=localhost dbname=shop user=me`, or `postgresql://…`.
    init(_ info: String) throws { connection = try LibPQ.Connection(info, LibPQ.shared.get()) }

    /// Runs one statement with its parameters; the rows as text, `nil` for NULL.
    @discardableResult
    func query(_ statement: String, _ parameters: [String?] = []) throws -> [[String?]] { try connection.run(statement, parameters) }

    /// Runs `body` in a transaction: committed when it returns, rolled back when it throws. When this throws an error of COMMIT
    /// nobody here knows the outcome.
    func transaction<Result: Sendable>(_ body: @Sendable (isolated PostgresConnection) throws -> Result) throws -> Result {
        try query("BEGIN")
        let result: Result
        do { result = try body(self) } catch {
            // When this fails too the connection is gone, and the transaction with it.
            _ = try? query("ROLLBACK")
            throw error
        }
        try query("COMMIT")
        return result
    }
}

/// What PostgreSQL, or the way to it, has against a statement.
struct PostgresError: Error, CustomStringConvertible {
    let description: String
}

private final class QueueExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "postgres")

    func enqueue(_ job: consuming ExecutorJob) {
        let (job, executor) = (UnownedJob(job), asUnownedSerialExecutor())
        queue.async { job.runSynchronously(on: executor) }
    }
}
