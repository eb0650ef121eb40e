import RocketMQBase
import RocketMQProtocol

/// Positions of a broadcasting consumer, kept in a file of this machine in the Java client's form and place. Confined to the
/// loop; the file is read and written by a worker.
///
/// The file is replaced as a whole, so that after a crash the old or the new one is there, and the one before as `.bak`.
final class LocalOffsetStore {
    let path: String
    private let fileSystem: any FileSystem
    private let worker: any BackgroundWorker
    private let loop: any EventLoop
    private let log: Logger
    private var offsets: [MessageQueue: Int64] = [:]
    private var lock: (any OpenFile)?
    private var isChanged = false
    private var isWriting = false
    /// Who waits for a write that has not begun.
    private var waiting: [(FileSystemError?) -> Void] = []

    init(path: String, fileSystem: any FileSystem, worker: any BackgroundWorker, loop: any EventLoop, log: Logger) {
        self.path = path
        self.fileSystem = fileSystem
        self.worker = worker
        self.loop = loop
        self.log = log
    }

    /// Where the positions of a group are: `<directory>/<client id>/<group>/offsets.json`.
    static func path(directory: String, clientID: String, group: String) -> String { "\(directory)/\(clientID)/\(group)/offsets.json" }

    func offset(of queue: MessageQueue) -> Int64? { offsets[queue] }

    /// Whether this member has consumed from the topic before.
    func knows(topic: String) -> Bool { offsets.keys.contains { $0.topic == topic } }

    func set(_ queue: MessageQueue, _ offset: Int64) {
        guard offsets[queue] != offset else { return }
        offsets[queue] = offset
        isChanged = true
    }

    // MARK: The file

    private enum Loaded: Sendable {
        case table([MessageQueue: Int64], lock: any OpenFile)
        case failed(MQError)
    }

    /// Reads the file, and keeps others from using it. `completion` gets why that does not work.
    func load(completion: @escaping (MQError?) -> Void) {
        let (path, fileSystem, loop) = (path, fileSystem, loop)
        let core = LoopBound((store: self, completion: completion), on: loop)
        worker.run {
            let loaded = Self.read(path, fileSystem)
            loop.execute {
                switch loaded {
                case .table(let offsets, let lock):
                    (core.value.store.offsets, core.value.store.lock) = (offsets, lock)
                    core.value.completion(nil)
                case .failed(let error): core.value.completion(error)
                }
            }
        }
    }

    private static func read(_ path: String, _ fileSystem: any FileSystem) -> Loaded {
        let lock: any OpenFile
        do throws(FileSystemError) {
            try fileSystem.createDirectory(path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ".")
            lock = try fileSystem.open(path + ".lock", .createOrUpdate)
            try lock.lockExclusively()
        } catch {
            let isTaken = error.code == .lockedByOther
            return .failed(
                MQError(
                    .invalidConfiguration, isTaken ? "another consumer on this machine uses \(path)" : "\(error)",
                    advice: isTaken
                        ? "give each member of a broadcasting group an instanceName of its own in ClientConfiguration"
                        : "set localOffsetDirectory to a directory that this program may write to", underlying: error))
        }
        var problems: [String] = []
        for candidate in [path, path + ".bak"] {
            do throws(FileSystemError) {
                guard let bytes = try fileSystem.contents(of: candidate) else { continue }
                do throws(MalformedBytes) { return .table(try LocalOffsetTable(decoding: bytes).offsetTable, lock: lock) } catch {
                    problems.append("\(candidate) is damaged: \(error.what)")
                }
            } catch { problems.append("\(error)") }
        }
        if problems.isEmpty { return .table([:], lock: lock) }
        lock.close()
        return .failed(
            MQError(
                .invalidConfiguration, "the positions cannot be read: \(problems.joined(separator: "; "))",
                advice: "put a good copy in its place, or remove it to begin where consumeFromWhere says"))
    }

    /// Writes what has changed. `completion` when all that was set before is in the file, or with why it is not; it is in memory
    /// then, and the next save tries again.
    func save(completion: ((FileSystemError?) -> Void)? = nil) {
        if let completion { waiting.append(completion) }
        write()
    }

    private func write() {
        guard !isWriting else { return }
        let served = waiting
        waiting = []
        guard isChanged else {
            for completion in served { completion(nil) }
            return
        }
        (isWriting, isChanged) = (true, false)
        let bytes = LocalOffsetTable(offsetTable: offsets).encodedIndented()
        let (path, fileSystem, loop) = (path, fileSystem, loop)
        let core = LoopBound((store: self, served: served), on: loop)
        worker.run {
            var failure: FileSystemError?
            do throws(FileSystemError) { try fileSystem.replaceDurably(path, with: bytes) } catch { failure = error }
            loop.execute { [failure] in core.value.store.written(failure, core.value.served) }
        }
    }

    private func written(_ failure: FileSystemError?, _ served: [(FileSystemError?) -> Void]) {
        isWriting = false
        if let failure {
            isChanged = true
            log.log(.error, limitedBy: "local offsets", "positions are in memory only until a later try succeeds: \(failure)")
        }
        for completion in served { completion(failure) }
        if !waiting.isEmpty { write() }
    }

    /// Lets others use the file.
    func close() {
        lock?.close()
        lock = nil
    }
}
