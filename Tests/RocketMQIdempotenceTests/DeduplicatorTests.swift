import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSQLite
import RocketMQTesting
import Synchronization
import Testing

@testable import RocketMQIdempotence

/// A delivery of a message with these properties.
func delivery(_ properties: MessageProperties, topic: String = "Orders", offset: Int64 = 1) -> MessageExt {
    let host = SocketAddress.loopback(port: 10911)
    let fields = MessageRecordFields(
        queueID: 0, queueOffset: offset, physicalOffset: offset * 100, bornTimestamp: 1, bornHost: host, storeTimestamp: 2, storeHost: host)
    return MessageExt(topic: topic, properties: properties, body: [1], bodyCRC: 0, storeSize: 100, fields: fields)
}

struct Failure: Error {}

/// Holds bodies of consumption until a test lets them go.
final class Door: Sendable {
    private let state = Mutex<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))
    private let arrivals = Mutex<[CheckedContinuation<Void, Never>]>([])

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
            for waiter in arrivals.withLock({ $0.drain() }) { waiter.resume() }
        }
    }

    /// Until somebody waits at the door.
    func arrival() async {
        await withCheckedContinuation { continuation in
            arrivals.withLock { $0.append(continuation) }
            let isThere = state.withLock { !$0.waiting.isEmpty }
            if isThere { for waiter in arrivals.withLock({ $0.drain() }) { waiter.resume() } }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            return state.waiting.drain()
        }
        for waiter in waiting { waiter.resume() }
    }
}

extension Array {
    fileprivate mutating func drain() -> [Element] {
        defer { self = [] }
        return self
    }
}

@Suite struct DeduplicatorTests {
    let folder: TestFolder
    let clock = ManualClock()
    var path: String { folder.path + "/marks.db" }

    init() throws { folder = try TestFolder() }

    func deduplicator(
        _ group: String = "billing", _ change: (inout Deduplicator<SQLiteIdempotenceStore>.Configuration) -> Void = { _ in }
    ) async throws -> Deduplicator<SQLiteIdempotenceStore> {
        var configuration = Deduplicator<SQLiteIdempotenceStore>.Configuration()
        change(&configuration)
        return Deduplicator(group: group, store: try await SQLiteIdempotenceStore(path: path), configuration, clock: clock)
    }

    @Test func aSecondDeliveryDoesNothing() async throws {
        let deduplicator = try await deduplicator()
        let runs = Mutex(0)
        for wanted in [Consumption.processed, .duplicate, .duplicate] {
            #expect(try await deduplicator.consume(delivery(["UNIQ_KEY": "A"])) { _ in runs.withLock { $0 += 1 } } == wanted)
        }
        #expect(runs.withLock { $0 } == 1)
        // Another message, and another group, are not duplicates; and neither is any after a restart forgotten.
        #expect(try await deduplicator.consume(delivery(["UNIQ_KEY": "B"])) { _ in } == .processed)
        #expect(try await self.deduplicator("shipping").consume(delivery(["UNIQ_KEY": "A"])) { _ in } == .processed)
        #expect(try await self.deduplicator().consume(delivery(["UNIQ_KEY": "A"])) { _ in } == .duplicate)
    }

    @Test func whatFailedIsDoneAtTheNextDelivery() async throws {
        let deduplicator = try await deduplicator()
        let message = delivery(["UNIQ_KEY": "A"])
        await #expect(throws: Failure.self) { try await deduplicator.consume(message) { _ in throw Failure() } }
        #expect(try await deduplicator.consume(message) { _ in } == .processed)
        #expect(try await deduplicator.consume(message) { _ in } == .duplicate)
    }

    @Test func aFailureUndoesTheTransactionWithItsMark() async throws {
        let deduplicator = try await deduplicator()
        try await deduplicator.store.database.perform { try $0.executeScript("CREATE TABLE bill (id TEXT)") }
        let message = delivery(["UNIQ_KEY": "A"])
        await #expect(throws: Failure.self) {
            try await deduplicator.consume(
                message,
                inTransaction: { _, database in
                    try database.run("INSERT INTO bill VALUES ('A')")
                    throw Failure()
                })
        }
        let bills: @Sendable (Database) throws -> Int = { try $0.firstRow("SELECT count(*) FROM bill")?.get(0) ?? -1 }
        #expect(try await deduplicator.store.database.perform(bills) == 0)
        for wanted in [Consumption.processed, .duplicate] {
            let met = try await deduplicator.consume(
                message, inTransaction: { _, database in try database.run("INSERT INTO bill VALUES ('A')") })
            #expect(met == wanted)
        }
        #expect(try await deduplicator.store.database.perform(bills) == 1)
    }

    @Test func aMessageThatAnotherIsAtComesAgainLater() async throws {
        let (first, second) = (try await deduplicator(), try await deduplicator())
        let message = delivery(["UNIQ_KEY": "A"])
        let door = Door()
        async let slow = first.consume(message) { _ in await door.pass() }
        await door.arrival()
        let error = try #require(await #expect(throws: MessageTakenByAnother.self) { try await second.consume(message) { _ in } })
        #expect(error.description.contains("group billing"))
        await #expect(throws: MessageTakenByAnother.self) { try await second.consume(message, inTransaction: { _, _ in }) }
        door.open()
        #expect(try await slow == .processed)
        #expect(try await second.consume(message) { _ in } == .duplicate)
    }

    @Test func theClaimOfOneThatCrashedEndsWithItsLease() async throws {
        let deduplicator = try await deduplicator { $0.claimLease = .seconds(60) }
        let key = ConsumptionKey(group: "billing", key: "Orders/A")
        // A crash between claim and mark leaves this behind.
        let claim = try await deduplicator.store.claim(key, nowMilliseconds: clock.wallMilliseconds, leaseStartMilliseconds: 0)
        guard case .granted(let token) = claim else { throw Failure() }
        let message = delivery(["UNIQ_KEY": "A"])
        clock.advance(by: .seconds(59))
        await #expect(throws: MessageTakenByAnother.self) { try await deduplicator.consume(message) { _ in } }
        clock.advance(by: .seconds(2))
        #expect(try await deduplicator.consume(message) { _ in } == .processed)
        // The one that was thought dead comes late: it cannot take the mark away.
        try await deduplicator.store.release(key, token: token)
        #expect(try await deduplicator.consume(message) { _ in } == .duplicate)
    }

    @Test func oldMarksGoAndYoungOnesStay() async throws {
        let deduplicator = try await deduplicator {
            $0.retention = .seconds(1000)
            $0.expiryInterval = .seconds(10)
        }
        for number in 0..<50 { _ = try await deduplicator.consume(delivery(["UNIQ_KEY": "old \(number)"])) { _ in } }
        clock.advance(by: .seconds(900))
        _ = try await deduplicator.consume(delivery(["UNIQ_KEY": "young"])) { _ in }
        clock.advance(by: .seconds(150))
        _ = try await deduplicator.consume(delivery(["UNIQ_KEY": "new"])) { _ in }
        let keys = try await deduplicator.store.database.perform { database in
            try database.rows("SELECT message_key FROM rocketmq_consumption ORDER BY message_key").map { try $0.get(0, as: String.self) }
        }
        #expect(keys == ["Orders/new", "Orders/young"])
    }

    /// Two consumers with connections of their own, all messages delivered to both at once: each is processed by one.
    @Test func twoConsumersOnOneDatabaseShareTheMarks() async throws {
        let consumers = [try await deduplicator(), try await deduplicator()]
        try await consumers[0].store.database.perform { try $0.executeScript("CREATE TABLE bill (id TEXT)") }
        let duplicates = try await withThrowingTaskGroup(of: Consumption.self) { group in
            for number in 0..<100 {
                for consumer in consumers {
                    group.addTask {
                        try await consumer.consume(
                            delivery(["UNIQ_KEY": "\(number)"]),
                            inTransaction: { message, database in try database.run("INSERT INTO bill VALUES (?)", message.uniqueKey ?? "") }
                        )
                    }
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 == .duplicate ? 1 : 0 }
        }
        #expect(duplicates == 100)
        let counts = try await consumers[0].store.database.perform { database in
            try database.firstRow("SELECT count(*), count(DISTINCT id) FROM bill")?.values
        }
        #expect(counts == [.integer(100), .integer(100)])
    }

    @Test func usersChooseWhatIsTheSame() async throws {
        let byKey = try await deduplicator { $0.key = .userKey }
        let first = delivery(["UNIQ_KEY": "A", "KEYS": "order-42 x"])
        let again = delivery(["UNIQ_KEY": "B", "KEYS": "order-42"])
        #expect(try await byKey.consume(first) { _ in } == .processed)
        #expect(try await byKey.consume(again) { _ in } == .duplicate)
        // The same key of another topic is something else, and without a key nothing is a duplicate.
        #expect(try await byKey.consume(delivery(["KEYS": "order-42"], topic: "Returns")) { _ in } == .processed)
        for _ in 0..<2 { #expect(try await byKey.consume(delivery(["UNIQ_KEY": "C"])) { _ in } == .processed) }
        let byProperty = try await deduplicator("shipping") { $0.key = .property("payment") }
        #expect(try await byProperty.consume(delivery(["payment": "7"])) { _ in } == .processed)
        #expect(try await byProperty.consume(delivery(["payment": "7"], offset: 2)) { _ in } == .duplicate)
        let sent = delivery(["ORIGIN_MESSAGE_ID": "first"])
        #expect(MessageKey.uniqueKey.of(sent) == "\(sent.topic)/first")
        #expect(MessageKey.uniqueKey.of(delivery([:], offset: 5)) == "\(sent.topic)/\(delivery([:], offset: 5).offsetMessageID)")
    }

    /// Sent on to another topic with all its properties, a message is another one to a group that consumes both.
    @Test func aMessageThatWasSentOnIsNotTheSame() async throws {
        let deduplicator = try await deduplicator()
        #expect(try await deduplicator.consume(delivery(["UNIQ_KEY": "A"])) { _ in } == .processed)
        #expect(try await deduplicator.consume(delivery(["UNIQ_KEY": "A"], offset: 9)) { _ in } == .duplicate)
        #expect(try await deduplicator.consume(delivery(["UNIQ_KEY": "A"], topic: "Returns")) { _ in } == .processed)
    }

    @Test func aMarkGoesIntoATransactionOfTheUsersOwn() throws {
        let database = try Database(path)
        try ConsumptionTable.create(in: database)
        let key = ConsumptionKey(group: "billing", key: "A")
        #expect(throws: Failure.self) {
            try database.transaction { database in
                #expect(try ConsumptionTable.mark(key, in: database, nowMilliseconds: 5))
                throw Failure()
            }
        }
        for wanted in [true, false] {
            #expect(try database.transaction { try ConsumptionTable.mark(key, in: $0, nowMilliseconds: 5) } == wanted)
        }
    }
}
