import RocketMQBase
import RocketMQProtocol

/// What table files need of the world.
struct TableFileContext {
    let fileSystem: any FileSystem
    let loop: any EventLoop
    /// Writes run here, in the order in which they were asked for.
    let worker: any BackgroundWorker
    let log: Logger
    /// How long after a failed write it is tried again.
    var retryInterval: Duration = .seconds(10)
}

/// A table of the broker's could not be read or written.
struct TableFileError: Error, Sendable, Equatable, CustomStringConvertible {
    let path: String
    let description: String
}

/// Bytes of a table's file: more than any broker needs, and no trouble to have in memory.
private let largestTable: Int64 = 512 << 20

/// One table under `config`, such as `topics.json`, in the reference's form. Confined to the broker's loop.
///
/// A file is replaced as a whole, and its `.bak` after it, so that one of them is whole at any time and both hold the last change
/// a moment later. At most one write is under way; changes made meanwhile go into the next one together.
final class TableFile<Table: JSONBody> {
    typealias Completion = (TableFileError?) -> Void

    let path: String
    /// The table as it is now. Called on the loop when a write starts; the text is made by the worker.
    var snapshot: (() -> Table)?
    private let context: TableFileContext
    private let hasChecksum: Bool
    private var isWriting = false
    private var isWriteWanted = false
    /// The last write failed: what the file holds is old.
    private var hasFailed = false
    private var isRetryScheduled = false
    /// Who waits for the next write, and for the one under way.
    private var waiting: [Completion] = []
    private var beingServed: [Completion] = []

    /// - Parameter hasChecksum: for tables of numbers, which another number would not show in; tables that people change by hand
    ///   have none.
    init(path: String, context: TableFileContext, hasChecksum: Bool = false) {
        self.path = path
        self.context = context
        self.hasChecksum = hasChecksum
    }

    private var backupPath: String { path + ".bak" }

    // MARK: Loading

    /// The table as it was last written; `nil` when there never was one. Where the file is missing or damaged its `.bak`
    /// counts. Blocks: for the start.
    func load() throws(TableFileError) -> Table? {
        do throws(FileSystemError) {
            if let slash = path.lastIndex(of: "/") { try context.fileSystem.createDirectoryDurably(String(path[..<slash])) }
        } catch {
            throw TableFileError(path: path, description: error.description)
        }
        let problem: String
        switch read(path) {
        case .table(let table): return table
        case .missing: problem = "is missing"
        case .damaged(let reason): problem = reason
        }
        switch read(backupPath) {
        case .table(let table):
            context.log.warning("\(path) \(problem): \(backupPath), the last good copy, is used instead")
            return table
        case .missing:
            if case .missing = read(path) { return nil }
            throw TableFileError(
                path: path,
                description:
                    "\(path) \(problem), and there is no \(backupPath); put a good copy in its place, or remove it to start without")
        case .damaged(let reason):
            throw TableFileError(
                path: path,
                description: "neither \(path) (\(problem)) nor \(backupPath) (\(reason)) can be used; "
                    + "put a good copy in place of the first, or remove both to start without")
        }
    }

    private enum Reading {
        case table(Table), missing, damaged(String)
    }

    private func read(_ path: String) -> Reading {
        let bytes: [UInt8]
        do throws(FileSystemError) {
            guard let found = try context.fileSystem.contents(of: path, atMost: largestTable) else { return .missing }
            bytes = found
        } catch {
            return .damaged("cannot be read (\(error.reason))")
        }
        guard !bytes.isEmpty else { return .damaged("is empty") }
        if TableChecksum.check(bytes) == .differs {
            return .damaged(
                "does not have its checksum, it is damaged or was changed by hand (take the member \"checksum\" out to have it believed)")
        }
        do throws(MalformedBytes) { return .table(try Table(decoding: bytes)) } catch { return .damaged("is damaged (\(error.what))") }
    }

    // MARK: Saving

    /// The table changed: writes it as it is when the write starts, soon.
    func save() {
        isWriteWanted = true
        startWriting()
    }

    /// Calls back when all that was saved is durable, or with why it is not; it is tried again later all the same.
    func whenSaved(_ completion: @escaping Completion) {
        if isWriteWanted {
            waiting.append(completion)
        } else if isWriting {
            beingServed.append(completion)
        } else if hasFailed {
            waiting.append(completion)
            save()
        } else {
            completion(nil)
        }
    }

    /// Saves, and calls back as `whenSaved` does.
    func save(_ completion: @escaping Completion) {
        isWriteWanted = true
        waiting.append(completion)
        startWriting()
    }

    private func startWriting() {
        guard !isWriting, isWriteWanted, let table = snapshot?() else { return }
        isWriting = true
        isWriteWanted = false
        beingServed = waiting
        waiting = []
        let file = LoopBound(self, on: context.loop)
        let path = path
        context.worker.run { [fileSystem = context.fileSystem, loop = context.loop, hasChecksum] in
            var failure: TableFileError?
            do throws(FileSystemError) {
                let text = table.encodedIndented()
                try fileSystem.replaceDurably(path, with: hasChecksum ? TableChecksum.append(to: text) : text)
            } catch {
                failure = TableFileError(path: path, description: error.description)
            }
            let ended = failure
            loop.execute { file.value.writingEnded(ended) }
        }
    }

    private func writingEnded(_ failure: TableFileError?) {
        isWriting = false
        hasFailed = failure != nil
        if let failure {
            context.log.log(
                .error, limitedBy: "table file", "\(failure); what \(path) should hold is in memory only until a later try succeeds")
            scheduleRetry()
        }
        let served = beingServed
        beingServed = []
        for completion in served { completion(failure) }
        startWriting()
    }

    private func scheduleRetry() {
        guard !isRetryScheduled else { return }
        isRetryScheduled = true
        context.loop.schedule(after: context.retryInterval) { [weak self] in
            guard let self else { return }
            isRetryScheduled = false
            if hasFailed { save() }
        }
    }
}
