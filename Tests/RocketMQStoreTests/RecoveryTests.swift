import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

@Suite struct RecoveryTests {
    private func filled(_ count: Int = 120, checkpointed: Bool = false) throws -> (StoreHarness, [String]) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
        }
        let bodies = numbered(0..<count, size: 90)
        for (index, body) in bodies.enumerated() {
            try harness.append("T", Int32(index % 2), body, tags: "tag\(index % 3)")
            if index % 7 == 0 { try harness.store.commit() }
            if checkpointed, index == count / 2 {
                try harness.store.commit()
                harness.loop.advance(by: .seconds(25))
            }
        }
        try harness.store.commit()
        return (harness, bodies)
    }

    private func expectAll(
        _ harness: StoreHarness, _ bodies: [String], _ comment: Comment? = nil, location: SourceLocation = #_sourceLocation
    ) throws {
        for id in 0..<2 {
            let expected = stride(from: id, to: bodies.count, by: 2).map { bodies[$0] }
            let found = try harness.bodies("T", Int32(id))
            #expect(found.count == expected.count && zip(found, expected).allSatisfy { $0 == $1 }, comment, sourceLocation: location)
            let tagged = try harness.bodies("T", Int32(id), filter: MessageFilter(tagsCodes: [Int64(JavaHash.hash("tag1"))]))
            let expectedTagged = stride(from: id, to: bodies.count, by: 2).filter { $0 % 3 == 1 }.map { bodies[$0] }
            #expect(
                tagged.count == expectedTagged.count && zip(tagged, expectedTagged).allSatisfy { $0 == $1 }, comment,
                sourceLocation: location)
        }
        // And it goes on from there, densely.
        for id in 0..<2 {
            let next = try harness.append("T", Int32(id), "after")
            #expect(next.queueOffset == Int64((bodies.count + 1 - id) / 2), comment, sourceLocation: location)
        }
        harness.store.rollBack()
    }

    @Test(arguments: [false, true])
    func aKilledProcessLosesNothing(checkpointed: Bool) throws {
        let (harness, bodies) = try filled(checkpointed: checkpointed)
        try harness.kill()
        try expectAll(harness, bodies)
        try harness.kill()
        try expectAll(harness, bodies, "killed again at once")
        try harness.closeAndOpen()
        try expectAll(harness, bodies, "stopped and started")
    }

    @Test func afterACleanStopNothingOfTheLogIsGoneThrough() throws {
        let (harness, bodies) = try filled()
        try harness.store.close()
        let reads = harness.memory.count(.read)
        try harness.kill()
        let took = harness.memory.count(.read)
        _ = reads
        #expect(took < 15, "read \(took) times")
        try expectAll(harness, bodies)
        #expect(harness.memory.exists("/store/abort"))
        try harness.store.close()
        #expect(!harness.memory.exists("/store/abort"))
    }

    @Test(arguments: ["gone", "one queue gone", "last file gone", "garbage", "zeros", "empty file", "cut"], [true, false])
    func consumeQueuesAreRebuilt(damage: String, cleanly: Bool) throws {
        let (harness, bodies) = try filled(checkpointed: true)
        if cleanly { try harness.store.close() } else { harness.loop.advance(by: .seconds(3)) }
        try harness.kill { files in
            let queueFiles = files.paths.filter { $0.hasPrefix("/store/consumequeue/T/1/") }
            #expect(queueFiles.count > 1)
            switch damage {
            case "gone": files.removeTree("/store/consumequeue")
            case "one queue gone": files.removeTree("/store/consumequeue/T/1")
            case "last file gone": try? files.remove(queueFiles.last!)
            case "garbage":
                for path in queueFiles {
                    files.setBytes(path, files.bytes(path)!.indices.map { UInt8(truncatingIfNeeded: $0 &* 37 ^ 0x5A) })
                }
            case "zeros": for path in queueFiles { files.setBytes(path, files.bytes(path)!.map { _ in 0 }) }
            case "empty file": files.setBytes(queueFiles.last!, [])
            default: files.setBytes(queueFiles.last!, [UInt8](files.bytes(queueFiles.last!)!.prefix(33)))
            }
        }
        try expectAll(harness, bodies)
        try harness.closeAndOpen()
        try expectAll(harness, bodies, "started again")
    }

    @Test(arguments: ["gone", "empty", "garbage", "cut"], [true, false])
    func checkpointAndTableMayBeDamaged(damage: String, cleanly: Bool) throws {
        let (harness, bodies) = try filled(checkpointed: true)
        if cleanly { try harness.store.close() } else { harness.loop.advance(by: .seconds(3)) }
        for name in ["/store/checkpoint", "/store/queues"] {
            try harness.kill { files in
                switch damage {
                case "gone": try? files.remove(name)
                case "empty": files.setBytes(name, [])
                case "garbage": files.setBytes(name, (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
                default: files.setBytes(name, [UInt8]((files.bytes(name) ?? []).prefix(40)))
                }
            }
            try expectAll(harness, bodies)
        }
    }

    @Test func aTornLastRecordIsCutWhereverItIsTorn() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<3))
        let last = try harness.append("T", 0, "the last one")
        try harness.store.commit()
        let path = "/store/commitlog/" + FileName.text(0)
        let whole = try #require(harness.memory.bytes(path))
        let start = Int(last.physicalOffset)
        for kept in 0..<Int(last.size) {
            for rest in [UInt8(0), 0xFF] {
                var torn = whole
                for index in (start + kept)..<(start + Int(last.size)) { torn[index] = rest }
                // What stood there may happen to be right.
                if torn == whole { continue }
                let bodyAndBefore = MessageRecord.Layout.bodyLength(bornIPv6: false, storeIPv6: false) + 4 + 12
                try harness.kill { $0.setBytes(path, torn) }
                let bodies = try harness.bodies()
                if kept >= bodyAndBefore + 4, bodies.count == 4 { continue }
                #expect(bodies == numbered(0..<3), "torn after \(kept) bytes")
                let again = try harness.append("T", 0, "new")
                #expect(again.queueOffset == 3)
                #expect(again.physicalOffset == last.physicalOffset)
                try harness.store.commit()
                try harness.kill()
                #expect(try harness.bodies() == numbered(0..<3) + ["new"], "nothing stale behind the new end")
            }
        }
    }

    @Test func damageInTheMiddleOfWhatIsDurableCostsOnlyWhatItHit() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<20))
        try harness.store.close()
        let path = "/store/commitlog/" + FileName.text(0)
        try harness.kill { files in
            var bytes = files.bytes(path)!
            let body = Array("message 7 ".utf8)
            let place = bytes.indices.first { bytes[$0...].starts(with: body) }!
            bytes[place] ^= 0x40
            files.setBytes(path, bytes)
            files.removeTree("/store/consumequeue")
        }
        #expect(try harness.bodies() == numbered(0..<7) + numbered(8..<20))
        #expect(harness.reports.lines.contains { $0.0 == .error && $0.1.contains("damaged") })
        let next = try harness.append("T", 0, "next")
        #expect(next.queueOffset == 20)
    }

    @Test func aMissingFileInTheMiddleIsNotHidden() throws {
        let (harness, _) = try filled(300)
        let names = harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") }
        try #require(names.count >= 3)
        #expect {
            try harness.kill { try? $0.remove(names[1]) }
        } throws: { error in
            (error as? StoreError)?.code == .damaged && "\(error)".contains(names[2])
        }
    }

    @Test func aSecondProcessIsRefused() throws {
        let harness = try StoreHarness()
        #expect {
            _ = try StoreHarness(files: harness.files)
        } throws: { ($0 as? StoreError)?.code == .lockedByOther }
        try harness.closeAndOpen()
    }

    @Test func topicsMadeAgainKeepTheNewerMessages() throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<10))
        harness.store.deleteTopic("T")
        try harness.send(numbered(100..<103))
        #expect(try harness.bodies() == numbered(100..<103))
        try harness.kill { $0.removeTree("/store/consumequeue") }
        #expect(try harness.bodies() == numbered(100..<103))
        try harness.kill()
        #expect(try harness.bodies() == numbered(100..<103))
    }

    @Test(
        "A queue's file that holds another queue's entries is rebuilt, dense and without complaints of the log", arguments: [true, false])
    func anotherQueuesEntries(cleanly: Bool) throws {
        for (mine, others) in [(20, 30), (30, 20), (20, 20), (70, 90), (20, 120)] {
            for (later, long) in [(0, false), (5, false), (5, true)] {
                let harness = try StoreHarness()
                let topic = long ? String(repeating: "t", count: 120) : "T"
                try harness.send(numbered(0..<mine), to: topic)
                try harness.send(numbered(1000..<(1000 + others)), to: "Other")
                harness.loop.advance(by: .seconds(30))
                try harness.send(numbered(mine..<(mine + later)), to: topic)
                if cleanly { try harness.store.close() }
                try harness.kill { files in
                    for path in files.paths where path.hasPrefix("/store/consumequeue/\(topic)/0/") {
                        let name = path.suffix(20)
                        if let bytes = files.bytes("/store/consumequeue/Other/0/" + name) { files.setBytes(path, bytes) }
                    }
                }
                let what: Comment = "\(mine) and \(others), \(later) later, \(topic)"
                #expect(try harness.bodies(topic) == numbered(0..<(mine + later)), what)
                #expect(try harness.bodies("Other") == numbered(1000..<(1000 + others)), what)
                let next = try harness.append(topic, 0, "next")
                #expect(next.queueOffset == Int64(mine + later), what)
                try harness.store.commit()
                #expect(!harness.reports.lines.contains { $0.0 == .error }, what)
                try harness.kill()
                #expect(try harness.bodies(topic) == numbered(0..<(mine + later)) + ["next"], what)
                #expect(!harness.reports.lines.contains { $0.0 == .error }, what)
            }
        }
    }

    @Test func delayedMessagesKeepTheirDeliveryTimes() throws {
        let harness = try StoreHarness()
        let stored = harness.now
        try harness.append(SystemTopic.schedule, 2, "late", extra: "DELAY\u{1}3")
        try harness.store.commit()
        try harness.kill()
        let queue = try #require(harness.store.existingQueue(topic: SystemTopic.schedule, id: 2))
        #expect(harness.store.entry(queue, at: 0)?.tagsCode == stored + 10_000)
    }

    @Test func otherFileSizesThanTheSettingsAreRead() throws {
        let (harness, bodies) = try filled()
        try harness.store.close()
        harness.configuration.commitLogFileSize = 1 << 20
        harness.configuration.consumeQueueFileEntries = 7
        try harness.kill()
        try expectAll(harness, bodies)
        for body in numbered(0..<300, size: 90) { try harness.append("T", 0, body) }
        try harness.store.commit()
        let sizes = Set(harness.memory.paths.filter { $0.hasPrefix("/store/commitlog/") }.map { harness.memory.bytes($0)!.count })
        #expect(sizes == [16 << 10])
    }
}
