import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// What a start finds, held against what was promised.
extension StoreHistory {
    /// A message as it was read.
    struct Found {
        var topic: String
        var body: String
        var properties: String
        var fields: MessageRecordFields
        var size: Int
    }

    func check() throws(TortureFailure) {
        guard let store else { return }
        guard store.minPhysicalOffset <= minPhysical else {
            throw failure("the log begins at \(store.minPhysicalOffset), and nothing before \(minPhysical) only was to go")
        }
        var found: [Found] = []
        for topic in store.topicNames { for queue in store.queues(topic: topic) { found += try read(store, queue) } }
        // A file that could not be removed may come again, with messages that were to go.
        let start = max(store.minPhysicalOffset, minPhysical)
        found.removeAll { $0.fields.physicalOffset < start }
        found.sort { $0.fields.physicalOffset < $1.fields.physicalOffset }
        let candidates = acknowledged + uncertain
        let gone = candidates.count { $0.physicalOffset < start }
        guard found.count >= required - gone else {
            let missing = candidates[(gone + found.count)..<required].first
            throw failure("\(found.count) messages are there, and \(required - gone) must be; the first missing is \(text(missing))")
        }
        guard found.count <= candidates.count - gone else {
            throw failure("\(found.count) messages are there, and only \(candidates.count - gone) were ever sent")
        }
        let expected = Array(candidates[gone..<(gone + found.count)])
        try compare(found, expected, "the log")
        acknowledged = Array(candidates[..<(gone + found.count)])
        uncertain = []
        try checkQueues(store)
        try checkIndex(store, expected)
        required = acknowledged.count
        flushedEnd = store.flushedOffset
        minPhysical = start
        mayBeTorn = false
        guard store.flushedOffset <= store.writtenOffset, store.writtenOffset >= acknowledged.last?.end ?? 0 else {
            throw failure("the log ends at \(store.writtenOffset), durable to \(store.flushedOffset), and has more messages")
        }
        note("\(found.count) messages found, the log is \(start)..<\(store.writtenOffset), durable to \(store.flushedOffset)")
    }

    private func text(_ sent: Sent?) -> String {
        sent.map { "message \($0.number), \($0.topic)-\($0.queueID):\($0.queueOffset) at \($0.physicalOffset)" } ?? "none"
    }

    func compare(_ found: [Found], _ expected: [Sent], _ what: String) throws(TortureFailure) {
        guard found.count == expected.count else {
            throw failure("\(what): \(found.count) messages are there instead of \(expected.count)")
        }
        for (found, sent) in zip(found, expected) {
            guard isSame(found, sent) else {
                throw failure(
                    "\(what): in the place of \(text(sent)) there is \(found.topic)-\(found.fields.queueID):\(found.fields.queueOffset) at "
                        + "\(found.fields.physicalOffset), \"\(found.body.prefix(20))\", properties \(found.properties.utf8.count) bytes "
                        + "instead of \(sent.properties.utf8.count)")
            }
        }
    }

    func isSame(_ found: Found, _ sent: Sent) -> Bool {
        found.fields.physicalOffset == sent.physicalOffset && found.fields.queueOffset == sent.queueOffset
            && found.fields.queueID == sent.queueID && found.topic == sent.topic && found.body == sent.body
            && areSame(found.properties, sent.properties) && found.fields.storeTimestamp == sent.storeTimestamp
    }

    private func areSame(_ found: String, _ sent: String) -> Bool {
        // A checksum of the record may follow.
        found == sent || configuration.writesRecordChecksums && found.hasPrefix(sent + "\u{2}__CRC32#")
    }

    /// Queues begin and end where their messages do.
    private func checkQueues(_ store: MessageStore) throws(TortureFailure) {
        for topic in store.topicNames {
            for queue in store.queues(topic: topic) {
                let all = acknowledged.filter { $0.topic == topic && $0.queueID == queue.id }
                guard let last = all.last else { continue }
                guard queue.maxOffset == last.queueOffset + 1 else {
                    throw failure("\(topic)-\(queue.id) ends at \(queue.maxOffset) instead of \(last.queueOffset + 1)")
                }
                guard let first = all.first(where: { $0.physicalOffset >= minPhysical }) else { continue }
                guard queue.minOffset <= first.queueOffset else {
                    throw failure("\(topic)-\(queue.id) begins at \(queue.minOffset) instead of \(first.queueOffset)")
                }
            }
        }
    }

    /// Everything is found by its keys.
    private func checkIndex(_ store: MessageStore, _ expected: [Sent]) throws(TortureFailure) {
        guard configuration.isIndexEnabled, let some = expected.randomElement(using: &random) else { return }
        for key in some.keys + (expected.last?.keys.prefix(1) ?? []) {
            let wanted = expected.filter { $0.topic == some.topic && $0.keys.contains(key) }.map(\.physicalOffset)
            var places: [Int64]?
            store.query(topic: some.topic, key: key, maxMessages: 1000, maxBytes: 1 << 20, from: 0, through: .max) { result, bytes in
                guard case .success = result else { return }
                places = Self.parse(bytes.copyBytes())?.map(\.fields.physicalOffset)
            }
            for _ in 0..<100 where places == nil && loop.runBackgroundStep() { loop.settle() }
            places?.removeAll { $0 < minPhysical }
            guard places == wanted.reversed() else {
                throw failure("the key \(key) of \(some.topic) finds \(places.map { "\($0)" } ?? "an error"), and should \(wanted)")
            }
        }
    }

    // MARK: Reading

    /// All messages of a queue, as a consumer reads them.
    func read(_ store: MessageStore, _ queue: ConsumeQueue) throws(TortureFailure) -> [Found] {
        var found: [Found] = []
        var next = queue.minOffset
        let limits = ReadLimits(messages: 5, bytes: 64 << 10)
        for _ in 0..<10_000 {
            var output = ByteBuffer()
            var result = store.read(queue, from: next, limits: limits, filter: .all, into: &output)
            var bytes = output.copyBytes()
            if result == .needsDisk {
                store.readFromDisk(queue, from: next, limits: limits, filter: .all) { answer, buffer in
                    (result, bytes) = (answer, buffer.copyBytes())
                }
                loop.settle()
            }
            switch result {
            case .found(let after, let count):
                guard let parsed = Self.parse(bytes), parsed.count == count else {
                    throw failure("a read of \(queue.topic)-\(queue.id) at \(next) gives bytes that are no good records")
                }
                found += parsed
                next = after
            case .noMatch(let after): next = after
            case .atEnd, .emptyQueue: return found
            default: throw failure("a read of \(queue.topic)-\(queue.id) at \(next): \(result)")
            }
        }
        throw failure("\(queue.topic)-\(queue.id) has no end")
    }

    static func parse(_ bytes: [UInt8]) -> [Found]? {
        var found: [Found] = []
        var position = 0
        let span = bytes.span.bytes
        while position < bytes.count {
            guard case .record(let record) = MessageRecord.find(in: span, at: position, verifyingChecksum: true) else { return nil }
            found.append(
                Found(
                    topic: span.string(record.topic), body: span.string(record.body), properties: span.string(record.properties),
                    fields: record.fields, size: record.size))
            position = record.range.upperBound
        }
        return found
    }
}
