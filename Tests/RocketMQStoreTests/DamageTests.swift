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
