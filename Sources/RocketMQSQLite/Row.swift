/// A row of an answer, copied out of SQLite: it can be kept and carried anywhere.
public struct Row: Sendable, Equatable {
    /// Names of the columns, as the SELECT gives them.
    public let columns: [String]
    /// In the order of the columns.
    public let values: [SQLiteValue]
    /// For errors.
    let sql: String
    let path: String

    /// The value of a column by its name; throws when there is none of that name, or its value is not a `Value`.
    public func get<Value: SQLiteConvertible>(_ column: String, as type: Value.Type = Value.self) throws(SQLiteError) -> Value {
        guard let index = columns.firstIndex(of: column) else {
            throw SQLiteError(
                extendedCode: .range, message: "there is no column \(column), but \(columns.joined(separator: ", "))", sql: sql, path: path)
        }
        return try get(index)
    }

    /// The value of a column by its place, from 0.
    public func get<Value: SQLiteConvertible>(_ index: Int, as type: Value.Type = Value.self) throws(SQLiteError) -> Value {
        guard values.indices.contains(index) else {
            throw SQLiteError(
                extendedCode: .range, message: "there is no column \(index), but \(values.count) columns", sql: sql, path: path)
        }
        guard let value = Value(sqliteValue: values[index]) else {
            throw SQLiteError(
                extendedCode: .mismatch, message: "column \(columns[index]) is not a \(Value.self) but \(values[index])", sql: sql,
                path: path)
        }
        return value
    }
}
