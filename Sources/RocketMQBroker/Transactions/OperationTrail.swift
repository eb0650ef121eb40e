/// Which operation records are still needed: those that decide a half message at or behind the first undecided one. All
/// before `first` need not be read at the next start. Eight bytes for each that is kept.
struct OperationTrail {
    /// Offset in the operation queue.
    private(set) var first: Int64
    /// The half message that each decides, the newest of them where there are several; those before `head` are done with.
    private var halves: [Int64] = []
    private var head = 0

    init(first: Int64) { self.first = first }

    /// Records that are kept in mind.
    var count: Int { halves.count - head }

    /// The operation at `offset` decides the half message at `half`. In the order of the queue; what was passed over decides
    /// nothing.
    mutating func note(_ offset: Int64, decides half: Int64) {
        let next = first + Int64(count)
        guard offset >= next else { return }
        if count == 0 {
            first = offset
        } else {
            for _ in 0..<(offset - next) { halves.append(.min) }
        }
        halves.append(half)
    }

    /// All half messages before `firstUndecided` are decided.
    mutating func advance(to firstUndecided: Int64) {
        while head < halves.count, halves[head] < firstUndecided {
            head += 1
            first += 1
        }
        if head == halves.count {
            halves.removeAll(keepingCapacity: halves.capacity <= 4096)
            head = 0
        } else if head > 4096, head > halves.count / 2 {
            halves.removeSubrange(0..<head)
            head = 0
        }
    }
}
