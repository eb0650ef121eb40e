import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Lookups never wait for the disk on the loop, and find what those that wait find.
@Suite struct LookupTests {
    private func filled(_ times: [Int64], queues: Int = 1) throws -> (StoreHarness, [Appended]) {
        let harness = try StoreHarness()
        var places: [Appended] = []
        for time in times {
            for id in 0..<queues { places.append(try harness.append("T", Int32(id), "at \(time)", storeTimestamp: time)) }
            try harness.store.commit()
        }
        try harness.closeAndOpen()
        return (harness, places)
    }

    private func makeCold(_ harness: StoreHarness) {
        harness.memory.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
    }

    /// Looks up as requests do.
    private func find<Value>(
        _ harness: StoreHarness, _ look: @escaping (LookupReader) throws(LookupInterruption) -> Value
    ) throws -> Value {
        var result: Result<Value, StoreError>?
        harness.store.lookUp(look) { result = $0 }
        harness.loop.settle()
        return try #require(result).get()
    }

    @Test(arguments: [true, false])
    func messagesAreFoundByTimeExactly(isCold: Bool) throws {
        let times: [Int64] = [100, 100, 200, 200, 200, 300, 500, 500] + (0..<500).map { 600 + $0 / 7 }
        let (harness, _) = try filled(times)
        if isCold { makeCold(harness) }
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 0))
        for time in [Int64(0), 99, 100, 101, 199, 200, 250, 300, 301, 499, 500, 501, 610, 671, 672] {
            let lower = times.firstIndex { $0 >= time } ?? times.count
            let upper = times.lastIndex { $0 <= time }.map { Int64($0) }
            #expect(
                try find(harness) { (reader) throws(LookupInterruption) in try reader.firstOffset(queue, atOrAfter: time) } == Int64(lower))
            #expect(try find(harness) { (reader) throws(LookupInterruption) in try reader.lastOffset(queue, atOrBefore: time) } == upper)
            #expect(try harness.store.firstOffset(queue, atOrAfter: time) == Int64(lower))
        }
        #expect(try find(harness) { (reader) throws(LookupInterruption) in try reader.earliestStoreTimestamp() } == 100)
    }

    @Test func nothingWaitsForTheDiskOnTheLoop() throws {
        let (harness, places) = try filled((0..<300).map { Int64($0) })
        makeCold(harness)
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 0))
        let before = (harness.memory.count(.read), harness.memory.count(.open))
        var (record, offset): ([UInt8]??, Int64?)
        harness.store.lookUp({ (reader) throws(LookupInterruption) in try reader.message(at: places[7].physicalOffset) }) {
            record = try? $0.get()
        }
        harness.store.lookUp({ (reader) throws(LookupInterruption) in try reader.firstOffset(queue, atOrAfter: 123) }) {
            offset = try? $0.get()
        }
        // The disk has not answered: what others want is done all the same.
        try harness.append("T", 0, "meanwhile")
        try harness.store.commit()
        #expect((harness.memory.count(.read), harness.memory.count(.open)) == before && record == nil && offset == nil)
        harness.loop.settle()
        #expect(offset == 123)
        let found = try #require(record ?? nil)
        let parsed = try MessageRecord.parse(found.span.bytes, at: 0)
        #expect(parsed.fields.physicalOffset == places[7].physicalOffset && found.count == Int(places[7].size))
    }

    @Test func manyStepsTakeTurnsAndAreFetchedTogether() throws {
        let (harness, _) = try filled([10, 20], queues: 500)
        for isCold in [false, true] {
            if isCold { makeCold(harness) }
            var found: [Int: Int64] = [:]
            var isDone = false
            let reads = harness.memory.count(.read)
            let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { (number, reader) throws(LookupInterruption) in
                guard let queue = harness.store.existingQueue(topic: "T", id: Int32(number)) else { return }
                if let time = try reader.storeTimestamp(queue, at: 1) { found[number] = time }
            }
            harness.store.lookUp(steps: 500, step) { isDone = $0 == nil }
            #expect(!isDone && found.count < 100, "others have their turn")
            harness.loop.settle()
            #expect(isDone && found.count == 500 && found.values.allSatisfy { $0 == 20 })
            if isCold { #expect(harness.memory.count(.read) - reads <= 1000, "a block of entries and a record for each queue") }
        }
    }

    @Test func whatCannotBeReadIsSaid() throws {
        let (harness, places) = try filled((0..<50).map { Int64($0) })
        harness.memory.setFault { operation, path in
            switch operation {
            case .readIfCached: .cold
            case .read: path.contains("/commitlog/") ? .fail(.inputOutput) : nil
            default: nil
            }
        }
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 0))
        #expect {
            try find(harness) { (reader) throws(LookupInterruption) in try reader.storeTimestamp(queue, at: 3) }
        } throws: {
            ($0 as? StoreError)?.reason.contains("/store/commitlog/") == true
        }
        harness.memory.setFault(nil)
        #expect(try find(harness) { (reader) throws(LookupInterruption) in try reader.storeTimestamp(queue, at: 3) } == 3)
        makeCold(harness)
        var result: Result<[UInt8]?, StoreError>?
        harness.store.lookUp({ (reader) throws(LookupInterruption) in try reader.message(at: places[3].physicalOffset) }) { result = $0 }
        try harness.store.close()
        harness.loop.settle()
        #expect { _ = try result?.get() } throws: { ($0 as? StoreError)?.code == .notWritable }
    }

    @Test func aQueueWithoutItsFileHasNoEntries() throws {
        let (harness, _) = try filled((0..<120).map { Int64($0) })
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 0))
        harness.memory.removeTree("/store/consumequeue/T/0")
        #expect(try find(harness) { (reader) throws(LookupInterruption) in try reader.entry(queue, at: 5) } == nil)
        #expect(try find(harness) { (reader) throws(LookupInterruption) in try reader.firstOffset(queue, atOrAfter: 7) } == 0)
    }
}
