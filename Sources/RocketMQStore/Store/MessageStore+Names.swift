import RocketMQBase

/// Noticing that the store's files were taken away under it: what is written then would go with the last handle.
extension MessageStore {
    private static var checkInterval: Duration { .seconds(1) }

    /// Looks in the background, at most once a second, whether the log is still where it was.
    func checkNames(_ now: MonotonicTime) {
        guard !upkeep.isCheckingNames, !upkeep.hasFlushFailed, now - upkeep.lastNameCheck >= Self.checkInterval else { return }
        upkeep.lastNameCheck = now
        upkeep.isCheckingNames = true
        let files = log.files.suffix(1).compactMap(\.opened) + locks
        let store = LoopBound(self, on: loop)
        workers.housekeeper.run { [loop] in
            let failure = Self.lostName(files)
            loop.execute {
                let store = store.value
                store.upkeep.isCheckingNames = false
                if let failure, !store.upkeep.isClosed, !store.upkeep.hasFlushFailed { store.flushFailed(failure) }
            }
        }
    }

    /// Why these files are not what they were, if one of them has lost its name.
    static func lostName(_ files: [any OpenFile]) -> StoreError? {
        for file in files {
            // What cannot be looked at is not gone.
            guard let isThere = try? file.isAtItsPath(), !isThere else { continue }
            return StoreError(
                .removed,
                "\(file.path) was removed or replaced while the broker had it open, and what is stored now would be lost: if it was "
                    + "moved, put it back before the next start")
        }
        return nil
    }
}
