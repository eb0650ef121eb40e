import RocketMQBase
import RocketMQProtocol

/// The `checkpoint` file: one page. The reference's fields come first; ours stand in the part of the page that it leaves
/// alone, and count only as long as its fields are those we wrote: otherwise it has run on this store since.
struct Checkpoint: Equatable {
    /// Store timestamps of the newest message that is durable in the log, in the consume queues, in the index.
    var logTimestamp: Int64 = 0
    var queueTimestamp: Int64 = 0
    var indexTimestamp: Int64 = 0

    /// What only we write. `nil` after the reference ran, or when the bytes are damaged.
    var own: Own?

    struct Own: Equatable {
        /// The log and every consume queue entry of messages before it are durable.
        var consistentOffset: Int64
        /// Written by a clean stop; `consistentOffset` is then the end of the log.
        var isClean: Bool
        /// The consume queues are being rebuilt: of what `consistentOffset` says only the log's part holds.
        var isRebuilding = false

        fileprivate var state: Int64 { isClean ? 1 : isRebuilding ? 2 : 0 }
    }

    static let size = 4096
    private static let ownPosition = 1024
    private static let ownMagic: UInt64 = 0x5357_4654_5F4D_5131
    private static let ownSize = 8 + 8 + 8 + 8 + 24

    init() {}

    /// Reads what is there; a missing or short file reads as zeros.
    init(_ bytes: [UInt8]) {
        guard bytes.count >= 24 else { return }
        bytes.withUnsafeBytes { raw in
            let span = raw.bytes
            logTimestamp = span.bigEndian(Int64.self, at: 0)
            queueTimestamp = span.bigEndian(Int64.self, at: 8)
            indexTimestamp = span.bigEndian(Int64.self, at: 16)
            let start = Self.ownPosition
            guard raw.count >= start + Self.ownSize + 4, span.bigEndian(UInt64.self, at: start) == Self.ownMagic else { return }
            let covered = span.extracting(start..<(start + Self.ownSize))
            guard Checksum.crc32(covered) == span.bigEndian(UInt32.self, at: start + Self.ownSize) else { return }
            for field in 0..<3 where span.bigEndian(Int64.self, at: field * 8) != covered.bigEndian(Int64.self, at: 32 + field * 8) {
                return
            }
            own = Own(
                consistentOffset: covered.bigEndian(Int64.self, at: 8),
                isClean: covered.bigEndian(Int64.self, at: 24) == 1, isRebuilding: covered.bigEndian(Int64.self, at: 24) == 2)
        }
    }

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: Self.size)
        for field in [logTimestamp, queueTimestamp, indexTimestamp] { buffer.append(bigEndian: field) }
        buffer.append([UInt8](repeating: 0, count: Self.ownPosition - 24))
        if let own {
            buffer.append(bigEndian: Self.ownMagic)
            buffer.append(bigEndian: own.consistentOffset)
            buffer.append(bigEndian: 0 as Int64)
            buffer.append(bigEndian: own.state)
            for field in [logTimestamp, queueTimestamp, indexTimestamp] { buffer.append(bigEndian: field) }
            let checksum = buffer.withBytes { Checksum.crc32($0.extracting(Self.ownPosition..<(Self.ownPosition + Self.ownSize))) }
            buffer.append(bigEndian: checksum)
        }
        buffer.append([UInt8](repeating: 0, count: Self.size - buffer.count))
        return buffer.copyBytes()
    }

    /// Puts what only we write into the file that is there, which takes no room of a full disk. Within one sector: the old or
    /// the new is there, whatever happens.
    ///
    /// - Returns: whether the file is one page with the same fields of the reference; otherwise nothing is done.
    func rewriteOwn(in path: String, _ fileSystem: any FileSystem) throws(FileSystemError) -> Bool {
        guard let old = try fileSystem.contents(of: path, atMost: 1 << 20), old.count >= Self.size else { return false }
        let new = encoded()
        guard old[..<24] == new[..<24] else { return false }
        let file = try fileSystem.open(path, .update)
        defer { file.close() }
        var failure: FileSystemError?
        new.withUnsafeBytes { bytes in
            let own = UnsafeRawBufferPointer(rebasing: bytes[Self.ownPosition..<(Self.ownPosition + Self.ownSize + 4)])
            do throws(FileSystemError) { try file.write(own, at: Int64(Self.ownPosition)) } catch { failure = error }
        }
        if let failure { throw failure }
        try file.synchronize()
        return true
    }
}
