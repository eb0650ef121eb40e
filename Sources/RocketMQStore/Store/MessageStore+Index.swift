import RocketMQBase

/// How far the index is, as the loop knows it.
struct Indexing {
    var offset: Int64
    /// A step is scheduled or runs.
    var isUnderWay = false
    var hasFailed = false
    /// Files of the log, by their beginnings, that were not there when their keys were to be put in.
    fileprivate var unindexed: Set<Int64> = []
    /// There was no room for it when it was last tried.
    fileprivate var isShortOfRoom = false
    fileprivate var lastStep: MonotonicTime
    fileprivate var lastEnd: Int64 = 0

    init(offset: Int64, now: MonotonicTime) {
        self.offset = offset
        lastStep = now
    }
}

/// Building the index behind the log: in steps on the housekeeper, seldom while much is sent, at once when it is quiet.
extension MessageStore {
    private static var stepBytes: Int { 1 << 20 }

    static func makeIndex(
        _ configuration: StoreConfiguration, _ recovered: RecoveredStore, wasClean: Bool, fileSystem: any FileSystem,
        clock: any SystemClock,
        progress: StartProgress
    ) throws(StoreError) -> IndexBuilder? {
        let root = configuration.rootDirectory
        guard configuration.isIndexEnabled else {
            // The log may be cut while nobody looks after the index: what is listed now must not be believed later.
            try storing { () throws(FileSystemError) in
                guard fileSystem.exists(root + "/" + IndexList.fileName) else { return }
                try fileSystem.remove(root + "/" + IndexList.fileName)
                try fileSystem.synchronizeDirectory(root)
            }
            return nil
        }
        let index = IndexBuilder(
            root: root,
            geometry: IndexFile.Geometry(slots: max(configuration.indexSlots, 1), entries: max(configuration.indexEntries, 2)),
            fileSystem: fileSystem, clock: clock)
        let list = IndexBuilder.list(root: root, fileSystem)
        let trust: IndexBuilder.Trust =
            switch (recovered.checkpoint.own, wasClean) {
            case (.some, _): list.map { .listed($0, wasClean: wasClean) } ?? .nothing
            case (nil, true): .headers
            case (nil, false): .filesUntil(timestamp: recovered.checkpoint.indexTimestamp)
            }
        try index.load(trust, logStart: recovered.log.minOffset, logEnd: recovered.log.writtenOffset, progress)
        return index
    }

    /// A query may have found the index damaged, and begun it anew.
    func indexWasAsked() {
        guard let index else { return }
        for note in index.takeNotes() { report(.warning, note) }
        if !indexing.isUnderWay { indexing.offset = index.indexedOffset }
        scheduleIndexing(after: .milliseconds(20))
    }

    func scheduleIndexing(after delay: Duration) {
        guard index != nil, !indexing.isUnderWay, !indexing.hasFailed, !upkeep.isClosed, indexing.offset < log.writtenOffset else { return }
        indexing.isUnderWay = true
        loop.schedule(after: delay) { [weak self] in self?.indexStep() }
    }

    /// The log's files from `offset` on, but those that somebody removed: `lookAfterFiles` tells of them.
    func logParts(from offset: Int64) throws(StoreError) -> [LogPart] {
        var parts: [LogPart] = []
        for file in log.files where file.end > offset && file.base < log.writtenOffset {
            do throws(StoreError) {
                parts.append(LogPart(base: file.base, size: file.size, file: try file.handle()))
            } catch  where error.code == .removed { tellUnindexed(file) }
        }
        return parts
    }

    private func tellUnindexed(_ file: LogFile) {
        guard index != nil, file.end > indexing.offset, indexing.unindexed.insert(file.base).inserted else { return }
        report(
            .warning,
            "\(file.path) is not there, the keys of its messages are left out of the index: when the file is back, stop the broker, remove "
                + "\(configuration.rootDirectory)/\(IndexList.fileName) and start it again to have them")
    }

    private func indexStep() {
        guard let index, !upkeep.isClosed else { return }
        let end = log.writtenOffset
        let parts: [LogPart]
        do { parts = try logParts(from: indexing.offset) } catch { return indexStepEnded(at: nil, error, took: .zero) }
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, clock] in
            let began = clock.monotonicNow
            var reached: Int64?
            var failure: StoreError?
            do throws(StoreError) { reached = try index.advance(parts, to: end, byteLimit: Self.stepBytes) } catch { failure = error }
            let (offset, error) = (reached, failure)
            let took = clock.monotonicNow - began
            loop.execute { store.value.indexStepEnded(at: offset, error, took: took) }
        }
    }

    private func indexStepEnded(at offset: Int64?, _ failure: StoreError?, took: Duration) {
        indexing.isUnderWay = false
        for note in index?.takeNotes() ?? [] { report(.warning, note) }
        if let failure, failure.code == .noSpace {
            if !indexing.isShortOfRoom { report(.warning, "the index is behind until there is room for it: \(failure)") }
            indexing.isShortOfRoom = true
            return scheduleIndexing(after: .seconds(2))
        }
        if let failure {
            indexing.hasFailed = true
            return report(.error, "the index is not built any further until the broker is started again: \(failure)")
        }
        indexing.offset = offset ?? indexing.offset
        if indexing.isShortOfRoom { report(.information, "the index is built further") }
        indexing.isShortOfRoom = false
        let isQuiet = log.writtenOffset - indexing.lastEnd < 64 << 10
        indexing.lastEnd = log.writtenOffset
        scheduleIndexing(after: isQuiet ? .milliseconds(1) : took * 9 + .milliseconds(5))
    }
}
