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
                context: TableFileContext(fileSystem: LinuxFileSystem(), loop: loop, worker: worker, log: log))
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
