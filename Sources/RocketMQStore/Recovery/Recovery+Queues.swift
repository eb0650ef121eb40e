import RocketMQBase
import RocketMQProtocol

/// Loading consume queues as far as they can be believed.
extension Recovery {
    func add(_ place: QueuePlace, entriesPerFile: Int64, minOffset: Int64, maxOffset: Int64) -> ConsumeQueue {
        let files = QueueFiles(place: place, entriesPerFile: entriesPerFile, cache: queueFiles)
        files.isUnchecked = isBelieving
        let topic = topics[place.topic]?.first?.value.storedTopic ?? StoredTopic(place.topic)
        let queue = ConsumeQueue(topic, id: place.id, files: files, minOffset: minOffset, maxOffset: maxOffset)
        topics[place.topic, default: [:]][place.id] = queue
        finder.insert(queue)
        return queue
    }

    /// After a clean stop of ours: the table tells; each queue's last entry must be there.
    func loadQueues(_ table: QueueTable, end: Int64) throws(StoreError) {
        for (index, row) in table.rows.enumerated() {
            try progress.tell("\(index) of \(table.rows.count) consume queues loaded")
            let place = QueuePlace(root: queueRoot, topic: row.topic, id: row.id)
            let queue = add(place, entriesPerFile: row.entriesPerFile, minOffset: row.minOffset, maxOffset: row.maxOffset)
            guard row.maxOffset > 0 else { continue }
            let last = try withWay(to: place) { () throws(StoreError) -> QueueEntry? in
                // Of what was put aside.
                queue.files.closeReading()
                guard let (file, position) = try queue.files.handleForReading(row.maxOffset - 1) else { return nil }
                let bytes = try readExactly(file, at: position, count: QueueEntry.byteCount)
                return bytes.count == QueueEntry.byteCount ? bytes.withUnsafeBytes { QueueEntry(from: $0.baseAddress!) } : nil
            }
            if last == nil { try clearWay(to: place) }
            guard let last, !last.isVoid, last.isFiller || last.physicalOffset <= end - Int64(last.size) else {
                report(.warning, "the consume queue in \(place.directory) is missing or damaged")
                try discard(queue)
                continue
            }
            queue.lastPhysicalOffset = last.isFiller ? 0 : last.physicalOffset
            if table.minPhysicalOffset != logStart { try correctMinimum(queue, names: fileNames(place)) }
            // Worth the time unless there are very many.
            guard table.rows.count <= 20_000 else { continue }
            let isWhole = try withWay(to: place) { () throws(StoreError) -> Bool in
                let found = try QueueOnDisk(
                    place: place, names: fileNames(place), defaultEntriesPerFile: row.entriesPerFile, fileSystem: fileSystem)
                guard let found, found.bases[0] <= queue.minOffset else { return false }
                return try found.isWhole(end: row.maxOffset, logEnd: end)
            }
            guard isWhole else {
                report(.warning, "files of the consume queue in \(place.directory) are missing or damaged")
                try discard(queue)
                continue
            }
        }
    }

    /// The log is going to be gone through: a queue whose file is another's, with that one's newest message as its own, would take
    /// messages of its own behind that for ones that it has.
    func discardForeign() throws(StoreError) {
        for queue in topics.values.joined().map(\.value) where queue.lastPhysicalOffset >= 0 && queue.maxOffset > queue.minOffset {
            guard let (file, position) = try queue.files.handleForReading(queue.maxOffset - 1) else { continue }
            let bytes = try readExactly(file, at: position, count: QueueEntry.byteCount)
            guard bytes.count == QueueEntry.byteCount else { continue }
            let last = bytes.withUnsafeBytes { QueueEntry(from: $0.baseAddress!) }
            if last.isFiller { continue }
            if try isMessage(last, of: queue, at: queue.maxOffset - 1) { continue }
            report(.warning, "the consume queue in \(queue.files.place.directory) does not fit the commit log")
            try discard(queue)
        }
    }

    /// A queue with fewer messages than it had when the checkpoint was written has lost some.
    func compare(with table: QueueTable?) throws(StoreError) {
        for row in table?.rows ?? [] {
            guard let queue = topics[row.topic]?[row.id] else {
                needsRebuild = true
                continue
            }
            let hasLostHead = table?.minPhysicalOffset == logStart && row.maxOffset > 0 && queue.minOffset > row.minOffset
            if queue.maxOffset < row.maxOffset || hasLostHead {
                report(
                    .warning,
                    "the consume queue in \(queue.files.place.directory) has lost messages: it is \(queue.minOffset)..<\(queue.maxOffset), "
                        + "and was \(row.minOffset)..<\(row.maxOffset)")
                try discard(queue)
                continue
            }
            // Messages may have expired whose files are still there.
            if row.minOffset <= queue.maxOffset { queue.minOffset = max(queue.minOffset, row.minOffset) }
        }
    }

    func fileNames(_ place: QueuePlace) throws(StoreError) -> [String] {
        do { return try fileSystem.list(place.directory) } catch  where error.code == .notFound { return [] } catch {
            throw StoreError(error)
        }
    }

    private func correctMinimum(_ queue: ConsumeQueue, names: [String]) throws(StoreError) {
        let place = queue.files.place
        let found = try QueueOnDisk(
            place: place, names: names, defaultEntriesPerFile: queue.files.entriesPerFile, fileSystem: fileSystem)
        if let found { queue.minOffset = try found.firstOffset(at: logStart, end: queue.maxOffset) }
    }

    /// Finds every queue's end: its last entry of a message before `limit`. Returns the end of the newest such message.
    @discardableResult
    func loadQueues(before limit: Int64) throws(StoreError) -> Int64 {
        var newest: Int64 = 0
        let names: [String]
        do { names = try fileSystem.list(queueRoot) } catch  where error.code == .notFound { names = [] } catch {
            throw StoreError(error)
        }
        var count = 0
        for (index, topic) in names.enumerated() {
            guard fileSystem.isDirectory(queueRoot + "/" + topic) else {
                try putQueueAside(queueRoot + "/" + topic, "is no directory")
                continue
            }
            let ids = try storing { () throws(FileSystemError) in try fileSystem.list(queueRoot + "/" + topic) }
            for text in ids {
                guard let id = Int32(text), id >= 0 else { continue }
                let place = QueuePlace(root: queueRoot, topic: topic, id: id)
                newest = max(newest, try withWay(to: place) { () throws(StoreError) in try loadQueue(place, before: limit) })
                count += 1
                try progress.tell("\(count) consume queues of \(index) of \(names.count) topics loaded")
            }
        }
        if topics.isEmpty { needsRebuild = true }
        return newest
    }

    /// Something that is no file; what is gone meanwhile is not odd.
    private func isOdd(_ path: String) -> Bool { fileSystem.kind(of: path).map { $0 != .file } ?? false }

    private func loadQueue(_ place: QueuePlace, before limit: Int64) throws(StoreError) -> Int64 {
        var names = try fileNames(place)
        if names.isEmpty || names.contains(where: { isOdd(place.directory + "/" + $0) }) {
            try clearWay(to: place)
            names = try fileNames(place)
        }
        let standard = configuration.consumeQueueFileEntries
        guard let found = try QueueOnDisk(place: place, names: names, defaultEntriesPerFile: standard, fileSystem: fileSystem) else {
            if names.contains(where: { FileName.offset($0) != nil }) {
                report(.warning, "the files in \(place.directory) do not fit together")
                try discard(add(place, entriesPerFile: standard, minOffset: 0, maxOffset: 0))
            }
            return 0
        }
        var end = try found.end(before: limit)
        if end == found.bases[0], !wasClean { end = beginning(place, end) }
        let queue = add(place, entriesPerFile: found.entriesPerFile, minOffset: 0, maxOffset: end)
        if !wasClean { toCut.append(queue) }
        var last = end - 1
        while last >= found.bases[0], last >= end - 4096, let entry = try found.entry(last), entry.isFiller { last -= 1 }
        guard last >= found.bases[0] else {
            queue.minOffset = end
            return 0
        }
        guard let entry = try found.entry(last), !entry.isVoid, try isMessage(entry, of: queue, at: last),
            try found.isWhole(end: end, logEnd: logFiles.last?.end ?? 0)
        else {
            report(.warning, "the consume queue in \(place.directory) does not fit the commit log")
            try discard(queue)
            return 0
        }
        queue.lastPhysicalOffset = entry.physicalOffset
        queue.minOffset = try found.firstOffset(at: logStart, end: end)
        let oldest = try found.entry(queue.minOffset) ?? entry
        if deletedTopics.covers(place.topic, entry) || deletedTopics.covers(place.topic, oldest) {
            report(.information, "the consume queue in \(place.directory) has messages of a topic that was deleted, it is made anew")
            try discard(queue)
            return 0
        }
        // Entries are in the order of the log: one that only seems to be of a deleted message is not.
        if queue.minOffset - 2 >= found.bases[0], let newer = try found.entry(queue.minOffset - 1),
            let older = try found.entry(queue.minOffset - 2), !newer.isFiller, !older.isFiller, newer.physicalOffset <= older.physicalOffset
        {
            report(.warning, "the consume queue in \(place.directory) is not in the order of the commit log")
            try discard(queue)
            return 0
        }
        return entry.physicalOffset + Int64(entry.size)
    }

    /// Where a queue ends whose files hold no entry that is believed: at the first file's beginning when older messages were
    /// deleted, and not when only what was never durable got that far.
    private func beginning(_ place: QueuePlace, _ base: Int64) -> Int64 {
        guard !logFiles.isEmpty, base > 0 else { return base }
        guard hasTable else { return logStart == 0 ? 0 : base }
        guard knownQueues[place.topic]?.contains(place.id) == true else { return 0 }
        return base
    }

    /// Whether the log has this queue's message where the entry says: entries may be another queue's, where a write went astray.
    /// A message that retention deleted counts as there.
    private func isMessage(_ entry: QueueEntry, of queue: ConsumeQueue, at offset: Int64) throws(StoreError) -> Bool {
        if entry.physicalOffset < logStart { return true }
        guard entry.size >= MessageRecord.smallest,
            let file = logFiles.first(where: { entry.physicalOffset >= $0.base && entry.physicalOffset <= $0.end - Int64(entry.size) })
        else { return false }
        let handle = try file.handle()
        let place = entry.physicalOffset - file.base
        let head = try readExactly(handle, at: place, count: min(Int(entry.size), 512))
        let isHead = head.withUnsafeBytes { raw in
            raw.count >= MessageRecord.smallest && RecordLayout.isRecord(raw.bytes, size: entry.size, at: entry.physicalOffset)
                && raw.bytes.bigEndian(Int32.self, at: MessageRecord.Layout.queueID) == queue.id
                && raw.bytes.bigEndian(Int64.self, at: MessageRecord.Layout.queueOffset) == offset
        }
        guard isHead, let position = RecordLayout.topicPosition(head.span.bytes) else { return false }
        let needed = 2 + queue.topicBytes.count
        let topic =
            position + needed <= head.count
            ? Array(head[position..<(position + needed)]) : try readExactly(handle, at: place + Int64(position), count: needed)
        return RecordLayout.isTopic(queue.topicBytes, topic.span.bytes, of: head.span.bytes)
    }

    /// Deletes a queue's files: the log says again what belongs there.
    func discard(_ queue: ConsumeQueue) throws(StoreError) {
        try beginRebuild()
        queue.files.close()
        let place = queue.files.place
        try clearWay(to: place)
        for name in try fileNames(place) where FileName.offset(name) != nil {
            try storing { () throws(FileSystemError) in try fileSystem.remove(place.directory + "/" + name) }
        }
        queue.reset(to: 0)
        queue.lastPhysicalOffset = -1
        toCut.removeAll { $0 === queue }
        needsRebuild = true
    }
}
