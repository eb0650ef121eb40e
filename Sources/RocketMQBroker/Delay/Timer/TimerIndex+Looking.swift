import RocketMQBase

/// Questions about what waits, for tools and recalls.
extension TimerIndex {
    /// Looks something up without waiting for the disk on the loop: `look` runs at once, and again each time when a page has
    /// come that it lacked. `completion` is called before this returns when all was in memory.
    func lookUp<Value>(
        _ look: @escaping () throws(TimerLookupInterruption) -> Value, completion: @escaping (Result<Value, FileSystemError>) -> Void
    ) {
        do throws(TimerLookupInterruption) { completion(.success(try look())) } catch {
            guard case .needsDisk(let run, let page) = error else { return completion(.failure(error.reason)) }
            // Another has taken its place.
            guard let run = runs.first(where: { $0.info.id == run }) else { return lookUp(look, completion: completion) }
            run.fetch(page) { [self] failure in
                if let failure { completion(.failure(failure)) } else { lookUp(look, completion: completion) }
            }
        }
    }

    /// Whether the message waits and was not taken back. For `lookUp`.
    func isPending(_ entry: TimerEntry) throws(TimerLookupInterruption) -> Bool {
        let recall = TimerEntry.recall(of: entry.queueOffset, wake: entry.key.wake, physicalOffset: 0).key
        guard try holds(entry.key) else { return false }
        return try !holds(recall)
    }

    private func holds(_ key: TimerKey) throws(TimerLookupInterruption) -> Bool {
        if memory.contains(key) || frozen?.heap.contains(key) == true { return true }
        for run in runs where run.info.firstQueueOffset <= key.order >> 1 && key.order >> 1 <= run.info.lastQueueOffset {
            if try run.holds(key) { return true }
        }
        return false
    }

    /// Messages whose time was at `wake` or before, and the earliest time of them. For `lookUp`.
    func waiting(upTo wake: Int64) throws(TimerLookupInterruption) -> (count: Int64, earliest: Int64?) {
        var (count, earliest) = memory.waiting(upTo: wake)
        func add(_ more: (count: Int64, earliest: Int64?)) {
            count += more.count
            if let first = more.earliest { earliest = min(earliest ?? first, first) }
        }
        if let frozen { add(frozen.heap.waiting(upTo: wake)) }
        for run in runs { add(try run.waiting(upTo: wake)) }
        return (max(0, count), earliest)
    }

    /// Those of the keys that belong to entries in memory.
    func inMemory(_ isWanted: (TimerKey) -> Bool) -> Set<TimerKey> {
        Set((memory.entries + (frozen?.heap.entries ?? [])).lazy.map(\.key).filter(isWanted))
    }
}
