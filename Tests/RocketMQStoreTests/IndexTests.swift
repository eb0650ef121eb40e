import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQSystem
import Testing

@testable import RocketMQStore

@Suite struct IndexTests {
    private func found(
        _ harness: StoreHarness, _ topic: String, _ key: String, max: Int = 10_000, from begin: Int64 = 0, through end: Int64 = .max
    ) throws -> [StoreHarness.Found] {
        var bytes: [UInt8] = []
        var answer: Result<QueryAnswer, StoreError>?
        harness.store.query(topic: topic, key: key, maxMessages: max, maxBytes: 1 << 24, from: begin, through: end) {
            (answer, bytes) = ($0, $1.copyBytes())
        }
        harness.loop.settle()
        let records = try StoreHarness.parse(bytes)
        #expect(try #require(answer).get().count == records.count)
        return records
    }

    @Test func messagesAreFoundByEachOfTheirKeysNewestFirst() throws {
        let harness = try StoreHarness()
        for index in 0..<300 { try harness.append("T", 0, "message \(index)", keys: "shared  own-\(index) odd-\(index % 2)") }
        try harness.append("U", 0, "other topic", keys: "shared")
        try harness.append("T", 0, "rolled back", keys: "shared", systemFlag: 12)
        try harness.append("T", 0, "long", keys: "long", extra: "filler\u{1}" + String(repeating: "x", count: 20_000))
        try harness.store.commit()
        for round in 0..<3 {
            #expect(try found(harness, "T", "shared").map(\.body) == (0..<300).reversed().map { "message \($0)" }, "round \(round)")
            #expect(try found(harness, "T", "shared", max: 5).map(\.body) == (295..<300).reversed().map { "message \($0)" })
            #expect(try found(harness, "T", "own-17").map(\.body) == ["message 17"])
            #expect(try found(harness, "T", "odd-1").count == 150)
            #expect(try found(harness, "T", "T-0-message 8").map(\.body) == ["message 8"], "by the unique key")
            #expect(try found(harness, "T", "own-1000").isEmpty)
            #expect(try found(harness, "T", "").isEmpty)
            #expect(try found(harness, "U", "shared").map(\.body) == ["other topic"])
            #expect(try found(harness, "T", "long").map(\.body) == ["long"])
            switch round {
            case 0: try harness.closeAndOpen()
            default:
                harness.loop.advance(by: .seconds(30))
                try harness.kill()
            }
        }
        #expect(harness.memory.paths.filter { $0.hasPrefix("/store/index/") }.count > 3, "several files were filled")
    }

    @Test func timesBoundAQueryExactly() throws {
        let harness = try StoreHarness()
        for time in stride(from: Int64(10_000), to: 20_000, by: 100) {
            try harness.append("T", 0, "\(time)", keys: "k", storeTimestamp: time)
        }
        try harness.store.commit()
        #expect(
            try found(harness, "T", "k", from: 12_300, through: 14_500).map(\.body)
                == stride(from: 14_500, through: 12_300, by: -100).map { "\($0)" })
        #expect(try found(harness, "T", "k", from: 12_301, through: 12_399).isEmpty)
    }

    @Test("What was stored while the clock was set back is found by time, whatever the file's first and last message say")
    func clocksSetBack() throws {
        let harness = try StoreHarness()
        // Three files or so; the clock is set back by an hour in each, before its beginning and behind it, and forward again.
        var times: [Int64] = []
        for index in 0..<600 {
            let base = Int64(10_000_000 + index * 1000)
            let time =
                (150..<180).contains(index) || (395..<402).contains(index) ? base - 3_600_000 : index == 300 ? base + 7_200_000 : base
            times.append(time)
            try harness.append("T", 0, "\(index)", keys: "k own-\(index)", storeTimestamp: time)
        }
        try harness.store.commit()
        func expectFound(_ comment: Comment) throws {
            for range in [0...9_000_000, 6_500_000...6_560_000, 10_000_000...10_100_000, 10_390_000...10_410_000, 17_000_000...18_000_000] {
                let expected = times.indices.filter { range.contains(Int(times[$0])) }.reversed().map { "\($0)" }
                let bodies = try found(harness, "T", "k", from: Int64(range.lowerBound), through: Int64(range.upperBound)).map(\.body)
                #expect(bodies == expected, "\(range)")
                #expect(!expected.isEmpty, comment)
            }
            #expect(try found(harness, "T", "own-160", from: times[160], through: times[160]).map(\.body) == ["160"], comment)
            #expect(try found(harness, "T", "k", from: 1_000_000, through: 6_000_000).isEmpty, comment)
        }
        try expectFound("running")
        harness.loop.advance(by: .seconds(30))
        try harness.closeAndOpen()
        try expectFound("stopped")
        harness.loop.advance(by: .seconds(30))
        try harness.kill()
        try expectFound("killed")
        try harness.kill { $0.removeTree("/store/index") }
        try expectFound("rebuilt")
    }

    @Test(arguments: ["gone", "last file garbage", "empty file", "stopped"])
    func theIndexIsRepairedAfterACrash(damage: String) throws {
        let harness = try StoreHarness()
        for index in 0..<150 { try harness.append("T", 0, "message \(index)", keys: "shared") }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(30))
        for index in 150..<200 { try harness.append("T", 0, "message \(index)", keys: "shared") }
        try harness.store.commit()
        harness.loop.advance(by: .milliseconds(300))
        try harness.kill { files in
            let paths = files.paths.filter { $0.hasPrefix("/store/index/") }
            switch damage {
            case "gone": files.removeTree("/store/index")
            case "last file garbage":
                files.setBytes(paths.last!, files.bytes(paths.last!)!.indices.map { UInt8(truncatingIfNeeded: $0 &* 91) })
            case "empty file": files.setBytes("/store/index/29990101000000000", [])
            default: break
            }
        }
        #expect(try found(harness, "T", "shared").map(\.body) == (0..<200).reversed().map { "message \($0)" })
    }

    /// What a start after a clean stop does not look at is found when it is asked for, and comes from the log again.
    @Test(
        arguments: [
            "middle file gone", "middle file of another time", "header", "a chain that runs in a circle", "entry of another key",
            "slots", "list gone", "a directory",
        ], [true, false])
    func aDamagedIndexIsBuiltAnew(damage: String, cleanly: Bool) throws {
        let harness = try StoreHarness()
        for index in 0..<900 { try harness.append("T", 0, "message \(index)", keys: "shared odd-\(index % 2)") }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(30))
        if cleanly { try harness.store.close() }
        try harness.kill { files in
            let paths = files.paths.filter { $0.hasPrefix("/store/index/") }
            let entries = 40 + 50 * 4
            func change(_ path: String, _ body: (inout [UInt8]) -> Void) {
                var bytes = files.bytes(path)!
                body(&bytes)
                files.setBytes(path, bytes)
            }
            switch damage {
            case "middle file gone": try? files.remove(paths[2])
            case "middle file of another time": files.setBytes(paths[2], files.bytes(paths[3])!)
            case "header": change(paths[1]) { $0[39] ^= 0x10 }
            case "a chain that runs in a circle":
                for number in 1..<200 { change(paths[1]) { $0[entries + number * 20 + 19] = UInt8(number) } }
            case "entry of another key": for number in 1..<200 { change(paths[1]) { $0[entries + number * 20 + 3] ^= 3 } }
            case "slots": change(paths[1]) { for place in 40..<entries { $0[place] = 0x55 } }
            case "list gone": try? files.remove("/store/indexes")
            default:
                try? files.remove(paths[1])
                files.setBytes(paths[1] + "/inside", [1])
            }
        }
        for _ in 0..<2 {
            harness.loop.advance(by: .seconds(1))
            #expect(try found(harness, "T", "shared").map(\.body) == (0..<900).reversed().map { "message \($0)" })
            #expect(try found(harness, "T", "odd-1").count == 450)
            #expect(try found(harness, "T", "T-0-message 8").map(\.body) == ["message 8"])
            #expect(
                harness.reports.lines.contains { $0.1.contains("index") && $0.1.contains("built anew") } || !cleanly || damage == "header")
            try harness.closeAndOpen()
        }
    }

    /// Values that could be: nothing but their checksums tells, and what they hide is found all the same.
    @Test(
        arguments: ["slots of nothing", "a slot with an older entry", "a chain that ends early", "an offset", "a time", "checksums"],
        [(1, true), (1, false), (4, true), (4, false)])
    func whatTurnedIntoSomethingThatCouldBeIsNoticed(damage: String, at place: (file: Int, cleanly: Bool)) throws {
        let (file, cleanly) = place
        let harness = try StoreHarness()
        for index in 0..<450 { try harness.append("T", 0, "message \(index)", keys: "shared odd-\(index % 2)") }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(30))
        if cleanly { try harness.store.close() }
        var path = ""
        try harness.kill { files in
            let paths = files.paths.filter { $0.hasPrefix("/store/index/") }
            path = paths[file]
            var bytes = files.bytes(path)!
            let entries = 40 + 50 * 4
            func change(_ entry: Int, _ field: Int, _ value: (Int32) -> Int32) {
                let place = entries + entry * 20 + field
                let changed = value(bytes.span.bytes.bigEndian(Int32.self, at: place))
                withUnsafeBytes(of: changed.bigEndian) { bytes.replaceSubrange(place..<(place + 4), with: $0) }
            }
            switch damage {
            case "slots of nothing": for place in 40..<entries { bytes[place] = 0 }
            case "a slot with an older entry":
                for slot in stride(from: 40, to: entries, by: 4) {
                    let newest = Int(bytes.span.bytes.bigEndian(Int32.self, at: slot))
                    guard newest > 0 else { continue }
                    let previous = bytes[(entries + newest * 20 + 16)..<(entries + newest * 20 + 20)]
                    bytes.replaceSubrange(slot..<(slot + 4), with: Array(previous))
                }
            case "a chain that ends early": for entry in 1..<150 { change(entry, 16) { _ in 0 } }
            case "an offset": for entry in 2..<150 { change(entry, 8) { $0 - 1 } }
            case "a time": for entry in 1..<150 { change(entry, 12) { $0 + 1_000_000 } }
            default:
                for path in files.paths.filter({ $0.hasPrefix("/store/index-checksums/") }) {
                    files.setBytes(path, files.bytes(path)!.map { $0 ^ 0x11 })
                }
            }
            files.setBytes(path, bytes)
        }
        for round in 0..<2 {
            harness.loop.advance(by: .seconds(1))
            for index in 0..<450 { #expect(try found(harness, "T", "T-0-message \(index)").map(\.body) == ["message \(index)"]) }
            #expect(try found(harness, "T", "shared").count == 450)
            #expect(try found(harness, "T", "odd-1", from: harness.now - 60_000, through: harness.now).count == 225)
            if cleanly, round == 0, damage != "checksums" {
                #expect(harness.reports.lines.contains { $0.1.contains(path) && $0.1.contains("built anew") }, "\(harness.reports.lines)")
            }
            if damage == "checksums" { #expect(!harness.reports.lines.contains { $0.1.contains("built anew") }) }
            try harness.closeAndOpen()
        }
    }

    @Test func anIndexThatIsNoDirectoryIsPutAside() throws {
        let harness = try StoreHarness()
        for index in 0..<30 { try harness.append("T", 0, "message \(index)", keys: "shared") }
        try harness.store.commit()
        try harness.store.close()
        try harness.kill { files in
            files.removeTree("/store/index")
            files.setBytes("/store/index", Array("something else".utf8))
        }
        #expect(try found(harness, "T", "shared").count == 30)
        #expect(harness.memory.bytes("/store/put-aside/index") == Array("something else".utf8))
    }

    @Test(arguments: ["store-4.9.8", "store-4.9.8-crash"], [true, false])
    func theReferencesIndexIsRead(name: String, keepsIndex: Bool) throws {
        let reference = try ReferenceStore(name)
        if !keepsIndex { try FileManager.default.removeItem(atPath: reference.root + "/index") }
        // Other sizes than it was written with, unless the settings were carried over too.
        let harness = try StoreHarness(files: LinuxFileSystem()) {
            $0.rootDirectory = reference.root
            $0.indexSlots = keepsIndex ? 5000 : 1000
            $0.indexEntries = keepsIndex ? 20_000 : 300
        }
        var places: [String: [Int64]] = [:]
        for record in reference.records {
            guard let topic = record.topic, let properties = record.properties else { continue }
            var keys = properties["KEYS"].map { $0.split(separator: " ").map(String.init) } ?? []
            if let unique = properties["UNIQ_KEY"] { keys.append(unique) }
            for key in Set(keys) { places["\(topic)#\(key)", default: []].append(record.physicalOffset) }
        }
        #expect(places.count > 200)
        for (name, expected) in places {
            let parts = name.split(separator: "#", maxSplits: 1).map(String.init)
            #expect(try found(harness, parts[0], parts[1]).map(\.fields.physicalOffset) == expected.sorted(by: >), "\(name)")
        }
    }
}
