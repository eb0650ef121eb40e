import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// What makes two sends the same: a hash of the topic's name and the message's `UNIQ_KEY`.
///
/// 128 bits under a secret of the process: of a million keys two are taken for one with a probability below 2^-88, and
/// nobody outside can look for such a pair.
struct SendIdentity: Hashable {
    var low: UInt64
    var high: UInt64
}

/// The sends of the last while by their identity, so that a client's retry is known and answered with the place of the first
/// copy. Bounded in time and number: the oldest go. Confined to the broker's loop.
///
/// The entries stand in a ring in the order in which they came; an open hash table leads from an identity to its place there.
final class DeduplicationWindow {
    struct Configuration: Equatable {
        /// `deduplicationWindow`.
        var milliseconds: Int64
        /// `deduplicationMaxKeys`.
        var mostKeys: Int
        /// Of the hash.
        var secret: UInt64
    }

    /// Where the first copy is.
    struct Entry {
        var identity: SendIdentity
        var physicalOffset: Int64
        var queueOffset: Int64
        /// When it was stored, in milliseconds.
        var timestamp: Int64
        /// As its producer is told.
        var queueID: Int32
        var size: Int32 { Int32(sizeAndDetour >> 1) }
        /// Whether it waits in a topic of the broker's own: `queueOffset` is one of that topic then. What came from there to its topic
        /// is where it came to.
        var isDetour: Bool { sizeAndDetour & 1 != 0 }
        private var sizeAndDetour: UInt32

        init(
            identity: SendIdentity, physicalOffset: Int64, queueOffset: Int64, timestamp: Int64, queueID: Int32, size: Int32,
            isDetour: Bool = false
        ) {
            self.identity = identity
            self.physicalOffset = physicalOffset
            self.queueOffset = queueOffset
            self.timestamp = timestamp
            self.queueID = queueID
            sizeAndDetour = UInt32(max(size, 0)) << 1 | (isDetour ? 1 : 0)
        }

        /// The log's end behind it.
        var end: Int64 { physicalOffset + Int64(size) }
    }

    /// Where a message lies that waited before.
    struct Delivery {
        var identity: SendIdentity
        var queueID: Int32
        var appended: Appended
    }

    let configuration: Configuration
    /// Retries that were recognised.
    private(set) var recognised: Int64 = 0
    /// Entries that went before their time because there were too many.
    private(set) var crowdedOut: Int64 = 0
    /// How many are remembered.
    private(set) var count = 0

    private var ring: [Entry] = []
    private var first = 0
    /// Place in the ring and 1, or 0 for none; a power of two, at least half of it free.
    private var slots: [Int32]
    private let mask: Int
    /// The newest of them, which the end of the tick settles.
    private(set) var stagedCount = 0
    /// Messages that waited and are staged in their topics: see `noteDelivered`.
    private(set) var stagedDeliveries: [Delivery] = []
    private let secrets: (UInt64, UInt64, UInt64, UInt64)
    private var lastTopic: Topic?
    private var lastSeed = SendIdentity(low: 0, high: 0)

    init(_ configuration: Configuration) {
        self.configuration = configuration
        var size = 16
        while size < configuration.mostKeys * 2 { size *= 2 }
        slots = [Int32](repeating: 0, count: size)
        mask = size - 1
        var random = RandomSource(seed: configuration.secret)
        // Odd, so that multiplication loses nothing.
        secrets = (random.next() | 1, random.next() | 1, random.next(), random.next())
        // Taken from the system as it fills.
        ring.reserveCapacity(configuration.mostKeys)
    }

    // MARK: Identities

    /// The identity of a message that its producer may send again; `nil` when it has no key, or when copies of it are meant:
    /// retries of consumers, and dead letters that are sent once more.
    @inline(__always)
    func identity(of found: StoredProperties, in properties: RawSpan, topic: Topic) -> SendIdentity? {
        guard let key = found.uniqueKey, !topic.isRetry, !found.isDeadLetter else { return nil }
        if lastTopic !== topic {
            lastTopic = topic
            lastSeed = topic.withNameBytes { seed($0) }
        }
        return mix(lastSeed, properties.extracting(key))
    }

    func identity(topic: RawSpan, key: RawSpan) -> SendIdentity { mix(seed(topic), key) }

    private func seed(_ topic: RawSpan) -> SendIdentity { mix(SendIdentity(low: secrets.2, high: secrets.3), topic) }

    @inline(__always)
    private func mix(_ seed: SendIdentity, _ bytes: RawSpan) -> SendIdentity {
        var (low, high) = (seed.low ^ UInt64(bytes.byteCount), seed.high)
        var index = 0
        while index + 8 <= bytes.byteCount {
            let word: UInt64 = bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            low = Self.fold(low ^ word, secrets.0) &+ word
            high = Self.fold(high ^ word, secrets.1) &+ low
            index += 8
        }
        var rest: UInt64 = 0
        while index < bytes.byteCount {
            rest = rest << 8 | UInt64(bytes.byte(at: index))
            index += 1
        }
        low = Self.fold(low ^ rest, secrets.0) &+ rest
        high = Self.fold(high ^ rest, secrets.1) &+ low
        return SendIdentity(low: Self.fold(low ^ secrets.2, secrets.1), high: Self.fold(high ^ secrets.3, secrets.0))
    }

    @inline(__always)
    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }

    // MARK: Finding

    /// The first copy of a send, when it is young enough.
    @inline(__always)
    func find(_ identity: SendIdentity, at now: Int64) -> Entry? {
        guard let place = place(of: identity) else { return nil }
        let entry = ring[place]
        return now - entry.timestamp <= configuration.milliseconds ? entry : nil
    }

    @inline(__always)
    private func place(of identity: SendIdentity) -> Int? {
        var slot = Int(truncatingIfNeeded: identity.low) & mask
        while slots[slot] != 0 {
            let place = Int(slots[slot]) - 1
            if ring[place].identity == identity { return place }
            slot = (slot + 1) & mask
        }
        return nil
    }

    func noteRecognised() { recognised += 1 }

    // MARK: Remembering

    /// Remembers a send that is staged; `settle` says what became of it.
    func insert(_ entry: Entry) {
        add(entry)
        stagedCount += 1
    }

    /// Remembers a send that was stored before the start, unless an earlier copy is known; where that waited, this is where it
    /// came to.
    func restore(_ entry: Entry) {
        guard let known = find(entry.identity, at: entry.timestamp) else { return add(entry) }
        if known.isDetour, !entry.isDetour { move(entry.identity, to: entry) }
    }

    /// A message that waited is staged in its topic; `settleDeliveries` says what became of it. Only then is it known whether a
    /// deletion of the topic takes it away: what waits outlives that.
    func noteDelivered(_ delivery: Delivery) { stagedDeliveries.append(delivery) }

    func settleDeliveries(isCommitted: Bool) {
        if isCommitted {
            for delivery in stagedDeliveries {
                let appended = delivery.appended
                move(
                    delivery.identity,
                    to: Entry(
                        identity: delivery.identity, physicalOffset: appended.physicalOffset, queueOffset: appended.queueOffset,
                        timestamp: 0, queueID: delivery.queueID, size: appended.size))
            }
        }
        stagedDeliveries.removeAll(keepingCapacity: stagedDeliveries.capacity <= 4096)
    }

    /// The send counts from when it came, wherever its message goes.
    private func move(_ identity: SendIdentity, to target: Entry) {
        guard let place = place(of: identity), ring[place].isDetour else { return }
        let timestamp = ring[place].timestamp
        ring[place] = target
        ring[place].timestamp = timestamp
    }

    /// Knows a send no more. Its place in the ring stays taken until its time is over.
    func forget(_ identity: SendIdentity) {
        if let place = place(of: identity) { removeSlot(of: place) }
    }

    /// As above, of a message that its producer took back: what is sent anew then is meant.
    func forget(topic: String, key: String) {
        let (topic, key) = (Array(topic.utf8), Array(key.utf8))
        forget(identity(topic: topic.span.bytes, key: key.span.bytes))
    }

    /// What was staged since the last time is committed, or is not stored and forgotten.
    func settle(isCommitted: Bool) {
        if !isCommitted {
            // Those that a crowded window has pushed out already are gone anyway.
            for _ in 0..<min(stagedCount, count) {
                count -= 1
                let place = (first + count) % configuration.mostKeys
                removeSlot(of: place)
            }
        }
        stagedCount = 0
    }

    private func add(_ entry: Entry) {
        expire(at: entry.timestamp)
        if count == configuration.mostKeys {
            crowdedOut += 1
            removeFirst()
        }
        let place = (first + count) % configuration.mostKeys
        if place == ring.count { ring.append(entry) } else { ring[place] = entry }
        count += 1
        var slot = Int(truncatingIfNeeded: entry.identity.low) & mask
        // An older copy, beyond its time or gone, gives up its slot.
        while slots[slot] != 0, ring[Int(slots[slot]) - 1].identity != entry.identity { slot = (slot + 1) & mask }
        slots[slot] = Int32(place + 1)
    }

    /// Forgets some of those that are too old: more than come, so that it gets ahead.
    private func expire(at now: Int64) {
        for _ in 0..<4 where count > 0 && now - ring[first].timestamp > configuration.milliseconds { removeFirst() }
    }

    private func removeFirst() {
        removeSlot(of: first)
        first = (first + 1) % configuration.mostKeys
        count -= 1
        stagedCount = min(stagedCount, count)
    }

    /// Takes the place out of the hash table, if it is not a newer copy's, and closes the gap.
    private func removeSlot(of place: Int) {
        var slot = Int(truncatingIfNeeded: ring[place].identity.low) & mask
        while slots[slot] != Int32(place + 1) {
            if slots[slot] == 0 { return }
            slot = (slot + 1) & mask
        }
        var gap = slot
        var next = (gap + 1) & mask
        while slots[next] != 0 {
            let home = Int(truncatingIfNeeded: ring[Int(slots[next]) - 1].identity.low) & mask
            // It may move into the gap unless its home lies behind the gap.
            if (next - home) & mask >= (next - gap) & mask {
                slots[gap] = slots[next]
                gap = next
            }
            next = (next + 1) & mask
        }
        slots[gap] = 0
    }

    /// For the broker's runtime table (28).
    var runtimeEntries: [String: String] {
        [
            "deduplicationKeys": "\(count)", "deduplicationRecognised": "\(recognised)", "deduplicationCrowdedOut": "\(crowdedOut)",
        ]
    }
}
