import Foundation
import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// The seeds to try: so many, or those that `STORE_SEEDS` says: `17`, or `0-5000`.
func seeds(_ count: Int) -> Range<Int> {
    guard let text = ProcessInfo.processInfo.environment["STORE_SEEDS"] else { return 0..<count }
    let ends = text.split(separator: "-").compactMap { Int($0) }
    guard let first = ends.first, let last = ends.last, first <= last else { return 0..<count }
    return first..<(ends.count == 1 ? first + 1 : last)
}

/// Random histories against a model that only knows what was acknowledged.
@Suite struct ModelTests {
    private struct Model {
        /// Committed bodies by queue, from offset 0.
        var queues: [Int32: [String]] = [:]
        var staged: [(Int32, String)] = []
        var counter = 0

        mutating func commit() {
            for (id, body) in staged { queues[id, default: []].append(body) }
            staged = []
        }
    }

    @Test(arguments: seeds(150))
    func whatWasAcknowledgedIsThereWhateverHappens(seed: Int) throws {
        var random = RandomSource(seed: UInt64(seed))
        let fileSize = Int64([2048, 5000, 16384, 65536].randomElement(using: &random)!)
        let harness = try StoreHarness {
            $0.commitLogFileSize = fileSize
            $0.maxRecordSize = Int(fileSize) / 2
            $0.windowSegmentSize = [1024, 8192].randomElement(using: &random)!
            $0.windowSegments = 2
            $0.consumeQueueFileEntries = Int64([3, 10, 50].randomElement(using: &random)!)
            $0.checkpointInterval = .seconds(2)
            $0.isIndexEnabled = seed % 2 == 0
            $0.queuesCheckedAtStart = seed % 5 < 2 ? 0 : 1000
        }
        var model = Model()
        // Its housekeeper may be behind by any amount.
        if seed % 3 == 1 { harness.housekeeper.hold() }
        for _ in 0..<120 {
            if seed % 3 == 1 { harness.housekeeper.release(Int.random(in: 0...2, using: &random)) }
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45: try append(harness, &model, Int.random(in: 1...6, using: &random), &random)
            case 45..<65:
                try harness.store.commit()
                model.commit()
            case 65..<73: failedCommit(harness, &model, &random)
            case 73..<76:
                harness.store.rollBack()
                model.staged = []
            case 76..<84: harness.loop.advance(by: .milliseconds(Int64.random(in: 1...4000, using: &random)))
            case 84..<90: harness.store.requestFlush()
            case 90..<93:
                // Closing commits.
                model.commit()
                try harness.closeAndOpen()
            default:
                model.staged = []
                var damage = ""
                try harness.kill { damage = damageDerived($0, &random) }
                try check(harness, model, "after a kill, \(damage)")
            }
        }
        model.commit()
        try harness.closeAndOpen()
        try check(harness, model, "at the end")
    }

    private func append(_ harness: StoreHarness, _ model: inout Model, _ count: Int, _ random: inout RandomSource) throws {
        for _ in 0..<count {
            model.counter += 1
            let id = Int32.random(in: 0..<4, using: &random)
            let body = "\(model.counter) " + String(repeating: "y", count: Int.random(in: 0..<500, using: &random))
            try harness.append("T", id, body)
            model.staged.append((id, body))
        }
    }

    private func failedCommit(_ harness: StoreHarness, _ model: inout Model, _ random: inout RandomSource) {
        let written = Int.random(in: 0..<3000, using: &random)
        harness.memory.setFault { operation, path in
            operation == .write && path.contains("commitlog") ? .short(written, .noSpace) : nil
        }
        defer { harness.memory.setFault(nil) }
        do {
            try harness.store.commit()
            model.commit()
        } catch { model.staged = [] }
    }

    /// What is derived from the log may be lost with the process.
    private func damageDerived(_ files: MemoryFileSystem, _ random: inout RandomSource) -> String {
        let queueFiles = files.paths.filter { $0.hasPrefix("/store/consumequeue/") }
        let path = queueFiles.randomElement(using: &random)
        switch Int.random(in: 0..<10, using: &random) {
        case 0:
            files.removeTree("/store/consumequeue")
            return "no consume queues"
        case 1:
            try? files.remove("/store/checkpoint")
            return "no checkpoint"
        case 2:
            if let path { try? files.remove(path) }
            return "\(path ?? "") gone"
        case 3:
            if let path { files.setBytes(path, files.bytes(path)!.map { _ in 0 }) }
            return "\(path ?? "") zeroed"
        case 4:
            files.removeTree("/store/index")
            return "no index"
        default: return "no damage"
        }
    }

    private func check(_ harness: StoreHarness, _ model: Model, _ comment: Comment) throws {
        for id in Int32(0)..<4 {
            let found = try harness.bodies("T", id, from: 0)
            let expected = model.queues[id] ?? []
            let isSame = found == expected
            #expect(isSame, "\(comment), queue \(id): \(found.count) of \(expected.count)")
            #expect((harness.store.existingQueue(topic: "T", id: id)?.maxOffset ?? 0) == Int64(expected.count), comment)
        }
    }

    /// Whatever stands in the files, the start ends with a store that works or with an error in words.
    @Test(arguments: seeds(200))
    func randomDamageNeverTraps(seed: Int) throws {
        var random = RandomSource(seed: 77_000 + UInt64(seed))
        let harness = try StoreHarness {
            $0.commitLogFileSize = 8192; $0.maxRecordSize = 4096
        }
        for body in numbered(0..<60, size: 60) { try harness.append("T", 0, body, tags: "a", keys: "k") }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(25))
        if Bool.random(using: &random) { try harness.store.close() }
        do {
            try harness.kill { files in
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    guard let path = files.paths.randomElement(using: &random), var bytes = files.bytes(path), !bytes.isEmpty else {
                        continue
                    }
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0:
                        for _ in 0..<Int.random(in: 1...20, using: &random) {
                            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                        }
                    case 1:
                        let start = Int.random(in: 0..<bytes.count, using: &random)
                        for index in start..<min(start + 600, bytes.count) { bytes[index] = UInt8.random(in: 0...255, using: &random) }
                    case 2:
                        // Lengths and counts at their worst.
                        let start = Int.random(in: 0..<max(1, bytes.count / 4), using: &random) * 4
                        for (index, byte) in [UInt8(0x7F), 0xFF, 0xFF, 0xFF].enumerated() where start + index < bytes.count {
                            bytes[start + index] = byte
                        }
                    default: bytes = Array(bytes.prefix(Int.random(in: 0..<bytes.count, using: &random)))
                    }
                    files.setBytes(path, bytes)
                }
            }
        } catch let error as StoreError {
            #expect(!error.reason.isEmpty)
            return
        }
        // Only whole records come out, and the store takes more.
        let found = try harness.bodies()
        #expect(Set(found).isSubset(of: numbered(0..<60, size: 60)))
        harness.store.query(topic: "T", key: "k", maxMessages: 100, maxBytes: 1 << 20, from: 0, through: .max) { _, _ in }
        harness.loop.advance(by: .seconds(1))
        try harness.send(["more"])
        #expect(try harness.bodies().last == "more")
        try harness.closeAndOpen()
        #expect(try harness.bodies().last == "more")
    }
}
