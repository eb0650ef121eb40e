import RocketMQBase

/// What follows a deletion: the files themselves, and the queues and the index that begin later now. All of it is done in
/// the background, with the loop asked for some queues at a time.
extension MessageStore {
    private static var queuesOfAStep: Int { 1000 }

    /// A deletion on its way. Belongs to the loop.
    private final class Deletion {
        let minPhysical: Int64
        let reason: String
        let readers: Readers
        /// What is left to be looked at, and how many were.
        let topics: [String]
        var nextTopic = 0
        var losses = UnreadLosses()

        init(minPhysical: Int64, reason: String, readers: Readers, topics: [String]) {
            self.minPhysical = minPhysical
            self.reason = reason
            self.readers = readers
            self.topics = topics
        }
    }

    func remove(_ files: [LogFile], because reason: String) {
        retention.isTrimming = true
        let deletion = Deletion(
            minPhysical: log.minOffset, reason: reason, readers: groupProgress?() ?? [:], topics: Array(topics.keys))
        let carried = LoopBound((store: self, deletion: deletion), on: loop)
        let (paths, minPhysical) = (files.map(\.path), log.minOffset)
        // The blocks are freed where the last handle goes, unless somebody is still reading: not on the loop.
        workers.housekeeper.run { [loop, fileSystem, index, flushNotes, handles = files.compactMap { $0.takeHandle() }] in
            _ = handles
            flushNotes.logBegins(at: minPhysical)
            var failures: [StoreError] = []
            // One by one, and none after one that stays: a file that comes back with the power must not lack those behind it.
            do throws(StoreError) {
                for path in paths {
                    try storing { () throws(FileSystemError) in
                        // Somebody may have removed it before.
                        do throws(FileSystemError) { try fileSystem.remove(path) } catch  where error.code == .notFound {}
                        try fileSystem.synchronizeDirectory(parentDirectory(of: path))
                    }
                }
            } catch { failures.append(error) }
            do throws(StoreError) { try index?.removeFiles(before: minPhysical) } catch { failures.append(error) }
            let failed = failures
            loop.execute {
                let (store, deletion) = carried.value
                store.reportLeft(failed)
                store.trimSome(deletion)
            }
        }
    }

    private func reportLeft(_ failures: [StoreError]) {
        for failure in failures { report(.warning, "an expired file stays on the disk: \(failure)") }
    }

    /// The next queues' heads; the end when there are none.
    private func trimSome(_ deletion: Deletion) {
        guard !upkeep.isClosed else { return }
        var queues: [ConsumeQueue] = []
        while queues.count < Self.queuesOfAStep, deletion.nextTopic < deletion.topics.count {
            for queue in (topics[deletion.topics[deletion.nextTopic]] ?? [:]).values where queue.minOffset < queue.maxOffset {
                queues.append(queue)
            }
            deletion.nextTopic += 1
        }
        guard !queues.isEmpty else { return finish(deletion) }
        let snapshots = queues.map(QueueSnapshot.init)
        let minPhysical = deletion.minPhysical
        let carried = LoopBound((store: self, deletion: deletion, queues: queues), on: loop)
        workers.housekeeper.run { [loop, fileSystem] in
            var minima: [Int64] = []
            var failures: [StoreError] = []
            for queue in snapshots {
                var first = queue.minOffset
                do throws(StoreError) { first = try Self.trim(queue, minPhysical, fileSystem) } catch { failures.append(error) }
                minima.append(first)
            }
            let (found, failed) = (minima, failures)
            loop.execute {
                let (store, deletion, queues) = carried.value
                store.reportLeft(failed)
                store.trimmed(queues, found, deletion)
                store.trimSome(deletion)
            }
        }
    }

    /// Removes files of a queue that only name deleted messages; returns the first offset that is left of those written.
    private static func trim(_ queue: QueueSnapshot, _ minPhysical: Int64, _ fileSystem: any FileSystem) throws(StoreError) -> Int64 {
        let names = try storing { () throws(FileSystemError) in
            fileSystem.isDirectory(queue.place.directory) ? try fileSystem.list(queue.place.directory) : []
        }
        let found = try QueueOnDisk(
            place: queue.place, names: names, defaultEntriesPerFile: queue.entriesPerFile, fileSystem: fileSystem)
        guard let found else { return queue.minOffset }
        // A file that is missing says nothing of what was in it.
        if queue.isUnchecked, found.bases[0] > queue.minOffset { return queue.minOffset }
        let first = try found.firstOffset(at: minPhysical, end: queue.writtenOffset)
        for base in found.bases.dropLast() where base + found.entriesPerFile <= first {
            let path = queue.place.path(base: base * Int64(QueueEntry.byteCount))
            try storing { () throws(FileSystemError) in try fileSystem.remove(path) }
        }
        return max(first, queue.minOffset)
    }

    private func trimmed(_ queues: [ConsumeQueue], _ minima: [Int64], _ deletion: Deletion) {
        for (queue, minimum) in zip(queues, minima) {
            var first = max(queue.minOffset, minimum)
            // What was only in memory then.
            while first < queue.maxOffset, let entry = queue.recentEntry(first), entry.physicalOffset < deletion.minPhysical { first += 1 }
            guard first > queue.minOffset else { continue }
            deletion.losses.note(queue.topic, queue.id, from: queue.minOffset, to: first, deletion.readers)
            queue.minOffset = first
            queue.files.closeReading()
        }
    }

    private func finish(_ deletion: Deletion) {
        retention.isUnderWay = false
        retention.isTrimming = false
        entryScratch.clear()
        // There may be room again: who sends is not to wait for the next look.
        if retention.hasRefused { judgeAgain() }
        if !deletion.losses.isEmpty {
            report(.warning, "messages were deleted unread, \(deletion.reason): \(deletion.losses.text)")
        }
    }
}
