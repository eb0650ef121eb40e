import RocketMQBase
import RocketMQProtocol

/// What the store checks and needs of a record without reading all of it.
enum RecordLayout {
    /// Everything but hosts, body, topic and properties, with a one-byte topic length.
    static let fixedSize = MessageRecord.smallest - 2 * 8

    /// Prepared and rolled-back transaction messages get no consume queue entry.
    @inline(__always)
    static func entersQueue(_ systemFlag: Int32) -> Bool {
        // Bit 2 is set in these two types alone.
        systemFlag & 0b100 == 0
    }

    /// Whether `bytes` starts with a record of this size at this place of the log: what is checked before serving it.
    @inline(__always)
    static func isRecord(_ bytes: RawSpan, size: Int32, at physicalOffset: Int64) -> Bool {
        guard bytes.byteCount >= MessageRecord.smallest, bytes.bigEndian(Int32.self, at: 0) == size else { return false }
        let magic = bytes.bigEndian(UInt32.self, at: MessageRecord.Layout.magic)
        return (magic == MessageRecordVersion.v1.magic || magic == MessageRecordVersion.v2.magic)
            && bytes.bigEndian(Int64.self, at: MessageRecord.Layout.physicalOffset) == physicalOffset
    }

    /// Whether a record that passed `isRecord` says that it is not to be delivered for ever.
    @inline(__always)
    static func mayExpire(_ bytes: RawSpan) -> Bool {
        bytes.bigEndian(Int32.self, at: MessageRecord.Layout.systemFlag) & MessageSystemFlag.expires.rawValue != 0
    }

    /// When a record is not to be delivered any more, in milliseconds; `nil`: never.
    static func expiry(_ bytes: RawSpan) -> Int64? {
        guard case .record(let record) = MessageRecord.find(in: bytes, at: 0, verifyingChecksum: false) else { return nil }
        let properties = bytes.extracting(record.properties)
        return MessageProperties.range(of: PropertyName.expireAtMilliseconds, in: properties).flatMap {
            DecimalText.integer(properties.extracting($0))
        }
    }

    /// Where the length of the topic stands in a record that passed `isRecord`; `nil` when that cannot be.
    static func topicPosition(_ bytes: RawSpan) -> Int? {
        let flag = MessageSystemFlag(rawValue: bytes.bigEndian(Int32.self, at: MessageRecord.Layout.systemFlag))
        let position = MessageRecord.Layout.bodyLength(
            bornIPv6: flag.contains(.bornHostIPv6), storeIPv6: flag.contains(.storeHostIPv6))
        guard bytes.byteCount >= position + 4 else { return nil }
        let bodyLength = Int(bytes.bigEndian(Int32.self, at: position))
        guard bodyLength >= 0, position + 4 + bodyLength < Int(bytes.bigEndian(Int32.self, at: 0)) else { return nil }
        return position + 4 + bodyLength
    }

    /// Whether `bytes`, from the topic's length on, say `topic`.
    static func isTopic(_ topic: UnsafeRawBufferPointer, _ bytes: RawSpan, of head: RawSpan) -> Bool {
        let isVersion2 = head.bigEndian(UInt32.self, at: MessageRecord.Layout.magic) == MessageRecordVersion.v2.magic
        let start = isVersion2 ? 2 : 1
        guard bytes.byteCount >= start + topic.count else { return false }
        let count = isVersion2 ? Int(bytes.bigEndian(UInt16.self, at: 0)) : Int(bytes.byte(at: 0))
        guard count == topic.count else { return false }
        return bytes.extracting(start..<(start + count)).withUnsafeBytes { $0.elementsEqual(topic) }
    }

    /// The store timestamp of a record that passed `isRecord`; `nil` when it is cut off.
    static func storeTimestamp(_ bytes: RawSpan) -> Int64? {
        let flag = MessageSystemFlag(rawValue: bytes.bigEndian(Int32.self, at: MessageRecord.Layout.systemFlag))
        let position = MessageRecord.Layout.storeTimestamp(bornIPv6: flag.contains(.bornHostIPv6))
        guard bytes.byteCount >= position + 8 else { return nil }
        return bytes.bigEndian(Int64.self, at: position)
    }
}

/// Writes big-endian values one after another into memory whose size was reserved for exactly this record.
struct RecordWriter {
    private var position: UnsafeMutableRawPointer

    @inline(__always) init(_ start: UnsafeMutableRawPointer) { position = start }

    @inline(__always)
    mutating func put<Number: FixedWidthInteger & BitwiseCopyable>(_ value: Number) {
        position.storeBytes(of: value.bigEndian, as: Number.self)
        position += MemoryLayout<Number>.size
    }

    @inline(__always)
    mutating func put(_ bytes: RawSpan) {
        let size = bytes.byteCount
        guard size > 0 else { return }
        bytes.withUnsafeBytes { position.copyMemory(from: $0.baseAddress!, byteCount: size) }
        position += size
    }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        position.copyMemory(from: start, byteCount: bytes.count)
        position += bytes.count
    }

    @inline(__always)
    mutating func put(_ address: SocketAddress) {
        switch address.host {
        case .ipv4(let bits): put(bits)
        case .ipv6(let high, let low):
            put(high)
            put(low)
        }
        put(UInt32(address.port))
    }
}
