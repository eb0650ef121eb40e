/// What a group consumed, by a message's key.
public struct ConsumptionKey: Sendable, Hashable {
    /// The consumer group: each remembers for itself.
    public var group: String
    public var key: String

    public init(group: String, key: String) {
        self.group = group
        self.key = key
    }
}

/// What a store answers to the one who is about to consume a message.
public enum ConsumptionClaim: Sendable, Hashable {
    /// It is the caller's to consume; `token` goes back to the store with the outcome.
    case granted(token: Int64)
    /// It was consumed before.
    case consumed
    /// Another consumer is at it, since this time (milliseconds since 1970).
    case takenByAnother(sinceMilliseconds: Int64)
}

/// Remembers what was consumed. Every call is atomic, and what it has returned from survives a crash. Implement it over a
/// database that all consumers of the group share; `SQLiteIdempotenceStore` is one for those of one machine.
public protocol IdempotenceStore: Sendable {
    /// Claims a message, unless it was consumed or somebody has claimed it at `leaseStartMilliseconds` or later: an older claim
    /// is of one who crashed in between.
    func claim(_ key: ConsumptionKey, nowMilliseconds: Int64, leaseStartMilliseconds: Int64) async throws -> ConsumptionClaim

    /// Notes that the message is consumed, whoever has claimed it meanwhile.
    func complete(_ key: ConsumptionKey, token: Int64, nowMilliseconds: Int64) async throws

    /// Gives a claim back: the message was not consumed. Nothing happens unless the claim still has this token.
    func release(_ key: ConsumptionKey, token: Int64) async throws

    /// Forgets at most `limit` messages of the group that were consumed or claimed before this time. Returns how many.
    func removeMarks(ofGroup group: String, beforeMilliseconds: Int64, limit: Int) async throws -> Int
}
