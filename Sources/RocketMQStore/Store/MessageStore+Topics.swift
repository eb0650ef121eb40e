import RocketMQBase

extension MessageStore {
    /// Forgets a topic's queues and deletes their files in the background. Its messages stay in the log until retention
    /// takes them. References to the queues must be given up.
    public func deleteTopic(_ topic: String) {
        guard let queues = topics.removeValue(forKey: topic) else { return }
        let gone = Set(queues.values.map(ObjectIdentifier.init))
        upkeep.dirtyQueues.removeAll { gone.contains(ObjectIdentifier($0)) }
        upkeep.pass.removeAll { gone.contains(ObjectIdentifier($0)) }
        entryScratch.clear()
        for queue in queues.values {
            queue.isAbandoned = true
            queue.files.closeReading()
        }
        queueFiles.writer.abandon(Set(queues.values.map(\.files.number)))
        // Out of the way at once, since the topic may be made again before the files are gone.
        let path = configuration.rootDirectory + "/consumequeue/" + topic
        guard fileSystem.isDirectory(path) else { return }
        let aside = configuration.rootDirectory + "/\(Self.deletedPrefix)\(topic)-\(clock.monotonicNow.nanoseconds)"
        do { try fileSystem.rename(path, to: aside) } catch {
            return report(.warning, "the consume queues of the deleted topic \(topic) stay on the disk: \(error)")
        }
        // The table must not name them any more: recovery would make them again.
        let table = makeTable(isCurrent: false)
        upkeep.passTable = nil
        upkeep.writtenTable = nil
        upkeep.isPassNamed = false
        upkeep.isTableCurrent = false
        upkeep.hasNewQueues = true
        let writer = checkpointWriter
        workers.housekeeper.run { [fileSystem] in
            try? writer.write(nil, table)
            Self.removeTree(aside, fileSystem)
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
