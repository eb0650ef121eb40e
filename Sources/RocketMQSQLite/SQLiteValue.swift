/// A value as SQLite stores it.
public enum SQLiteValue: Sendable, Hashable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])
}

/// A type whose values go into parameters and come out of columns.
public protocol SQLiteConvertible {
    var sqliteValue: SQLiteValue { get }
    /// `nil` when `value` is of another type or out of range.
    init?(sqliteValue value: SQLiteValue)
}

extension SQLiteValue: SQLiteConvertible {
    public var sqliteValue: SQLiteValue { self }
    public init?(sqliteValue value: SQLiteValue) { self = value }
}

extension SQLiteConvertible where Self: FixedWidthInteger & SignedInteger {
    public var sqliteValue: SQLiteValue { .integer(Int64(self)) }

    public init?(sqliteValue value: SQLiteValue) {
        guard case .integer(let number) = value, let exact = Self(exactly: number) else { return nil }
        self = exact
    }
}

extension Int: SQLiteConvertible {}
extension Int64: SQLiteConvertible {}
extension Int32: SQLiteConvertible {}

/// Stored as 0 and 1; every other integer counts as true.
extension Bool: SQLiteConvertible {
    public var sqliteValue: SQLiteValue { .integer(self ? 1 : 0) }

    public init?(sqliteValue value: SQLiteValue) {
        guard case .integer(let number) = value else { return nil }
        self = number != 0
    }
}

/// Not-a-number is stored as NULL: SQLite knows none.
extension Double: SQLiteConvertible {
    public var sqliteValue: SQLiteValue { .real(self) }

    public init?(sqliteValue value: SQLiteValue) {
        switch value {
        case .real(let number): self = number
        case .integer(let number): self = Double(number)
        default: return nil
        }
    }
}

extension String: SQLiteConvertible {
    public var sqliteValue: SQLiteValue { .text(self) }

    public init?(sqliteValue value: SQLiteValue) {
        guard case .text(let text) = value else { return nil }
        self = text
    }
}

extension [UInt8]: SQLiteConvertible {
    public var sqliteValue: SQLiteValue { .blob(self) }

    public init?(sqliteValue value: SQLiteValue) {
        guard case .blob(let bytes) = value else { return nil }
        self = bytes
    }
}

/// `nil` is NULL.
extension Optional: SQLiteConvertible where Wrapped: SQLiteConvertible {
    public var sqliteValue: SQLiteValue { self?.sqliteValue ?? .null }

    public init?(sqliteValue value: SQLiteValue) {
        if value == .null {
            self = .none
        } else {
            guard let wrapped = Wrapped(sqliteValue: value) else { return nil }
            self = .some(wrapped)
        }
    }
}
