import RocketMQBase
import RocketMQProtocol

/// What the broker looks for in a message's properties, found in one pass without copying anything. Positions refer to the
/// bytes that were scanned: entries `name` 1 `value`, separated by 2.
struct StoredProperties {
    var tags: Range<Int>?
    var uniqueKey: Range<Int>?
    var delay: Range<Int>?
    /// `EXPIRE_AFTER_MS` and `EXPIRE_AT_MS`.
    var expireAfter: Range<Int>?
    var expireAt: Range<Int>?
    /// Entries that are not stored: the broker has looked at `WAIT`, and sets `CLUSTER` and `__CRC32#` itself.
    var dropped: [3 of Range<Int>] = [0..<0, 0..<0, 0..<0]
    var droppedCount = 0
    /// `WAIT=false`: the producer does not want to wait for the flush.
    var doesNotWait = false
    var isTransactionPrepared = false
    /// The 5.x properties for delivery at any time.
    var timerDelaySeconds: Range<Int>?
    var timerDelayMilliseconds: Range<Int>?
    var timerDeliver: Range<Int>?
    /// It waited for its time once and is sent on: not again.
    var wasTimed = false
    var hasTimer: Bool { !wasTimed && (timerDelaySeconds != nil || timerDelayMilliseconds != nil || timerDeliver != nil) }
    /// `DLQ_ORIGIN_MESSAGE_ID` or `DLQ_SENT_FROM`: a dead letter that is sent once more.
    var isDeadLetter = false
    /// `REPLY_TO_CLIENT`: who waits for a reply.
    var requester: Range<Int>?
    private let isOfBatch: Bool

    /// - Parameter isOfBatch: whether the message is one of a batch, whose `WAIT=false` readers expect to find again, as with
    ///   the reference.
    init(_ bytes: RawSpan, isOfBatch: Bool = false) {
        self.isOfBatch = isOfBatch
        let end = bytes.byteCount
        var start = 0
        while start < end {
            let separator = Self.index(of: 1, in: bytes, from: start, or: 2)
            // An entry without a value ends here.
            if separator == end || bytes.byte(at: separator) == 2 {
                start = separator + 1
                continue
            }
            let stop = Self.index(of: 2, in: bytes, from: separator + 1, or: 2)
            if separator > start, stop > separator + 1 {
                note(bytes, start..<separator, (separator + 1)..<stop, entryEnd: min(stop + 1, end))
            }
            start = stop + 1
        }
    }

    /// The first place from `start` on that holds one of two bytes, eight places at a time; the end when none does.
    @inline(__always)
    private static func index(of byte: UInt8, in bytes: RawSpan, from start: Int, or other: UInt8) -> Int {
        let (first, second) = (UInt64(byte) &* 0x0101_0101_0101_0101, UInt64(other) &* 0x0101_0101_0101_0101)
        var index = start
        while index + 8 <= bytes.byteCount {
            let word: UInt64 = bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            let found = zeroBytes(word ^ first) | zeroBytes(word ^ second)
            if found != 0 { return index + found.trailingZeroBitCount >> 3 }
            index += 8
        }
        while index < bytes.byteCount, bytes.byte(at: index) != byte, bytes.byte(at: index) != other { index += 1 }
        return index
    }

    /// The high bit of each byte of `word` that is zero (exact up to the first one, which is all that is used).
    @inline(__always)
    private static func zeroBytes(_ word: UInt64) -> UInt64 { (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 }

    @inline(__always)
    private mutating func note(_ bytes: RawSpan, _ name: Range<Int>, _ value: Range<Int>, entryEnd: Int) {
        // The names' bytes as one number, the first byte lowest: see `RawSpan.word`.
        switch bytes.word(name) {
        case 0x5347_4154: tags = value  // TAGS
        case 0x5449_4157:  // WAIT
            doesNotWait = !bytes.equals(value, "true")
            if !isOfBatch || !doesNotWait { drop(name.lowerBound..<entryEnd) }
        case 0x59_414C_4544: delay = value  // DELAY
        case 0x52_4554_5355_4C43: drop(name.lowerBound..<entryEnd)  // CLUSTER
        case 0x2332_3343_5243_5F5F: drop(name.lowerBound..<entryEnd)  // __CRC32#
        case 0x5945_4B5F_5149_4E55: uniqueKey = value  // UNIQ_KEY
        case 0x4753_4D5F_4E41_5254: isTransactionPrepared = bytes.equals(value, "true")  // TRAN_MSG
        case 0 where name.count >= 12 && name.count <= 16:
            switch name.count {
            case 12:
                if bytes.equals(name, "TIMER_OUT_MS") { wasTimed = true }
                if bytes.equals(name, PropertyName.expireAtMilliseconds) { expireAt = value }
            case 13: if bytes.equals(name, PropertyName.deadLetterPlace) { isDeadLetter = true }
            case 14: if bytes.equals(name, "TIMER_DELAY_MS") { timerDelayMilliseconds = value }
            case 15:
                if bytes.equals(name, "TIMER_DELAY_SEC") { timerDelaySeconds = value }
                if bytes.equals(name, PropertyName.expireAfterMilliseconds) { expireAfter = value }
                if bytes.equals(name, PropertyName.replyToClient) { requester = value }
            case 16: if bytes.equals(name, "TIMER_DELIVER_MS") { timerDeliver = value }
            default: break
            }
        case 0 where name.count == 21: if bytes.equals(name, "DLQ_ORIGIN_MESSAGE_ID") { isDeadLetter = true }
        default: break
        }
    }

    private mutating func drop(_ range: Range<Int>) {
        guard droppedCount < 3 else { return }
        dropped[droppedCount] = range
        droppedCount += 1
    }

    /// Writes the properties without the dropped entries, and without a separator at the end.
    func writeKept(of bytes: RawSpan, to output: inout ByteBuffer) {
        output.removeAll()
        var from = 0
        for index in 0..<droppedCount {
            output.append(bytes.extracting(from..<dropped[index].lowerBound))
            from = dropped[index].upperBound
        }
        output.append(bytes.extracting(from..<bytes.byteCount))
        while !output.isEmpty, output.withBytes({ $0.byte(at: $0.byteCount - 1) }) == 2 { output.truncate(to: output.count - 1) }
    }
}
