/// What the broker and the client libraries need to know of a message: the record's `sysFlag`.
@frozen
public struct MessageSystemFlag: OptionSet, Hashable, Sendable, BitwiseCopyable {
    public var rawValue: Int32
    @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }

    /// The body is compressed, by `compression`.
    public static let compressed = Self(rawValue: 1)
    /// `TAGS` holds several tags.
    public static let multipleTags = Self(rawValue: 1 << 1)
    /// The record's born host is an IPv6 address.
    public static let bornHostIPv6 = Self(rawValue: 1 << 4)
    /// The record's store host is an IPv6 address.
    public static let storeHostIPv6 = Self(rawValue: 1 << 5)
    /// 5.x: the body is a batch that the consumer takes apart.
    public static let needsUnwrapping = Self(rawValue: 1 << 6)
    /// 5.x: the record is a batch.
    public static let innerBatch = Self(rawValue: 1 << 7)
    /// A broker of this project's: the message has `EXPIRE_AT_MS` among its properties. Others pay the bit no heed.
    public static let expires = Self(rawValue: 1 << 20)

    /// A message's part in a transaction: bits 2 and 3.
    @frozen
    public enum Transaction: Int32, Sendable {
        case none = 0
        /// A half message, which consumers must not see.
        case prepared = 0b01_00
        case committed = 0b10_00
        case rolledBack = 0b11_00
    }

    @usableFromInline static let transactionBits: Int32 = 0b11_00
    @usableFromInline static let compressionBits: Int32 = 0b111 << 8

    @inlinable public var transaction: Transaction {
        get { Transaction(rawValue: rawValue & Self.transactionBits) ?? .none }
        set { rawValue = rawValue & ~Self.transactionBits | newValue.rawValue }
    }

    /// How the body is compressed, which counts only beside `compressed`: bits 8 to 10. `nil` for a number without meaning;
    /// setting `nil` clears the bits, which means zlib.
    public var compression: CompressionType? {
        get { CompressionType(systemFlagBits: (rawValue & Self.compressionBits) >> 8) }
        set { rawValue = rawValue & ~Self.compressionBits | (newValue?.rawValue ?? 0) << 8 }
    }
}
