import RocketMQBase
import RocketMQProtocol

/// What a query by key found.
public struct QueryAnswer: Sendable, Equatable {
    /// Records in the buffer.
    public var count: Int
    /// Store timestamp and physical offset of the newest message in the index.
    public var indexTimestamp: Int64
    public var indexOffset: Int64
}

extension MessageStore {
    /// Finds messages of a topic by a key, their `UNIQ_KEY` or one of their `KEYS`, newest first, stored between the two
    /// times (milliseconds, both included). Works away from the loop; `completion` is called on it with the records.
    ///
    /// - Parameters:
    ///   - maxMessages: at most so many; there is no other cap.
    ///   - maxBytes: of all records together; the first is returned whatever its size.
    ///   - olderThan: only messages that lie before this place of the log: to go on where an answer ended.
    public func query(
        topic: String, key: String, maxMessages: Int, maxBytes: Int, from begin: Int64, through end: Int64, olderThan: Int64 = .max,
        completion: @escaping (Result<QueryAnswer, StoreError>, borrowing ByteBuffer) -> Void
    ) {
        // What has expired by its topic's retention is not found either.
        let oldest = retention(ofTopic: topic).map { clock.wallMilliseconds - $0 } ?? begin
        let query = KeyQuery(
            topic: topic, key: key, maxMessages: maxMessages, maxBytes: maxBytes, begin: max(begin, oldest), end: end,
            olderThan: olderThan, deletion: deletions.table.rows[topic])
        guard let index else {
            return completion(.success(QueryAnswer(count: 0, indexTimestamp: 0, indexOffset: 0)), ByteBuffer(capacity: 16))
        }
        let parts: [LogPart]
        do { parts = try logParts(from: log.minOffset) } catch { return completion(.failure(error), ByteBuffer(capacity: 16)) }
        let carried = LoopBound((self, completion), on: loop)
        let logEnd = log.writtenOffset
        workers.queries.run { [loop] in
            let result = query.run(index, parts, logEnd: logEnd)
            loop.execute {
                let (store, completion) = carried.value
                store.indexWasAsked()
                var buffer = ByteBuffer(capacity: 256)
                switch result {
                case .failure(let error): completion(.failure(error), buffer)
                case .success(let (answer, bytes)):
                    buffer.append(bytes)
                    completion(.success(answer), buffer)
                }
            }
        }
    }
}

/// A query on its way through the index, on a worker.
private struct KeyQuery: Sendable {
    let topic: String
    let key: String
    let maxMessages: Int
    let maxBytes: Int
    let begin: Int64
    let end: Int64
    let olderThan: Int64
    /// Of the topic, when it was deleted: what is older is not of the topic as it is now.
    let deletion: DeletedTopics.Row?

    /// The index may be behind; a message sent a moment ago should be found all the same, unless very much is missing.
    private static let catchUpLimit = 256 << 20

    func run(_ index: IndexBuilder, _ parts: [LogPart], logEnd: Int64) -> Result<(QueryAnswer, [UInt8]), StoreError> {
        do throws(StoreError) {
            // A damaged file of the index is found by asking it; without it the log tells.
            for _ in 0..<8 { if let found = try search(index, parts, logEnd: logEnd) { return .success(found) } }
            throw StoreError(.damaged, "the index is damaged again and again: see dmesg")
        } catch { return .failure(error) }
    }

    /// `nil` when a part of the index was damaged, and is not there any more.
    private func search(_ index: IndexBuilder, _ parts: [LogPart], logEnd: Int64) throws(StoreError) -> (QueryAnswer, [UInt8])? {
        if logEnd - index.indexedOffset < Int64(Self.catchUpLimit) {
            var reached: Int64 = -1
            while true {
                let now = try index.advance(parts, to: logEnd, byteLimit: 1 << 20)
                if now >= logEnd || now == reached { break }
                reached = now
            }
        }
        var output: [UInt8] = []
        var count = 0
        var oldest = olderThan
        let page = min(max(256, maxMessages), 4096)
        search: while true {
            guard let places = try index.candidates(topic: topic, key: key, from: begin, through: end, olderThan: oldest, limit: page)
            else { return nil }
            for place in places {
                guard let record = try record(at: place, parts, logEnd: logEnd) else { continue }
                if count > 0, output.count + record.count > maxBytes { break search }
                output += record
                count += 1
                if count >= maxMessages { break search }
            }
            guard places.count == page, let last = places.last, last < oldest else { break }
            oldest = last
        }
        let newest = index.newest
        return (QueryAnswer(count: count, indexTimestamp: newest.timestamp, indexOffset: newest.physicalOffset), output)
    }

    /// The record at a place that the index named, when it is there and one that is asked for.
    private func record(at place: Int64, _ parts: [LogPart], logEnd: Int64) throws(StoreError) -> [UInt8]? {
        guard let part = parts.first(where: { place >= $0.base && place < $0.end }) else { return nil }
        let available = Int(clamping: min(part.end, logEnd) - place)
        guard available >= MessageRecord.smallest else { return nil }
        var bytes = try readExactly(part.file, at: place - part.base, count: min(available, 4096))
        guard bytes.count >= MessageRecord.smallest else { return nil }
        let size = Int(bytes.span.bytes.bigEndian(Int32.self, at: 0))
        guard size >= MessageRecord.smallest, size <= available else { return nil }
        if size > bytes.count { bytes = try readExactly(part.file, at: place - part.base, count: size) }
        guard case .record(let record) = MessageRecord.find(in: bytes.span.bytes, at: 0, verifyingChecksum: true),
            record.fields.physicalOffset == place, record.fields.storeTimestamp >= begin, record.fields.storeTimestamp <= end,
            bytes.span.bytes.string(record.topic) == topic, hasKey(record, bytes.span.bytes),
            deletion?.covers(place, storedAt: record.fields.storeTimestamp) != true
        else { return nil }
        bytes.removeLast(bytes.count - size)
        return bytes
    }

    private func hasKey(_ record: MessageRecord, _ bytes: RawSpan) -> Bool {
        let properties = bytes.extracting(record.properties)
        if MessageProperties.value(of: PropertyName.uniqueKey, in: properties) == key { return true }
        guard let keys = MessageProperties.value(of: PropertyName.keys, in: properties) else { return false }
        return keys.split(separator: " ").contains { $0 == key }
    }
}
