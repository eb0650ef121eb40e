import CLZ4
import CZlib
import CZstd
import RocketMQBase

/// How a message's body is compressed: bits 8 to 10 of its system flag.
public enum CompressionType: Int32, Sendable, CaseIterable {
    /// LZ4 in its frame format.
    case lz4 = 1
    case zstd = 2
    case zlib = 3

    /// The type of the system flag's bits; 0 is zlib, from before there was a choice. `nil` for the unused numbers.
    public init?(systemFlagBits: Int32) {
        self.init(rawValue: systemFlagBits == 0 ? CompressionType.zlib.rawValue : systemFlagBits)
    }

    public var name: String {
        switch self {
        case .lz4: "LZ4"
        case .zstd: "ZSTD"
        case .zlib: "ZLIB"
        }
    }

    public init?(name: String) {
        guard let type = CompressionType.allCases.first(where: { $0.name == name.uppercased() }) else { return nil }
        self = type
    }
}

/// Bytes that could not be compressed or decompressed.
public struct CompressionError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// The bytes are not of the format, or are cut off.
        case corrupt
        /// More came out than the limit allows: a body made to exhaust the reader's memory, or a limit that is too low.
        case limitExceeded
        /// The library ran out of memory or refused its arguments.
        case failed
    }

    public var code: Code
    public var type: CompressionType
    public var detail: String

    public init(_ code: Code, _ type: CompressionType, _ detail: String) {
        self.code = code
        self.type = type
        self.detail = detail
    }

    public var description: String { "\(type.name): \(detail)" }
}

extension CompressionType {
    /// The level that the reference's clients use.
    public static let defaultLevel: Int32 = 5

    /// Compresses. `level` is 0...9, of which LZ4 has only one effort below 3.
    public func compress(_ bytes: RawSpan, level: Int32 = defaultLevel) throws(CompressionError) -> [UInt8] {
        switch self {
        case .zlib: try Zlib.compress(bytes, level: level)
        case .lz4: try LZ4Frame.compress(bytes, level: level)
        case .zstd: try Zstandard.compress(bytes, level: level)
        }
    }

    public func compress(_ bytes: [UInt8], level: Int32 = defaultLevel) throws(CompressionError) -> [UInt8] {
        try compress(bytes.span.bytes, level: level)
    }

    /// Decompresses to at most `limit` bytes, holding not much more memory than what comes out.
    public func decompress(_ bytes: RawSpan, limit: Int) throws(CompressionError) -> [UInt8] {
        switch self {
        case .zlib: try Zlib.decompress(bytes, limit: limit)
        case .lz4: try LZ4Frame.decompress(bytes, limit: limit)
        case .zstd: try Zstandard.decompress(bytes, limit: limit)
        }
    }

    public func decompress(_ bytes: [UInt8], limit: Int) throws(CompressionError) -> [UInt8] {
        try decompress(bytes.span.bytes, limit: limit)
    }

    func tooLarge(_ limit: Int) -> CompressionError {
        CompressionError(.limitExceeded, self, "more than \(limit) bytes come out of a body")
    }
}

/// An output that doubles as a decompressor fills it, up to a limit.
struct BoundedOutput: ~Copyable {
    private(set) var bytes: [UInt8]
    private(set) var count = 0
    private let limit: Int

    init(startingWith guess: Int, limit: Int) {
        self.limit = limit
        bytes = [UInt8](repeating: 0, count: max(0, min(guess, limit)))
    }

    /// Whether another byte may come out; makes room for it.
    mutating func makeRoom() -> Bool {
        if count < bytes.count { return true }
        guard bytes.count < limit else { return false }
        bytes.append(contentsOf: repeatElement(0, count: min(bytes.count, limit - bytes.count)))
        return true
    }

    /// Gives `fill` the free room; it returns how many bytes of it hold output now.
    mutating func fill<Result>(_ fill: (UnsafeMutableRawBufferPointer) -> (written: Int, Result)) -> Result {
        let (written, result) = bytes.withUnsafeMutableBytes { room in
            fill(UnsafeMutableRawBufferPointer(rebasing: room[count...]))
        }
        count += written
        return result
    }

    /// What came out. Room that was left over does not stay with a body that may live long.
    consuming func finish() -> [UInt8] {
        if bytes.count - count > bytes.count / 4 { return Array(bytes[..<count]) }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
