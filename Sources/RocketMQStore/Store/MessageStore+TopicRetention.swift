import RocketMQBase
import RocketMQProtocol

/// A topic whose messages are kept for a time of their own.
struct TopicRetention {
    var milliseconds: Int64
    /// Nothing of it expires before, so that a look costs nothing.
    var nextDue: Int64 = 0
}

/// Topics with a retention of their own: the log is shared, therefore their queues begin later while the files are still
/// there; the space comes back when the file goes.
extension MessageStore {
    /// Sets for how long messages of a topic are served after they were stored; `nil` for as long as their file is there.
    /// It is looked at every `retentionInterval`; what has expired does not come back when the time is made longer.
    public func setRetention(ofTopic topic: String, milliseconds: Int64?) {
        guard retention.topics[topic]?.milliseconds != milliseconds else { return }
        retention.topics[topic] = milliseconds.map { TopicRetention(milliseconds: max(0, $0)) }
    }

    /// What has been set for the topic, in milliseconds.
    public func retention(ofTopic topic: String) -> Int64? { retention.topics[topic]?.milliseconds }

    private static var queuesOfAStep: Int { 100 }

    /// Topics on their way through expiry. Belongs to the loop.
    private final class Expiry {
        let readers: Readers
        let topics: [String]
        var nextTopic = 0
        var losses = UnreadLosses()
        /// When each topic is to be looked at again.
        var due: [String: Int64] = [:]

        init(readers: Readers, topics: [String]) {
            self.readers = readers
            self.topics = topics
        }
    }

    func expireTopics() {
        guard !retention.topics.isEmpty, !retention.isExpiringTopics else { return }
        let now = clock.wallMilliseconds
        let due = retention.topics.filter { $0.value.nextDue <= now }.map(\.key)
        guard !due.isEmpty else { return }
        retention.isExpiringTopics = true
        expireSome(Expiry(readers: groupProgress?() ?? [:], topics: due.sorted()))
    }

    private func expireSome(_ expiry: Expiry) {
        guard !upkeep.isClosed else { return }
        let now = clock.wallMilliseconds
        var queues: [ConsumeQueue] = []
        var searches: [ExpirySearch] = []
        while queues.count < Self.queuesOfAStep, expiry.nextTopic < expiry.topics.count {
            let topic = expiry.topics[expiry.nextTopic]
            expiry.nextTopic += 1
            guard let own = retention.topics[topic] else { continue }
            expiry.due[topic] = now + own.milliseconds
            for queue in (topics[topic] ?? [:]).values where !queue.isEmpty {
                queues.append(queue)
                searches.append(
                    ExpirySearch(
                        queue: QueueSnapshot(queue), retention: own.milliseconds, now: now, logDirectory: log.directory,
                        logStart: log.minOffset, logFileSize: log.fileSize))
            }
        }
        guard !queues.isEmpty else { return finish(expiry) }
        let work = searches
        let carried = LoopBound((store: self, expiry: expiry, queues: queues), on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            var results: [ExpirySearch.Result] = []
            var failure: StoreError?
            for search in work {
                do throws(StoreError) { results.append(try search.run(fileSystem)) } catch {
                    failure = error
                    results.append(ExpirySearch.Result(first: search.queue.minOffset, due: now))
                }
            }
            let (found, error) = (results, failure)
            loop.execute {
                let (store, expiry, queues) = carried.value
                if let error { store.report(.warning, "expired messages of topics are still served: \(error)") }
                for (queue, result) in zip(queues, found) { store.expire(queue, result, expiry, now) }
                store.expireSome(expiry)
            }
        }
    }

    private func expire(_ queue: ConsumeQueue, _ result: ExpirySearch.Result, _ expiry: Expiry, _ now: Int64) {
        var (first, due) = (min(result.first, queue.maxOffset), result.due)
        if configuration.retention.keepsUnread {
            for progress in expiry.readers[queue.topic] ?? [] {
                guard let offset = progress.offsets[queue.id], offset < first else { continue }
                (first, due) = (offset, now)
            }
        }
        expiry.due[queue.topic] = min(expiry.due[queue.topic] ?? due, due)
        guard first > queue.minOffset else { return }
        expiry.losses.note(queue.topic, queue.id, from: queue.minOffset, to: first, expiry.readers)
        queue.minOffset = first
    }

    private func finish(_ expiry: Expiry) {
        retention.isExpiringTopics = false
        for (topic, due) in expiry.due { retention.topics[topic]?.nextDue = due }
        if !expiry.losses.isEmpty {
            report(.warning, "messages expired unread, the retention of their topics is over: \(expiry.losses.text)")
        }
    }
}

/// Looks for the first message of a queue that has not expired. Runs where it may block.
private struct ExpirySearch: Sendable {
    struct Result: Sendable {
        /// The first offset that stays.
        var first: Int64
        /// When there may be more to do.
        var due: Int64
    }
    let queue: QueueSnapshot
    let retention: Int64
    let now: Int64
    let logDirectory: String
    let logStart: Int64
    let logFileSize: Int64

    func run(_ fileSystem: any FileSystem) throws(StoreError) -> Result {
        let nothing = Result(first: queue.minOffset, due: now)
        guard let head = try message(from: queue.minOffset, fileSystem) else { return nothing }
        guard isExpired(head.timestamp) else { return Result(first: queue.minOffset, due: head.timestamp + retention + 1) }
        // Expired, and the first that may not be.
        var (gone, kept) = (head.offset, queue.writtenOffset)
        var keptTimestamp: Int64?
        var step: Int64 = 1
        while gone + step < kept {
            guard let probe = try message(from: gone + step, fileSystem) else { return nothing }
            if isExpired(probe.timestamp) {
                gone = probe.offset
                step *= 4
            } else {
                (kept, keptTimestamp) = (gone + step, probe.timestamp)
            }
        }
        while gone + 1 < kept {
            let middle = gone + (kept - gone) / 2
            guard let probe = try message(from: middle, fileSystem), probe.offset < kept else {
                kept = middle
                continue
            }
            if isExpired(probe.timestamp) { gone = probe.offset } else { (kept, keptTimestamp) = (middle, probe.timestamp) }
        }
        // Behind what was written there is something in memory, or nothing.
        let whenEmpty = queue.writtenOffset < queue.maxOffset ? now : now + retention
        return Result(first: kept, due: keptTimestamp.map { $0 + retention + 1 } ?? whenEmpty)
    }

    private func isExpired(_ timestamp: Int64) -> Bool { timestamp < now - retention }

    /// The first message from `offset` on and when it was stored; one that the log no longer has counts as very old.
    private func message(from offset: Int64, _ fileSystem: any FileSystem) throws(StoreError) -> (offset: Int64, timestamp: Int64)? {
        guard let found = try queue.entry(from: offset, fileSystem) else { return nil }
        let place = found.entry.physicalOffset
        guard place >= logStart else { return (found.offset, .min / 2) }
        let base = logStart + (place - logStart) / logFileSize * logFileSize
        let file: any OpenFile
        do { file = try fileSystem.open(logDirectory + "/" + FileName.text(base), .read) } catch {
            // Deleted meanwhile.
            if error.code == .notFound { return (found.offset, .min / 2) }
            throw StoreError(error)
        }
        defer { file.close() }
        let bytes = try readExactly(file, at: place - base, count: MessageRecord.smallest)
        let span = bytes.span.bytes
        guard RecordLayout.isRecord(span, size: found.entry.size, at: place), let timestamp = RecordLayout.storeTimestamp(span) else {
            return (found.offset, .min / 2)
        }
        return (found.offset, timestamp)
    }
}
