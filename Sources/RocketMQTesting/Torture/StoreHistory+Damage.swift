import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Damage at rest, at the end of a history: bits of files have turned while nothing ran.
extension StoreHistory {
    /// A stretch of the log that was damaged.
    private struct Hit {
        var path: String
        var bytes: Range<Int>
        /// In the commit log: physical offsets.
        var log: Range<Int64>?
    }

    /// What is served is right all the same, what is not is said, and damage costs the messages that it hit and no others: in
    /// files outside of the log none, where only the process ended none but those, and after a loss of power those behind it
    /// only as long as nothing shows that they were flushed.
    func openDamaged() throws(TortureFailure) {
        guard let hit = try damage() else { return }
        if let problem = openOnce() {
            guard problem.reason.contains("/") || problem.reason.contains("damaged") else {
                throw failure("a damaged file is refused without saying which: \(problem)")
            }
            return
        }
        let served = try checkServed(hit)
        try checkLost(hit, served)
        // What was repaired stays so: nothing more is lost by the next start, and no position is given twice.
        let ends = queueEnds()
        crash(.kill)
        if let problem = openOnce() { throw failure("after its repair the store cannot be opened: \(problem)") }
        var again = try checkServed(hit)
        var before = served
        // What was hit may turn up elsewhere: the start after a crash goes by what its head says.
        if let log = hit.log {
            let places = acknowledged.filter { log.overlaps($0.physicalOffset..<$0.end) }.map(\.physicalOffset)
            again.subtract(places)
            before.subtract(places)
        }
        guard again == before || hit.log == nil && again.isSuperset(of: before) else {
            throw failure("a start after the repair finds other messages: \(again.symmetricDifference(before).sorted())")
        }
        guard queueEnds() == ends else { throw failure("after a start queues end at \(queueEnds()), and did at \(ends)") }
        try sendAfterDamage()
    }

    private func damage() throws(TortureFailure) -> Hit? {
        let paths = files.paths.filter { !$0.hasSuffix(".tmp") && !$0.contains("/put-aside/") }
        let isLog = Bool.random(using: &random)
        guard
            let path = paths.filter({ $0.contains("/commitlog/") == isLog }).randomElement(using: &random) ?? paths.first,
            var bytes = files.bytes(path), !bytes.isEmpty
        else { return nil }
        // Where something was written.
        let written = bytes.lastIndex { $0 != 0 } ?? 0
        let place = chance(0...written)
        var range = place..<(place + 1)
        if isLog, chance(0...2) == 0 {
            range = place..<min(written + 1, place + chance(1...1500))
            for index in range { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
        } else {
            bytes[place] ^= 1 << UInt8(chance(0...7))
        }
        files.setBytes(path, bytes)
        note("bytes \(range) of \(path) turned")
        counts.bitFlips += 1
        guard isLog, let base = Int64(path.suffix(20)) else { return Hit(path: path, bytes: range) }
        return Hit(path: path, bytes: range, log: base + Int64(range.lowerBound)..<base + Int64(range.upperBound))
    }

    /// Physical offsets of what is served; all of it must have been sent as it is.
    private func checkServed(_ hit: Hit) throws(TortureFailure) -> Set<Int64> {
        guard let store else { return [] }
        var found: [Found] = []
        for topic in store.topicNames { for queue in store.queues(topic: topic) { found += try read(store, queue) } }
        let candidates = Dictionary(uniqueKeysWithValues: (acknowledged + uncertain).map { ($0.physicalOffset, $0) })
        for message in found {
            guard let sent = candidates[message.fields.physicalOffset], sent.body == message.body else {
                throw failure("a damaged record is served: \(message.topic) at \(message.fields.physicalOffset)")
            }
            // A record's checksum is that of its body; its head may say something else.
            let isHit = hit.log.map { $0.overlaps(sent.physicalOffset..<sent.end) } ?? false
            guard isHit || isSame(message, sent) else {
                throw failure(
                    "\(message.topic)-\(message.fields.queueID):\(message.fields.queueOffset) at \(sent.physicalOffset) is not as it was sent"
                )
            }
        }
        let places = Set(found.map(\.fields.physicalOffset))
        guard places.count == found.count else { throw failure("a message is served twice") }
        return places
    }

    private func checkLost(_ hit: Hit, _ served: Set<Int64>) throws(TortureFailure) {
        guard let store else { return }
        let start = max(store.minPhysicalOffset, minPhysical)
        let missing = acknowledged[..<required].filter { $0.physicalOffset >= start && !served.contains($0.physicalOffset) }
        guard let first = missing.first else { return }
        guard reports.contains(where: { $0.0 != .information }) else {
            throw failure("message \(first.number) at \(first.physicalOffset) is lost to damage in \(hit.path), and nothing is said of it")
        }
        guard let log = hit.log else {
            // A bit in an entry's tags or in its size: it is found when it is read.
            return
        }
        let innocent = missing.filter { !log.overlaps($0.physicalOffset..<$0.end) }
        guard let other = innocent.first else { return }
        // Nothing shows what the last moment before a loss of power flushed: then the log ends, and says where it keeps the rest.
        guard mayBeTorn, innocent.allSatisfy({ $0.physicalOffset >= log.lowerBound }),
            reports.contains(where: { $0.1.contains("/put-aside/") })
        else {
            throw failure("message \(other.number) at \(other.physicalOffset) is lost to damage at \(log) of the log")
        }
    }

    private func queueEnds() -> [String] {
        guard let store else { return [] }
        return store.topicNames.sorted().flatMap { topic in
            store.queues(topic: topic).filter { $0.maxOffset > 0 }.map { "\(topic)-\($0.id):\($0.maxOffset)" }
        }
    }

    /// The repaired log takes messages as ever.
    private func sendAfterDamage() throws(TortureFailure) {
        guard let store else { return }
        let queue = store.queue(topic: "T", id: 0)
        let end = queue.maxOffset
        let before = acknowledged.count
        tick(store)
        let new = acknowledged[before...].filter { $0.topic == "T" && $0.queueID == 0 }
        guard new.enumerated().allSatisfy({ $0.element.queueOffset == end + Int64($0.offset) }) else {
            throw failure("after the repair T-0 goes on at \(new.map(\.queueOffset)), and ended at \(end)")
        }
    }
}
