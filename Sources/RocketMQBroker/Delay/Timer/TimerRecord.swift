import RocketMQBase
import RocketMQProtocol

/// What a record of the timer's queue says: when its message is due, or that another one is taken back.
struct TimerRecord {
    /// Milliseconds since 1970 at which the message is delivered.
    var due: Int64
    var entry: TimerEntry

    /// Recalls carry this in the field in which deliveries carry their origin: no producer can make one.
    static let recallKind = 0xFFF
    /// Behind it nothing is a time.
    static let latest: Int64 = 1 << 52
    /// `timerPrecisionMs` of the reference, at most.
    private static let longestSpan: Int64 = 60_000

    /// `nil` when it is damaged.
    init?(_ record: MessageRecord, in bytes: RawSpan) {
        let fields = record.fields
        if let origin = DeliveryOrigin(fields.preparedTransactionOffset), origin.kind == Self.recallKind {
            guard let wake = DecimalText.integer(bytes.extracting(record.body)) else { return nil }
            due = wake
            entry = .recall(of: origin.queueOffset, wake: wake, physicalOffset: fields.physicalOffset)
            return
        }
        let properties = bytes.extracting(record.properties)
        var (due, wake): (Int64?, Int64?) = (nil, nil)
        var (seconds, milliseconds, time): (Int64?, Int64?, Int64?) = (nil, nil, nil)
        var scanner = PropertyScanner(properties)
        // What the broker added stands behind what the producer sent.
        while let (name, value) = scanner.next() {
            if properties.equals(name, "TIMER_OUT_MS") {
                due = DecimalText.integer(properties.extracting(value))
                wake = nil
            } else if properties.equals(name, "TIMER_WAKE_MS") {
                wake = DecimalText.integer(properties.extracting(value))
            } else if properties.equals(name, "TIMER_DELIVER_MS") {
                time = DecimalText.integer(properties.extracting(value))
            } else if properties.equals(name, "TIMER_DELAY_MS") {
                milliseconds = DecimalText.integer(properties.extracting(value))
            } else if properties.equals(name, "TIMER_DELAY_SEC") {
                seconds = DecimalText.integer(properties.extracting(value))
            }
        }
        guard var due, due <= Self.latest else { return nil }
        // The reference notes the beginning of the span in which a message is due: what its producer said is exact.
        let wanted = (seconds.map { $0 &* 1000 } ?? milliseconds).map { fields.storeTimestamp &+ $0 } ?? time
        if let wanted, wanted > due, wanted - due <= Self.longestSpan { due = wanted }
        self.due = due
        entry = .message(
            fields.queueOffset, wake: min(wake ?? due, due), physicalOffset: fields.physicalOffset, size: Int32(record.size))
    }
}

/// When a message is due, and when its record is looked at: earlier, to be stored anew, when that is so far off that its log
/// file would be gone by then.
struct TimerTimes: Equatable {
    var due: Int64
    var wake: Int64

    init(due: Int64, now: Int64, roll: Int64) {
        self.due = due
        wake = due - now > roll ? now + roll : due
    }

    /// Appends the properties that say so.
    func append(to properties: inout ByteBuffer) {
        if !properties.isEmpty { properties.append(2) }
        properties.append("TIMER_OUT_MS\u{1}")
        properties.append(decimal: due)
        guard wake < due else { return }
        properties.append("\u{2}TIMER_WAKE_MS\u{1}")
        properties.append(decimal: wake)
    }
}
