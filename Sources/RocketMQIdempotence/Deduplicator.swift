import RocketMQBase
import RocketMQClient
import RocketMQSQLite
import RocketMQSystem
import Synchronization

/// How a message was met.
public enum Consumption: Sendable, Hashable {
    case processed
    /// It was processed before: nothing was done.
    case duplicate
}

/// Another consumer has the message at this moment. Thrown, so that it is delivered again later: it is a duplicate then, or the
/// other has failed.
public struct MessageTakenByAnother: Error, CustomStringConvertible {
    public var key: ConsumptionKey
    public var sinceMilliseconds: Int64

    public var description: String {
        "message \(key.key) is being processed by another consumer of group \(key.group) since \(sinceMilliseconds) ms; it is delivered "
            + "again later. If that consumer has crashed, its claim ends with claimLease"
    }
}

/// Lets each message be processed once, however often it is delivered. Use it in a listener (`DeduplicatingListener`), or
/// around what you do with messages of a pull consumer.
public final class Deduplicator<Store: IdempotenceStore>: Sendable {
    /// What makes two deliveries one message, and for how long that is remembered.
    public struct Configuration: Sendable {
        /// By what two deliveries are known to be one message.
        public var key = MessageKey.uniqueKey
        /// How long marks are kept: longer than a message can come again, which is as long as brokers keep messages.
        public var retention: Duration = .seconds(7 * 24 * 3600)
        /// How long processing may take: after this, another consumer may take the message over from one that crashed. Not for
        /// processing in the store's own transaction, which a crash undoes.
        public var claimLease: Duration = .seconds(15 * 60)
        /// How often old marks are removed, by whoever consumes then.
        public var expiryInterval: Duration = .seconds(600)

        public init() {}
    }

    /// The consumer group whose marks these are.
    public let group: String
    /// Where the marks are.
    public let store: Store
    /// As given when it was made.
    public let configuration: Configuration
    private let clock: any SystemClock
    /// When old marks are looked for next, in wall milliseconds.
    private let nextExpiry = Mutex<Int64>(0)

    /// `group` is the consumer group: other groups consume the same messages for themselves.
    public init(
        group: String, store: Store, _ configuration: Configuration = Configuration(), clock: any SystemClock = LinuxClock()
    ) {
        self.group = group
        self.store = store
        self.configuration = configuration
        self.clock = clock
    }

    /// Processes a message unless that was done before. A throw of `body` leaves it to be done later. When the process crashes
    /// after `body` and before the mark is stored, the message is processed again: only what is done in the mark's own
    /// transaction (`consume(_:inTransaction:)`) is exactly once.
    public func consume(_ message: MessageExt, _ body: @Sendable (MessageExt) async throws -> Void) async throws -> Consumption {
        guard let key = key(of: message) else {
            try await body(message)
            return .processed
        }
        await expireIfDue()
        let now = clock.wallMilliseconds
        switch try await store.claim(key, nowMilliseconds: now, leaseStartMilliseconds: now - configuration.claimLease.inMilliseconds) {
        case .consumed: return .duplicate
        case .takenByAnother(let since): throw MessageTakenByAnother(key: key, sinceMilliseconds: since)
        case .granted(let token):
            do { try await body(message) } catch {
                // When this fails too, the lease ends by itself.
                try? await store.release(key, token: token)
                throw error
            }
            try await store.complete(key, token: token, nowMilliseconds: clock.wallMilliseconds)
            return .processed
        }
    }

    private func key(of message: MessageExt) -> ConsumptionKey? {
        configuration.key.of(message).map { ConsumptionKey(group: group, key: $0) }
    }

    /// Removes old marks when it is time, a bounded number: consuming goes on.
    private func expireIfDue() async {
        let now = clock.wallMilliseconds
        let isDue = nextExpiry.withLock { next in
            guard now >= next else { return false }
            next = now + configuration.expiryInterval.inMilliseconds
            return true
        }
        guard isDue else { return }
        // A store that fails here fails the message's own claim next, which is not kept silent.
        for _ in 0..<10 {
            let removed = try? await store.removeMarks(
                ofGroup: group, beforeMilliseconds: now - configuration.retention.inMilliseconds, limit: 1000)
            guard let removed, removed == 1000 else { return }
        }
    }
}

extension Deduplicator where Store == SQLiteIdempotenceStore {
    /// Processes a message in one transaction with its mark, unless that was done before: exactly once for everything that
    /// `body` does with the database it is given, whatever crashes. `body` must do nothing else that matters, since it may be
    /// undone.
    public func consume(
        _ message: MessageExt, inTransaction body: @escaping @Sendable (MessageExt, Database) throws -> Void
    ) async throws -> Consumption {
        guard let key = key(of: message) else {
            try await store.database.transaction { try body(message, $0) }
            return .processed
        }
        await expireIfDue()
        let now = clock.wallMilliseconds
        let outcome = try await store.consumeOnce(
            key, nowMilliseconds: now, leaseStartMilliseconds: now - configuration.claimLease.inMilliseconds
        ) { try body(message, $0) }
        switch outcome {
        case .consumed: return .processed
        case .duplicate: return .duplicate
        case .takenByAnother(let since): throw MessageTakenByAnother(key: key, sinceMilliseconds: since)
        }
    }
}
