import RocketMQBase
import RocketMQProtocol

/// Looks for whole records in bytes that begin with something else. A record names its own place in the log, so that hardly
/// anything passes for one by chance.
enum RecordSearch {
    /// Where the first intact record behind `position` begins, or one that reaches beyond these bytes; `offset` is the physical
    /// offset of the first byte.
    static func next(in bytes: RawSpan, after position: Int, at offset: Int64) -> Int? {
        var from = position + 1
        while let place = candidate(in: bytes, from: from) {
            if bytes.bigEndian(Int64.self, at: place + MessageRecord.Layout.physicalOffset) == offset + Int64(place) {
                switch MessageRecord.find(in: bytes, at: place, verifyingChecksum: true) {
                case .record, .incomplete: return place
                default: break
                }
            }
            from = place + 1
        }
        return nil
    }

    /// The first place from `start` on where the head of a record may be: its magic is there, and room for the rest.
    static func candidate(in bytes: RawSpan, from start: Int) -> Int? {
        var place = start
        let last = bytes.byteCount - MessageRecord.smallest
        while place <= last {
            // Most of what is looked through are zeros, of which a magic has none.
            if bytes.bigEndian(UInt64.self, at: place + MessageRecord.Layout.magic) == 0 {
                place += 8
                continue
            }
            let magic = bytes.bigEndian(UInt32.self, at: place + MessageRecord.Layout.magic)
            if magic == MessageRecordVersion.v1.magic || magic == MessageRecordVersion.v2.magic { return place }
            place += 1
        }
        return nil
    }
}
