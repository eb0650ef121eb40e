import CSQLite

/// What SQLite refused or failed to do: its code, its own words, and the SQL it was about.
public struct SQLiteError: Error, Sendable, Equatable, CustomStringConvertible {
    /// SQLite's result codes, open for those that have no name here (https://www.sqlite.org/rescode.html).
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// The SQL is wrong: its grammar, a table or a column that does not exist.
        public static let error = Code(rawValue: SQLITE_ERROR)
        /// Another connection held its lock for longer than `busyTimeout`.
        public static let busy = Code(rawValue: SQLITE_BUSY)
        /// A table is in use on this very connection.
        public static let locked = Code(rawValue: SQLITE_LOCKED)
        public static let readOnly = Code(rawValue: SQLITE_READONLY)
        public static let inputOutput = Code(rawValue: SQLITE_IOERR)
        public static let corrupt = Code(rawValue: SQLITE_CORRUPT)
        public static let full = Code(rawValue: SQLITE_FULL)
        public static let cannotOpen = Code(rawValue: SQLITE_CANTOPEN)
        /// A UNIQUE, CHECK, NOT NULL or FOREIGN KEY condition; `extendedCode` says which.
        public static let constraint = Code(rawValue: SQLITE_CONSTRAINT)
        /// A column holds another type than was asked for.
        public static let mismatch = Code(rawValue: SQLITE_MISMATCH)
        public static let misuse = Code(rawValue: SQLITE_MISUSE)
        /// A parameter or a column that the statement does not have.
        public static let range = Code(rawValue: SQLITE_RANGE)
        public static let notADatabase = Code(rawValue: SQLITE_NOTADB)

        // Extended codes.
        public static let constraintUnique = Code(rawValue: SQLITE_CONSTRAINT | (8 << 8))
        public static let constraintPrimaryKey = Code(rawValue: SQLITE_CONSTRAINT | (6 << 8))
    }

    /// The kind of failure: the low byte of `extendedCode`.
    public var code: Code
    /// SQLite's extended result code.
    public var extendedCode: Code
    /// SQLite's own words.
    public var message: String
    /// The SQL that failed; `nil` when it was not about any.
    public var sql: String?
    /// The database's path.
    public var path: String

    public init(extendedCode: Code, message: String, sql: String? = nil, path: String) {
        code = Code(rawValue: extendedCode.rawValue & 0xFF)
        self.extendedCode = extendedCode
        self.message = message
        self.sql = sql
        self.path = path
    }

    /// Whether the same transaction may succeed when it is begun again a little later.
    public var isRetriable: Bool { code == .busy || code == .locked }

    public var description: String {
        var text = "SQLite database \(path): \(message)"
        if let sql { text += " in \"\(sql.count > 300 ? sql.prefix(300) + "…" : sql)\"" }
        return advice.isEmpty ? text : "\(text): \(advice)"
    }

    private var advice: String {
        switch code {
        case .busy: "another connection held its lock for too long; keep transactions short, or raise busyTimeout"
        case .cannotOpen: "check that its directory exists and may be written to"
        case .readOnly: "check the permissions of the file and its directory"
        case .full: "make room on the disk; the transaction was undone"
        case .notADatabase: "the file is something else; choose another path"
        case .corrupt: "restore the file from a copy; \"PRAGMA integrity_check\" says what is damaged"
        default: ""
        }
    }
}
