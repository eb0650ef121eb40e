import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQSystem
import Testing

@testable import RocketMQBroker

struct PersistenceTests {
    private final class Scene {
        let folder: TestFolder
        let loop = TestLoop()
        let worker = TestWorker()
        let sink = MemoryLogSink()
        var table = ConsumerOffsetSerializeWrapper(offsetTable: ["T@g": [0: 1]])
        var snapshots = 0

        init() throws { folder = try TestFolder() }

        func file() -> TableFile<ConsumerOffsetSerializeWrapper> {
            let log = Logger(component: "tables", sink: sink, clock: loop.clock)
            let file = TableFile<ConsumerOffsetSerializeWrapper>(
                path: folder.path + "/config/consumerOffset.json",
                context: TableFileContext(fileSystem: LinuxFileSystem(), loop: loop, worker: worker, log: log), hasChecksum: true)
            file.snapshot = { [unowned self] in
                snapshots += 1
                return table
            }
            return file
        }
    }

    @Test("What was saved is there after a restart, and as .bak once more, from the first write on")
    func roundTrip() throws {
        let scene = try Scene()
        let file = scene.file()
        #expect(try file.load() == nil)
        var failures: [TableFileError?] = []
        for offset in [1, 2] as [Int64] {
            scene.table.offsetTable["T@g"] = [0: offset]
            file.save { failures.append($0) }
            scene.loop.settle()
            #expect(try scene.file().load()?.offsetTable == ["T@g": [0: offset]])
            let backup = try #require(scene.folder.read("config/consumerOffset.json.bak"))
            #expect(try ConsumerOffsetSerializeWrapper(decoding: Array(backup.utf8)).offsetTable == ["T@g": [0: offset]])
        }
        #expect(failures == [nil, nil])
    }

    @Test("The reference's file with its bare keys is read")
    func referenceFile() throws {
        let scene = try Scene()
        _ = try scene.file().load()
        try scene.folder.write(
            "{\n\t\"offsetTable\":{\n\t\t\"%RETRY%cg@cg\":{0:0\n\t\t},\n\t\t\"A@cg\":{0:26,1:27\n\t\t}\n\t}\n}",
            to: "config/consumerOffset.json")
        let offsets = ConsumerOffsetTable(loaded: try scene.file().load())
        #expect(offsets.offset(group: "cg", topic: "A", queueID: 1) == 27)
        #expect(offsets.offset(group: "cg", topic: "%RETRY%cg", queueID: 0) == 0)
        #expect(offsets.offset(group: "cg", topic: "A", queueID: 2) == nil)
    }

    @Test("A damaged, empty or missing file: the one before is used, with a warning that names both", arguments: ["{\"offsetTab", "", nil])
    func fallback(garbage: String?) throws {
        let scene = try Scene()
        _ = try scene.file().load()
        try scene.folder.write("{\"offsetTable\":{\"T@g\":{\"0\":7}}}", to: "config/consumerOffset.json.bak")
        if let garbage { try scene.folder.write(garbage, to: "config/consumerOffset.json") }
        let file = scene.file()
        #expect(try file.load()?.offsetTable == ["T@g": [0: 7]])
        let line = try #require(scene.sink.messages.first)
        #expect(line.contains("consumerOffset.json ") && line.contains("consumerOffset.json.bak"))
        // The damaged file never takes the place of the good one.
        file.save { #expect($0 == nil) }
        scene.loop.settle()
        #expect(scene.folder.read("config/consumerOffset.json.bak") == scene.folder.read("config/consumerOffset.json"))
        #expect(try scene.file().load()?.offsetTable == ["T@g": [0: 1]])
    }

    @Test("When neither can be read the start fails and says what to do")
    func bothDamaged() throws {
        let scene = try Scene()
        _ = try scene.file().load()
        try scene.folder.write("[", to: "config/consumerOffset.json")
        #expect { try scene.file().load() } throws: { "\($0)".contains("put a good copy in its place") }
        try scene.folder.write("nonsense", to: "config/consumerOffset.json.bak")
        #expect { try scene.file().load() } throws: { "\($0)".contains("consumerOffset.json.bak") && "\($0)".contains("remove both") }
    }

    @Test("Another digit in a number is noticed: the last good copy counts, and where there is none the start says what to do")
    func anotherDigit() throws {
        let scene = try Scene()
        let file = scene.file()
        _ = try file.load()
        scene.table.offsetTable["T@g"] = [0: 4711]
        file.save()
        scene.loop.settle()
        let text = try #require(scene.folder.read("config/consumerOffset.json"))
        try scene.folder.write(text.replacing("4711", with: "4719"), to: "config/consumerOffset.json")
        #expect(try scene.file().load()?.offsetTable == ["T@g": [0: 4711]])
        #expect(scene.sink.contains("does not have its checksum", atLeast: .warning))
        try scene.folder.write(text.replacing("4711", with: "711"), to: "config/consumerOffset.json.bak")
        #expect { try scene.file().load() } throws: { "\($0)".contains("take the member \"checksum\" out") }
        // What somebody changed and wants to have believed, and what the reference has written, have none.
        for member in [text.range(of: ",\n\t\"checksum")!.lowerBound..<text.range(of: "\n}", options: .backwards)!.lowerBound] {
            var changed = text
            changed.removeSubrange(member)
            try scene.folder.write(changed.replacing("4711", with: "12"), to: "config/consumerOffset.json")
            #expect(try scene.file().load()?.offsetTable == ["T@g": [0: 12]])
        }
    }

    @Test("No turned bit of a table's text changes what is read")
    func turnedBits() throws {
        let table = ConsumerOffsetSerializeWrapper(offsetTable: ["T@g": [0: 4711, 3: 9], "checksum@g": [1: 5]])
        let text = TableChecksum.append(to: table.encodedIndented())
        #expect(TableChecksum.check(text) == .fits)
        #expect(TableChecksum.check(table.encodedIndented()) == .none)
        #expect(try ConsumerOffsetSerializeWrapper(decoding: text) == table)
        for place in text.indices {
            for bit in 0..<8 {
                var turned = text
                turned[place] ^= 1 << UInt8(bit)
                guard TableChecksum.check(turned) != .differs, let read = try? ConsumerOffsetSerializeWrapper(decoding: turned) else {
                    continue
                }
                #expect(read == table, "bit \(bit) of byte \(place)")
            }
        }
    }

    @Test("A file far too large to be a table is not read, and that is said")
    func tooLarge() throws {
        let scene = try Scene()
        _ = try scene.file().load()
        try scene.folder.write("{\"offsetTable\":{\"T@g\":{\"0\":7}}}", to: "config/consumerOffset.json.bak")
        try scene.folder.write("", to: "config/consumerOffset.json")
        #expect(truncate(scene.folder.path + "/config/consumerOffset.json", 1 << 42) == 0)
        #expect(try scene.file().load()?.offsetTable == ["T@g": [0: 7]])
        #expect(scene.sink.contains("it has 4398046511104 bytes", atLeast: .warning))
        #expect(truncate(scene.folder.path + "/config/consumerOffset.json.bak", 1 << 42) == 0)
        #expect { try scene.file().load() } throws: { "\($0)".contains("put a good copy in place of the first") }
    }

    @Test("The broker's own progress, in delay levels and of transactions, has a checksum")
    func progress() throws {
        let first = try BrokerScene()
        first.broker.parts.offsets.commit(group: "CID_RMQ_SYS_TRANS", topic: "RMQ_SYS_TRANS_HALF_TOPIC", queueID: 0, offset: 1234)
        try first.stop()
        let files = first.files.copy()
        for name in ["consumerOffset.json", "delayOffset.json"] {
            let path = "/store/config/" + name
            #expect(TableChecksum.check(try #require(files.bytes(path))) == .fits, "\(name)")
        }
        let path = "/store/config/consumerOffset.json"
        let text = String(decoding: files.bytes(path)!, as: UTF8.self)
        try #require(text.contains("1234"))
        files.setBytes(path, Array(text.replacing("1234", with: "1236").utf8))
        let scene = try BrokerScene(files: files, clock: first.loop.testClock)
        #expect(scene.logSink.contains("consumerOffset.json.bak, the last good copy", atLeast: .warning))
    }

    @Test("Changes made while a write is under way go into one more write")
    func coalescing() throws {
        let scene = try Scene()
        let file = scene.file()
        _ = try file.load()
        scene.worker.hold()
        var done: [Int] = []
        file.save { _ in done.append(0) }
        for number in 1...5 {
            scene.table.offsetTable["T@g"] = [0: Int64(number)]
            file.save { _ in done.append(number) }
        }
        file.whenSaved { _ in done.append(6) }
        #expect(scene.worker.waitingCount == 1)
        #expect(done.isEmpty)
        scene.worker.release()
        scene.loop.settle()
        #expect(done == [0, 1, 2, 3, 4, 5, 6])
        #expect(scene.snapshots == 2)
        #expect(try scene.file().load()?.offsetTable == ["T@g": [0: 5]])
        var isCalled = false
        file.whenSaved { _ in isCalled = true }
        #expect(isCalled, "nothing is left to write")
    }

    @Test("A failed write is told to who waits, logged with its path and reason, and tried again")
    func failure() throws {
        let scene = try Scene()
        let file = scene.file()
        _ = try file.load()
        try FileManager.default.removeItem(atPath: scene.folder.path + "/config")
        var failure: TableFileError?
        file.save { failure = $0 }
        scene.loop.settle()
        #expect(failure?.description.contains("/config/consumerOffset.json.tmp: No such file") == true)
        #expect(scene.sink.contains("consumerOffset.json", atLeast: .error))
        try FileManager.default.createDirectory(atPath: scene.folder.path + "/config", withIntermediateDirectories: false)
        scene.loop.advance(by: .seconds(9))
        #expect(scene.folder.read("config/consumerOffset.json") == nil)
        scene.loop.advance(by: .seconds(2))
        #expect(try scene.file().load()?.offsetTable == ["T@g": [0: 1]])
    }

    @Test("Offsets are written every few seconds when they changed, and at the end")
    func offsets() throws {
        let scene = try AdminScene()
        scene.keeper.start(every: .seconds(5))
        scene.loop.advance(by: .seconds(6))
        #expect(scene.folder.read("config/consumerOffset.json") == nil)
        scene.offsets.commit(group: "g", topic: "T", queueID: 3, offset: 12)
        scene.loop.advance(by: .seconds(5))
        #expect(scene.folder.read("config/consumerOffset.json")?.contains("\"T@g\"") == true)
        scene.offsets.commit(group: "g", topic: "T", queueID: 3, offset: 13)
        var isStopped = false
        scene.keeper.stop { isStopped = $0 == nil }
        scene.loop.settle()
        #expect(isStopped)
        #expect(scene.folder.read("config/consumerOffset.json")?.contains("\"3\":13") == true)
    }
}
