import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Starts that believe the list of queues, as with very many of them: whatever became of a queue's files, all of its messages are
/// served, and none gets the place of another.
@Suite struct BeliefTests {
    enum Damage: CaseIterable {
        case none, firstFileGone, lastFileGone, allFilesGone, queueGone, topicGone, truncated, zeros, noise, anotherQueues
        case directoryForFile, fileForQueue, fileForTopic, allGone

        func apply(_ files: MemoryFileSystem) {
            let topic = "/store/consumequeue/T"
            let paths = files.paths.filter { $0.hasPrefix(topic + "/1/") }
            func change(_ path: String, _ body: ([UInt8]) -> [UInt8]) { files.setBytes(path, body(files.bytes(path)!)) }
            switch self {
            case .none: break
            case .firstFileGone: try? files.remove(paths[0])
            case .lastFileGone: try? files.remove(paths.last!)
            case .allFilesGone: for path in paths { try? files.remove(path) }
            case .queueGone: files.removeTree(topic + "/1")
            case .topicGone:
                files.removeTree(topic)
                try? files.createDirectory(topic)
            case .truncated: change(paths.last!) { Array($0.prefix(90)) }
            case .zeros: for path in paths { change(path) { $0.map { _ in 0 } } }
            case .noise: for path in paths { change(path) { $0.indices.map { UInt8(truncatingIfNeeded: $0 &* 37 ^ 0x5A) } } }
            case .anotherQueues: for path in paths { files.setBytes(path, files.bytes(path.replacing("/1/", with: "/0/"))!) }
            case .directoryForFile:
                try? files.remove(paths.last!)
                try? files.createDirectory(paths.last!)
            case .fileForQueue:
                files.removeTree(topic + "/1")
                files.setBytes(topic + "/1", [1, 2, 3])
            case .fileForTopic:
                files.removeTree(topic)
                files.setBytes(topic, [1, 2, 3])
            case .allGone: files.removeTree("/store/consumequeue")
            }
        }
    }

    private func filled(flushing: Duration = .milliseconds(500)) throws -> (StoreHarness, [[String]]) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
            $0.consumeQueueFileEntries = 40
            $0.queuesCheckedAtStart = 0
            $0.flushInterval = flushing
        }
        var bodies: [[String]] = [[], [], []]
        for index in 0..<300 {
            let body = "message \(index) " + String(repeating: "x", count: index % 90)
            try harness.append("T", Int32(index % 3), body, storeTimestamp: harness.now)
            try harness.store.commit()
            harness.loop.advance(by: .milliseconds(10))
            bodies[index % 3].append(body)
        }
        harness.loop.advance(by: .seconds(25))
        return (harness, bodies)
    }

    private func expect(_ harness: StoreHarness, _ bodies: [[String]], _ comment: Comment) throws {
        for (id, expected) in bodies.enumerated() {
            let found = try harness.bodies("T", Int32(id))
            let isSame = found == expected
            #expect(isSame, "\(comment), queue \(id): \(found.count) of \(expected.count), \(harness.reports.lines.map(\.1))")
            #expect(harness.store.existingQueue(topic: "T", id: Int32(id))?.maxOffset == Int64(expected.count), comment)
        }
        #expect(!harness.reports.lines.contains { $0.0 == .error }, "\(comment): \(harness.reports.lines)")
    }

    private func send(_ harness: StoreHarness, _ bodies: inout [[String]], _ text: String) throws {
        for id in 0..<3 {
            #expect(try harness.append("T", Int32(id), text).queueOffset == Int64(bodies[id].count))
            try harness.store.commit()
            bodies[id].append(text)
        }
    }

    @Test(arguments: Damage.allCases, [true, false])
    func whoReadsFirstGetsEverything(damage: Damage, cleanly: Bool) throws {
        var (harness, bodies) = try filled()
        if cleanly { try harness.store.close() } else { try send(harness, &bodies, "after the checkpoint") }
        try harness.kill { damage.apply($0) }
        try expect(harness, bodies, "\(damage)")
        try send(harness, &bodies, "more")
        try expect(harness, bodies, "\(damage), more")
        try harness.closeAndOpen()
        try expect(harness, bodies, "\(damage), started again")
    }

    /// Nobody reads: messages come first, and the broker is killed again.
    @Test(arguments: Damage.allCases, [true, false])
    func whoWritesFirstTakesNoOthersPlace(damage: Damage, cleanly: Bool) throws {
        var (harness, bodies) = try filled()
        if cleanly { try harness.store.close() }
        try harness.kill { damage.apply($0) }
        try send(harness, &bodies, "more")
        harness.loop.advance(by: .seconds(25))
        try send(harness, &bodies, "still more")
        for round in 0..<3 {
            switch round {
            case 0: try harness.kill()
            case 1: try harness.kill { try? $0.remove("/store/checkpoint") }
            default: try harness.closeAndOpen()
            }
            try expect(harness, bodies, "\(damage), round \(round)")
        }
    }

    /// Those who look for a time find the right place in a queue that nobody has read yet.
    /// (An entry that is another's shows itself only to those who read its message.)
    @Test(arguments: Damage.allCases.filter { $0 != .anotherQueues }) func timesAreFoundAllTheSame(damage: Damage) throws {
        let (harness, _) = try filled()
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 1))
        let wanted = try #require(try harness.store.storeTimestamp(queue, at: 40))
        try harness.store.close()
        for waits in [true, false] {
            try harness.kill { damage.apply($0) }
            let queue = try #require(harness.store.existingQueue(topic: "T", id: 1))
            var found: Int64?
            if waits {
                found = try harness.store.firstOffset(queue, atOrAfter: wanted)
            } else {
                harness.store.lookUp { (reader) throws(LookupInterruption) in
                    try reader.firstOffset(queue, atOrAfter: wanted)
                } completion: {
                    found = try? $0.get()
                }
                harness.loop.settle()
            }
            #expect(found == 40, "\(damage)")
            try harness.store.close()
        }
    }

    /// What makes a start quick: it opens none of the queues' files.
    @Test(arguments: [true, false]) func queuesAreLeftAlone(cleanly: Bool) throws {
        let harness = try StoreHarness { $0.queuesCheckedAtStart = 100 }
        for number in 0..<120 { try harness.send(["one", "two"], to: "Topic\(number)", Int32(number % 2)) }
        harness.loop.advance(by: .seconds(25))
        if cleanly { try harness.store.close() } else { try harness.send(["three"], to: "Topic7", 1) }
        try harness.kill()
        #expect(harness.memory.count(.open) < 40 && harness.memory.count(.list) < 10, "\(harness.memory.count(.open)) files opened")
        #expect(try harness.bodies("Topic7", 1) == (cleanly ? ["one", "two"] : ["one", "two", "three"]))
        #expect(try harness.append("Topic8", 0, "next").queueOffset == 2)
    }

    /// Files of the log that went while nobody had noted where queues begin since.
    @Test func beginningsAreFoundWhenFilesOfTheLogHaveGone() throws {
        var (harness, bodies) = try filled()
        try harness.store.close()
        try harness.kill { try? $0.remove("/store/commitlog/" + FileName.text(0)) }
        harness.loop.advance(by: .seconds(1))
        for id in Int32(0)..<3 {
            let queue = try #require(harness.store.existingQueue(topic: "T", id: id))
            #expect(queue.minOffset > 0 && queue.maxOffset == 100)
            bodies[Int(id)].removeFirst(Int(queue.minOffset))
            #expect(try harness.bodies("T", id) == bodies[Int(id)])
        }
    }

    /// Entries of messages that the log lost at its end are not taken for others later.
    @Test func whatLiesBehindTheEndOfAQueueIsCleared() throws {
        // The log is flushed for checkpoints only.
        var (harness, bodies) = try filled(flushing: .seconds(1000))
        try send(harness, &bodies, "makes a checkpoint")
        harness.loop.advance(by: .seconds(3))
        let end = harness.store.writtenOffset
        try send(harness, &bodies, "lost")
        // Long enough for the queues to be written, not for a checkpoint.
        harness.loop.advance(by: .seconds(2))
        try harness.kill { files in
            for path in files.paths where path.hasPrefix("/store/commitlog/") {
                let base = Int64(path.suffix(20))!
                files.setBytes(path, files.bytes(path)!.enumerated().map { base + Int64($0) < end ? $1 : 0 })
            }
        }
        for id in 0..<3 { bodies[id] = Array(bodies[id].prefix(Int(harness.store.existingQueue(topic: "T", id: Int32(id))!.maxOffset))) }
        #expect(bodies.contains { $0.last != "lost" })
        try expect(harness, bodies, "cut")
        try send(harness, &bodies, "instead")
        harness.loop.advance(by: .seconds(25))
        try harness.kill { try? $0.remove("/store/queues") }
        try expect(harness, bodies, "again")
    }
}
