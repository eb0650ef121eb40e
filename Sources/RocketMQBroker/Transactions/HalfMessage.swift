import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// A half message whose transaction is undecided, as the broker remembers it: what tells when to ask its producer, and
/// where the record is. Queue offsets are those of the half topic's only queue.
struct HalfMessage: Equatable {
    var queueOffset: Int64
    var physicalOffset: Int64
    /// Bytes of the record.
    var size: Int32
    /// The producer group that decides (`PGROUP`); empty when the message names none.
    var group: String
    /// The producer's clock, in milliseconds: the same in all copies of a message.
    var bornTimestamp: Int64
    /// The broker's clock, in milliseconds, from which its immunity counts.
    var heldSince: Int64
    /// Its own `CHECK_IMMUNITY_TIME_IN_SECONDS` in milliseconds; `nil` for the broker's `transactionTimeOut`.
    var immunity: Int64?
    /// That property is no number of seconds, below 0, or beyond `longestImmunity`.
    var isImmunityOdd = false
    /// How often its producer was asked (`TRANSACTION_CHECK_TIMES`).
    var checks: Int
    /// Stored anew by the broker in the place of an earlier one.
    var isCopy: Bool
    /// Hash of the message's `UNIQ_KEY`, by which a copy is known; 0 without one.
    var key: UInt64

    /// - Parameters:
    ///   - place: where the record is.
    ///   - properties: as they are stored.
    init(_ place: Appended, bornTimestamp: Int64, storeTimestamp: Int64, properties: RawSpan) {
        queueOffset = place.queueOffset
        physicalOffset = place.physicalOffset
        size = place.size
        group = ""
        self.bornTimestamp = bornTimestamp
        checks = 0
        isCopy = false
        key = 0
        var scanner = PropertyScanner(properties)
        while let (name, range) = scanner.next() {
            let value = properties.extracting(range)
            if properties.equals(name, "PGROUP") {
                group = properties.string(range)
            } else if properties.equals(name, "UNIQ_KEY") {
                key = Self.hash(value)
            } else if properties.equals(name, "CHECK_IMMUNITY_TIME_IN_SECONDS") {
                (immunity, isImmunityOdd) = Self.immunity(value)
            } else if properties.equals(name, "TRANSACTION_CHECK_TIMES") {
                checks = Int(clamping: max(0, DecimalText.integer(value) ?? 0))
                isCopy = true
            } else if properties.equals(name, "TRAN_PREPARED_QUEUE_OFFSET") {
                isCopy = true
            }
        }
        // The clock of a producer that is behind must not take its immunity away. A copy's own time says nothing, though.
        heldSince = isCopy ? min(bornTimestamp, storeTimestamp) : storeTimestamp
    }

    /// As a record of the half topic says.
    init(_ record: MessageRecord, in bytes: RawSpan) {
        self.init(
            Appended(
                queueOffset: record.fields.queueOffset, physicalOffset: record.fields.physicalOffset, size: Int32(record.size)),
            bornTimestamp: record.fields.bornTimestamp, storeTimestamp: record.fields.storeTimestamp,
            properties: bytes.extracting(record.properties))
    }

    /// Whether both hold the same message of the same producer.
    func isSameMessage(as other: HalfMessage) -> Bool {
        key != 0 && key == other.key && bornTimestamp == other.bornTimestamp && group == other.group
    }

    /// The same for all copies of a message.
    var identity: Int64 { Int64(bitPattern: key) ^ bornTimestamp }

    /// Whether it is time to ask for its outcome. A clock that was set back by more than the immunity makes it time too.
    func isDue(at now: Int64, timeout: Int64) -> Bool {
        let immunity = immunity ?? timeout
        let (age, overflow) = now.subtractingReportingOverflow(heldSince)
        return overflow || age >= immunity || age < -immunity
    }

    /// In seconds: who is asked later than in a month is not asked.
    static let longestImmunity: Int64 = 30 * 86_400

    /// As the reference reads it: -1 and what is no number stand for the broker's own time-out, what is below 0 for none. One
    /// without end it lets stand: nobody would ever be asked.
    private static func immunity(_ text: RawSpan) -> (milliseconds: Int64?, isOdd: Bool) {
        guard let seconds = DecimalText.integer(text) else { return (nil, true) }
        if seconds == -1 { return (nil, false) }
        return (min(max(0, seconds), longestImmunity) * 1000, seconds < 0 || seconds > longestImmunity)
    }

    /// FNV-1a, never 0.
    private static func hash(_ bytes: RawSpan) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for index in 0..<bytes.byteCount { hash = (hash ^ UInt64(bytes.byte(at: index))) &* 0x100_0000_01B3 }
        return hash == 0 ? 1 : hash
    }
}
