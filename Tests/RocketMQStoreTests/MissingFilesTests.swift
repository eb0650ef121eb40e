import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Files that are taken away or cut by others, between runs and under a running store.
@Suite struct MissingFilesTests {
    private func filled(_ count: Int = 300) throws -> (StoreHarness, [String]) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
            $0.retention.reservedHours = 2
            $0.retention.deleteAtHours = Array(0..<24)
        }
        for body in numbered(0..<count, size: 90) {
            try harness.append("T", 0, body, keys: "k")
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(30))
        return (harness, harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") })
    }

    private func errors(_ harness: StoreHarness) -> [String] { harness.reports.lines.filter { $0.0 == .error }.map(\.1) }

    @Test("The oldest file was taken away before a start: it is named once, and back it is served", arguments: [true, false])
    func oldestGone(cleanly: Bool) throws {
        let (harness, paths) = try filled()
        let bytes = try #require(harness.memory.bytes(paths[0]))
        if cleanly { try harness.store.close() }
        try harness.kill { try? $0.remove(paths[0]) }
        #expect(
            errors(harness).contains {
                $0.contains(paths[0]) && $0.contains("not deleted by this broker") && $0.contains("put the files back")
            })
        #expect(harness.store.minPhysicalOffset == 16 << 10)
        let left = try harness.bodies()
        #expect(left.last == numbered(299..<300, size: 90)[0] && left.count < 300 && left.count > 100)
        try harness.kill()
        #expect(errors(harness).isEmpty, "said once")
        harness.loop.advance(by: .seconds(30))
        try harness.store.close()
        try harness.kill { $0.setBytes(paths[0], bytes) }
        #expect(errors(harness).isEmpty)
        #expect(harness.store.minPhysicalOffset == 0)
    }

    @Test("What retention deletes is not missed")
    func retention() throws {
        let (harness, _) = try filled()
        harness.loop.testClock.advance(by: .seconds(3 * 3600))
        try harness.send(["late"])
        harness.loop.advance(by: .seconds(25))
        try #require(harness.store.minPhysicalOffset > 0)
        try harness.kill()
        #expect(errors(harness).isEmpty)
        try harness.losePower()
        #expect(errors(harness).isEmpty)
    }

    @Test("A file in the middle was taken away before a start: it is named")
    func middleGone() throws {
        let (harness, paths) = try filled()
        #expect { try harness.kill { try? $0.remove(paths[1]) } } throws: { "\($0)".contains(paths[1]) && "\($0)".contains("put it back") }
    }

    @Test("Under a running store", arguments: [0, 1], [true, false])
    func gone(index: Int, isCut: Bool) throws {
        let (harness, paths) = try filled()
        let (bytes, path) = (try #require(harness.memory.bytes(paths[index])), paths[index])
        if isCut { harness.memory.setBytes(path, Array(bytes.prefix(5000))) } else { try harness.memory.remove(path) }
        harness.loop.advance(by: .seconds(60))
        let said = errors(harness).filter { $0.contains(path) }
        #expect(said.count == 1 && said[0].contains(isCut ? "was cut to 5000" : "was removed") && said[0].contains("Put the file back"))
        try harness.send(["goes on"])
        if isCut { harness.memory.setBytes(path, bytes) }
        harness.loop.advance(by: .seconds(60))
        #expect(errors(harness).filter { $0.contains(path) }.count == 1)
    }

    @Test("The file that is written, cut under a running store: nothing more is taken, and the next start names what is lost")
    func activeCut() throws {
        let (harness, paths) = try filled(100)
        try #require(paths.count == 2)
        harness.loop.advance(by: .seconds(5))
        harness.memory.setBytes(paths[1], Array(try #require(harness.memory.bytes(paths[1])).prefix(2000)))
        harness.loop.advance(by: .seconds(20))
        #expect(errors(harness).contains { $0.contains(paths[1]) && $0.contains("was cut to 2000") })
        #expect(throws: StoreError.self) { try harness.send(["no"]) }
        #expect(throws: StoreError.self) { try harness.store.close() }
        try harness.kill()
        #expect(errors(harness).contains { $0.contains("bytes") && ($0.contains(paths[1]) || $0.contains("/store/commitlog")) })
        try harness.send(["yes"])
    }

    @Test("A cut shows also when the next file is prepared late, after the log has reached it")
    func cutBeforeRoomIsTaken() throws {
        let harness = try StoreHarness { $0.commitLogFileSize = 1 << 20 }
        let body = String(repeating: "x", count: 20_000)
        func send(until end: Int64) throws { while harness.store.writtenOffset < end { try harness.send([body]) } }
        try send(until: 300 << 10)
        harness.loop.advance(by: .seconds(5))
        harness.housekeeper.hold()
        try send(until: (1 << 20) + (300 << 10))
        let path = "/store/commitlog/" + FileName.text(1 << 20)
        harness.memory.setBytes(path, Array(try #require(harness.memory.bytes(path)).prefix(2000)))
        harness.housekeeper.letGo()
        harness.loop.advance(by: .seconds(20))
        #expect(errors(harness).contains { $0.contains(path) && $0.contains("was cut to 2000") }, "\(errors(harness))")
        #expect(throws: StoreError.self) { try harness.send(["no"]) }
    }

    @Test("An index file, removed or cut under a running store, is built anew and that is said", arguments: [true, false])
    func indexFile(isCut: Bool) throws {
        let (harness, _) = try filled()
        let path = try #require(harness.memory.paths.first { $0.hasPrefix("/store/index/") })
        if isCut { harness.memory.setBytes(path, Array(harness.memory.bytes(path)!.prefix(300))) } else { try harness.memory.remove(path) }
        harness.loop.advance(by: .seconds(60))
        #expect(harness.reports.lines.contains { $0.0 == .warning && $0.1.contains(path) && $0.1.contains("removed, replaced or cut") })
        var count = 0
        harness.store.query(topic: "T", key: "k", maxMessages: 1000, maxBytes: 1 << 24, from: 0, through: .max) { answer, _ in
            count = (try? answer.get().count) ?? -1
        }
        harness.loop.settle()
        #expect(count == 300)
    }

    private func found(_ harness: StoreHarness) -> Int {
        var count = 0
        harness.store.query(topic: "T", key: "k", maxMessages: 1000, maxBytes: 1 << 24, from: 0, through: .max) { answer, _ in
            count = (try? answer.get().count) ?? -1
        }
        harness.loop.settle()
        return count
    }

    enum Then: CaseIterable, Sendable { case query, stop, goOn, kill }

    @Test("The directory of the index, removed under a running store, is made again", arguments: Then.allCases, [true, false])
    func indexDirectory(then: Then, isReplaced: Bool) throws {
        let (harness, _) = try filled()
        let memory = harness.memory
        for path in memory.paths where path.hasPrefix("/store/index/") { try memory.remove(path) }
        try memory.removeDirectory("/store/index")
        if isReplaced { memory.setBytes("/store/index", [1, 2, 3]) }
        switch then {
        case .query: break
        case .stop: try harness.closeAndOpen()
        case .goOn:
            for body in numbered(300..<400) {
                try harness.append("T", 0, body, keys: "k")
                try harness.store.commit()
            }
            harness.loop.advance(by: .seconds(60))
        case .kill: try harness.kill()
        }
        let count = then == .goOn ? 400 : 300
        if then == .query { #expect(found(harness) >= 0) }
        harness.loop.advance(by: .seconds(60))
        #expect(found(harness) == count)
        if then != .kill { #expect(harness.reports.lines.contains { $0.0 == .warning && $0.1.contains("/store/index/") }) }
        #expect(errors(harness).isEmpty)
        try harness.closeAndOpen()
        #expect(harness.reports.lines.last { $0.1.contains("store opened") }?.1.contains("after a clean stop") == true)
        #expect(found(harness) == count)
        let files = harness.memory.paths.filter { $0.hasPrefix("/store/index/") }
        #expect(!files.isEmpty)
    }

    @Test("One file of the index, removed a moment before the stop")
    func indexFileBeforeStop() throws {
        let (harness, _) = try filled()
        try harness.memory.remove(try #require(harness.memory.paths.first { $0.hasPrefix("/store/index/") }))
        try harness.closeAndOpen()
        #expect(harness.reports.lines.contains { $0.1.contains("removed, replaced or cut") })
        #expect(harness.reports.lines.last { $0.1.contains("store opened") }?.1.contains("after a clean stop") == true)
        harness.loop.advance(by: .seconds(20))
        #expect(found(harness) == 300)
    }

    @Test(
        "A query by key passes over a file of the log that is gone, and returns what is in the others", arguments: [0, 1], [true, false])
    func queryWithout(index: Int, isIndexNew: Bool) throws {
        let (harness, paths) = try filled()
        let path = paths[index]
        // So that no handle of it is open, as after a start.
        try harness.closeAndOpen()
        let bytes = try #require(harness.memory.bytes(path))
        try harness.memory.remove(path)
        if isIndexNew { for file in harness.memory.paths where file.hasPrefix("/store/index/") { try harness.memory.remove(file) } }
        let some = found(harness)
        #expect(some > 150 && some < 300, "\(some)")
        harness.loop.advance(by: .seconds(60))
        #expect(found(harness) == some)
        #expect(errors(harness).filter { $0.contains(path) && $0.contains("was removed") }.count == 1)
        for body in numbered(300..<310) {
            try harness.append("T", 0, body, keys: "k")
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(10))
        #expect(found(harness) == some + 10)
        let left = harness.reports.lines.filter { $0.1.contains("left out of the index") && $0.1.contains(path) }
        #expect(left.count == (isIndexNew ? 1 : 0))
        harness.memory.setBytes(path, bytes)
        if isIndexNew {
            try harness.store.close()
            try harness.memory.remove("/store/indexes")
            try harness.open()
            harness.loop.advance(by: .seconds(10))
        }
        #expect(found(harness) == 310)
    }

    @Test("A damaged queue is mended from the files of the log that are there")
    func repairWithout() throws {
        let (harness, paths) = try filled()
        try harness.closeAndOpen()
        try harness.memory.remove(paths[0])
        let path = "/store/consumequeue/T/0/" + FileName.text(5000)
        var bytes = try #require(harness.memory.bytes(path))
        for place in 0..<40 { bytes[place] = 0xFF }
        harness.memory.setBytes(path, bytes)
        #expect(try harness.bodies(from: 245) == numbered(245..<300, size: 90))
    }
}
