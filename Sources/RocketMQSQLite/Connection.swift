import CSQLite

/// SQLite's own connection: closed when neither the database nor a statement refers to it any more.
final class Connection {
    let handle: OpaquePointer
    let path: String

    init(_ path: String, readOnly: Bool) throws(SQLiteError) {
        var handle: OpaquePointer?
        // No locks of SQLite's own within the connection: a `Database` is used by one at a time.
        let flags = SQLITE_OPEN_NOMUTEX | (readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
        let code = sqlite3_open_v2(path, &handle, flags, nil)
        guard code == SQLITE_OK, let handle else {
            let message = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(handle)
            throw SQLiteError(extendedCode: .init(rawValue: code), message: message, path: path)
        }
        sqlite3_extended_result_codes(handle, 1)
        self.handle = handle
        self.path = path
    }

    deinit { sqlite3_close_v2(handle) }

    /// The error of the call that has just failed; `message` where this library refused and not SQLite.
    func error(_ code: Int32, _ message: String? = nil, sql: String?) -> SQLiteError {
        SQLiteError(extendedCode: .init(rawValue: code), message: message ?? String(cString: sqlite3_errmsg(handle)), sql: sql, path: path)
    }
}
