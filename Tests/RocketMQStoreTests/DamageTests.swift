import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Bytes of the log that turned bad: after a crash what follows them is kept wherever nothing but damage can have made them so.
@Suite struct DamageTests {
    /// Messages of two queues over several files, none of them checkpointed.
    private func filled(_ count: Int = 120) throws -> (StoreHarness, [String]) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
        }
        let bodies = numbered(0..<count, size: 90)
        for (index, body) in bodies.enumerated() {
            try harness.append("T", Int32(index % 2), body, keys: "key-\(index)")
            try harness.store.commit()
        }
        return (harness, bodies)
    }

    /// Changes bytes of the log from the record of a message on.
    private func damage(_ files: MemoryFileSystem, _ body: String, count: Int = 1, from skipped: Int = 0, _ change: (UInt8) -> UInt8) {
        for path in files.paths where path.hasPrefix("/store/commitlog/") {
            var bytes = files.bytes(path)!
            let text = Array(body.utf8)
            guard let place = bytes.indices.first(where: { bytes[$0...].starts(with: text) }) else { continue }
            for index in (place + skipped)..<min(place + skipped + count, bytes.count) { bytes[index] = change(bytes[index]) }
            files.setBytes(path, bytes)
        }
    }

    private func served(_ harness: StoreHarness) throws -> Set<String> {
        Set(try harness.bodies("T", 0) + harness.bodies("T", 1))
    }

    private func isFound(_ harness: StoreHarness, _ key: String) -> Bool {
        var count = 0
        harness.store.query(topic: "T", key: key, maxMessages: 9, maxBytes: 1 << 20, from: 0, through: .max) { answer, _ in
            count = (try? answer.get().count) ?? 0
        }
        harness.loop.settle()
        return count == 1
    }

    @Test func afterAKillADamagedRecordCostsNoOther() throws {
        let (harness, bodies) = try filled()
        try harness.kill { damage($0, bodies[7]) { $0 ^ 0x40 } }
        let expected = Set(bodies).subtracting([bodies[7]])
        #expect(try served(harness) == expected)
        let lines = harness.reports.lines.filter { $0.0 == .error }.map(\.1)
        let line = try #require(lines.first)
        #expect(lines.count == 1 && line.contains("T-1:3") && line.contains("/store/commitlog/00000000000000000000"), "\(lines)")
        let kept = try #require(harness.memory.paths.first { $0.contains("/put-aside/") })
        #expect(line.contains(kept) && harness.memory.bytes(kept)!.count < 400)
        #expect(isFound(harness, "key-8") && isFound(harness, "key-119") && !isFound(harness, "key-7"))
        // The position stays empty, whatever comes, and nothing more is said or lost.
        for round in 0..<3 {
            #expect(try harness.bodies("T", 1, from: 3).first == bodies[9])
            #expect(try harness.append("T", 1, "next").queueOffset == 60)
            harness.store.rollBack()
            switch round {
            case 0: try harness.kill { $0.removeTree("/store/consumequeue") }
            case 1: try harness.kill { try? $0.remove("/store/checkpoint") }
            default: try harness.closeAndOpen()
            }
            #expect(!harness.reports.lines.contains { $0.0 == .error }, "\(harness.reports.lines)")
            #expect(try served(harness) == expected)
        }
    }

    @Test(arguments: [1, 2, 40, 70])
    func aStretchMayReachOverFiles(kilobytes: Int) throws {
        let (harness, bodies) = try filled(400)
        let names = harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") }
        try #require(names.count > 5)
        try harness.kill { files in
            // From the middle of the first file on.
            var left = kilobytes << 10
            for (index, path) in names.enumerated() where left > 0 {
                var bytes = files.bytes(path)!
                for place in (index == 0 ? 15_000 : 0)..<bytes.count where left > 0 {
                    bytes[place] = UInt8(truncatingIfNeeded: place &* 31)
                    left -= 1
                }
                files.setBytes(path, bytes)
            }
        }
        let found = try served(harness)
        let lost = bodies.indices.filter { !found.contains(bodies[$0]) }
        #expect(lost == Array(lost[0]...lost[lost.count - 1]), "one stretch")
        #expect(lost.count > 2 && lost.count < kilobytes * 8 && found.contains(bodies[399]) && found.contains(bodies[20]))
        try harness.kill()
        #expect(try served(harness) == found)
        try harness.closeAndOpen()
        #expect(try served(harness) == found)
        #expect(try harness.append("T", 1, "next").queueOffset == 200)
    }

    @Test func theBlankThatClosesAFileMayBeDamaged() throws {
        let (harness, bodies) = try filled()
        try harness.kill { files in
            let path = "/store/commitlog/" + FileName.text(0)
            var bytes = files.bytes(path)!
            let magic: [UInt8] = [0xCB, 0xD4, 0x31, 0x94]
            let place = bytes.indices.last { bytes[$0...].starts(with: magic) }!
            bytes[place] ^= 1
            files.setBytes(path, bytes)
        }
        #expect(try served(harness) == Set(bodies))
    }

    /// The newest message of a queue: nobody else gets its position.
    @Test func thePlaceOfALostMessageAtTheEndIsNotGivenAgain() throws {
        let (harness, bodies) = try filled(20)
        try harness.append("Other", 0, "behind it")
        try harness.store.commit()
        try harness.kill { damage($0, bodies[19]) { $0 ^ 1 } }
        for _ in 0..<3 {
            #expect(try served(harness) == Set(bodies[..<19]))
            #expect(try harness.append("T", 1, "next").queueOffset == 10)
            harness.store.rollBack()
            try harness.kill { $0.removeTree("/store/consumequeue") }
        }
    }

    @Test func afterALossOfPowerWhatWasFlushedIsKept() throws {
        let (harness, bodies) = try filled()
        harness.store.requestFlush()
        harness.loop.settle()
        #expect(harness.store.flushedOffset == harness.store.writtenOffset)
        try harness.losePower { damage($0, bodies[7]) { $0 ^ 0x40 } }
        #expect(try served(harness) == Set(bodies).subtracting([bodies[7]]))
    }

    /// Of what was not flushed a loss of power may leave any sectors: then the log ends before the first bad one.
    @Test func afterALossOfPowerNoPieceOfTheMiddleIsMissing() throws {
        let (harness, bodies) = try filled(400)
        try harness.losePower { damage($0, bodies[57], count: 512) { _ in 0 } }
        #expect(try served(harness) == Set(bodies[..<57]))
        let errors = harness.reports.lines.filter { $0.0 == .error }.map(\.1)
        let kept = harness.memory.paths.filter { $0.contains("/put-aside/") }
        #expect(kept.count > 2 && kept.allSatisfy { path in errors.contains { $0.contains(path) } }, "\(kept) \(errors)")
        let text = kept.flatMap { harness.memory.bytes($0)! }
        #expect(String(decoding: text, as: UTF8.self).contains(bodies[399]), "what was cut is kept")
        for index in 57..<60 {
            try harness.append("T", Int32(index % 2), "new \(index)")
            try harness.store.commit()
        }
        try harness.kill()
        #expect(try served(harness) == Set(bodies[..<57] + (57..<60).map { "new \($0)" }))
    }

    /// A turned queue id in the head of the only message of a queue: the table knows that there was no such queue.
    @Test(arguments: [true, false]) func aTurnedQueueIDMakesNoQueue(cleanly: Bool) throws {
        let harness = try StoreHarness()
        for id in 0..<3 { try harness.send(["first of \(id)"], to: "T", Int32(id)) }
        harness.loop.advance(by: .seconds(25))
        let place = try #require(try harness.records("T", 1).first).fields.physicalOffset
        try harness.store.close()
        func turn(_ files: MemoryFileSystem) {
            if !cleanly { files.setBytes("/store/abort", []) }
            let path = "/store/commitlog/" + FileName.text(0)
            var bytes = files.bytes(path)!
            bytes[Int(place) + MessageRecord.Layout.queueID + 3] ^= 8
            files.setBytes(path, bytes)
        }
        try harness.kill { turn($0) }
        #expect(try harness.bodies("T", 1) == [])
        for round in 0..<3 {
            #expect(harness.store.queues(topic: "T").map(\.id).sorted() == [0, 1, 2], "round \(round)")
            #expect(try harness.bodies("T", 0) == ["first of 0"] && harness.bodies("T", 2) == ["first of 2"])
            #expect(try harness.append("T", 1, "next").queueOffset == 1, "the position of the lost is not given again")
            harness.store.rollBack()
            try harness.kill { if round == 1 { $0.removeTree("/store/consumequeue") } }
            if round == 1 { #expect(harness.reports.lines.contains { $0.1.contains("T-9") && $0.1.contains("passed over") }) }
        }
    }

    /// Pieces of a consume queue that arrived on the disk, of messages that did not.
    @Test func aConsumeQueueOfLostMessagesHasNoPositions() throws {
        let harness = try StoreHarness { $0.consumeQueueFileEntries = 3 }
        try harness.send(numbered(0..<5), to: "T", 0)
        harness.loop.advance(by: .seconds(2))
        try harness.losePower { files in
            let log = "/store/commitlog/" + FileName.text(0)
            files.setBytes(log, files.bytes(log)!.map { _ in 0 })
            try? files.remove("/store/consumequeue/T/0/" + FileName.text(0))
            try? files.remove("/store/flushed")
            try? files.remove("/store/checkpoint")
            try? files.remove("/store/queues")
        }
        for _ in 0..<2 {
            #expect(try harness.append("T", 0, "first").queueOffset == 0)
            harness.store.rollBack()
            try harness.kill()
        }
    }

    /// Whoever asks for a lost message by its place is told what became of it, and never gets what stands in its place.
    @Test func aLostMessageThatIsAskedForByItsPlaceIsSaidToBeLost() throws {
        let (harness, bodies) = try filled()
        var places: [String: Int64] = [:]
        for record in try harness.records("T", 0) + harness.records("T", 1) { places[record.body] = record.fields.physicalOffset }
        func found(_ index: Int) throws -> PlaceInLog {
            let place = try #require(places[bodies[index]])
            return try harness.store.waitFor { (reader) throws(LookupInterruption) in try reader.find(at: place) }
        }
        // One with its head, and a stretch of three without theirs.
        try harness.kill {
            damage($0, bodies[7]) { $0 ^ 0x40 }
            damage($0, bodies[20], count: 700) { $0 &* 31 | 1 }
        }
        for _ in 0..<2 {
            let lost = try bodies.indices.filter { index in
                if case .record = try found(index) { return false }
                return true
            }
            #expect(lost.first == 7 && (20...23).contains(lost[1]) && lost.count > 3 && lost.count < 7, "\(lost)")
            for index in lost {
                guard case .lost(let reason) = try found(index) else {
                    Issue.record("message \(index) is not said to be lost")
                    continue
                }
                let place = try #require(places[bodies[index]])
                #expect(reason.contains("\(place)") && reason.contains("put-aside") && reason.contains("T-1") == (index == 7), "\(reason)")
                var output = ByteBuffer()
                #expect(try harness.store.readMessage(at: place, into: &output) == false)
            }
            let middle = try #require(places[bodies[40]]) + 3
            #expect(try harness.store.waitFor { (reader) throws(LookupInterruption) in try reader.find(at: middle) } == .nothing)
            try harness.closeAndOpen()
        }
        // Damage that nobody has closed over yet.
        try harness.store.close()
        try harness.kill { damage($0, bodies[50]) { $0 ^ 2 } }
        guard case .lost(let why) = try found(50) else {
            Issue.record("a damaged record is served")
            return
        }
        #expect(why.contains("checksum"))
    }

    /// Without a checkpoint of ours a start begins where that of the reference says, and finds there how long the queue is already.
    @Test func aQueueWithoutFilesIsRebuiltFromItsFirstMessageWhereverAStartBegins() throws {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
        }
        try harness.send(["one with files"], to: "A")
        try harness.closeAndOpen()
        let bodies = numbered(0..<60, size: 600)
        try harness.send(bodies)
        try harness.kill { files in
            var page = ByteBuffer()
            for _ in 0..<3 { page.append(bigEndian: harness.loop.clock.wallMilliseconds + 86_400_000) }
            page.append([UInt8](repeating: 0, count: 4096 - page.count))
            files.setBytes("/store/checkpoint", page.copyBytes())
            files.removeTree("/store/consumequeue/T")
        }
        #expect(try harness.bodies() == bodies)
        #expect(try harness.bodies("A") == ["one with files"])
        #expect(try harness.append("T", 0, "next").queueOffset == 60)
    }

    @Test func onlyATailThatNothingFollowsIsCut() throws {
        let (harness, bodies) = try filled(20)
        try harness.kill { damage($0, bodies[19]) { $0 ^ 1 } }
        #expect(try served(harness) == Set(bodies[..<19]))
        #expect(try harness.append("T", 1, "next").queueOffset == 9)
        #expect(harness.reports.lines.contains { $0.1.contains("are cut") })
    }

    @Test func whatDecidesIsWhatIsKnownToBeFlushed() {
        let next: (offset: Int64, storeTimestamp: Int64) = (500, 50)
        func verdict(_ trust: LogTrust, hasNext: Bool = true) -> LogTrust.Verdict {
            trust.verdict(at: 300, next: hasNext ? next : nil, lastTimestamp: 40)
        }
        #expect(verdict(LogTrust()) == .end)
        #expect(verdict(LogTrust(durableEnd: 300)) == .end)
        #expect(verdict(LogTrust(durableEnd: 301)) == .hole(resume: 301), "what follows may be torn")
        #expect(verdict(LogTrust(durableEnd: 900)) == .hole(resume: 500))
        #expect(verdict(LogTrust(durableEnd: 900), hasNext: false) == .hole(resume: 900))
        #expect(verdict(LogTrust(isMemoryIntact: true)) == .hole(resume: 500))
        #expect(verdict(LogTrust(isMemoryIntact: true), hasNext: false) == .end)
        #expect(verdict(LogTrust(durableTimestamp: 51)) == .hole(resume: 500), "the reference had flushed it")
        #expect(verdict(LogTrust(durableTimestamp: 50)) == .end)
        #expect(LogTrust(durableTimestamp: 51).verdict(at: 300, next: next, lastTimestamp: 60) == .end, "left from before")
    }
}
