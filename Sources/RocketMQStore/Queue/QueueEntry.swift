/// An entry of a consume queue: where a message is, and what filters look at. 20 bytes on the disk.
@frozen
public struct QueueEntry: Equatable, Sendable {
    public var physicalOffset: Int64
    public var size: Int32
    /// Hash of the tags; delivery time in queues of delayed messages.
    public var tagsCode: Int64

    @inlinable
    public init(physicalOffset: Int64, size: Int32, tagsCode: Int64) {
        self.physicalOffset = physicalOffset
        self.size = size
        self.tagsCode = tagsCode
    }

    static let byteCount = 20

    /// Fills the head of a file whose queue starts in its middle, and holes.
    static let filler = QueueEntry(physicalOffset: 0, size: .max, tagsCode: 0)
    var isFiller: Bool { physicalOffset == 0 && size == .max }
    /// Nothing was written here, or garbage.
    var isVoid: Bool { size <= 0 || physicalOffset < 0 }

    @inline(__always)
    init(from bytes: UnsafeRawPointer) {
        physicalOffset = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
        size = Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: Int32.self))
        tagsCode = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 12, as: Int64.self))
    }

    @inline(__always)
    func store(to bytes: UnsafeMutableRawPointer) {
        bytes.storeBytes(of: physicalOffset.bigEndian, as: Int64.self)
        bytes.storeBytes(of: size.bigEndian, toByteOffset: 8, as: Int32.self)
        bytes.storeBytes(of: tagsCode.bigEndian, toByteOffset: 12, as: Int64.self)
    }
}
