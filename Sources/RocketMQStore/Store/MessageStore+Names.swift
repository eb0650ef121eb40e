import RocketMQBase

/// Noticing that the store's files were taken away under it: what is written then would go with the last handle.
extension MessageStore {
    private static var checkInterval: Duration { .seconds(1) }

    /// Looks in the background, at most once a second, whether the log is still where it was.
    func checkNames(_ now: MonotonicTime) {
        guard !upkeep.isCheckingNames, !upkeep.hasFlushFailed, now - upkeep.lastNameCheck >= Self.checkInterval else { return }
        upkeep.lastNameCheck = now
        upkeep.isCheckingNames = true
        let (files, size) = (log.files.suffix(1).compactMap(\.opened), log.fileSize)
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, locks] in
            let failure = Self.lostName(files, size: size) ?? Self.lostName(locks)
            loop.execute {
                let store = store.value
                store.upkeep.isCheckingNames = false
                if let failure, !store.upkeep.isClosed, !store.upkeep.hasFlushFailed { store.flushFailed(failure) }
            }
        }
    }

    /// Why these files are not what they were, if one of them has lost its name, or has not `size` bytes any more.
    static func lostName(_ files: [any OpenFile], size: Int64 = 0) -> StoreError? {
        for file in files {
            // Twice: where a file system knows no holes, a file that is cleared is shorter for a moment.
            if size > 0, let found = try? file.size(), found < size, let again = try? file.size(), again < size {
                return StoreError(
                    .removed,
                    "\(file.path) was cut to \(again) of its \(size) bytes while the broker had it open, and what is stored now may be lost: "
                        + "stop the broker, and look for who did that; the next start says what is missing")
            }
            // What cannot be looked at is not gone.
            guard let isThere = try? file.isAtItsPath(), !isThere else { continue }
            return StoreError(
                .removed,
                "\(file.path) was removed or replaced while the broker had it open, and what is stored now would be lost: if it was "
                    + "moved, put it back before the next start")
        }
        return nil
    }

    // MARK: All files

    /// What is known of files of the log that are not what they should be. Belongs to the store's thread.
    struct OddLogFiles {
        var isLooking = false
        /// Where the next look goes on.
        var next: Int64 = 0
        /// Told of, by their places in the log.
        var told: Set<Int64> = []
    }

    private static var filesOfALook: Int { 500 }

    /// Looks in the background whether files of the log that are not written any more, and those of the index, are there and whole.
    func lookAfterFiles() {
        guard !oddLogFiles.isLooking, !upkeep.isClosed else { return }
        oddLogFiles.isLooking = true
        let all = log.files.dropLast()
        let rest = all.drop { $0.base < oddLogFiles.next }
        let looked = (rest.isEmpty ? all : rest).prefix(Self.filesOfALook)
        oddLogFiles.next = looked.last?.end ?? 0
        let files = looked.map { (base: $0.base, path: $0.path) }
        let size = log.fileSize
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop, fileSystem, index] in
            var odd: [Int64: String] = [:]
            for file in files {
                if let what = Self.oddity(of: file.path, size, fileSystem) { odd[file.base] = what }
            }
            var failure: StoreError?
            do throws(StoreError) { try index?.lookAfterFiles() } catch { failure = error }
            let (found, failed) = (odd, failure)
            loop.execute {
                let store = store.value
                store.oddLogFiles.isLooking = false
                guard !store.upkeep.isClosed else { return }
                if let failed { store.report(.warning, "the index cannot be looked after: \(failed)") }
                store.indexWasAsked()
                store.tell(found, of: files.map(\.base))
            }
        }
    }

    /// What is wrong with a file of the log; `nil` when nothing is, or it cannot be looked at.
    private static func oddity(of path: String, _ size: Int64, _ fileSystem: any FileSystem) -> String? {
        do throws(FileSystemError) {
            let file = try fileSystem.open(path, .read)
            defer { file.close() }
            let found = try file.size()
            return found < size ? "was cut to \(found) of its \(size) bytes" : nil
        } catch {
            switch error.code {
            case .notFound: return "was removed"
            case .wrongKind: return "was replaced: \(error.reason)"
            default: return nil
            }
        }
    }

    private func tell(_ odd: [Int64: String], of looked: [Int64]) {
        for base in looked {
            // Deleted meanwhile, or well.
            guard let what = odd[base], let file = log.file(holding: base), file.base == base else {
                oddLogFiles.told.remove(base)
                continue
            }
            guard oddLogFiles.told.insert(base).inserted else { continue }
            report(
                .error,
                "\(file.path) \(what) while the broker runs: messages of commit log offsets \(base) to \(file.end) cannot be read, and whoever "
                    + "asks for one is told so. Put the file back (from a copy, or as long as this process runs from /proc/PID/fd); without it "
                    + "the next start says what is missing")
        }
    }
}
