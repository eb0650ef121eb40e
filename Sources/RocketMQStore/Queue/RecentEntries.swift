/// The newest entries of one queue, those of consecutive offsets, in pieces of `EntryMemory`. A piece holds the offsets of one
/// number: `offset / EntryMemory.entriesOfPiece`.
///
/// Invariants: there is a piece for every offset of `start..<end`, and none that holds none of them, except that the last may be
/// there for offsets to come; `place` is where the entry of `end` goes, if there is a piece for it.
struct RecentEntries {
    /// One beyond the newest entry that is here, and the oldest.
    private(set) var end: Int64
    private var place: UnsafeMutableRawPointer?
    private(set) var start: Int64
    /// A ring of the pieces, found by their numbers.
    private var ring: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private var ringCapacity = 0
    private var first: Int64 = 0
    private var count = 0

    init(at offset: Int64) {
        start = offset
        end = offset
    }

    private static var entriesOfPiece: Int64 { Int64(EntryMemory.entriesOfPiece) }

    /// Where the next entry goes, 0 when that is not known.
    var nextAddress: UInt { UInt(bitPattern: place) }

    @inline(__always)
    private func piece(_ number: Int64) -> Int { Int(truncatingIfNeeded: number) & (ringCapacity - 1) }

    /// Whether `addPiece` must come before the next `append`.
    @inline(__always)
    var isFull: Bool {
        // Behind the last entry of a piece.
        place == nil || UInt(bitPattern: place) & UInt(EntryMemory.pieceSize - 1) == UInt(EntryMemory.usedOfPiece)
    }

    @inline(__always)
    mutating func append(_ entry: QueueEntry) {
        guard let place else { return }
        entry.store(to: place)
        self.place = place + QueueEntry.byteCount
        end += 1
    }

    @inline(never)
    mutating func addPiece(_ memory: EntryMemory) {
        let number = end / Self.entriesOfPiece
        if count == 0 { first = number }
        if count == ringCapacity { grow() }
        let fresh = memory.take()
        if let ring { ring[piece(number)] = fresh }
        count += 1
        place = fresh + Int(end % Self.entriesOfPiece) * QueueEntry.byteCount
    }

    private mutating func grow() {
        let larger = max(ringCapacity * 2, 4)
        let fresh = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: larger)
        if let ring {
            for number in first..<(first + Int64(count)) {
                (fresh + (Int(truncatingIfNeeded: number) & (larger - 1))).initialize(to: ring[piece(number)])
            }
            ring.deallocate()
        }
        ring = fresh
        ringCapacity = larger
    }

    /// The entry at an offset, when it is here.
    @inline(__always)
    func entry(_ offset: Int64) -> QueueEntry? {
        guard offset >= start, offset < end, let ring else { return nil }
        let (number, index) = offset.quotientAndRemainder(dividingBy: Self.entriesOfPiece)
        return QueueEntry(from: ring[piece(number)] + Int(index) * QueueEntry.byteCount)
    }

    /// As many entries as lie together from `offset` on; `nil` when there is none before `limit`.
    func together(from offset: Int64, until limit: Int64) -> UnsafeRawBufferPointer? {
        guard offset >= start, offset < min(limit, end), let ring else { return nil }
        let (number, index) = offset.quotientAndRemainder(dividingBy: Self.entriesOfPiece)
        let entries = min(min(limit, end) - offset, Self.entriesOfPiece - index)
        return UnsafeRawBufferPointer(
            start: ring[piece(number)] + Int(index) * QueueEntry.byteCount, count: Int(entries) * QueueEntry.byteCount)
    }

    // MARK: Forgetting

    /// Forgets what lies from `offset` on, which is not before `start`.
    mutating func cut(to offset: Int64, _ memory: EntryMemory) {
        end = offset
        while count > 0, let ring, (first + Int64(count) - 1) * Self.entriesOfPiece >= offset {
            memory.give(back: ring[piece(first + Int64(count) - 1)])
            count -= 1
        }
        place = nil
        guard count > 0, let ring, offset < (first + Int64(count)) * Self.entriesOfPiece else { return }
        place = ring[piece(offset / Self.entriesOfPiece)] + Int(offset % Self.entriesOfPiece) * QueueEntry.byteCount
    }

    /// Forgets entries before `offset`, as far as they fill pieces, and what has room for others stays.
    mutating func forget(before offset: Int64, _ memory: EntryMemory) {
        let number = min(offset, end) / Self.entriesOfPiece
        guard count > 0, let ring, number > first else { return }
        while count > 0, first < number {
            memory.give(back: ring[piece(first)])
            first += 1
            count -= 1
        }
        if count == 0 { place = nil }
        start = max(start, number * Self.entriesOfPiece)
        if count == 0 { start = end }
    }

    /// Has nothing any more, and goes on at `offset`; the memory is given back.
    mutating func reset(to offset: Int64, _ memory: EntryMemory) {
        while count > 0, let ring {
            memory.give(back: ring[piece(first)])
            first += 1
            count -= 1
        }
        ring?.deallocate()
        ring = nil
        ringCapacity = 0
        place = nil
        start = offset
        end = offset
    }
}
