import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// The index of waiting messages: in order, complete, in bounded memory, and the same again after a restart.
@Suite struct TimerIndexTests {
    private let files = MemoryFileSystem()
    private let loop = TestLoop()

    private func index(_ entries: Int = 16, runs: Int = 3) throws -> TimerIndex {
        try files.createDirectory("/timer")
        let index = TimerIndex(
            directory: "/timer", fileSystem: files, loop: loop, worker: loop,
            log: Logger(component: "timer", threshold: LogThreshold(.debug), sink: MemoryLogSink(), clock: loop.clock))
        index.limits = TimerIndex.Limits(entriesInMemory: entries, runs: runs, logTail: 1 << 40)
        return index
    }

    /// Takes out what is there up to `now`, with the disk's help.
    private func take(_ index: TimerIndex, upTo now: Int64, most: Int = .max) -> [TimerEntry] {
        var taken: [TimerEntry] = []
        while taken.count < most {
            if let next = index.takeNext(upTo: now) {
                index.finish(next)
                if !next.isVoid { taken.append(next.entry) }
            } else {
                var isReady = false
                index.onReady = { isReady = true }
                loop.settle()
                if !isReady { break }
            }
        }
        return taken
    }

    /// Looks something up, with the disk's help.
    private func ask<Value>(_ index: TimerIndex, _ look: @escaping () throws(TimerLookupInterruption) -> Value) throws -> Value {
        var answer: Result<Value, FileSystemError>?
        index.lookUp(look) { answer = $0 }
        loop.settle()
        return try #require(answer).get()
    }

    @Test("Random entries, recalls and restarts: what is taken out is what is due, in order, and nothing else", arguments: 0..<12)
    func model(_ seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        var index = try index()
        if seed % 3 == 2 { files.setFault { operation, path in operation == .readIfCached && path.contains("/timer/") ? .cold : nil } }
        var model: [TimerKey: TimerEntry] = [:]
        var (queueEnd, now): (Int64, Int64) = (0, 1000)
        for _ in 0..<400 {
            switch random.next() % 10 {
            case 0..<6:
                for _ in 0..<(random.next() % 12) {
                    let wake = now + Int64(random.next() % (random.next() % 4 == 0 ? 5000 : 50))
                    let entry = TimerEntry.message(queueEnd, wake: wake, physicalOffset: queueEnd * 100, size: 100)
                    index.insert(entry)
                    model[entry.key] = entry
                    queueEnd += 1
                }
            case 6:
                guard let entry = model.values.min(by: { $0.queueOffset < $1.queueOffset }) else { break }
                #expect(try ask(index) { () throws(TimerLookupInterruption) in try index.isPending(entry) })
                index.insert(.recall(of: entry.queueOffset, wake: entry.key.wake, physicalOffset: queueEnd * 100))
                queueEnd += 1
                #expect(try !ask(index) { () throws(TimerLookupInterruption) in try index.isPending(entry) })
                model[entry.key] = nil
            case 7..<9:
                now += Int64(random.next() % 40)
                let due = model.values.filter { $0.key.wake <= now }.sorted { $0.key < $1.key }
                #expect(try ask(index) { () throws(TimerLookupInterruption) in try index.waiting(upTo: now).count } == Int64(due.count))
                let most = random.next() % 2 == 0 ? .max : Int(random.next() % 5)
                #expect(take(index, upTo: now, most: most) == Array(due.prefix(most)))
                for entry in due.prefix(most) { model[entry.key] = nil }
            default:
                index.lookAfter(queueEnd: queueEnd, logEnd: queueEnd * 100, isForced: random.next() % 4 == 0)
                if random.next() % 2 == 0 { loop.settle() }
            }
            index.lookAfter(queueEnd: queueEnd, logEnd: queueEnd * 100)
            #expect(index.pending == Int64(model.count))
            if random.next() % 40 == 0 { index = try restarted(index, queueEnd) }
        }
        #expect(take(index, upTo: .max) == model.values.sorted { $0.key < $1.key })
        #expect(index.pending == 0)
    }

    /// Everything is written, then found again in the files.
    private func restarted(_ old: TimerIndex, _ queueEnd: Int64) throws -> TimerIndex {
        loop.settle()
        old.lookAfter(queueEnd: queueEnd, logEnd: queueEnd * 100, isForced: true)
        loop.settle()
        #expect(old.entriesInMemory == 0)
        let state = old.state
        let manifest = DelayManifest(
            logOffset: old.logOffset, queueOffset: old.queueOffset, nextRunID: state.nextRunID, levels: [],
            runs: state.runs.map { DelayManifest.Run(info: $0.info, done: $0.done) })
        let read = try #require(DelayManifest(manifest.encoded()))
        #expect(read == manifest)
        let fresh = try index()
        let runs = try read.runs.map {
            try TimerRun($0.info, done: $0.done, directory: "/timer", fileSystem: files, loop: loop, worker: loop)
        }
        try fresh.load(runs, nextRunID: read.nextRunID, queueOffset: read.queueOffset, logOffset: read.logOffset)
        return fresh
    }

    @Test("However much waits, only a part of it is in memory and the files are few")
    func boundedMemory() throws {
        let index = try index(300, runs: 4)
        var random = RandomSource(seed: 3)
        for offset in 0..<12_000 as Range<Int64> {
            let wake = offset % 7 == 0 ? 5 : Int64(random.next() % 1_000_000)
            index.insert(.message(offset, wake: wake, physicalOffset: offset, size: 1))
            index.lookAfter(queueEnd: offset + 1, logEnd: offset)
            if offset % 100 == 0 { loop.settle() }
        }
        loop.settle()
        #expect(index.entriesInMemory <= 700)
        #expect(index.runs.count <= 8)
        #expect(index.pending == 12_000)
        let taken = take(index, upTo: .max)
        #expect(taken.count == 12_000)
        #expect(zip(taken, taken.dropFirst()).allSatisfy { $0.key < $1.key })
    }

    @Test("A disk that takes nothing leaves all of it in memory, and it is written later")
    func fullDisk() throws {
        let index = try index(10)
        files.setFault { operation, path in operation == .write && path.contains("/timer/") ? .fail(.noSpace) : nil }
        for offset in 0..<50 as Range<Int64> { index.insert(.message(offset, wake: 100 - offset, physicalOffset: offset, size: 1)) }
        index.lookAfter(queueEnd: 50, logEnd: 50)
        loop.settle()
        #expect(index.entriesInMemory == 50)
        #expect(index.queueOffset == 0, "a start would have to read them all again")
        files.setFault(nil)
        loop.advance(by: .seconds(6))
        index.lookAfter(queueEnd: 50, logEnd: 50)
        loop.settle()
        #expect(index.entriesInMemory == 0)
        #expect(take(index, upTo: .max).map(\.queueOffset) == (0..<50).reversed())
    }

    @Test("A manifest or run that is damaged is found out")
    func damage() throws {
        let manifest = DelayManifest(
            logOffset: 5, queueOffset: 7, nextRunID: 2, levels: [1, 2, 3],
            runs: [DelayManifest.Run(info: TimerRunInfo(id: 1, count: 9), done: TimerKey(wake: 3, order: 4))])
        let bytes = manifest.encoded()
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x10
            #expect(DelayManifest(damaged) == nil)
            #expect(DelayManifest(Array(bytes[..<index])) == nil)
        }
        try files.createDirectory("/timer")
        let entries = (0..<2000).map { TimerEntry.message($0, wake: $0, physicalOffset: 0, size: 1) }
        let written = try TimerRunFile.write(entries, id: 1, directory: "/timer", fileSystem: files)
        var file = try #require(files.bytes("/timer/1.run"))
        file[file.count - 50] ^= 1
        files.setBytes("/timer/1.run", file)
        #expect(throws: FileSystemError.self) {
            try TimerRun(written.info, done: nil, directory: "/timer", fileSystem: files, loop: loop, worker: loop)
        }
    }

    @Test("Handles are those of the reference, with one field more")
    func handles() throws {
        let handle = RecallHandle(topic: "T", brokerName: "broker-a", due: 1_763_715_672_345, key: "AC11", queueOffset: 42)
        #expect(handle.text == "djEgVCBicm9rZXItYSAxNzYzNzE1NjcyMzQ1IEFDMTEgNDI=")
        #expect(RecallHandle(handle.text) == handle)
        let reference = "djEgVCBicm9rZXItYSAxNzYzNzE1NjcyMzQ1IEFDMTE="
        #expect(RecallHandle(reference)?.queueOffset == nil)
        #expect(RecallHandle(reference)?.key == "AC11")
        for text in ["", "x", "djI=", "djEgVA==", "äöü", "djEgVCBiIHggaw=="] { #expect(RecallHandle(text) == nil, "\(text)") }
    }
}
