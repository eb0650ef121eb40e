import RocketMQBase
import Testing

@testable import RocketMQStore

/// The newest entries of queues: pieces of a memory that all share, and that has a bound.
@Suite struct RecentEntriesTests {
    private func entry(_ number: Int64) -> QueueEntry {
        QueueEntry(physicalOffset: number &* 331, size: Int32(truncatingIfNeeded: number % 7919) + 1, tagsCode: ~number)
    }

    @Test("Against an array that does the same, in random histories of several queues", arguments: 0..<20)
    func model(seed: UInt64) {
        var random = RandomSource(seed: seed)
        let memory = EntryMemory(limit: 1 << 20)
        var queues = (0..<5).map { _ in RecentEntries(at: Int64(random.next() % 50)) }
        // Of each queue, where it starts at least, and its entries from there on.
        var models = queues.map { (start: $0.end, entries: [QueueEntry]()) }
        var made: Int64 = 0
        for _ in 0..<3000 {
            let index = Int(random.next() % 5)
            switch random.next() % 10 {
            case 0..<6:
                for _ in 0..<(random.next() % 30) {
                    made += 1
                    if queues[index].isFull { queues[index].addPiece(memory) }
                    queues[index].append(entry(made))
                    models[index].entries.append(entry(made))
                }
            case 6:
                let kept = Int64(random.next() % UInt64(models[index].entries.count + 1))
                let offset = max(queues[index].start, models[index].start + kept)
                queues[index].cut(to: offset, memory)
                models[index].entries.removeLast(models[index].entries.count - Int(offset - models[index].start))
            case 7, 8:
                let offset = models[index].start + Int64(random.next() % UInt64(models[index].entries.count + 2))
                queues[index].forget(before: offset, memory)
                let gone = queues[index].start - models[index].start
                #expect(gone <= max(0, offset - models[index].start), "nothing is forgotten that was to stay")
                models[index].entries.removeFirst(Int(gone))
                models[index].start += gone
            default:
                guard random.next() % 10 == 0 else { continue }
                let offset = Int64(random.next() % 1000)
                queues[index].reset(to: offset, memory)
                models[index] = (offset, [])
            }
            check(queues[index], models[index])
        }
        for index in queues.indices {
            check(queues[index], models[index])
            queues[index].reset(to: 0, memory)
        }
        #expect(memory.piecesInUse == 0)
    }

    private func check(_ queue: RecentEntries, _ model: (start: Int64, entries: [QueueEntry])) {
        #expect(queue.end == model.start + Int64(model.entries.count))
        #expect(queue.entry(queue.start - 1) == nil && queue.entry(queue.end) == nil)
        var found: [QueueEntry] = []
        var next = queue.start
        while let bytes = queue.together(from: next, until: .max) {
            for at in stride(from: 0, to: bytes.count, by: QueueEntry.byteCount) {
                found.append(QueueEntry(from: bytes.baseAddress! + at))
                #expect(queue.entry(next) == found.last)
                next += 1
            }
        }
        #expect(found == Array(model.entries.suffix(found.count)) && next == queue.end && found.count == Int(queue.end - queue.start))
    }

    @Test("While the worker does not get on, who sends writes entries, and memory keeps to its bound")
    func bound() throws {
        let limit = 300 * EntryMemory.pieceSize
        let harness = try StoreHarness {
            $0.isIndexEnabled = false
            $0.queueEntryMemory = limit
        }
        harness.housekeeper.hold()
        let memory = harness.store.queueFiles.memory
        var most = 0
        for round in 0..<200 {
            for queue in 0..<100 { try harness.append("T\(queue)", 0, "\(round)") }
            try harness.store.commit()
            harness.loop.advance(by: .milliseconds(100))
            most = max(most, memory.piecesInUse)
        }
        // What a tick brings, and what is being written.
        #expect(most < 500, "20,000 entries in \(most) pieces")
        for queue in 0..<100 { #expect(try harness.bodies("T\(queue)") == (0..<200).map { "\($0)" }) }
        harness.housekeeper.letGo()
        harness.loop.advance(by: .seconds(60))
        #expect(harness.store.upkeep.checkpointedOffset == harness.store.writtenOffset)
        try harness.kill()
        for queue in 0..<100 { #expect(try harness.bodies("T\(queue)") == (0..<200).map { "\($0)" }) }
    }
}
