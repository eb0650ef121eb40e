import Glibc

/// The few functions of `libpq` that are needed, found when the program runs: building it needs nothing of PostgreSQL.
///
/// The pointers are those that the library gives, used as its manual says: a connection until `PQfinish` and by one caller at a
/// time (it belongs to an actor), a result until `PQclear`, texts copied before that.
struct LibPQ: Sendable {
    typealias Text = UnsafePointer<CChar>
    typealias Parameters = UnsafePointer<UnsafePointer<CChar>?>

    let connect: @convention(c) (Text) -> OpaquePointer?
    let reset: @convention(c) (OpaquePointer) -> Void
    let finish: @convention(c) (OpaquePointer) -> Void
    let status: @convention(c) (OpaquePointer) -> Int32
    let message: @convention(c) (OpaquePointer) -> Text
    let execute:
        @convention(c) (OpaquePointer, Text, Int32, OpaquePointer?, Parameters?, OpaquePointer?, OpaquePointer?, Int32) -> OpaquePointer?
    let clear: @convention(c) (OpaquePointer?) -> Void
    let resultStatus: @convention(c) (OpaquePointer?) -> Int32
    let rowCount: @convention(c) (OpaquePointer) -> Int32
    let columnCount: @convention(c) (OpaquePointer) -> Int32
    let isNull: @convention(c) (OpaquePointer, Int32, Int32) -> Int32
    let value: @convention(c) (OpaquePointer, Int32, Int32) -> Text

    /// The library, or why it cannot be had.
    static let shared = Result { try LibPQ() }

    private init() throws {
        guard let library = dlopen("libpq.so.5", RTLD_NOW) else {
            throw PostgresError(description: "libpq.so.5, PostgreSQL's own library, is not installed (apt-get install libpq5)")
        }
        func function<Function>(_ name: String, _ type: Function.Type = Function.self) throws -> Function {
            guard let symbol = dlsym(library, name) else { throw PostgresError(description: "libpq has no \(name)") }
            return unsafeBitCast(symbol, to: type)
        }
        connect = try function("PQconnectdb")
        reset = try function("PQreset")
        finish = try function("PQfinish")
        status = try function("PQstatus")
        message = try function("PQerrorMessage")
        execute = try function("PQexecParams")
        clear = try function("PQclear")
        resultStatus = try function("PQresultStatus")
        rowCount = try function("PQntuples")
        columnCount = try function("PQnfields")
        isNull = try function("PQgetisnull")
        value = try function("PQgetvalue")
    }

    /// A connection; closed when it is let go of.
    final class Connection {
        private static let isGood: Int32 = 0
        private static let isDone: Set<Int32> = [1, 2]
        private let library: LibPQ
        private let pointer: OpaquePointer

        init(_ info: String, _ library: LibPQ) throws {
            guard let made = library.connect(info) else { throw PostgresError(description: "no memory for a connection") }
            (self.library, pointer) = (library, made)
            guard library.status(made) == Self.isGood else { throw failure("cannot connect") }
        }

        deinit { library.finish(pointer) }

        private func failure(_ what: String) -> PostgresError {
            let reason = String(cString: library.message(pointer)).split(separator: "\n").joined(separator: " ")
            return PostgresError(description: "\(what): \(reason)")
        }

        func run(_ statement: String, _ parameters: [String?]) throws -> [[String?]] {
            if library.status(pointer) != Self.isGood { library.reset(pointer) }
            let copies = parameters.map { $0.map { strdup($0) } }
            defer { for copy in copies { free(copy ?? nil) } }
            let texts = copies.map { $0.flatMap { UnsafePointer($0) } }
            let result = texts.withUnsafeBufferPointer {
                library.execute(pointer, statement, Int32(texts.count), nil, $0.baseAddress, nil, nil, 0)
            }
            defer { library.clear(result) }
            guard let result, Self.isDone.contains(library.resultStatus(result)) else { throw failure("\"\(statement)\" failed") }
            return (0..<library.rowCount(result)).map { row in
                (0..<library.columnCount(result)).map { column in
                    library.isNull(result, row, column) == 1 ? nil : String(cString: library.value(result, row, column))
                }
            }
        }
    }
}
