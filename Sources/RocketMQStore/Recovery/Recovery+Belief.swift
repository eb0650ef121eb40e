import RocketMQBase

/// Starts with very many queues: looking into the files of each takes half a minute when the system has none of them in memory. The
/// table of the last checkpoint says where every queue was, so that they are left alone: who reads or writes one first finds what
/// is wrong with it, and has it rebuilt from the log.
extension Recovery {
    /// Whether the table tells where all queues were when the log ended at `start`, and nothing speaks against their files: they
    /// were made durable, or only the process ended, and no topic lacks its directory.
    func isBelieved(_ table: QueueTable, at start: Int64) throws(StoreError) -> Bool {
        // Where files of the log have gone since, queues begin elsewhere.
        guard table.rows.count > configuration.queuesCheckedAtStart, table.minPhysicalOffset == logStart,
            table.endPhysicalOffset == start, table.hasOffsets
        else { return false }
        guard wasClean ? checkpoint.own?.isClean == true : isMemoryIntact() else { return false }
        let names: Set<String>
        do { names = Set(try fileSystem.list(queueRoot)) } catch  where error.code == .notFound { return false } catch {
            throw StoreError(error)
        }
        return table.rows.allSatisfy { names.contains($0.topic) }
    }

    func believe(_ table: QueueTable, at start: Int64) {
        isBelieving = true
        finder.reserve(table.rows.count)
        for row in table.rows {
            let place = QueuePlace(root: queueRoot, topic: row.topic, id: row.id)
            let queue = add(place, entriesPerFile: row.entriesPerFile, minOffset: row.minOffset, maxOffset: row.maxOffset)
            // All that is known: its newest message lies before it.
            queue.lastPhysicalOffset = start - 1
        }
    }
}
