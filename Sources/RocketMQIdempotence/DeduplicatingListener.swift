import RocketMQClient
import RocketMQSQLite

/// A listener that lets each message be processed once, however often it is delivered.
///
/// ```swift
/// let shop = try SharedDatabase("shop.db")
/// let deduplicator = Deduplicator(group: "billing", store: try await SQLiteIdempotenceStore(shop))
/// consumer.registerMessageListener(DeduplicatingListener(deduplicator, inTransaction: { message, database in
///     try database.run("INSERT INTO bills (order_id) VALUES (?)", message.keys[0])
/// }))
/// ```
public struct DeduplicatingListener: MessageListenerConcurrently {
    private let consume: @Sendable (MessageExt) async throws -> Consumption

    /// Processing that is more than a transaction of the store: calls to other services, for example. A crash between
    /// processing and marking repeats it.
    public init<Store: IdempotenceStore>(
        _ deduplicator: Deduplicator<Store>, processing body: @escaping @Sendable (MessageExt) async throws -> Void
    ) {
        consume = { try await deduplicator.consume($0, body) }
    }

    /// Processing within the transaction of the mark: exactly once.
    public init(
        _ deduplicator: Deduplicator<SQLiteIdempotenceStore>,
        inTransaction body: @escaping @Sendable (MessageExt, Database) throws -> Void
    ) {
        consume = { try await deduplicator.consume($0, inTransaction: body) }
    }

    /// Messages of one call are consumed one by one. The first that fails and those behind it are delivered again; those
    /// before it are not.
    public func consumeMessage(_ messages: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus {
        for (index, message) in messages.enumerated() {
            do { _ = try await consume(message) } catch {
                guard index > 0 else { throw error }
                context.ackIndex = index - 1
                return .consumeSuccess
            }
        }
        return .consumeSuccess
    }
}
