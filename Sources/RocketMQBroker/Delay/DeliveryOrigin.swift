/// Says of a delivered record which delayed record it delivers, so that after a crash the log itself tells what was
/// delivered. It stands in the record's field for the transaction's offset, which means nothing in a message that consumers
/// get, which no producer can set, and which costs nothing to look at.
struct DeliveryOrigin: Equatable {
    /// 0 for the timer, else the delay level.
    var kind: Int
    /// Of the delayed record in its queue.
    var queueOffset: Int64

    static let timer = 0
    /// No offset of the commit log is so large.
    private static let mark: Int64 = 0x5D
    private static let kindBits: Int64 = 12
    private static let offsetBits: Int64 = 44

    init(kind: Int, queueOffset: Int64) {
        self.kind = kind
        self.queueOffset = queueOffset
    }

    /// From the field; `nil` when it holds something else.
    init?(_ field: Int64) {
        guard field >> (Self.kindBits + Self.offsetBits) == Self.mark else { return nil }
        kind = Int(field >> Self.offsetBits & (1 << Self.kindBits - 1))
        queueOffset = field & (1 << Self.offsetBits - 1)
    }

    /// For the field; 0 where the numbers have no room in it.
    var field: Int64 {
        guard kind >= 0, kind < 1 << Self.kindBits, queueOffset >= 0, queueOffset < 1 << Self.offsetBits else { return 0 }
        return Self.mark << (Self.kindBits + Self.offsetBits) | Int64(kind) << Self.offsetBits | queueOffset
    }
}
