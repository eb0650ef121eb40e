import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Batches (320): stored whole or not at all, but for those of their messages that were stored before.
extension SendHandler {
    /// What became of a batch so far.
    private struct Stored {
        var physicalOffsets: [Int64] = []
        /// Of the first message.
        var queueID: Int32 = 0
        var queueOffset: Int64 = 0
        /// How many are staged now; the others were stored before.
        var staged = 0
        /// The log's end behind the last of those others.
        var end: Int64 = 0

        mutating func add(_ physicalOffset: Int64, queueID: Int32, queueOffset: Int64) {
            if physicalOffsets.isEmpty { (self.queueID, self.queueOffset) = (queueID, queueOffset) }
            physicalOffsets.append(physicalOffset)
        }
    }

    func storeBatch(
        _ request: SendRequest, _ header: borrowing HeaderTable, _ body: RawSpan, _ properties: RawSpan, _ queue: TopicQueue,
        from connection: ServerConnection
    ) throws(SendRefusal) {
        let entries: [BatchBody.Entry]
        do throws(MalformedBytes) { entries = try BatchBody.entries(body) } catch {
            throw SendRefusal(.messageIllegal, "the batch for topic \(queue.topic.name) cannot be read: \(error)")
        }
        if queue.topic.isRetry { throw SendRefusal(.messageIllegal, "batches to a retry topic are not supported: \(queue.topic.name)") }
        try check(entries, body)
        var stored = Stored()
        stored.physicalOffsets.reserveCapacity(entries.count)
        for entry in entries {
            do throws(SendRefusal) { try store(entry, request, body, queue, from: connection, &stored) } catch {
                if stored.staged > 0 { round.abort(error) }
                throw error
            }
        }
        guard !header.isOneway else { return }
        let result = stored
        // The batch's own properties decide, not those of its messages: one of them does not speak for the others.
        let waitsForFlush = !StoredProperties(properties).doesNotWait
        guard result.staged > 0 else {
            return round.holdAgain(
                header.answerTo, for: connection, topic: queue.topic, until: result.end, waitsForFlush: waitsForFlush
            ) { output in encodeAnswer(header.answerTo, result, &output) }
        }
        round.hold(header.answerTo, for: connection, topic: queue.topic, waitsForFlush: waitsForFlush) { output in
            encodeAnswer(header.answerTo, result, &output)
        }
    }

    /// Stages one message, unless it is a retry of one that was stored before.
    private func store(
        _ entry: BatchBody.Entry, _ request: SendRequest, _ body: RawSpan, _ queue: TopicQueue, from connection: ServerConnection,
        _ stored: inout Stored
    ) throws(SendRefusal) {
        let sent = body.extracting(entry.properties)
        let found = StoredProperties(sent, isOfBatch: true)
        let identity = deduplication?.identity(of: found, in: sent, topic: queue.topic)
        if let identity, let first = firstCopy(identity, queue.topic) {
            deduplication?.noteRecognised()
            stored.end = max(stored.end, first.end)
            return stored.add(first.physicalOffset, queueID: first.queueID, queueOffset: first.queueOffset)
        }
        var fields = MessageFields(
            flag: entry.flag, systemFlag: request.systemFlag, bornTimestamp: request.bornTimestamp, bornHost: connection.peer,
            storeTimestamp: round.wallMilliseconds, storeHost: configuration.storeHost, reconsumeTimes: request.reconsumeTimes)
        if let tags = found.tags { fields.tagsCode = Int64(JavaHash.hash(sent.extracting(tags))) }
        found.writeKept(of: sent, to: &properties)
        if found.expireAfter != nil || found.expireAt != nil { try setExpiry(&fields, found, sent, delay: 0) }
        let appended = try append(fields, body.extracting(entry.body), to: queue)
        if let identity { remember(identity, appended, fields.storeTimestamp, queueID: queue.queue.id) }
        stored.staged += 1
        stored.add(appended.physicalOffset, queueID: queue.queue.id, queueOffset: appended.queueOffset)
    }

    private func encodeAnswer(_ to: AnswerTo, _ stored: Stored, _ output: inout ByteBuffer) {
        var answer = FrameBuilder(&output, response: .success, to: to)
        let ids = stored.physicalOffsets.map { MessageIDText.text(messageIDPrefix, $0) }.joined(separator: ",")
        answer.field("msgId", text: ids, into: &output)
        answer.field("queueId", decimal: Int64(stored.queueID), into: &output)
        answer.field("queueOffset", decimal: stored.queueOffset, into: &output)
        finish(&answer, &output)
    }

    /// Everything that can be known to be wrong with a batch is found before any of it is staged.
    private func check(_ entries: [BatchBody.Entry], _ body: RawSpan) throws(SendRefusal) {
        for entry in entries {
            let found = StoredProperties(body.extracting(entry.properties))
            guard found.delay == nil, !found.isTransactionPrepared, !found.hasTimer else {
                throw SendRefusal(.messageIllegal, "messages of a batch cannot be delayed or transactional; send them one by one")
            }
            guard entry.properties.count + clusterProperty.count < Int(Int16.max) else {
                throw SendRefusal(
                    .messageIllegal, "a message of the batch has \(entry.properties.count) bytes of properties, more than fit")
            }
        }
    }
}
