import RocketMQBase

/// The two layouts of a record, told apart by its magic number.
@frozen
public enum MessageRecordVersion: Sendable, Hashable {
    /// One byte for the topic's length.
    case v1
    /// Two bytes for the topic's length (5.x).
    case v2

    @inlinable public var magic: UInt32 { self == .v1 ? 0xDAA3_20A7 : 0xDAA3_20AB }
    @inlinable var topicLengthSize: Int { self == .v1 ? 1 : 2 }
}

/// The fields of a record that have a fixed size.
public struct MessageRecordFields: Sendable, Hashable {
    public var queueID: Int32
    public var flag: Int32
    /// The record's place in its queue.
    public var queueOffset: Int64
    /// The record's place in the commit log.
    public var physicalOffset: Int64
    public var systemFlag: MessageSystemFlag
    /// Milliseconds since 1970 at which the producer made the message.
    public var bornTimestamp: Int64
    /// The producer's address.
    public var bornHost: SocketAddress
    /// Milliseconds since 1970 at which the broker stored it.
    public var storeTimestamp: Int64
    /// The broker's address.
    public var storeHost: SocketAddress
    public var reconsumeTimes: Int32
    /// Of a committed message, the physical offset of its half message.
    public var preparedTransactionOffset: Int64

    public init(
        queueID: Int32, flag: Int32 = 0, queueOffset: Int64, physicalOffset: Int64, systemFlag: MessageSystemFlag = [],
        bornTimestamp: Int64, bornHost: SocketAddress, storeTimestamp: Int64, storeHost: SocketAddress, reconsumeTimes: Int32 = 0,
        preparedTransactionOffset: Int64 = 0
    ) {
        self.queueID = queueID
        self.flag = flag
        self.queueOffset = queueOffset
        self.physicalOffset = physicalOffset
        self.systemFlag = systemFlag
        self.bornTimestamp = bornTimestamp
        self.bornHost = bornHost
        self.storeTimestamp = storeTimestamp
        self.storeHost = storeHost
        self.reconsumeTimes = reconsumeTimes
        self.preparedTransactionOffset = preparedTransactionOffset
    }
}

/// A message as it lies in the commit log and travels in answers to pulls: its fields, and where its parts are in the bytes
/// that it was found in. Holds nothing that is allocated.
public struct MessageRecord: Sendable, Hashable {
    public var version: MessageRecordVersion
    /// Where the record begins and ends.
    public var range: Range<Int>
    /// The checksum that the record carries of its body: CRC-32, top bit cleared.
    public var bodyChecksum: Int32
    public var fields: MessageRecordFields
    public var body: Range<Int>
    public var topic: Range<Int>
    public var properties: Range<Int>

    /// Bytes of the record.
    public var size: Int { range.count }

    /// What stands at a place of the commit log.
    public enum Finding: Sendable, Hashable {
        case record(MessageRecord)
        /// The filler that closes a file; the next record begins in the next file. `byteCount` is what it claims to span.
        case endOfFile(byteCount: Int)
        /// Zeros where a record would begin: nothing was written here yet.
        case unwritten
        /// The bytes end before the record does. `needed` counts from the record's beginning, as far as is known.
        case incomplete(needed: Int)
        case damaged(Damage)
    }

    public enum Damage: Sendable, Hashable, CustomStringConvertible {
        case wrongMagic(UInt32)
        /// No record can have the size that stands here.
        case impossibleSize(Int32)
        /// The lengths of body, topic and properties do not add up to the size.
        case lengthsDisagree(size: Int)
        case wrongChecksum(stored: Int32, computed: Int32)
        /// The record does not have the checksum that its property `__CRC32#` says.
        case wrongRecordChecksum(stored: Int64, computed: Int32)

        public var description: String {
            switch self {
            case .wrongMagic(let magic): "0x\(String(magic, radix: 16)) is no record's magic number"
            case .impossibleSize(let size): "no record has \(size) bytes"
            case .lengthsDisagree(let size): "the lengths of body, topic and properties do not add up to the record's \(size) bytes"
            case .wrongChecksum(let stored, let computed): "the body has checksum \(computed), the record says \(stored)"
            case .wrongRecordChecksum(let stored, let computed): "the record has checksum \(computed), its property __CRC32# says \(stored)"
            }
        }
    }

    /// The magic number of the filler at the end of a file.
    public static let endOfFileMagic: UInt32 = 0xCBD4_3194
    /// Bytes of the filler's own fields: a file is closed while at least these are left.
    public static let endOfFileSize = 8
    /// Bytes of the smallest record: IPv4 addresses, nothing in body, topic and properties.
    public static let smallest = 91

    /// Looks at what stands at `start`, which lies within `bytes`. With `verifyingChecksum` the body is checked too, unless
    /// it is empty, and the whole record where it has a checksum of all of it.
    public static func find(in bytes: RawSpan, at start: Int, verifyingChecksum: Bool) -> Finding {
        precondition(start >= 0 && start <= bytes.byteCount)
        let available = bytes.byteCount - start
        guard available >= 8 else { return .incomplete(needed: 8) }
        let size = bytes.bigEndian(Int32.self, at: start)
        let magic = bytes.bigEndian(UInt32.self, at: start + 4)
        let version: MessageRecordVersion
        switch magic {
        case MessageRecordVersion.v1.magic: version = .v1
        case MessageRecordVersion.v2.magic: version = .v2
        case endOfFileMagic: return size >= 8 ? .endOfFile(byteCount: Int(size)) : .damaged(.impossibleSize(size))
        case 0 where size == 0: return .unwritten
        default: return .damaged(.wrongMagic(magic))
        }
        guard Int(size) >= smallest else { return .damaged(.impossibleSize(size)) }
        guard available >= Int(size) else { return .incomplete(needed: Int(size)) }
        guard let record = parse(bytes, start..<(start + Int(size)), version) else { return .damaged(.lengthsDisagree(size: Int(size))) }
        if verifyingChecksum, !record.body.isEmpty {
            let computed = Checksum.body(bytes.extracting(record.body))
            guard computed == record.bodyChecksum else {
                return .damaged(.wrongChecksum(stored: record.bodyChecksum, computed: computed))
            }
        }
        if verifyingChecksum, let stored = RecordChecksum.value(in: bytes.extracting(record.properties)) {
            let computed = RecordChecksum.of(bytes.extracting(record.range.lowerBound..<(record.range.upperBound - RecordChecksum.size)))
            guard computed == stored else { return .damaged(.wrongRecordChecksum(stored: stored, computed: computed)) }
        }
        return .record(record)
    }

    /// Reads the record at `start` of bytes that a peer sent: anything else throws.
    public static func parse(_ bytes: RawSpan, at start: Int) throws(MalformedBytes) -> MessageRecord {
        guard start >= 0, start < bytes.byteCount else { throw MalformedBytes("record expected at byte \(start), beyond the end") }
        switch find(in: bytes, at: start, verifyingChecksum: false) {
        case .record(let record): return record
        case .endOfFile, .unwritten: throw MalformedBytes("no record at byte \(start)")
        case .incomplete(let needed):
            throw MalformedBytes("record of \(needed) bytes at byte \(start) is cut off after \(bytes.byteCount - start)")
        case .damaged(let damage): throw MalformedBytes("record at byte \(start): \(damage)")
        }
    }

    /// `range` lies within `bytes` and holds at least `smallest` bytes. `nil` unless all parts fill it exactly.
    private static func parse(_ bytes: RawSpan, _ range: Range<Int>, _ version: MessageRecordVersion) -> MessageRecord? {
        let start = range.lowerBound
        let systemFlag = MessageSystemFlag(rawValue: bytes.bigEndian(Int32.self, at: start + Layout.systemFlag))
        let bornIPv6 = systemFlag.contains(.bornHostIPv6)
        let storeIPv6 = systemFlag.contains(.storeHostIPv6)
        let bodyLengthAt = start + Layout.bodyLength(bornIPv6: bornIPv6, storeIPv6: storeIPv6)
        // Parts are taken from what remains, so that no sum of hostile lengths is ever formed.
        guard range.upperBound - bodyLengthAt >= 4 else { return nil }
        let bodyLength = Int(bytes.bigEndian(Int32.self, at: bodyLengthAt))
        let bodyAt = bodyLengthAt + 4
        guard bodyLength >= 0, bodyLength <= range.upperBound - bodyAt - version.topicLengthSize else { return nil }
        let topicLengthAt = bodyAt + bodyLength
        let topicLength =
            version == .v1 ? Int(bytes.byte(at: topicLengthAt)) : Int(bytes.bigEndian(UInt16.self, at: topicLengthAt))
        let topicAt = topicLengthAt + version.topicLengthSize
        guard topicLength <= range.upperBound - topicAt - 2 else { return nil }
        let propertiesAt = topicAt + topicLength + 2
        let propertiesLength = Int(bytes.bigEndian(UInt16.self, at: propertiesAt - 2))
        guard propertiesLength == range.upperBound - propertiesAt else { return nil }
        let storeTimestampAt = start + Layout.storeTimestamp(bornIPv6: bornIPv6)
        let fields = MessageRecordFields(
            queueID: bytes.bigEndian(Int32.self, at: start + Layout.queueID),
            flag: bytes.bigEndian(Int32.self, at: start + Layout.flag),
            queueOffset: bytes.bigEndian(Int64.self, at: start + Layout.queueOffset),
            physicalOffset: bytes.bigEndian(Int64.self, at: start + Layout.physicalOffset),
            systemFlag: systemFlag,
            bornTimestamp: bytes.bigEndian(Int64.self, at: start + Layout.bornTimestamp),
            bornHost: address(bytes, at: start + Layout.bornHost, isIPv6: bornIPv6),
            storeTimestamp: bytes.bigEndian(Int64.self, at: storeTimestampAt),
            storeHost: address(bytes, at: storeTimestampAt + 8, isIPv6: storeIPv6),
            reconsumeTimes: bytes.bigEndian(Int32.self, at: bodyLengthAt - 12),
            preparedTransactionOffset: bytes.bigEndian(Int64.self, at: bodyLengthAt - 8))
        return MessageRecord(
            version: version, range: range, bodyChecksum: bytes.bigEndian(Int32.self, at: start + Layout.bodyChecksum), fields: fields,
            body: bodyAt..<topicLengthAt, topic: topicAt..<(topicAt + topicLength), properties: propertiesAt..<range.upperBound)
    }

    /// Ports take four bytes; of a number that is no port the low half is taken.
    private static func address(_ bytes: RawSpan, at start: Int, isIPv6: Bool) -> SocketAddress {
        let host: SocketAddress.Host =
            isIPv6
            ? .ipv6(bytes.bigEndian(UInt64.self, at: start), bytes.bigEndian(UInt64.self, at: start + 8))
            : .ipv4(bytes.bigEndian(UInt32.self, at: start))
        return SocketAddress(host: host, port: UInt16(truncatingIfNeeded: bytes.bigEndian(Int32.self, at: start + (isIPv6 ? 16 : 4))))
    }

    /// Where the fields stand, counted from the record's beginning.
    public enum Layout {
        public static let magic = 4
        public static let bodyChecksum = 8
        public static let queueID = 12
        public static let flag = 16
        public static let queueOffset = 20
        public static let physicalOffset = 28
        public static let systemFlag = 36
        public static let bornTimestamp = 40
        public static let bornHost = 48

        @inlinable public static func hostSize(isIPv6: Bool) -> Int { isIPv6 ? 20 : 8 }
        @inlinable public static func storeTimestamp(bornIPv6: Bool) -> Int { bornHost + hostSize(isIPv6: bornIPv6) }
        /// Where the body's length stands; 12 bytes before it the reconsume times, 8 before it the transaction's offset.
        @inlinable public static func bodyLength(bornIPv6: Bool, storeIPv6: Bool) -> Int {
            storeTimestamp(bornIPv6: bornIPv6) + 8 + hostSize(isIPv6: storeIPv6) + 12
        }
    }
}
