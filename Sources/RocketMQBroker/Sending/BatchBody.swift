import RocketMQBase
import RocketMQProtocol

/// The messages of a batch (320), as places in its body.
struct BatchBody {
    struct Entry {
        var flag: Int32
        var body: Range<Int>
        var properties: Range<Int>
    }

    /// More messages than this in one batch are refused.
    static let mostMessages = 65_536

    /// Reads the whole body before anything is stored: a batch is stored whole or not at all.
    static func entries(_ bytes: RawSpan) throws(MalformedBytes) -> [Entry] {
        var entries: [Entry] = []
        var reader = ByteReader(bytes)
        while reader.remaining > 0 {
            let start = reader.position
            let size = Int(try reader.integer(Int32.self, "size of message \(entries.count) of the batch"))
            _ = try reader.skip(8, "magic code and CRC")
            let flag = try reader.integer(Int32.self, "flag")
            let body = try reader.skip(Int(try reader.integer(Int32.self, "body length")), "body of message \(entries.count) of the batch")
            let length = Int(try reader.integer(UInt16.self, "properties length"))
            let properties = try reader.skip(length, "properties of message \(entries.count) of the batch")
            guard reader.position - start == size else {
                throw MalformedBytes("message \(entries.count) of the batch says \(size) bytes and has \(reader.position - start)")
            }
            entries.append(Entry(flag: flag, body: body, properties: properties))
            if entries.count > mostMessages { throw MalformedBytes("a batch of more than \(mostMessages) messages") }
        }
        guard !entries.isEmpty else { throw MalformedBytes("the batch holds no message") }
        return entries
    }
}
