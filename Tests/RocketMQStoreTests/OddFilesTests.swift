import Foundation
import RocketMQBase
import RocketMQSystem
import RocketMQTesting
import Testing

@testable import RocketMQStore

/// Other things in the places of files, on a real file system: a start ends well or refuses with the reason, and hangs on none.
@Suite struct OddFilesTests {
    enum Oddity: String, CaseIterable, Sendable { case fifo, directory, circle, device }

    private func put(_ oddity: Oddity, at path: String) throws {
        try? FileManager.default.removeItem(atPath: path)
        switch oddity {
        case .fifo: try #require(mkfifo(path, 0o644) == 0)
        case .directory: try FileManager.default.createDirectory(atPath: path + "/in it", withIntermediateDirectories: true)
        case .circle: try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path)
        case .device: try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/zero")
        }
    }

    /// A store that was stopped or killed, with two topics.
    private func filled(_ folder: String, cleanly: Bool) throws -> StoreHarness {
        let harness = try StoreHarness(files: LinuxFileSystem()) { $0.rootDirectory = folder }
        try harness.send(numbered(0..<70))
        try harness.send(numbered(0..<5), to: "Other")
        harness.loop.advance(by: .seconds(30))
        try harness.send(numbered(70..<80))
        harness.loop.advance(by: .seconds(2))
        if cleanly { try harness.store.close() } else { for lock in harness.store.locks { lock.close() } }
        return harness
    }

    private func inFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.path + "/odd-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    @Test("In the place of a queue's file, where the start believes the list of queues", arguments: Oddity.allCases, [true, false])
    func believed(_ oddity: Oddity, readsFirst: Bool) throws {
        try inFolder { folder in
            let harness = try filled(folder, cleanly: true)
            let path = folder + "/consumequeue/T/0/" + FileName.text(0)
            try put(oddity, at: path)
            harness.configuration.queuesCheckedAtStart = 0
            harness.reports.lines = []
            try harness.open()
            if readsFirst { #expect(try harness.bodies() == numbered(0..<80)) }
            #expect(try harness.append("T", 0, "next").queueOffset == 80)
            try harness.store.commit()
            harness.loop.advance(by: .seconds(30))
            #expect(try harness.bodies() == numbered(0..<80) + ["next"])
            try harness.closeAndOpen()
            #expect(try harness.bodies() == numbered(0..<80) + ["next"])
            let said = harness.reports.lines.filter { $0.0 == .warning }.map(\.1)
            #expect(said.contains { $0.contains(path) && $0.contains("put-aside") }, "\(said)")
            try harness.store.close()
        }
    }

    @Test("What can be made anew is put aside", arguments: Oddity.allCases, [true, false])
    func putAside(_ oddity: Oddity, cleanly: Bool) throws {
        let places = [
            "checkpoint", "queues", "indexes", "flushed", "deleted-topics", "abort", "checkpoint.tmp", "consumequeue", "consumequeue/T",
            "consumequeue/T/0", "consumequeue/T/0/" + FileName.text(0), "consumequeue/T/0/" + FileName.text(1000), "index", "index/*",
            "index-checksums", "config",
        ]
        let directories = ["consumequeue", "consumequeue/T", "consumequeue/T/0", "index"]
        // What nobody needs that is there already, and what is made anew without a word.
        let unsaid = ["index-checksums", "config"] + (oddity == .directory ? directories : [])
        for place in places {
            try inFolder { folder in
                let harness = try filled(folder, cleanly: cleanly)
                var path = folder + "/" + place
                if place == "index/*" {
                    path = folder + "/index/" + (try #require(try FileManager.default.contentsOfDirectory(atPath: folder + "/index").first))
                }
                try put(oddity, at: path)
                harness.reports.lines = []
                try harness.open()
                #expect(try harness.bodies() == numbered(0..<80), "\(place)")
                #expect(try harness.bodies("Other") == numbered(0..<5), "\(place)")
                #expect(try harness.append("T", 0, "next").queueOffset == 80, "\(place)")
                try harness.store.commit()
                harness.loop.advance(by: .seconds(1))
                try harness.closeAndOpen()
                #expect(try harness.bodies() == numbered(0..<80) + ["next"], "\(place)")
                if !unsaid.contains(place) {
                    let said = harness.reports.lines.filter { $0.0 == .warning }.map(\.1)
                    #expect(said.contains { $0.contains(path) && $0.contains("put-aside") }, "\(place): \(said)")
                }
                try harness.store.close()
            }
        }
    }

    @Test("In the place of the mark of a running broker, after a clean stop: nobody says that a disk failed", arguments: Oddity.allCases)
    func mark(_ oddity: Oddity) throws {
        try inFolder { folder in
            let harness = try filled(folder, cleanly: true)
            try put(oddity, at: folder + "/abort")
            harness.reports.lines = []
            try harness.open()
            #expect(try harness.bodies() == numbered(0..<80))
            let said = harness.reports.lines.map(\.1)
            #expect(said.contains { $0.contains("put-aside/abort") && $0.contains("counts as killed") }, "\(said)")
            #expect(!said.contains { $0.contains("failed") || $0.contains("written again") }, "\(said)")
            harness.reports.lines = []
            try harness.closeAndOpen()
            #expect(harness.reports.lines.contains { $0.1.contains("after a clean stop") })
            try harness.store.close()
        }
    }

    @Test("The mark of the reference, which holds the number of its process, says that it was killed and no more")
    func foreignMark() throws {
        try inFolder { folder in
            let harness = try filled(folder, cleanly: false)
            try "47110".write(toFile: folder + "/abort", atomically: false, encoding: .utf8)
            harness.reports.lines = []
            try harness.open()
            #expect(try harness.bodies() == numbered(0..<80))
            #expect(!harness.reports.lines.contains { $0.1.contains("failed") }, "\(harness.reports.lines)")
            try harness.store.close()
        }
    }

    @Test("In the place of a file of the log or of the lock it is refused with path and reason", arguments: Oddity.allCases, [true, false])
    func refused(_ oddity: Oddity, cleanly: Bool) throws {
        for place in ["commitlog/" + FileName.text(0), "lock"] {
            try inFolder { folder in
                let harness = try filled(folder, cleanly: cleanly)
                try put(oddity, at: folder + "/" + place)
                #expect { try harness.open() } throws: { error in
                    "\(error)".contains(folder + "/" + place) && "\(error)".contains("move it away")
                }
            }
        }
    }

    @Test("A checkpoint of many gigabytes is not read")
    func largeCheckpoint() throws {
        try inFolder { folder in
            let harness = try filled(folder, cleanly: false)
            for name in ["checkpoint", "flushed", "abort"] { truncate(folder + "/" + name, 1 << 42) }
            try harness.open()
            #expect(try harness.bodies() == numbered(0..<80))
            #expect(harness.reports.lines.contains { $0.1.contains(folder + "/checkpoint") && $0.1.contains("far more") })
            try harness.store.close()
        }
    }
}
