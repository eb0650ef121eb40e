import RocketMQBase
import RocketMQStore

/// Why a lookup in runs does not go on.
enum TimerLookupInterruption: Error {
    /// The page has to be fetched first.
    case needsDisk(run: Int64, page: Int64)
    case failed(FileSystemError)

    /// Of one that may wait for the disk.
    var reason: FileSystemError {
        switch self {
        case .failed(let error): error
        case .needsDisk(let run, let page):
            FileSystemError(
                operation: "read", path: "page \(page) of timer run \(run)", code: .inputOutput, reason: "it is not in memory")
        }
    }
}

/// A run in use: entries are taken out from its beginning on. A small part is in memory. Confined to the broker's loop.
final class TimerRun {
    let info: TimerRunInfo
    private let file: any OpenFile
    private let fences: [TimerFence]
    private let loop: any EventLoop
    private let worker: any BackgroundWorker
    /// Everything up to here was taken out for good.
    private(set) var done: TimerKey?
    /// The next entry that is taken out.
    private(set) var position: Int64 = 0

    private var page: [TimerEntry] = []
    private var nextInPage = 0
    private var isLoading = false
    /// Pages that could not be read and are being found again.
    private var missing: Set<Int64> = []
    /// Why the rest of the run cannot be read.
    private(set) var failure: FileSystemError?
    /// Called when entries have come from the disk, or cannot.
    var onLoaded: (() -> Void)?
    /// Called when a page cannot be read, or is not what was written: `restore` or `giveUp` is to follow.
    var onDamaged: ((_ page: Int64, FileSystemError) -> Void)?

    enum Head {
        case entry(TimerEntry)
        case atEnd
        /// The disk is asked; what it brings does not come before this.
        case loading(from: TimerKey)
    }

    init(
        _ info: TimerRunInfo, fences: [TimerFence], done: TimerKey?, directory: String, fileSystem: any FileSystem, loop: any EventLoop,
        worker: any BackgroundWorker
    ) throws(FileSystemError) {
        self.info = info
        self.fences = fences
        self.done = done
        self.loop = loop
        self.worker = worker
        file = try fileSystem.open(TimerRunInfo.path(directory, info.id), .read)
        if let done {
            do throws(TimerLookupInterruption) { position = try self.position(after: done, mayWait: true) } catch { throw error.reason }
        }
    }

    /// Opens a run of an earlier start.
    convenience init(
        _ info: TimerRunInfo, done: TimerKey?, directory: String, fileSystem: any FileSystem, loop: any EventLoop,
        worker: any BackgroundWorker
    ) throws(FileSystemError) {
        let file = try fileSystem.open(TimerRunInfo.path(directory, info.id), .read)
        defer { file.close() }
        let fences = try TimerRunFile.fences(file, info)
        try self.init(
            info, fences: fences, done: done, directory: directory, fileSystem: fileSystem, loop: loop, worker: worker)
    }

    func close() { file.close() }

    var isAtEnd: Bool { position >= info.count }

    // MARK: Taking out

    var head: Head {
        if nextInPage < page.count { return .entry(page[nextInPage]) }
        guard position < info.count, failure == nil else { return .atEnd }
        load()
        return nextInPage < page.count ? .entry(page[nextInPage]) : failure == nil ? .loading(from: earliest) : .atEnd
    }

    /// Nothing in the page of `position` that was not taken out comes before it, nor does what takes back a message there.
    private var earliest: TimerKey {
        let first = fences[Int(position / TimerRunLayout.pageEntries)].key
        let key = TimerKey(wake: first.wake, order: first.order & ~1)
        return done.map { max($0, key) } ?? key
    }

    /// Passes over the head. It counts as taken out for good when `finish` is called with its key.
    func advance() {
        nextInPage += 1
        position += 1
    }

    func finish(_ key: TimerKey) { done = key }

    /// Brings the page of `position` to memory: at once when the system has it.
    private func load() {
        let number = position / TimerRunLayout.pageEntries
        guard !isLoading, !missing.contains(number) else { return }
        var found: [UInt8]?
        do throws(FileSystemError) { found = try cached(number) } catch { return damaged(number, error) }
        if let found { return take(found, number) }
        let count = TimerRunLayout.entries(inPage: number, of: info.count) * TimerEntry.byteCount
        let file = file
        isLoading = true
        let run = LoopBound(self, on: loop)
        worker.run { [loop] in
            var bytes: [UInt8] = []
            var failure: FileSystemError?
            do throws(FileSystemError) {
                bytes = try TimerRunFile.read(file, at: TimerRunFile.offset(ofPage: number), count: count)
            } catch { failure = error }
            let (read, error) = (bytes, failure)
            loop.execute {
                let run = run.value
                run.isLoading = false
                if let error { run.damaged(number, error) } else { run.take(read, number) }
                run.onLoaded?()
            }
        }
    }

    private func take(_ bytes: [UInt8], _ number: Int64) {
        guard let entries = TimerRunFile.entries(bytes, page: number, fences) else {
            return damaged(number, TimerRunFile.damagedPage(number, file))
        }
        take(entries, number)
    }

    private func take(_ entries: [TimerEntry], _ number: Int64) {
        guard number == position / TimerRunLayout.pageEntries else { return }
        page = entries
        nextInPage = Int(position % TimerRunLayout.pageEntries)
    }

    // MARK: Damage

    private func damaged(_ number: Int64, _ error: FileSystemError) {
        guard failure == nil, missing.insert(number).inserted else { return }
        guard let onDamaged else { return giveUp(error) }
        onDamaged(number, error)
    }

    /// Somebody else has found the page damaged.
    func noteDamage(ofPage number: Int64, _ error: FileSystemError) { damaged(number, error) }

    /// What a damaged page held was found again, and is in its place.
    func restore(_ number: Int64, _ entries: [TimerEntry]) {
        missing.remove(number)
        if nextInPage >= page.count { take(entries, number) }
    }

    /// A page cannot be had again: the run ends here until the next start.
    func giveUp(_ error: FileSystemError) { failure = error }

    // MARK: Looking up, for tools, recalls and the start

    /// Pages that lookups have read: what is in them never changes.
    private var kept: [Int64: [TimerEntry]] = [:]
    /// More than one lookup looks at.
    private static let mostKept = 8

    /// Entries before the first one beyond `key`.
    func position(after key: TimerKey, mayWait: Bool = false) throws(TimerLookupInterruption) -> Int64 {
        let page = pageOf(key)
        guard page >= 0 else { return 0 }
        let entries = try readPage(page, mayWait)
        return page * TimerRunLayout.pageEntries + Int64(entries.firstIndex { key < $0.key } ?? entries.count)
    }

    /// Whether the entry is here and was not taken out.
    func holds(_ key: TimerKey) throws(TimerLookupInterruption) -> Bool {
        let page = pageOf(key)
        guard page >= 0, let index = try readPage(page, false).firstIndex(where: { $0.key == key }) else { return false }
        return page * TimerRunLayout.pageEntries + Int64(index) >= position
    }

    /// Messages less recalls that were not taken out, among those up to `wake`; all with `nil`.
    func waiting(upTo wake: Int64?, mayWait: Bool = false) throws(TimerLookupInterruption) -> (count: Int64, earliest: Int64?) {
        guard !isAtEnd else { return (0, nil) }
        var end = info.count
        if let wake { end = try position(after: TimerKey(wake: wake, order: .max), mayWait: mayWait) }
        guard end > position else { return (0, nil) }
        let recalls = try recalls(before: end, mayWait) - recalls(before: position, mayWait)
        let first = try readPage(position / TimerRunLayout.pageEntries, mayWait)
        return (end - position - 2 * recalls, first[Int(position % TimerRunLayout.pageEntries)].key.wake)
    }

    private func recalls(before position: Int64, _ mayWait: Bool) throws(TimerLookupInterruption) -> Int64 {
        let page = position / TimerRunLayout.pageEntries
        guard page < Int64(fences.count) else {
            let last = Int64(fences.count) - 1
            return fences[Int(last)].recallsBefore + Int64(try readPage(last, mayWait).count(where: \.isRecall))
        }
        let before = fences[Int(page)].recallsBefore
        let within = Int(position % TimerRunLayout.pageEntries)
        guard within > 0 else { return before }
        return before + Int64(try readPage(page, mayWait).prefix(within).count(where: \.isRecall))
    }

    /// The page that would hold the key; -1 before all.
    private func pageOf(_ key: TimerKey) -> Int64 {
        var (low, high) = (0, fences.count)
        while low < high {
            let middle = (low + high) / 2
            if key < fences[middle].key { high = middle } else { low = middle + 1 }
        }
        return Int64(low) - 1
    }

    /// A page from memory, or with `mayWait` from the disk.
    private func readPage(_ number: Int64, _ mayWait: Bool) throws(TimerLookupInterruption) -> [TimerEntry] {
        if let known = kept[number] { return known }
        if mayWait {
            do throws(FileSystemError) { return try TimerRunFile.page(number, of: input) } catch { throw failed(number, error) }
        }
        var bytes: [UInt8]?
        do throws(FileSystemError) { bytes = try cached(number) } catch { throw failed(number, error) }
        guard let bytes else { throw .needsDisk(run: info.id, page: number) }
        guard let entries = TimerRunFile.entries(bytes, page: number, fences) else {
            throw failed(number, TimerRunFile.damagedPage(number, file))
        }
        return entries
    }

    private func failed(_ number: Int64, _ error: FileSystemError) -> TimerLookupInterruption {
        damaged(number, error)
        return .failed(error)
    }

    /// The bytes of a page when the system has them.
    private func cached(_ number: Int64) throws(FileSystemError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: TimerRunLayout.entries(inPage: number, of: info.count) * TimerEntry.byteCount)
        var found: Int?
        var failure: FileSystemError?
        bytes.withUnsafeMutableBytes { memory in
            do throws(FileSystemError) { found = try file.readIfCached(at: TimerRunFile.offset(ofPage: number), into: memory) } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return found == bytes.count ? bytes : nil
    }

    /// Brings a page from the disk for lookups; `completion` says why it cannot.
    func fetch(_ number: Int64, _ completion: @escaping (FileSystemError?) -> Void) {
        let (input, carried) = (input, LoopBound((run: self, completion: completion), on: loop))
        worker.run { [loop] in
            let result: Result<[TimerEntry], FileSystemError>
            do throws(FileSystemError) { result = .success(try TimerRunFile.page(number, of: input)) } catch { result = .failure(error) }
            loop.execute {
                let (run, completion) = carried.value
                switch result {
                case .success(let entries):
                    if run.kept.count >= Self.mostKept { run.kept = [:] }
                    run.kept[number] = entries
                    completion(nil)
                case .failure(let error):
                    run.damaged(number, error)
                    completion(error)
                }
            }
        }
    }

    // MARK: For the start and for merging

    /// Passes over what was taken out before a crash: everything up to the last of the messages that `isDelivered` knows, of
    /// which there are at most `most`. Returns the recalls among it: what they take back may still stand in another run.
    func recover(most: Int, _ isDelivered: (Int64) -> Bool) throws(FileSystemError) -> [TimerEntry] {
        guard most > 0 else { return [] }
        var scanner = TimerRunScanner(input)
        var (found, recalls, passed): (Int, [TimerEntry], [TimerEntry]) = (0, [], [])
        do throws(TimerRunFailure) {
            while found < most, let entry = try scanner.nextEntry() {
                if entry.isRecall { recalls.append(entry) }
                guard !entry.isRecall, isDelivered(entry.queueOffset) else { continue }
                found += 1
                done = entry.key
                position = scanner.position
                passed += recalls
                recalls = []
            }
        } catch { throw error.file }
        page = []
        nextInPage = 0
        return passed
    }

    /// What is not taken out, for those who read all of it.
    var input: TimerRunInput {
        TimerRunInput(run: info.id, file: file, fences: fences, position: position, count: info.count)
    }
}
