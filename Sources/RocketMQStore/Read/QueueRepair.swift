import RocketMQBase
import RocketMQProtocol
import Synchronization

/// Finds out again from the log what stands in a stretch of a consume queue whose entries cannot be, and writes it there. A start
/// after a clean stop looks at the ends of queues only: damage inside one is found by the first who reads it.
///
/// Works in steps of bounded length, away from the loop. The stretch goes from the last entry before it that leads to its
/// message to the first such entry behind it.
final class QueueRepair: Sendable {
    struct Request: Sendable {
        /// The queue, and the queue offset whose entry is damaged.
        var piece: QueuePiece
        /// The queue's first offset, and the one behind the last that is in its files.
        var range: Range<Int64>
        /// The log as far as messages of the range can be in it.
        var parts: [LogPart]
        var logEnd: Int64
        var delays: [Int64]
    }
    enum Outcome: Sendable {
        /// There is more to look through.
        case unfinished
        case done(Range<Int64>, Findings, isNew: Bool)
        case failed(StoreError)
    }
    struct Findings: Sendable {
        /// Offsets whose entries lead to no message that can be had.
        var lost: [Int64] = []
        /// Offsets that were empty, and rightly: the log has no message for them.
        var empty: [Int64] = []
        /// Whether an entry was brought back.
        var isMended = false
    }
    private struct State: ~Copyable {
        var stretch: Range<Int64>?
        var position: Int64 = 0
        var end: Int64 = 0
        var found: [Int64: QueueEntry] = [:]
        var isDone = false
        var findings = Findings()
    }
    let task: Request
    private let writer: QueueWriter
    private let fileSystem: any FileSystem
    private let state = Mutex(State())

    /// Bytes of the log that a step looks through.
    private static let stepBytes: Int64 = 64 << 20
    /// So many entries are looked at for one that is whole, in each direction.
    private static let furthest: Int64 = 300_000

    init(_ task: Request, writer: QueueWriter, fileSystem: any FileSystem) {
        self.task = task
        self.writer = writer
        self.fileSystem = fileSystem
    }

    func step() -> Outcome {
        state.withLock { state in
            do throws(StoreError) {
                if let stretch = state.stretch, state.isDone { return .done(stretch, state.findings, isNew: false) }
                var known = state.stretch
                if known == nil { known = try findStretch(&state) }
                guard let stretch = known else { return .unfinished }
                try search(stretch, &state)
                guard state.position >= state.end || state.found.count == stretch.count else { return .unfinished }
                try write(stretch, &state)
                state.isDone = true
                return .done(stretch, state.findings, isNew: true)
            } catch { return .failed(error) }
        }
    }

    // MARK: The stretch

    private func findStretch(_ state: inout State) throws(StoreError) -> Range<Int64> {
        let damaged = task.piece.offset
        var lower = max(task.range.lowerBound, damaged - Self.furthest)
        var upper = min(task.range.upperBound, damaged + Self.furthest)
        state.position = task.parts.first?.base ?? 0
        state.end = task.logEnd
        var offset = damaged - 1
        while offset >= lower {
            let entry = try entry(offset)
            if let entry, try task.isWhole(entry, offset) {
                state.position = entry.physicalOffset + Int64(entry.size)
                lower = offset + 1
                break
            }
            // There is no such file: the one before it may be there.
            offset = entry == nil ? offset - offset % task.piece.entriesPerFile - 1 : offset - 1
        }
        offset = damaged + 1
        while offset < upper {
            let entry = try entry(offset)
            if let entry, entry.physicalOffset >= state.position, try task.isWhole(entry, offset) {
                state.end = entry.physicalOffset
                upper = offset
                break
            }
            offset = entry == nil ? offset - offset % task.piece.entriesPerFile + task.piece.entriesPerFile : offset + 1
        }
        state.stretch = lower..<upper
        return lower..<upper
    }

    private func entry(_ offset: Int64) throws(StoreError) -> QueueEntry? { try task.entry(offset, fileSystem) }

    // MARK: The log

    private func search(_ stretch: Range<Int64>, _ state: inout State) throws(StoreError) {
        let files = task.parts.map { LogFile(base: $0.base, size: $0.size, path: $0.file.path, fileSystem: fileSystem, opened: $0.file) }
        let stop = min(state.end, state.position + Self.stepBytes)
        var scanner = LogScanner(files: files, from: state.position, trust: LogTrust(durableEnd: state.end, isEndKnown: true))
        while scanner.position < stop, state.found.count < stretch.count {
            switch try scanner.next() {
            case .record(let record, let place):
                let fields = record.fields
                guard place < state.end, stretch.contains(fields.queueOffset), RecordLayout.entersQueue(fields.systemFlag.rawValue) else {
                    continue
                }
                let tagsCode = scanner.withRecord(record, at: place) { bytes -> Int64? in
                    guard task.isOfQueue(record, bytes) else { return nil }
                    return TagsCode.of(record, in: bytes, topic: task.piece.place.topic, delays: task.delays)
                }
                guard let tagsCode else { continue }
                state.found[fields.queueOffset] = QueueEntry(
                    physicalOffset: place, size: Int32(truncatingIfNeeded: record.size), tagsCode: tagsCode)
            case .hole: continue
            case .end: return state.position = state.end
            }
        }
        state.position = scanner.position
    }

    // MARK: Writing

    private func write(_ stretch: Range<Int64>, _ state: inout State) throws(StoreError) {
        var bytes = [UInt8](repeating: 0, count: stretch.count * QueueEntry.byteCount)
        for offset in stretch {
            var entry = state.found[offset]
            if entry == nil {
                // What leads to a damaged record stays: the disk may have read wrong, and the start after a crash decides.
                entry = try self.entry(offset).flatMap { $0.isVoid || !leadsIntoLog($0, state.position, state.end) ? nil : $0 }
                if entry?.isFiller == true { state.findings.empty.append(offset) } else { state.findings.lost.append(offset) }
            } else {
                state.findings.isMended = true
            }
            bytes.withUnsafeMutableBytes {
                (entry ?? .filler).store(to: $0.baseAddress! + Int(offset - stretch.lowerBound) * QueueEntry.byteCount)
            }
        }
        var piece = task.piece
        piece.offset = stretch.lowerBound
        var failure: StoreError?
        bytes.withUnsafeBytes { buffer in
            do throws(StoreError) { try writer.write(piece, buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private func leadsIntoLog(_ entry: QueueEntry, _ start: Int64, _ end: Int64) -> Bool {
        entry.isFiller || entry.physicalOffset < end && entry.physicalOffset >= task.parts.first?.base ?? 0
    }
}

/// The repairs that are under way, and what they could not bring back. Belongs to the loop.
struct QueueRepairs {
    fileprivate var underWay: [Int: QueueRepair] = [:]
    /// Offsets by queue whose messages the log does not have: they are passed over and not looked for again.
    fileprivate var lost: [Int: Set<Int64>] = [:]
    fileprivate static let mostLost = 100_000
}

extension MessageStore {
    /// Whether the entry or the message at this offset was found damaged before, and is not to be had again.
    func isKnownLost(_ queue: ConsumeQueue, _ offset: Int64) -> Bool {
        guard !queueRepairs.lost.isEmpty else { return false }
        return queueRepairs.lost[queue.files.number]?.contains(offset) ?? false
    }

    /// What has to run, away from the loop, before the offset can be read. An empty entry may be right: it is where a message was
    /// lost, so that nothing is said of it before the log has been asked.
    func repair(of queue: ConsumeQueue, at offset: Int64, isEmpty: Bool = false) -> DiskNeed? {
        let number = queue.files.number
        if let known = queueRepairs.underWay[number] { return .repair(known) }
        guard let task = request(queue, at: offset) else { return nil }
        if !isEmpty {
            report(
                .warning,
                "the consume queue in \(queue.files.place.directory) is damaged at offset \(offset), it is rebuilt there from the commit log"
            )
        }
        let job = QueueRepair(task, writer: queueFiles.writer, fileSystem: fileSystem)
        queueRepairs.underWay[number] = job
        return .repair(job)
    }

    /// What is to be known to repair or to check a queue at an offset; `nil` when it is not in the queue's files.
    func request(_ queue: ConsumeQueue, at offset: Int64) -> QueueRepair.Request? {
        let written = queue.writtenOffset
        guard offset >= queue.minOffset, offset < written, let parts = try? logParts(from: log.minOffset) else { return nil }
        return QueueRepair.Request(
            piece: queue.files.piece(at: offset, 0..<0, first: queue.minOffset), range: queue.minOffset..<written, parts: parts,
            logEnd: queue.recentEntry(written)?.physicalOffset ?? log.writtenOffset, delays: configuration.delayLevelMilliseconds)
    }

    /// Runs a repair that no read waits for, away from the loop, to its end.
    func run(_ job: QueueRepair, then completion: @escaping (StoreError?) -> Void) {
        let carried = LoopBound((store: self, completion: completion), on: loop)
        workers.readers.run { [loop] in
            let outcome = job.step()
            loop.execute {
                let (store, completion) = carried.value
                guard !store.upkeep.isClosed else { return completion(StoreError(.notWritable, "the store is closed")) }
                store.repairEnded(job, outcome)
                switch outcome {
                case .unfinished: store.run(job, then: completion)
                case .failed(let error): completion(error)
                case .done: completion(nil)
                }
            }
        }
    }

    /// What the first writes to queues since the start found wrong with their files.
    func take(_ findings: [QueueFinding]) {
        for finding in findings { if let text = finding.text { report(.warning, text) } }
        mend(findings.filter { $0.offset != nil }[...])
    }

    /// One after the other: a repair mends what is near as well.
    private func mend(_ findings: ArraySlice<QueueFinding>) {
        guard let finding = findings.first, let offset = finding.offset, !upkeep.isClosed else { return }
        guard let queue = topics.values.lazy.joined().map(\.value).first(where: { $0.files.number == finding.number }),
            case .repair(let job)? = repair(of: queue, at: offset, isEmpty: true)
        else { return mend(findings.dropFirst()) }
        run(job) { [self] failure in
            if let failure { report(.warning, "\(queue.files.place.directory) cannot be repaired for now: \(failure)") }
            mend(findings.dropFirst())
        }
    }

    func repairEnded(_ job: QueueRepair, _ outcome: QueueRepair.Outcome) {
        let number = job.task.piece.number
        switch outcome {
        case .unfinished: return
        case .failed: queueRepairs.underWay[number] = nil
        case .done(let stretch, let findings, let isNew):
            if queueRepairs.underWay[number] === job { queueRepairs.underWay[number] = nil }
            entryScratch.clear()
            guard isNew else { return }
            // What its write has put out of the way.
            take(queueFiles.writer.takeFindings())
            let directory = job.task.piece.place.directory
            // A repair that changes nothing must not be begun again by the next reader.
            if queueRepairs.lost.values.reduce(0, { $0 + $1.count }) > QueueRepairs.mostLost { queueRepairs.lost = [:] }
            queueRepairs.lost[number, default: []].formUnion(findings.lost + findings.empty + [job.task.piece.offset])
            guard let first = findings.lost.first else {
                guard findings.isMended else { return }
                return report(
                    .warning, "the consume queue in \(directory) is whole again at \(stretch.lowerBound)..<\(stretch.upperBound)")
            }
            report(
                .error,
                "\(findings.lost.count) messages of the consume queue in \(directory) are not in the commit log or damaged there, the first at offset "
                    + "\(first): they are passed over")
        }
    }
}
