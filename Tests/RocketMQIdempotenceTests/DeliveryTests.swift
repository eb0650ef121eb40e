import RocketMQBase
import RocketMQClient
import RocketMQIdempotence
import RocketMQSQLite
import RocketMQSystem
import RocketMQTesting
import Synchronization
import Testing

/// With a real broker: what is delivered twice is billed once.
@Suite(.serialized) struct DeliveryTests {
    let cluster: TestCluster
    let shop: SharedDatabase

    init() async throws {
        cluster = try TestCluster(settings: ["messageDelayLevel": "1s 1s 1s 1s"])
        shop = try SharedDatabase(cluster.folder.path + "/shop.db")
        try await shop.perform { try $0.executeScript("CREATE TABLE bill (id TEXT); CREATE TABLE delivery (id TEXT)") }
    }

    func consumer(
        _ listener: DeduplicatingListener, environment: ClientEnvironment = .shared
    ) -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: "billing")
        configuration.consumeFromWhere = .firstOffset
        configuration.consumeConcurrency = 4
        let runtime = ClientRuntime(ClientConfiguration(nameServers: [cluster.nameServerAddress]), environment: environment)
        return DefaultMQPushConsumer(configuration, runtime: runtime, subscriptions: [Subscription("Orders")], listener: listener)
    }

    func send(_ keys: [String]) async throws {
        let producer = DefaultMQProducer(group: "shop", nameServers: [cluster.nameServerAddress])
        try await producer.start()
        for key in keys {
            var message = Message(topic: "Orders", keys: [key], text: "order")
            message.uniqueKey = "unique-\(key)"
            try await producer.send(message)
        }
        await producer.shutdown()
    }

    func bills() async throws -> [String] {
        try await shop.perform { try $0.rows("SELECT id FROM bill ORDER BY id").map { try $0.get(0, as: String.self) } }
    }

    /// Waits for something that the consumers do, checking at each of its steps.
    func eventually(_ condition: () async throws -> Bool) async rethrows -> Bool {
        let clock = LinuxClock()
        let end = clock.monotonicNow + .seconds(60)
        while clock.monotonicNow < end {
            if try await condition() { return true }
            try? await clock.sleep(for: .milliseconds(20))
        }
        return false
    }

    @Test func aMessageSentTwiceAndOneThatFailedAreBilledOnce() async throws {
        try await send(["a", "b", "a", "c", "b", "fails"])
        let deduplicator = Deduplicator(group: "billing", store: try await SQLiteIdempotenceStore(shop))
        let failures = Counting()
        let consumer = consumer(
            DeduplicatingListener(
                deduplicator,
                inTransaction: { message, database in
                    try database.run("INSERT INTO bill VALUES (?)", message.keys[0])
                    if message.keys[0] == "fails", failures.increment() == 1 { throw Refusal() }
                }))
        try await consumer.start()
        // The failed one comes back after a second: its key is there once, billed at the second delivery.
        #expect(try await eventually { try await bills().count == 4 })
        #expect(try await bills() == ["a", "b", "c", "fails"])
        #expect(failures.value == 2)
        await consumer.shutdown()
    }

    /// A consumer whose process ends after its transactions and before the broker hears how far it came.
    @Test func whatACrashedConsumerHadDoneIsNotDoneAgain() async throws {
        let keys = (0..<20).map { "order-\($0 + 10)" }
        try await send(keys)
        let loop = EpollLoop(name: "crashing")
        let environment = ClientEnvironment(eventLoop: loop, host: .ipv4(0x7F00_0001), processID: 4711, seed: 1)
        let store = try await SQLiteIdempotenceStore(shop)
        let seen = Counting()
        let first = consumer(
            DeduplicatingListener(
                Deduplicator(group: "billing", store: store),
                inTransaction: { message, database in
                    // From the tenth on nothing that the client does reaches the broker any more.
                    if seen.increment() == 10 { loop.stop() }
                    try database.run("INSERT INTO bill VALUES (?)", message.keys[0])
                }), environment: environment)
        try await first.start()
        #expect(try await eventually { try await bills().count >= 10 })
        let duplicates = Counting()
        let second = Deduplicator(group: "billing", store: store)
        let body: @Sendable (MessageExt, Database) throws -> Void = { try $1.run("INSERT INTO bill VALUES (?)", $0.keys[0]) }
        var configuration = ConsumerConfiguration(group: "billing")
        configuration.consumeFromWhere = .firstOffset
        let consumer = DefaultMQPushConsumer(
            configuration, client: ClientConfiguration(nameServers: [cluster.nameServerAddress]), subscriptions: [Subscription("Orders")])
        consumer.registerMessageListener { messages, _ in
            for message in messages where try await second.consume(message, inTransaction: body) == .duplicate {
                _ = duplicates.increment()
            }
            return .consumeSuccess
        }
        try await consumer.start()
        #expect(try await eventually { try await bills().count >= 20 && duplicates.value >= 10 })
        #expect(try await bills() == keys)
        await consumer.shutdown()
    }
}

struct Refusal: Error {}

/// Counts from many tasks.
final class Counting: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }

    /// Returns the new count.
    func increment() -> Int {
        count.withLock { count in
            count += 1
            return count
        }
    }
}
