import CSQLite

/// A prepared statement. Every call gives values to its parameters (`?`, in their order), runs it to its end, and leaves it
/// ready for the next. Belongs to its `Database` and, like it, to one task or actor at a time: it is not `Sendable`.
public final class Statement {
    /// As it was prepared.
    public let sql: String
    private let connection: Connection
    private let handle: OpaquePointer
    /// Names of the result's columns, in order; empty for statements without a result.
    public let columns: [String]

    init(_ sql: String, on connection: Connection) throws(SQLiteError) {
        var handle: OpaquePointer?
        var hasMore = false
        let code = sql.withCString { text in
            var tail: UnsafePointer<CChar>?
            let code = sqlite3_prepare_v2(connection.handle, text, -1, &handle, &tail)
            if let tail { hasMore = !Statement.isBlank(tail) }
            return code
        }
        guard code == SQLITE_OK else { throw connection.error(code, sql: sql) }
        guard let handle else { throw connection.error(SQLITE_MISUSE, "the SQL holds no statement", sql: sql) }
        guard !hasMore else {
            sqlite3_finalize(handle)
            throw connection.error(SQLITE_MISUSE, "the SQL holds more than one statement; use executeScript", sql: sql)
        }
        self.sql = sql
        self.connection = connection
        self.handle = handle
        columns = (0..<sqlite3_column_count(handle)).map { index in sqlite3_column_name(handle, index).map { String(cString: $0) } ?? "" }
    }

    deinit { sqlite3_finalize(handle) }

    private static func isBlank(_ text: UnsafePointer<CChar>) -> Bool {
        var text = text
        while text.pointee != 0 {
            guard [0x20, 0x09, 0x0A, 0x0D, 0x3B].contains(text.pointee) else { return false }
            text += 1
        }
        return true
    }

    /// Runs it for its effect. Returns how many rows it inserted, changed or deleted.
    @discardableResult
    public func run(_ values: any SQLiteConvertible...) throws(SQLiteError) -> Int { try run(values) }

    @discardableResult
    public func run(_ values: [any SQLiteConvertible]) throws(SQLiteError) -> Int {
        let before = sqlite3_total_changes64(connection.handle)
        try step(values) { _ in false }
        return Int(sqlite3_total_changes64(connection.handle) - before)
    }

    /// All rows of its answer.
    public func rows(_ values: any SQLiteConvertible...) throws(SQLiteError) -> [Row] { try rows(values) }

    public func rows(_ values: [any SQLiteConvertible]) throws(SQLiteError) -> [Row] {
        var rows: [Row] = []
        try step(values) { row in
            rows.append(row)
            return true
        }
        return rows
    }

    /// The first row of its answer; the others are not computed.
    public func firstRow(_ values: any SQLiteConvertible...) throws(SQLiteError) -> Row? { try firstRow(values) }

    public func firstRow(_ values: [any SQLiteConvertible]) throws(SQLiteError) -> Row? {
        var first: Row?
        try step(values) { row in
            first = row
            return false
        }
        return first
    }

    /// Binds, and steps until the end or until `body` has seen enough.
    private func step(_ values: [any SQLiteConvertible], _ body: (Row) -> Bool) throws(SQLiteError) {
        try bind(values)
        defer {
            // What it returns is the failure of the last step, which was thrown already.
            sqlite3_reset(handle)
            sqlite3_clear_bindings(handle)
        }
        var wantsMore = true
        while true {
            switch sqlite3_step(handle) {
            case SQLITE_ROW:
                if wantsMore, !columns.isEmpty { wantsMore = body(row()) }
                // A statement that changes something (RETURNING) is run to its end in any case.
                if !wantsMore, sqlite3_stmt_readonly(handle) != 0 { return }
            case SQLITE_DONE: return
            case let code: throw connection.error(code, sql: sql)
            }
        }
    }

    private func row() -> Row {
        let values = (0..<Int32(clamping: columns.count)).map { index -> SQLiteValue in
            switch sqlite3_column_type(handle, index) {
            case SQLITE_INTEGER: return .integer(sqlite3_column_int64(handle, index))
            case SQLITE_FLOAT: return .real(sqlite3_column_double(handle, index))
            case SQLITE_TEXT:
                let text = sqlite3_column_text(handle, index)
                return .text(
                    String(decoding: UnsafeBufferPointer(start: text, count: Int(sqlite3_column_bytes(handle, index))), as: UTF8.self))
            case SQLITE_BLOB:
                let bytes = sqlite3_column_blob(handle, index)
                return .blob(Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(handle, index)))))
            default: return .null
            }
        }
        return Row(columns: columns, values: values, sql: sql, path: connection.path)
    }

    private func bind(_ values: [any SQLiteConvertible]) throws(SQLiteError) {
        let wanted = Int(sqlite3_bind_parameter_count(handle))
        guard values.count == wanted else {
            throw connection.error(SQLITE_RANGE, "\(values.count) values for \(wanted) parameters", sql: sql)
        }
        for (index, value) in zip(Int32(1)..., values) {
            let code = bind(value.sqliteValue, at: index)
            guard code == SQLITE_OK else { throw connection.error(code, sql: sql) }
        }
    }

    private func bind(_ value: SQLiteValue, at index: Int32) -> Int32 {
        // SQLITE_TRANSIENT: SQLite copies what it is given before the call returns.
        let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        switch value {
        case .null: return sqlite3_bind_null(handle, index)
        case .integer(let number): return sqlite3_bind_int64(handle, index, number)
        case .real(let number): return sqlite3_bind_double(handle, index, number)
        case .text(var text):
            return text.withUTF8 { bytes in
                bytes.withMemoryRebound(to: CChar.self) { text in
                    // An empty string may have no address, which would make it NULL.
                    guard let start = text.baseAddress else { return sqlite3_bind_text(handle, index, "", 0, copied) }
                    return sqlite3_bind_text64(handle, index, start, UInt64(text.count), copied, UInt8(SQLITE_UTF8))
                }
            }
        case .blob(let bytes):
            guard !bytes.isEmpty else { return sqlite3_bind_zeroblob(handle, index, 0) }
            return bytes.withUnsafeBytes { sqlite3_bind_blob64(handle, index, $0.baseAddress, UInt64($0.count), copied) }
        }
    }
}
