import RocketMQBase
import Synchronization

/// Writes the checkpoint and the queue table, one writer at a time. After a clean stop's nothing is written any more, so that a
/// worker that comes late does not put an older state in their place.
final class CheckpointWriter: Sendable {
    private let root: String
    private let fileSystem: any FileSystem
    private let isClosed = Mutex(false)

    init(root: String, fileSystem: any FileSystem) {
        self.root = root
        self.fileSystem = fileSystem
    }

    /// - Parameter isLast: what a clean stop leaves.
    func write(_ page: Checkpoint?, _ table: QueueTable.Draft?, isLast: Bool = false) throws(StoreError) {
        try isClosed.withLock { (isClosed) throws(StoreError) in
            guard !isClosed else { return }
            isClosed = isLast
            try storing { () throws(FileSystemError) in
                if let table {
                    try fileSystem.replaceDurably(root + "/" + QueueTable.fileName, with: table.encoded(), keepingBackup: false)
                }
                if let page { try fileSystem.replaceDurably(root + "/checkpoint", with: page.encoded(), keepingBackup: false) }
            }
        }
    }
}
