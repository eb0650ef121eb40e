import RocketMQBase

extension MessageStore {
    /// Forgets a topic's queues and deletes their files in the background. Its messages stay in the log until retention takes
    /// them, and are not found any more but by their ids. References to the queues must be given up.
    ///
    /// - Parameter whenDurable: called on the loop when the deletion survives a kill and a loss of power, or with the error
    ///   for which it may not.
    public func deleteTopic(_ topic: String, whenDurable: @escaping (StoreError?) -> Void = { _ in }) {
        guard let queues = topics.removeValue(forKey: topic) else {
            guard deletions.writtenVersion < deletions.version else { return whenDurable(nil) }
            deletions.waiting.append(whenDurable)
            return writeDeletions()
        }
        roll = QueueRoll(topics)
        let gone = Set(queues.values.map(ObjectIdentifier.init))
        upkeep.dirtyQueues.removeAll { gone.contains(ObjectIdentifier($0)) }
        upkeep.pass.removeAll { gone.contains(ObjectIdentifier($0)) }
        entryScratch.clear()
        for queue in queues.values {
            queue.isAbandoned = true
            queue.files.closeReading()
        }
        queueFiles.writer.abandon(Set(queues.values.map(\.files.number)))
        deletions.table.rows[topic] = DeletedTopics.Row(
            offset: log.writtenOffset, time: max(clock.wallMilliseconds, lastStoreTimestamp))
        deletions.table.prune(before: log.minOffset)
        deletions.version += 1
        deletions.waiting.append(whenDurable)
        moveQueueFilesAway(topic)
        writeDeletions()
    }

    /// Whether a message, by its place in the log and its store timestamp in milliseconds, was deleted with its topic: it is
    /// in no queue then, whatever the log has.
    public func wasDeleted(_ topic: String, at physicalOffset: Int64, storedAt timestamp: Int64) -> Bool {
        deletions.table.covers(topic, physicalOffset, storedAt: timestamp)
    }

    /// Out of the way at once, since the topic may be made again before the files are gone.
    private func moveQueueFilesAway(_ topic: String) {
        let path = configuration.rootDirectory + "/consumequeue/" + topic
        let aside = configuration.rootDirectory + "/\(Self.deletedPrefix)\(topic)-\(clock.monotonicNow.nanoseconds)"
        var isMoved = false
        if fileSystem.isDirectory(path) {
            do {
                try fileSystem.rename(path, to: aside)
                isMoved = true
            } catch { report(.warning, "the consume queues of the deleted topic \(topic) stay on the disk: \(error)") }
        }
        // The table should not name them any more: recovery would look for them.
        let table = makeTable(isCurrent: false)
        upkeep.passTable = nil
        upkeep.writtenTable = nil
        let writer = checkpointWriter
        workers.housekeeper.run { [fileSystem, isMoved] in
            try? writer.write(nil, table)
            if isMoved { Self.removeTree(aside, fileSystem) }
        }
    }

    /// Makes what is in the table of deleted topics durable; one write serves all who asked before it began.
    private func writeDeletions() {
        guard !deletions.isWriting, !deletions.waiting.isEmpty, !upkeep.isClosed else { return }
        deletions.isWriting = true
        let (waiting, version) = (deletions.waiting, deletions.version)
        deletions.waiting = []
        let carried = LoopBound((store: self, waiting: waiting), on: loop)
        workers.housekeeper.run { [loop, table = deletions.table, writer = deletions.writer] in
            var failure: StoreError?
            do throws(StoreError) { try writer.write(table, version: version) } catch { failure = error }
            let ended = failure
            loop.execute {
                let (store, waiting) = carried.value
                store.deletions.isWriting = false
                if let ended {
                    store.report(.error, "the deletion of a topic is not durable, its messages may come back after a crash: \(ended)")
                } else {
                    store.deletions.writtenVersion = version
                }
                for tell in waiting { tell(ended) }
                store.writeDeletions()
            }
        }
    }

    /// Goes on deleting what an earlier run left of deleted topics.
    func removeLeftovers() {
        let root = configuration.rootDirectory
        workers.housekeeper.run { [fileSystem] in
            for name in (try? fileSystem.list(root)) ?? [] where name.hasPrefix(Self.deletedPrefix) {
                Self.removeTree(root + "/" + name, fileSystem)
            }
        }
    }

    private static var deletedPrefix: String { "consumequeue-deleted-" }

    /// Removes what is left of deleted topics; what cannot be removed now is tried again at the next start.
    static func removeTree(_ path: String, _ fileSystem: any FileSystem) {
        for name in (try? fileSystem.list(path)) ?? [] {
            let inner = path + "/" + name
            if fileSystem.isDirectory(inner) { removeTree(inner, fileSystem) } else { try? fileSystem.remove(inner) }
        }
        try? fileSystem.removeDirectory(path)
    }
}
