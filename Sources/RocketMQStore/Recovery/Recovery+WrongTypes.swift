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
        for (name, limit) in largest.flatMap({ [($0, $1), ($0 + ".tmp", $1)] }) {
            let path = root + "/" + name
            guard let what = oddity(path, limit, fileSystem) else { continue }
            report(.warning, "\(path) is \(what) in the place of a file, it is now \(try aside.move(path))")
        }
        let queues = root + "/consumequeue"
        if let kind = fileSystem.kind(of: queues), kind != .directory {
            report(.warning, "\(queues) is \(kind.text) and no directory, it is now \(try aside.move(queues)); consume queues are rebuilt")
        }
    }

    /// The small files of the root directory, and the most bytes that each can have: what is larger is not read at all.
    static let largest: [String: Int64] = [
        "checkpoint": 1 << 20, FlushNote.fileName: 1 << 20, QueueTable.fileName: 1 << 30, IndexList.fileName: 64 << 20,
        DeletedTopics.fileName: 256 << 20, DeletedTopics.fileName + ".bak": 256 << 20,
    ]

    /// What a path names when that is not such a file.
    private static func oddity(_ path: String, _ limit: Int64, _ fileSystem: any FileSystem) -> String? {
        guard let kind = fileSystem.kind(of: path) else { return nil }
        guard kind == .file else { return kind.text }
        guard let file = try? fileSystem.open(path, .read), let size = try? file.size(), size > limit else { return nil }
        return "a file of \(size) bytes, far more than can be in it,"
    }

    /// What the mark of a running broker says of the last run.
    static func readMark(_ root: String, _ fileSystem: any FileSystem, _ report: (StoreReportLevel, String) -> Void)
        throws(StoreError) -> LastStop
    {
        let path = root + "/abort"
        if let what = oddity(path, 1 << 20, fileSystem) {
            let kept = try PutAside(root: root, fileSystem: fileSystem).move(path)
            report(
                .warning,
                "\(path) is \(what) in the place of a file, it is now \(kept); nothing tells how the last run ended, it counts as killed")
            return .unknown
        }
        guard let text = try storing({ () throws(FileSystemError) in try fileSystem.contents(of: path) }) else { return .clean }
        // The reference, from 5.0 on, writes the number of its process.
        return text.allSatisfy { $0 >= 0x30 && $0 <= 0x39 || $0 == 0x0A } ? .killed : .failedSync
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
        for path in [place.root + "/" + place.topic, place.directory] {
            guard let kind = fileSystem.kind(of: path), kind != .directory else { continue }
            moved.append(try putAside(path, "is \(kind.text) and no directory", root: place.root, fileSystem))
        }
        guard fileSystem.isDirectory(place.directory) else { return moved }
        let names = try storing { () throws(FileSystemError) in try fileSystem.list(place.directory) }
        for name in names where FileName.offset(name) != nil {
            let path = place.directory + "/" + name
            guard let kind = fileSystem.kind(of: path), kind != .file else { continue }
            moved.append(try putAside(path, "is \(kind.text) in the place of a file", root: place.root, fileSystem))
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

/// How the last run ended.
enum LastStop {
    case clean
    case killed
    /// A sync had failed: the system may show what it will never write.
    case failedSync
    /// Something else was in the place of the mark. A sync may have failed.
    case unknown

    var mayBeOnlyInMemory: Bool { self == .failedSync || self == .unknown }
}
