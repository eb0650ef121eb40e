import Synchronization

/// One call of the file system fails, after so many others.
final class OneFault: Sendable {
    private let state: Mutex<(left: Int, hasFailedSync: Bool, hasFailedNames: Bool)>
    private let seed: UInt64

    init(after count: Int, seed: UInt64) {
        state = Mutex((count, false, false))
        self.seed = seed
    }

    /// Whether it hit a sync: what was not durable may be gone.
    var hasFailedSync: Bool { state.withLock { $0.hasFailedSync } }

    /// Whether it hit the sync of a directory: nothing is gone, and nobody may be sure of it.
    var hasFailedNames: Bool { state.withLock { $0.hasFailedNames } }

    var answer: @Sendable (MemoryFileSystem.Operation, String) -> MemoryFileSystem.Fault? {
        { [self] operation, _ in
            let isNow = state.withLock { state in
                state.left -= 1
                if state.left == -1, operation == .synchronize { state.hasFailedSync = true }
                if state.left == -1, operation == .synchronizeDirectory { state.hasFailedNames = true }
                return state.left == -1
            }
            guard isNow else { return nil }
            switch operation {
            case .write: return seed % 2 == 0 ? .fail(.noSpace) : .short(Int(seed % 700), .inputOutput)
            case .synchronize: return .dropsPages(.inputOutput, seed: seed)
            case .readIfCached: return .cold
            default: return .fail(.inputOutput)
            }
        }
    }
}
