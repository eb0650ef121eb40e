import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Damage inside consume queues that a start after a clean stop does not look for: who reads there gets every message once all the same.
@Suite struct QueueRepairTests {
    private func stopped() throws -> (StoreHarness, [[String]]) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
        }
        var bodies: [[String]] = [[], []]
        for index in 0..<400 {
            let body = "message \(index) " + String(repeating: "x", count: index % 90)
            try harness.append("T", Int32(index % 2), body, tags: "tag\(index % 3)")
            bodies[index % 2].append(body)
        }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(30))
        try harness.store.close()
        return (harness, bodies)
    }

    private func change(_ files: MemoryFileSystem, _ number: Int, _ body: (inout [UInt8]) -> Void) {
        let path = files.paths.filter { $0.hasPrefix("/store/consumequeue/T/1/") }[number]
        var bytes = files.bytes(path)!
        body(&bytes)
        files.setBytes(path, bytes)
    }

    @Test(arguments: [
        "zeros", "nearly a whole file of zeros", "swapped", "another queue's", "beyond the log", "wrong size", "one zero at the first",
        "shifted",
        "noise",
        "entries as if nothing had been stored",
    ])
    func damageIsHealedByWhoReads(damage: String) throws {
        let (harness, bodies) = try stopped()
        try harness.kill { files in
            let other = files.bytes(files.paths.first { $0.hasPrefix("/store/consumequeue/T/0/") }!)!
            switch damage {
            case "zeros": change(files, 1) { for place in 200..<500 { $0[place] = 0 } }
            case "nearly a whole file of zeros": change(files, 1) { for place in 20..<($0.count - 20) { $0[place] = 0 } }
            case "swapped":
                change(files, 1) { bytes in
                    let (first, second) = (Array(bytes[100..<120]), Array(bytes[600..<620]))
                    bytes.replaceSubrange(100..<120, with: second)
                    bytes.replaceSubrange(600..<620, with: first)
                }
            case "another queue's": change(files, 0) { $0.replaceSubrange(300..<600, with: other[300..<600]) }
            case "beyond the log": change(files, 2) { $0[200 + 4] = 0x7F }
            case "wrong size": change(files, 2) { $0[200 + 11] ^= 0x10 }
            case "one zero at the first": change(files, 0) { for place in 0..<20 { $0[place] = 0 } }
            case "entries as if nothing had been stored":
                change(files, 1) { bytes in
                    for place in stride(from: 200, to: 300, by: 20) {
                        bytes.replaceSubrange(
                            place..<(place + 20), with: [0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0])
                    }
                }
            case "shifted": change(files, 1) { $0.replaceSubrange(200..<600, with: $0[220..<620]) }
            default: change(files, 1) { for place in 100..<900 { $0[place] = UInt8(truncatingIfNeeded: place &* 37) } }
            }
        }
        for round in 0..<2 {
            // Whoever begins in the middle, and whoever wants some of it only.
            let tag = MessageFilter(tagsCodes: [Int64(JavaHash.hash("tag1"))])
            let tagged = bodies[1].indices.filter { (2 * $0 + 1) % 3 == 1 }.map { bodies[1][$0] }
            // An entry whose tags are another's, in order, shows itself only to those who read its message.
            let isSeen = !["wrong size", "another queue's", "shifted"].contains(damage)
            if isSeen { #expect(try harness.bodies("T", 1, filter: tag) == tagged, "\(damage), round \(round)") }
            #expect(try harness.bodies("T", 1, from: 60, batch: 3) == Array(bodies[1][60...]), "\(damage), round \(round)")
            #expect(try harness.bodies("T", 1) == bodies[1], "\(damage), round \(round)")
            #expect(try harness.bodies("T", 1, filter: tag) == tagged, "\(damage), round \(round)")
            #expect(try harness.bodies("T", 0) == bodies[0])
            #expect(!harness.reports.lines.contains { $0.0 == .error }, "\(harness.reports.lines)")
            let isFoundAtStart = damage == "one zero at the first"
            #expect(round == 1 || isFoundAtStart || harness.reports.lines.contains { $0.1.contains("T/1 is whole again") })
            try harness.closeAndOpen()
            harness.reports.lines = []
        }
    }

    enum Exchange: CaseIterable, Sendable { case allFiles, firstFile, lastFile, lastTwo }

    @Test(
        "Files exchanged for another queue's show to who filters by tags, though none of these is wanted", arguments: Exchange.allCases,
        [true, false])
    func exchanged(_ exchange: Exchange, isBelieved: Bool) throws {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 16 << 10; $0.windowSegmentSize = 4 << 10; $0.maxRecordSize = 8 << 10
            if isBelieved { $0.queuesCheckedAtStart = 0 }
        }
        for body in numbered(0..<180) {
            for topic in ["A", "B"] { try harness.append(topic, 0, topic + body, tags: topic) }
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(30))
        try harness.store.close()
        try harness.kill { files in
            let names = files.paths.filter { $0.hasPrefix("/store/consumequeue/A/0/") }
            let chosen =
                switch exchange {
                case .allFiles: names[...]
                case .firstFile: names[..<1]
                case .lastFile: names[(names.count - 1)...]
                case .lastTwo: names[(names.count - 2)...]
                }
            for name in chosen {
                let other = name.replacing("/A/", with: "/B/")
                let (mine, its) = (files.bytes(name)!, files.bytes(other)!)
                files.setBytes(name, its)
                files.setBytes(other, mine)
            }
        }
        #expect(harness.reports.lines.contains { $0.1.contains("after a clean stop") })
        for round in 0..<2 {
            for topic in ["A", "B"] {
                let wanted = MessageFilter(tagsCodes: [Int64(JavaHash.hash(topic))])
                let bodies = numbered(0..<180).map { topic + $0 }
                #expect(try harness.bodies(topic, 0, from: 110, filter: wanted) == Array(bodies[110...]), "\(topic), round \(round)")
                #expect(try harness.bodies(topic, 0, filter: wanted) == bodies, "\(topic), round \(round)")
                #expect(try harness.bodies(topic, 0, filter: MessageFilter(tagsCodes: [5])) == [])
                #expect(round == 1 || harness.reports.lines.contains { $0.1.contains("\(topic)/0 is whole again") })
            }
            #expect(!harness.reports.lines.contains { $0.0 == .error }, "\(harness.reports.lines)")
            try harness.closeAndOpen()
            harness.reports.lines = []
        }
    }

    @Test("A rebuild takes no message for one that its queue has because of another queue's file", arguments: [true, false])
    func rebuildWithForeignFile(isSwapped: Bool) throws {
        let harness = try StoreHarness()
        for body in numbered(0..<100) {
            for topic in ["A", "B", "C"] { try harness.append(topic, 0, topic + body) }
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(30))
        try harness.store.close()
        try harness.kill { files in
            let name = files.paths.filter { $0.hasPrefix("/store/consumequeue/B/0/") }.last!
            let other = name.replacing("/B/", with: "/A/")
            let (mine, its) = (files.bytes(name)!, files.bytes(other)!)
            files.setBytes(name, its)
            if isSwapped { files.setBytes(other, mine) }
            for path in files.paths where path.hasPrefix("/store/consumequeue/C/0/") { try? files.remove(path) }
        }
        #expect(harness.reports.lines.contains { $0.1.contains("after a clean stop") })
        for topic in ["A", "B", "C"] { #expect(try harness.bodies(topic, 0) == numbered(0..<100).map { topic + $0 }) }
        #expect(!harness.reports.lines.contains { $0.0 == .error }, "\(harness.reports.lines)")
    }

    @Test("Where a file is the queue's, who filters looks once for all of it")
    func provenOnce() throws {
        let (harness, _) = try stopped()
        try harness.kill()
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 1))
        let limits = ReadLimits(messages: 7, bytes: 1 << 16, scannedEntries: 30)
        let wanted = MessageFilter(tagsCodes: [5])
        func look() -> ReadResult {
            var output = ByteBuffer()
            return harness.store.read(queue, from: 10, limits: limits, filter: wanted, into: &output)
        }
        #expect(look() == .needsDisk)
        var answer: ReadResult?
        harness.store.readFromDisk(queue, from: 10, limits: limits, filter: wanted) { result, _ in answer = result }
        harness.loop.settle()
        #expect(answer == .noMatch(nextOffset: 40))
        for _ in 0..<3 { #expect(look() == .noMatch(nextOffset: 40)) }
    }

    @Test func whatTheLogHasLostTooIsPassedOverAndSaidOnce() throws {
        let (harness, bodies) = try stopped()
        try harness.kill { files in
            change(files, 1) { for place in 20..<120 { $0[place] = 0 } }
            for path in files.paths where path.hasPrefix("/store/commitlog/") {
                var bytes = files.bytes(path)!
                let text = Array(bodies[1][52].utf8)
                guard let place = bytes.indices.first(where: { bytes[$0...].starts(with: text) }) else { continue }
                bytes[place] ^= 1
                files.setBytes(path, bytes)
            }
        }
        for _ in 0..<3 { #expect(try harness.bodies("T", 1) == bodies[1].filter { $0 != bodies[1][52] }) }
        let errors = harness.reports.lines.filter { $0.0 == .error }
        #expect(errors.count == 1 && errors[0].1.contains("1 messages") && errors[0].1.contains("52"), "\(errors)")
        #expect(try harness.append("T", 1, "next").queueOffset == 200)
    }

    /// Things of another kind in the place of what can be made again.
    @Test(
        arguments: [
            "consumequeue", "consumequeue/T", "consumequeue/T/1", "consumequeue/T/1/00000000000000000000", "checkpoint", "queues",
            "indexes", "flushed",
        ], [true, false])
    func whatIsOfTheWrongKindIsPutAside(name: String, cleanly: Bool) throws {
        let harness = try StoreHarness()
        try harness.send(numbered(0..<20))
        try harness.send(numbered(0..<20), to: "T", 1)
        harness.loop.advance(by: .seconds(30))
        if cleanly { try harness.store.close() }
        try harness.kill { files in
            let path = "/store/" + name
            let isFile = files.bytes(path) != nil
            files.removeTree(path)
            if isFile {
                try? files.remove(path)
                files.setBytes(path + "/inside", [1, 2, 3])
            } else {
                files.setBytes(path, [1, 2, 3])
            }
        }
        for _ in 0..<2 {
            #expect(try harness.bodies("T", 0) == numbered(0..<20))
            #expect(try harness.bodies("T", 1) == numbered(0..<20))
            #expect(try harness.append("T", 1, "next").queueOffset == 20)
            harness.store.rollBack()
            try harness.closeAndOpen()
        }
        let kept = harness.memory.paths.filter { $0.hasPrefix("/store/put-aside/") }
        #expect(kept.count == 1 && harness.memory.bytes(kept[0]) == [1, 2, 3])
        #expect(harness.reports.lines.contains { $0.1.contains("/store/put-aside/") })
    }
}
