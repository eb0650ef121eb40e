import RocketMQBase
import RocketMQProtocol

/// What the log's records mean for the consume queues.
extension Recovery {
    func dispatch(_ bytes: RawSpan, _ record: MessageRecord, at offset: Int64, scannedFrom start: Int64) {
        let fields = record.fields
        lastStoreTimestamp = fields.storeTimestamp
        if fields.preparedTransactionOffset != 0 || bytes.equals(record.topic, "rmq_sys_wheel_timer") { ordinaryFrom = offset + 1 }
        let known = finder.find(bytes.extracting(record.topic), fields.queueID)
        if let known, isNext(fields, of: known, at: offset) { return enter(record, bytes, known, at: offset) }
        let topic = bytes.string(record.topic)
        let standsForLost = LostRecord.holdsPlace(fields, topic: topic)
        guard RecordLayout.entersQueue(fields.systemFlag.rawValue) || standsForLost else {
            if topic == LostRecord.topic { hasLoss = true }
            return
        }
        if deletedTopics.covers(topic, offset, storedAt: fields.storeTimestamp) { return }
        let place = QueuePlace(root: queueRoot, topic: topic, id: fields.queueID)
        if known == nil, isStranger(place, at: offset) { return }
        let queue = known ?? add(place, entriesPerFile: configuration.consumeQueueFileEntries, minOffset: 0, maxOffset: 0)
        // Its entry is there already; entries are in the order of the log.
        guard offset > max(queue.lastPhysicalOffset, restarts[ObjectIdentifier(queue)]?.physicalOffset ?? -1), queue.isStorable else {
            return
        }
        settleRestart(of: queue, before: fields)
        if queue.lastPhysicalOffset < 0, queue.isEmpty {
            guard fields.queueOffset < 1 << 50, !isFarBeyondTable(fields, topic) else { return passOver(fields, at: offset) }
            // Nothing is known of it but, at most, where its files begin.
            let isUnexpected = fields.queueOffset > queue.maxOffset
            queue.reset(to: fields.queueOffset)
            // With a table we would know of a queue that has lost its files; it is a deleted topic's, then.
            if isUnexpected, start > logStart, !hasTable { lacking.append(queue) }
        } else if fields.queueOffset > 0, fields.queueOffset < queue.maxOffset, isOnlyGuess(queue) {
            report(
                .error, "the first message of \(place.directory) before offset \(offset) of the commit log claims a queue offset too high")
            queue.reset(to: fields.queueOffset)
        } else if let expected = gaps[ObjectIdentifier(queue)], fields.queueOffset >= expected, fields.queueOffset < queue.maxOffset {
            // The gap before was none: the message behind it has a wrong queue offset.
            report(
                .error, "the message before that at offset \(offset) of the commit log in \(place.directory) claims a queue offset too high"
            )
            queue.cut(to: expected)
            // So many positions may have been in between that some are in the files already.
            if !toCut.contains(where: { $0 === queue }) { toCut.append(queue) }
        } else if fields.queueOffset > 0, fields.queueOffset < queue.maxOffset {
            hasLoss = true
            report(
                .error, "the message at offset \(offset) of the commit log repeats queue offset \(fields.queueOffset), it is passed over")
            return
        } else if fields.queueOffset < queue.maxOffset {
            // The topic was deleted and made again, unless what follows says otherwise.
            let tagsCode = TagsCode.of(record, in: bytes, topic: topic, delays: configuration.delayLevelMilliseconds)
            restarts[ObjectIdentifier(queue)] = QueueEntry(
                physicalOffset: offset, size: Int32(truncatingIfNeeded: record.size), tagsCode: tagsCode)
            return
        } else if fields.queueOffset - queue.maxOffset > Self.largestGap {
            return passOver(fields, at: offset)
        }
        if fields.queueOffset > queue.maxOffset, start > logStart, !queue.isDirty, lost.isEmpty, !lacking.contains(where: { $0 === queue })
        {
            lacking.append(queue)
        } else if fields.queueOffset > queue.maxOffset, !hasLoss {
            reportGap(queue, before: fields.queueOffset, at: offset)
        }
        gaps[ObjectIdentifier(queue)] = queue.maxOffset < fields.queueOffset ? queue.maxOffset : nil
        while queue.nextOffset < fields.queueOffset { queue.stage(.filler) }
        if standsForLost { return putHole(queue, at: offset) }
        enter(record, bytes, queue, at: offset)
    }

    /// Whether there is nothing to be asked: the message is the one that the queue waits for.
    @inline(__always)
    private func isNext(_ fields: MessageRecordFields, of queue: ConsumeQueue, at offset: Int64) -> Bool {
        fields.queueOffset == queue.maxOffset && offset > queue.lastPhysicalOffset && queue.lastPhysicalOffset >= 0
            && RecordLayout.entersQueue(fields.systemFlag.rawValue) && queue.isStorable && gaps.isEmpty && restarts.isEmpty
    }

    private func enter(_ record: MessageRecord, _ bytes: RawSpan, _ queue: ConsumeQueue, at offset: Int64) {
        let tagsCode = TagsCode.of(record, in: bytes, topic: queue.topic, delays: configuration.delayLevelMilliseconds)
        queue.stage(QueueEntry(physicalOffset: offset, size: Int32(truncatingIfNeeded: record.size), tagsCode: tagsCode))
        queue.commitStaged()
        queue.lastPhysicalOffset = offset
        noteDirty(queue)
    }

    /// Whether there was no such queue when the last checkpoint was written, with the message in the log already: it had another
    /// topic or queue id then, or its topic was deleted.
    private func isStranger(_ place: QueuePlace, at offset: Int64) -> Bool {
        guard offset < knownEnd, knownQueues[place.topic]?.contains(place.id) != true else { return false }
        hasLoss = true
        if strangers.count == 0 { strangers.first = "that at offset \(offset), of \(place.topic)-\(place.id)" }
        strangers.count += 1
        return true
    }

    /// Positions whose messages are not in the log, and no damage was seen that would have taken them: the heads of their records
    /// say that they enter no queue.
    private func reportGap(_ queue: ConsumeQueue, before end: Int64, at offset: Int64) {
        gapsTold += 1
        guard gapsTold <= 20 else { return }
        report(
            .error,
            "\(end - queue.maxOffset) messages of \(queue.files.place.directory), from queue offset \(queue.maxOffset) on, are not in the commit "
                + "log before offset \(offset), or the heads of their records are damaged there: they are passed over")
    }

    func reportStrangers() {
        guard strangers.count > 0 else { return }
        report(
            .warning,
            "\(strangers.count) messages of the commit log are of queues that the store did not have when its last checkpoint was written: their "
                + "topics were deleted, or damage changed their topics or queue ids; they are passed over, the first is \(strangers.first)")
        strangers = (0, "")
    }

    /// Whether the queue ended so long before the message's offset, when the checkpoint was written, that this cannot be its place.
    private func isFarBeyondTable(_ fields: MessageRecordFields, _ topic: String) -> Bool {
        fields.queueOffset > Self.largestGap
            && known.contains {
                $0.id == fields.queueID && $0.topic == topic && $0.maxOffset > 0 && fields.queueOffset - $0.maxOffset > Self.largestGap
            }
    }

    /// Whether all that is known of the queue is the position that its first message claimed a moment ago.
    private func isOnlyGuess(_ queue: ConsumeQueue) -> Bool {
        queue.maxOffset - queue.minOffset == 1 && queue.writtenOffset == queue.minOffset && queue.minOffset > 0
    }

    /// A message said that its queue begins anew. That is so when the next one follows it, and not when that follows the ones
    /// before: then its queue offset is what is damaged.
    private func settleRestart(of queue: ConsumeQueue, before next: MessageRecordFields?) {
        guard let entry = restarts.removeValue(forKey: ObjectIdentifier(queue)) else { return }
        if let next, next.queueOffset > 1, next.queueOffset >= queue.maxOffset {
            return report(
                .error,
                "the message at offset \(entry.physicalOffset) of the commit log claims to be the first of \(queue.files.place.directory), "
                    + "it is passed over")
        }
        report(
            .warning,
            "\(queue.files.place.directory) begins anew with the message at offset \(entry.physicalOffset) of the commit log: its topic was deleted "
                + "and made again, and \(queue.maxOffset - queue.minOffset) messages before that are not served any more")
        queue.cut(to: 0)
        if !toCut.contains(where: { $0 === queue }) { toCut.append(queue) }
        queue.stage(entry)
        queue.commitStaged()
        queue.lastPhysicalOffset = entry.physicalOffset
        noteDirty(queue)
    }

    /// At the end of the log nothing tells otherwise any more.
    func settleRestarts() {
        guard !restarts.isEmpty else { return }
        for queue in topics.values.joined().map(\.value) { settleRestart(of: queue, before: nil) }
    }

    /// Messages of a queue that may be missing in one place; more and the number is not believed.
    private static var largestGap: Int64 { 1_000_000 }

    private func passOver(_ fields: MessageRecordFields, at offset: Int64) {
        hasLoss = true
        report(.error, "the message at offset \(offset) of the commit log claims queue offset \(fields.queueOffset), it is passed over")
    }

    func noteDirty(_ queue: ConsumeQueue) {
        if !queue.isDirty {
            queue.isDirty = true
            dirty.append(queue)
        }
        if queue.isWritingDue { try? queue.writeBehind() }
        // What cannot be written is tried again, and told of, at the end.
        if queueFiles.memory.isExhausted { writeSome() }
    }

    /// There is no more memory for entries.
    @inline(never)
    private func writeSome() {
        guard !hasWriteFailed else { return }
        dirty.removeAll { queue in
            guard !hasWriteFailed, (try? queue.writeBehind()) != nil else {
                hasWriteFailed = true
                return false
            }
            queue.isDirty = false
            return true
        }
    }

    func finishQueues() throws(StoreError) {
        for row in known where row.maxOffset > 0 {
            // All its messages are gone, and its files as well; offsets go on where they were all the same.
            let place = QueuePlace(root: queueRoot, topic: row.topic, id: row.id)
            let queue =
                topics[row.topic]?[row.id] ?? add(place, entriesPerFile: row.entriesPerFile, minOffset: 0, maxOffset: 0)
            guard queue.maxOffset < row.maxOffset else { continue }
            if queue.isEmpty {
                queue.reset(to: row.maxOffset)
            } else if hasLoss, row.maxOffset - queue.maxOffset < Self.largestGap {
                // Its newest messages are among those that the log has lost: nobody else gets their positions.
                while queue.nextOffset < row.maxOffset { queue.stage(.filler) }
                queue.commitStaged()
                noteDirty(queue)
            }
        }
        // Entries of messages that the log turned out not to have.
        for queue in topics.values.joined().map(\.value) where queue.lastPhysicalOffset >= end {
            let names = try fileNames(queue.files.place)
            try queue.writeBehind()
            guard
                let found = try QueueOnDisk(
                    place: queue.files.place, names: names, defaultEntriesPerFile: queue.files.entriesPerFile, fileSystem: fileSystem)
            else { continue }
            queue.cut(to: try found.end(before: end))
            if !toCut.contains(where: { $0 === queue }) { toCut.append(queue) }
        }
        for (index, queue) in toCut.enumerated() {
            try progress.tell("\(index) of \(toCut.count) consume queues brought to their ends")
            let bases = try fileNames(queue.files.place).compactMap(FileName.offset).map { $0 / Int64(QueueEntry.byteCount) }
            try queue.files.cut(to: queue.writtenOffset, bases: bases.sorted())
        }
        // As many as that are written while messages come in again: until then their entries are in memory.
        guard !isBelieving else { return }
        var left: [ConsumeQueue] = []
        for (index, queue) in dirty.enumerated() {
            try progress.tell("\(index) of \(dirty.count) consume queues written")
            do {
                try queue.writeBehind()
                queue.isDirty = false
            } catch {
                left.append(queue)
            }
        }
        if !left.isEmpty { report(.warning, "\(left.count) consume queues could not be written yet, they are kept in memory") }
        dirty = left
    }
}
