extension IndexFile {
    /// The store timestamps of its messages, in milliseconds, as far as the header does not tell: clocks are set back.
    struct Times: Equatable, Sendable {
        var earliest: Int64
        var latest: Int64
        /// None is older than one before it, but for a second at most: the times in the entries are right.
        var isOrdered: Bool

        init(_ header: Header) {
            earliest = min(header.beginTimestamp, header.endTimestamp)
            latest = max(header.beginTimestamp, header.endTimestamp)
            isOrdered = header.beginTimestamp <= header.endTimestamp
        }

        /// So far back the clock may be set without harm.
        static let tolerance: Int64 = 1000

        mutating func add(_ timestamp: Int64) {
            if timestamp < latest - Self.tolerance { isOrdered = false }
            earliest = min(earliest, timestamp)
            latest = max(latest, timestamp)
        }
    }
}
