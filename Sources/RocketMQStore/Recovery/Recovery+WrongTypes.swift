import RocketMQBase

/// Files where directories should be, and the other way round. What is derived from the log, and what only makes a start quicker,
/// is put aside and made anew: it must not stop a start.
extension Recovery {
    /// Before anything of it is opened.
    static func clearWay(of configuration: StoreConfiguration, _ fileSystem: any FileSystem, _ report: (StoreReportLevel, String) -> Void)
        throws(StoreError)
    {
        let root = configuration.rootDirectory
        let aside = PutAside(root: root, fileSystem: fileSystem)
        for name in ["checkpoint", QueueTable.fileName, IndexList.fileName, FlushNote.fileName]
        where fileSystem.isDirectory(root + "/" + name) {
            report(.warning, "\(root)/\(name) is a directory in the place of a file, it is now \(try aside.move(root + "/" + name))")
        }
        let queues = root + "/consumequeue"
        if fileSystem.exists(queues), !fileSystem.isDirectory(queues) {
            report(.warning, "\(queues) is no directory, it is now \(try aside.move(queues)); consume queues are rebuilt")
        }
    }

    /// Puts aside what keeps a queue's files from being opened or made.
    func clearWay(to place: QueuePlace) throws(StoreError) {
        for path in [place.root + "/" + place.topic, place.directory] where fileSystem.exists(path) && !fileSystem.isDirectory(path) {
            try putQueueAside(path, "is no directory")
        }
        guard fileSystem.isDirectory(place.directory) else { return }
        let names = try storing { () throws(FileSystemError) in try fileSystem.list(place.directory) }
        for name in names where FileName.offset(name) != nil && fileSystem.isDirectory(place.directory + "/" + name) {
            try putQueueAside(place.directory + "/" + name, "is a directory in the place of a file")
        }
    }

    func putQueueAside(_ path: String, _ what: String) throws(StoreError) {
        needsRebuild = true
        let name = "consumequeue" + path.dropFirst(queueRoot.count).map { $0 == "/" ? "-" : $0 }
        let kept = try aside.move(path, as: name)
        report(.warning, "\(path) \(what), it is now \(kept); the consume queue is rebuilt from the commit log")
    }

    /// Does what opens files of a queue; once more when something of another kind was in the way.
    func withWay<Result>(to place: QueuePlace, _ body: () throws(StoreError) -> Result) throws(StoreError) -> Result {
        do throws(StoreError) { return try body() } catch {
            let before = needsRebuild
            needsRebuild = false
            try clearWay(to: place)
            let isCleared = needsRebuild
            needsRebuild = before || isCleared
            guard isCleared else { throw error }
            return try body()
        }
    }
}
