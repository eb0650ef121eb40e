import RocketMQSQLite
import RocketMQTesting
import Testing

@Suite struct DatabaseTests {
    let folder: TestFolder
    let database: Database

    init() throws {
        folder = try TestFolder()
        database = try Database(folder.path + "/test.db")
        try database.executeScript("CREATE TABLE item (name TEXT PRIMARY KEY, count INTEGER NOT NULL CHECK (count >= 0), note)")
    }

    @Test func valuesOfEveryTypeComeBackAsTheyWere() throws {
        let values: [SQLiteValue] = [
            .null, .integer(.min), .integer(.max), .real(-0.25), .text(""), .text("Grüße\u{0}from 東京"), .blob([]), .blob([0, 255, 7]),
        ]
        for value in values {
            let row = try #require(try database.firstRow("SELECT ?1 AS it, typeof(?1) AS type", value))
            #expect(row.values[0] == value)
            #expect(row.columns == ["it", "type"])
        }
        let row = try #require(try database.firstRow("SELECT ?, ?, ?, ?, ?", 1, "two", 3.5, [4] as [UInt8], true))
        #expect(try row.get(0, as: Int.self) == 1)
        #expect(try row.get(1) == "two")
        #expect(try row.get(2) == 3.5)
        #expect(try row.get(3) == [4] as [UInt8])
        #expect(try row.get(4) == true)
        #expect(try row.get(0, as: Int32?.self) == 1)
        #expect(try database.firstRow("SELECT ?", nil as String?)?.get(0, as: String?.self) == .some(nil))
        #expect(try database.firstRow("SELECT 1 WHERE 0") == nil)
    }

    @Test func changesAreCountedAndCommittedForOtherConnections() throws {
        #expect(try database.run("INSERT INTO item VALUES (?, ?, NULL), (?, ?, NULL)", "tea", 3, "milk", 4) == 2)
        #expect(try database.run("UPDATE item SET count = count + 1") == 2)
        #expect(try database.run("DELETE FROM item WHERE name = ?", "cream") == 0)
        let other = try Database(folder.path + "/test.db")
        let rows = try other.rows("SELECT name, count FROM item ORDER BY name")
        #expect(try rows.map { "\(try $0.get("name", as: String.self)) \(try $0.get("count", as: Int.self))" } == ["milk 5", "tea 4"])
        #expect(try other.firstRow("PRAGMA journal_mode")?.get(0) == "wal")
    }

    @Test func returnedRowsOfAChangeAreReadAndTheChangeIsMadeWhole() throws {
        let row = try database.firstRow("INSERT INTO item VALUES ('a', 1, NULL), ('b', 2, NULL) RETURNING name")
        #expect(try row?.get(0) == "a")
        #expect(try database.firstRow("SELECT count(*) FROM item")?.get(0) == 2)
    }

    @Test func aTransactionThatThrowsLeavesNothing() throws {
        struct Refusal: Error {}
        #expect(throws: Refusal.self) {
            try database.transaction { database in
                try database.run("INSERT INTO item VALUES ('tea', 1, NULL)")
                throw Refusal()
            }
        }
        #expect(!database.isInTransaction)
        #expect(try database.firstRow("SELECT 1 FROM item") == nil)
    }

    @Test func aPartOfATransactionIsUndoneAlone() throws {
        try database.transaction { database in
            try database.run("INSERT INTO item VALUES ('tea', 1, NULL)")
            #expect(throws: SQLiteError.self) {
                try database.transaction { inner in
                    try inner.run("INSERT INTO item VALUES ('milk', 1, NULL)")
                    try inner.run("INSERT INTO item VALUES ('tea', 2, NULL)")
                }
            }
            try database.transaction { try $0.run("INSERT INTO item VALUES ('cream', 1, NULL)") }
        }
        let names = try database.rows("SELECT name FROM item ORDER BY name").map { try $0.get(0, as: String.self) }
        #expect(names == ["cream", "tea"])
    }

    @Test func aCommitThatFailsIsUndone() throws {
        try database.executeScript("CREATE TABLE part (item REFERENCES item (name) DEFERRABLE INITIALLY DEFERRED)")
        let error = try #require(throws: SQLiteError.self) {
            try database.transaction { try $0.run("INSERT INTO part VALUES ('nothing')") }
        }
        #expect(error.code == .constraint)
        #expect(!database.isInTransaction)
        #expect(try database.firstRow("SELECT 1 FROM part") == nil)
    }

    @Test func aPreparedStatementServesMany() throws {
        let insert = try database.prepare("INSERT INTO item VALUES (?, ?, ?)")
        try database.transaction { _ in
            for number in 0..<500 { try insert.run("item \(number)", number, [UInt8(number & 255)]) }
        }
        // A failure in between leaves it usable.
        #expect(throws: SQLiteError.self) { try insert.run("item 7", 1, nil as String?) }
        #expect(try insert.run("item 500", 500, nil as String?) == 1)
        #expect(try database.firstRow("SELECT count(*), sum(count) FROM item")?.values == [.integer(501), .integer(125_250)])
    }
}

@Suite struct DatabaseErrorTests {
    let folder: TestFolder
    let database: Database

    init() throws {
        folder = try TestFolder()
        var configuration = Database.Configuration()
        configuration.busyTimeout = .milliseconds(20)
        database = try Database(folder.path + "/test.db", configuration)
        try database.executeScript("CREATE TABLE item (name TEXT PRIMARY KEY, count INTEGER)")
    }

    @Test func wrongSQLIsNamedWithSQLitesReason() throws {
        let error = try #require(throws: SQLiteError.self) { try database.run("INSERT INTO itme VALUES (1)") }
        #expect(error.code == .error)
        #expect(error.sql == "INSERT INTO itme VALUES (1)")
        #expect(error.description.contains("no such table: itme") && error.description.contains(folder.path))
    }

    @Test func aSecondRowOfOneKeyIsAConstraint() throws {
        try database.run("INSERT INTO item VALUES ('tea', 1)")
        let error = try #require(throws: SQLiteError.self) { try database.run("INSERT INTO item VALUES ('tea', 2)") }
        #expect(error.code == .constraint && error.extendedCode == .constraintPrimaryKey)
        #expect(error.message.contains("item.name"))
    }

    @Test func valuesMustFitTheParameters() throws {
        let error = try #require(throws: SQLiteError.self) { try database.run("INSERT INTO item VALUES (?, ?)", "tea") }
        #expect(error.code == .range)
        #expect(error.description.contains("1 values for 2 parameters"))
    }

    @Test func aColumnOfAnotherTypeOrNameIsAnError() throws {
        let row = try #require(try database.firstRow("SELECT 'tea' AS name, 3000000000 AS count"))
        #expect(try #require(throws: SQLiteError.self) { try row.get("name", as: Int.self) }.code == .mismatch)
        #expect(try #require(throws: SQLiteError.self) { try row.get("count", as: Int32.self) }.code == .mismatch)
        #expect(try #require(throws: SQLiteError.self) { try row.get("nmae", as: String.self) }.message.contains("name, count"))
        #expect(try #require(throws: SQLiteError.self) { try row.get(2, as: String.self) }.code == .range)
    }

    @Test(arguments: ["", "  ;", "-- nothing", "SELECT 1; SELECT 2"])
    func aStatementIsExactlyOne(sql: String) throws {
        #expect(try #require(throws: SQLiteError.self) { try database.prepare(sql) }.code == .misuse)
        #expect(try database.firstRow("SELECT 1; \n")?.get(0) == 1)
    }

    @Test func aLockHeldElsewhereIsBusyAndPasses() throws {
        let other = try Database(folder.path + "/test.db")
        try other.executeScript("BEGIN IMMEDIATE")
        let error = try #require(throws: SQLiteError.self) {
            try database.transaction { try $0.run("INSERT INTO item VALUES ('tea', 1)") }
        }
        #expect(error.code == .busy && error.isRetriable)
        #expect(error.description.contains("busyTimeout"))
        #expect(!database.isInTransaction)
        try other.executeScript("COMMIT")
        try database.transaction { try $0.run("INSERT INTO item VALUES ('tea', 1)") }
    }

    @Test func whatCannotBeOpenedSaysWhy() throws {
        let missing = try #require(throws: SQLiteError.self) { try Database(folder.path + "/no/such/test.db") }
        #expect(missing.code == .cannotOpen && missing.description.contains("directory"))
        try folder.write(String(repeating: "this is a text, not a database. ", count: 100), to: "text")
        #expect(try #require(throws: SQLiteError.self) { try Database(folder.path + "/text") }.code == .notADatabase)
        var configuration = Database.Configuration()
        configuration.isReadOnly = true
        let reader = try Database(folder.path + "/test.db", configuration)
        #expect(try #require(throws: SQLiteError.self) { try reader.run("DELETE FROM item") }.code == .readOnly)
    }
}

@Suite struct SharedDatabaseTests {
    let folder: TestFolder

    init() throws { folder = try TestFolder() }

    /// Two connections of one file, many tasks each: no increment is lost and none waits for ever.
    @Test func manyTasksAndConnectionsCountTogether() async throws {
        let path = folder.path + "/count.db"
        let databases = try await withThrowingTaskGroup(of: SharedDatabase.self) { group in
            for _ in 0..<4 { group.addTask { try SharedDatabase(path) } }
            return try await group.reduce(into: [SharedDatabase]()) { $0.append($1) }
        }
        try await databases[0].perform { try $0.executeScript("CREATE TABLE counter (value INTEGER); INSERT INTO counter VALUES (0)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                let database = databases[number % databases.count]
                group.addTask {
                    try await database.transaction { database in
                        let value = try #require(try database.firstRow("SELECT value FROM counter")).get(0, as: Int.self)
                        try database.run("UPDATE counter SET value = ?", value + 1)
                    }
                }
            }
            try await group.waitForAll()
        }
        let value = try await databases[0].perform { try $0.firstRow("SELECT value FROM counter")?.get(0, as: Int.self) }
        #expect(value == 200)
    }

    @Test func errorsComeThroughAndUndo() async throws {
        let database = try SharedDatabase(":memory:")
        try await database.perform { try $0.executeScript("CREATE TABLE item (name TEXT PRIMARY KEY)") }
        await #expect(throws: SQLiteError.self) {
            try await database.transaction { database in
                try database.run("INSERT INTO item VALUES ('tea')")
                try database.run("INSERT INTO item VALUES ('tea')")
            }
        }
        let count = try await database.perform { try $0.firstRow("SELECT count(*) FROM item")?.get(0, as: Int.self) }
        #expect(count == 0)
    }
}
