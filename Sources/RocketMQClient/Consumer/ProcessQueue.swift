/// The messages of one queue that were pulled and are not finished yet, as offsets and sizes. Pure.
///
/// Invariant: `committable` never passes an offset that is held, so after a crash nothing that was not finished is skipped.
struct ProcessQueue: Equatable {
    struct Limits: Equatable {
        var count: Int
        var byteCount: Int
        var span: Int64
    }

    /// A ring would do for messages that finish in order; a sorted array does for all, since there are at most some
    /// thousand and most finish near its front. Finished ones behind a held one stay, marked, until it goes.
    private struct Entry: Equatable {
        var offset: Int64
        var byteCount: Int
        var isFinished = false
    }

    private var entries: [Entry] = []
    /// Entries before this index are finished and only wait to be cut off together.
    private var head = 0
    /// Messages held.
    private(set) var count = 0
    /// Their bytes.
    private(set) var byteCount = 0
    /// Everything before this offset is finished.
    private(set) var committable: Int64
    /// The offset behind the last message that was ever held, or behind what the broker said holds nothing for us.
    private var end: Int64

    init(startingAt offset: Int64) {
        committable = offset
        end = offset
    }

    var isEmpty: Bool { count == 0 }
    /// The distance between the first and the last message held.
    var span: Int64 { count == 0 ? 0 : entries[entries.count - 1].offset - entries[head].offset }
    var firstOffset: Int64? { count == 0 ? nil : entries[head].offset }

    func isWithin(_ limits: Limits) -> Bool { count <= limits.count && byteCount <= limits.byteCount && span <= limits.span }

    /// Holds a message. Returns whether it is new; one at or before an offset held before is a repetition.
    mutating func hold(_ offset: Int64, byteCount size: Int) -> Bool {
        guard offset >= end else { return false }
        if count == 0 { committable = offset }
        entries.append(Entry(offset: offset, byteCount: size))
        count += 1
        byteCount += size
        end = offset + 1
        return true
    }

    /// Notes that there is nothing for us before `offset`: messages that other tags have, or that are gone.
    mutating func skip(to offset: Int64) {
        end = max(end, offset)
        if count == 0 { committable = end }
    }

    /// Lets go of a message that is finished, however it ended.
    mutating func finish(_ offset: Int64) {
        guard let index = index(of: offset), !entries[index].isFinished else { return }
        entries[index].isFinished = true
        count -= 1
        byteCount -= entries[index].byteCount
        while head < entries.count, entries[head].isFinished { head += 1 }
        if head == entries.count {
            entries.removeAll(keepingCapacity: true)
            head = 0
            committable = end
        } else {
            committable = entries[head].offset
            if head >= 64, head * 2 >= entries.count {
                entries.removeFirst(head)
                head = 0
            }
        }
    }

    private func index(of offset: Int64) -> Int? {
        var low = head
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].offset == offset ? low : nil
    }
}
