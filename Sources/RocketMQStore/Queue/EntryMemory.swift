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
    /// Up to so many pieces in use, entries that are in their files are kept for readers that are a little behind.
    private static let fewPieces = 1 << 16

    /// In so many they wait for being written by and by, which is the cheaper the more of a queue are written together: 80 MiB.
    private static let piecesToWrite = 320 << 10
    /// More than these are not to be used: 120 MiB.
    private static let mostPieces = 480 << 10

    private var slabs: [UnsafeMutableRawPointer] = []
    /// Free pieces; each begins with the address of the next.
    private var free: UnsafeMutableRawPointer?
    private(set) var piecesInUse = 0

    init() {}

    deinit { for slab in slabs { slab.deallocate() } }

    var isScarce: Bool { piecesInUse > Self.fewPieces }
    /// Entries should be written now.
    var isWritingDue: Bool { piecesInUse > Self.piecesToWrite }
    /// Whoever brings more must write some.
    @inline(__always)
    var isExhausted: Bool { piecesInUse > Self.mostPieces }

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
