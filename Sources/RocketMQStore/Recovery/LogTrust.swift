/// What a start knows of the log before it reads it: it decides whether something that is no record is damage, whose
/// neighbours are kept, or the end of what was written.
///
/// A loss of power takes any sectors of what was not flushed. Good records behind bad bytes then prove nothing: the log ends
/// before the first bad record, so that never a piece of its middle is missing. Where the bytes were flushed, or the system
/// that took them has not stopped since, nothing but damage can have made them bad; the log goes on behind it.
struct LogTrust {
    /// The log was flushed until here.
    var durableEnd: Int64 = 0
    /// What was written and not flushed is there as well: only the process ended.
    var isMemoryIntact = false
    /// A record that is older than this was flushed, with all before it: what the reference's checkpoint tells. 0: nothing.
    var durableTimestamp: Int64 = 0
    /// After a clean stop the log ends where it is said to, without a search.
    var isEndKnown = false

    enum Verdict: Equatable {
        /// The log goes on at `resume`.
        case hole(resume: Int64)
        /// The log ends before the bad bytes.
        case end
    }

    /// What bad bytes at `place` are, when the next good record behind them is `next`.
    func verdict(at place: Int64, next: (offset: Int64, storeTimestamp: Int64)?, lastTimestamp: Int64) -> Verdict {
        guard let next else { return place < durableEnd ? .hole(resume: durableEnd) : .end }
        if isMemoryIntact { return .hole(resume: next.offset) }
        if place < durableEnd { return .hole(resume: min(next.offset, durableEnd)) }
        let isOlder = next.storeTimestamp < durableTimestamp && next.storeTimestamp >= lastTimestamp
        return isOlder ? .hole(resume: next.offset) : .end
    }
}
