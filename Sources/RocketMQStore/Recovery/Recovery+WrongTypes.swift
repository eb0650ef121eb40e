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
        for text in try QueueWay.clear(to: place, fileSystem) { sayPutAside(text) }
    }

    func putQueueAside(_ path: String, _ what: String) throws(StoreError) {
        sayPutAside(try QueueWay.putAside(path, what, root: queueRoot, fileSystem))
    }

    private func sayPutAside(_ text: String) {
        needsRebuild = true
        report(.warning, text)
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

/// What is of the wrong kind where a queue's files belong.
enum QueueWay {
    /// Puts it aside; says what was, and where it is now.
    static func clear(to place: QueuePlace, _ fileSystem: any FileSystem) throws(StoreError) -> [String] {
        var moved: [String] = []
        for path in [place.root + "/" + place.topic, place.directory] where fileSystem.exists(path) && !fileSystem.isDirectory(path) {
            moved.append(try putAside(path, "is no directory", root: place.root, fileSystem))
        }
        guard fileSystem.isDirectory(place.directory) else { return moved }
        let names = try storing { () throws(FileSystemError) in try fileSystem.list(place.directory) }
        for name in names where FileName.offset(name) != nil && fileSystem.isDirectory(place.directory + "/" + name) {
            moved.append(
                try putAside(place.directory + "/" + name, "is a directory in the place of a file", root: place.root, fileSystem))
        }
        return moved
    }

    /// - Parameter root: `…/consumequeue`.
    static func putAside(_ path: String, _ what: String, root: String, _ fileSystem: any FileSystem) throws(StoreError) -> String {
        let name = "consumequeue" + path.dropFirst(root.count).map { $0 == "/" ? "-" : $0 }
        let kept = try PutAside(root: parentDirectory(of: root), fileSystem: fileSystem).move(path, as: name)
        return "\(path) \(what), it is now \(kept); the consume queue is rebuilt from the commit log"
    }
}
