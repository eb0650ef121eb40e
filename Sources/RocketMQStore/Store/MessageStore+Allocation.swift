import RocketMQBase

/// How far the log's place on the disk is reserved.
struct Allocation {
    /// Physical offset up to which room was asked for.
    var until: Int64
    var step: Int64 = Allocation.smallestStep
    var last: MonotonicTime
    var isUnderWay = false
    static let smallestStep: Int64 = 1 << 20

    init(end: Int64, now: MonotonicTime) {
        until = end
        last = now
    }
}

/// Room on the disk ahead of writing, and the next file before it is needed: in the background, in steps that follow the
/// rate of use.
extension MessageStore {
    @inline(__always)
    func allocateAheadIfNeeded() {
        guard log.writtenOffset > allocation.until - min(allocation.step, log.fileSize) / 2, !allocation.isUnderWay else { return }
        allocateAhead()
    }

    private func allocateAhead() {
        let limit = configuration.allocateAheadLimit
        guard limit >= Allocation.smallestStep, log.fileSize >= Allocation.smallestStep, !upkeep.isClosed else { return }
        let now = clock.monotonicNow
        // Twice as far when the last step lasted less than a second, half as far when it lasted long.
        let lasted = now - allocation.last
        if lasted < .seconds(1) { allocation.step = min(allocation.step * 2, limit) }
        if lasted > .seconds(60) { allocation.step = max(allocation.step / 2, Allocation.smallestStep) }
        allocation.last = now
        let start = max(allocation.until, log.writtenOffset)
        let base = log.base(ofFileAt: start)
        let count = min(allocation.step, base + log.fileSize - start)
        var existing: (any OpenFile)?
        if let file = log.file(holding: start) {
            guard let handle = try? file.handle() else { return }
            existing = handle
        }
        allocation.isUnderWay = true
        let (path, fileSize, opened) = (log.path(base), log.fileSize, existing)
        let store = LoopBound(self, on: loop)
        let directory = log.directory
        workers.housekeeper.run { [loop, fileSystem] in
            // Only advice: trouble shows, with its reason, when the log is written.
            try? Self.allocate(opened, path, fileSize, start - base, count, directory, fileSystem)
            loop.execute {
                store.value.allocation.isUnderWay = false
                store.value.allocation.until = max(store.value.allocation.until, start + count)
                // A burst may have written past it meanwhile.
                store.value.allocateAheadIfNeeded()
            }
        }
    }

    private static func allocate(
        _ opened: (any OpenFile)?, _ path: String, _ fileSize: Int64, _ position: Int64, _ count: Int64, _ directory: String,
        _ fileSystem: any FileSystem
    ) throws(FileSystemError) {
        if let opened { return try opened.allocate(at: position, count: count) }
        // The log may have reached it meanwhile, and made it: should it be shorter now, somebody cut it, and that must show.
        if let made = try? fileSystem.open(path, .update) {
            defer { made.close() }
            return try made.allocate(at: position, count: count)
        }
        // No file may outlast one before it.
        try fileSystem.synchronizeDirectory(directory)
        let file = try fileSystem.open(path, .createOrUpdate)
        defer { file.close() }
        if try file.size() < fileSize { try file.truncate(to: fileSize) }
        try file.allocate(at: position, count: count)
    }
}
