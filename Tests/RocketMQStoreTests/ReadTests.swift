import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

@Suite struct ReadTests {
    private func filled(_ count: Int = 500, size: Int = 200, queues: Int = 3, segment: Int = 4 << 10) throws -> (StoreHarness, [[String]]) {
        let harness = try StoreHarness {
            $0.windowSegmentSize = segment; $0.maxRecordSize = min(segment, 32 << 10)
        }
        var bodies = [[String]](repeating: [], count: queues)
        for (index, body) in numbered(0..<count, size: size).enumerated() {
            try harness.append("T", Int32(index % queues), body, tags: "t\(index % 5)")
            bodies[index % queues].append(body)
            if index % 10 == 9 { try harness.store.commit() }
        }
        try harness.store.commit()
        return (harness, bodies)
    }

    private func expectEmpty(_ output: borrowing ByteBuffer) {
        let count = output.count
        #expect(count == 0)
    }

    @Test(arguments: [1, 7, 32, 1000])
    func everythingIsReadBehindTheWindow(batch: Int) throws {
        let (harness, bodies) = try filled()
        for id in bodies.indices { #expect(try harness.bodies("T", Int32(id), batch: batch) == bodies[id]) }
        // Entries from files as well.
        harness.loop.advance(by: .seconds(3))
        try harness.closeAndOpen()
        for id in bodies.indices { #expect(try harness.bodies("T", Int32(id), batch: batch) == bodies[id]) }
    }

    @Test(arguments: [1, 50])
    func whatIsNotInMemoryComesFromTheDisk(queues: Int) throws {
        let (harness, bodies) = try filled(1000, queues: queues)
        try harness.closeAndOpen()
        harness.memory.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        let queue = harness.store.queue(topic: "T", id: 0)
        var output = ByteBuffer()
        #expect(
            harness.store.read(queue, from: 0, limits: ReadLimits(messages: 32, bytes: 1 << 20), filter: .all, into: &output) == .needsDisk)
        expectEmpty(output)
        for id in bodies.indices { #expect(try harness.bodies("T", Int32(id), batch: 32) == bodies[id]) }
        let tagged = try harness.bodies("T", 0, filter: MessageFilter(tagsCodes: [Int64(JavaHash.hash("t0"))]))
        #expect(tagged == bodies[0].enumerated().filter { $0.offset * queues % 5 == 0 }.map(\.element))
    }

    @Test func aReadErrorIsToldAndPasses() throws {
        let (harness, bodies) = try filled()
        try harness.closeAndOpen()
        harness.memory.setFault { operation, path in
            path.contains("commitlog") && (operation == .readIfCached || operation == .read) ? .fail(.inputOutput) : nil
        }
        let queue = harness.store.queue(topic: "T", id: 0)
        var output = ByteBuffer()
        let result = harness.store.read(queue, from: 0, limits: ReadLimits(messages: 32, bytes: 1 << 20), filter: .all, into: &output)
        guard case .failed(let error) = result else { Issue.record("\(result)"); return }
        #expect(error.code == .disk && error.reason.contains("/store/commitlog/"))
        harness.memory.setFault(nil)
        #expect(try harness.bodies("T", 0) == bodies[0])
    }

    @Test func answersAtTheEdges() throws {
        let harness = try StoreHarness()
        let queue = harness.store.queue(topic: "T", id: 0)
        var output = ByteBuffer()
        let limits = ReadLimits(messages: 32, bytes: 1 << 20)
        #expect(harness.store.read(queue, from: 0, limits: limits, filter: .all, into: &output) == .emptyQueue)
        try harness.send(numbered(0..<5))
        #expect(harness.store.read(queue, from: 5, limits: limits, filter: .all, into: &output) == .atEnd)
        #expect(harness.store.read(queue, from: 6, limits: limits, filter: .all, into: &output) == .offsetTooLarge(maxOffset: 5))
        #expect(harness.store.read(queue, from: -1, limits: limits, filter: .all, into: &output) == .offsetTooSmall(minOffset: 0))
        let none = MessageFilter(tagsCodes: [1])
        #expect(harness.store.read(queue, from: 1, limits: limits, filter: none, into: &output) == .noMatch(nextOffset: 5))
        expectEmpty(output)
        #expect(
            harness.store.read(queue, from: 1, limits: ReadLimits(messages: 2, bytes: 1 << 20), filter: .all, into: &output)
                == .found(nextOffset: 3, count: 2))
        output.removeAll()
        #expect(
            harness.store.read(queue, from: 0, limits: ReadLimits(messages: 9, bytes: 1), filter: .all, into: &output)
                == .found(nextOffset: 1, count: 1), "one, however large")
    }

    @Test func recordsAreFilteredByWhatIsInThem() throws {
        let (harness, bodies) = try filled(300)
        let wanted = MessageFilter { record in
            guard case .record(let found) = MessageRecord.find(in: record, at: 0, verifyingChecksum: false) else { return false }
            return record.string(found.body).hasPrefix("message 1")
        }
        for id in bodies.indices {
            #expect(try harness.bodies("T", Int32(id), filter: wanted) == bodies[id].filter { $0.hasPrefix("message 1") })
        }
        try harness.closeAndOpen()
        harness.memory.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        for id in bodies.indices {
            #expect(try harness.bodies("T", Int32(id), filter: wanted) == bodies[id].filter { $0.hasPrefix("message 1") })
        }
    }

    @Test func whatIsNoRecordIsNeverServed() throws {
        let (harness, bodies) = try filled(60, queues: 1)
        harness.loop.advance(by: .seconds(3))
        try harness.store.close()
        try harness.kill { files in
            // The entry of message 20 points into the middle of another record.
            let path = "/store/consumequeue/T/0/" + FileName.text(0)
            var bytes = files.bytes(path)!
            bytes[20 * 20 + 7] ^= 4
            files.setBytes(path, bytes)
        }
        #expect(try harness.bodies() == bodies[0], "the log says where it is")
        #expect(harness.reports.lines.contains { $0.1.contains("T/0 is damaged at offset 20") })
    }

    @Test func messagesAreFoundByTime() throws {
        let harness = try StoreHarness()
        let times: [Int64] = [100, 100, 200, 200, 200, 300, 500, 500]
        for time in times { try harness.append("T", 0, "at \(time)", storeTimestamp: time) }
        try harness.store.commit()
        var queue = harness.store.queue(topic: "T", id: 0)
        for round in 0..<2 {
            for time in [Int64(0), 99, 100, 101, 199, 200, 250, 300, 301, 499, 500, 501] {
                let lower = times.firstIndex { $0 >= time } ?? times.count
                let upper = (times.lastIndex { $0 <= time } ?? -1)
                #expect(try harness.store.firstOffset(queue, atOrAfter: time) == Int64(lower), "round \(round), \(time)")
                #expect(
                    try harness.store.lastOffset(queue, atOrBefore: time) == (upper < 0 ? nil : Int64(upper)), "round \(round), \(time)")
            }
            #expect(try harness.store.storeTimestamp(queue, at: 0) == 100)
            #expect(try harness.store.earliestStoreTimestamp() == 100)
            try harness.closeAndOpen()
            queue = try #require(harness.store.existingQueue(topic: "T", id: 0))
        }
    }

    @Test func aMessageIsFoundByItsPhysicalOffsetAndOnlyByThat() throws {
        let harness = try StoreHarness()
        // A body that contains what looks like the beginning of a record.
        let first = try harness.append("T", 0, "one \u{0}\u{0}\u{0}\u{7F}")
        let second = try harness.append("T", 0, "two")
        try harness.store.commit()
        for _ in 0..<2 {
            for (place, body) in [(first, "one \u{0}\u{0}\u{0}\u{7F}"), (second, "two")] {
                var output = ByteBuffer()
                #expect(try harness.store.readMessage(at: place.physicalOffset, into: &output))
                #expect(try StoreHarness.parse(output.copyBytes()).map(\.body) == [body])
            }
            for wrong in [
                Int64(1), -1, first.physicalOffset + 4, second.physicalOffset + 1, second.physicalOffset + Int64(second.size), 1 << 60,
                .max, .min,
            ] {
                var output = ByteBuffer()
                #expect(try !harness.store.readMessage(at: wrong, into: &output))
                expectEmpty(output)
            }
            try harness.closeAndOpen()
        }
    }

    @Test func anIdleStoreGivesItsMemoryBackAndGoesOn() throws {
        let (harness, bodies) = try filled()
        #expect(!harness.store.log.segments.isEmpty)
        harness.loop.advance(by: .seconds(60))
        #expect(harness.store.log.segments.isEmpty)
        for id in bodies.indices { #expect(try harness.bodies("T", Int32(id)) == bodies[id]) }
        try harness.send(["next"])
        #expect(try harness.bodies("T", 0) == bodies[0] + ["next"])
        try harness.kill()
        #expect(try harness.bodies("T", 0) == bodies[0] + ["next"])
    }
}
