/// Memory for the newest entries of all queues of a store: pieces of one size, so that what one queue has written serves the
/// next that needs some, and many queues with few entries each take little more than these.
///
/// Memory safety: a piece belongs to who took it, until it is given back. Confined to the store's thread.
final class EntryMemory {
    /// Four lines of a processor's cache; aligned to its size.
    static let pieceSize = 256
    static let entriesOfPiece = 12
    static let usedOfPiece = entriesOfPiece * QueueEntry.byteCount
    private static let piecesOfSlab = 1024
    private var slabs: [UnsafeMutableRawPointer] = []
    /// Free pieces; each begins with the address of the next.
    private var free: UnsafeMutableRawPointer?
    private(set) var piecesInUse = 0

    /// Pieces in use up to which entries that are in their files are kept, for readers that are a little behind.
    private let few: Int
    /// Beyond it entries should be written now. Until then they wait: it is the cheaper the more of a queue are written together.
    private let many: Int
    /// More are not to be used.
    private let most: Int

    /// - Parameter limit: bytes. Every queue with messages has a piece of them.
    init(limit: Int) {
        most = max(limit / Self.pieceSize, 4)
        many = most * 2 / 3
        few = most / 8
    }

    deinit { for slab in slabs { slab.deallocate() } }

    var isScarce: Bool { piecesInUse > few }
    var fewEntries: Int { few * Self.entriesOfPiece }
    /// Entries should be written now.
    var isWritingDue: Bool { piecesInUse > many }
    /// Whoever brings more must write some.
    @inline(__always)
    var isExhausted: Bool { piecesInUse > most }

    func take() -> UnsafeMutableRawPointer {
        piecesInUse += 1
        guard let piece = free else { return addSlab() }
        free = piece.load(as: UnsafeMutableRawPointer?.self)
        return piece
    }

    func give(back piece: UnsafeMutableRawPointer) {
        piece.storeBytes(of: free, as: UnsafeMutableRawPointer?.self)
        free = piece
        piecesInUse -= 1
    }

    /// Returns its first piece; the others are free.
    @inline(never)
    private func addSlab() -> UnsafeMutableRawPointer {
        let slab = UnsafeMutableRawPointer.allocate(byteCount: Self.piecesOfSlab * Self.pieceSize, alignment: Self.pieceSize)
        slabs.append(slab)
        for index in (1..<Self.piecesOfSlab).reversed() {
            let piece = slab + index * Self.pieceSize
            piece.storeBytes(of: free, as: UnsafeMutableRawPointer?.self)
            free = piece
        }
        return slab
    }

    /// Gives everything back to the system when no queue has a piece.
    func trim() {
        guard piecesInUse == 0 else { return }
        for slab in slabs { slab.deallocate() }
        slabs = []
        free = nil
    }
}
