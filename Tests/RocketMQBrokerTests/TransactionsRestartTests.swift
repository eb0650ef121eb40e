import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

struct TransactionsRestartTests {
    private let commit = 8
    private let rollback = 12
    private let halfTopic = SystemTopic.transactionHalf

    @Test("After a stop or a crash the undecided are undecided still, and the decided are not asked about", arguments: [true, false])
    func restart(isCrash: Bool) throws {
        let scene = try TransactionsScene(["flushConsumerOffsetInterval": "1000"])
        let producer = try scene.producer()
        let halves = try (0..<10).map { try scene.sendHalf(producer, "\($0)") }
        for index in [1, 2, 5] { _ = try scene.end(producer, halves[index], commit) }
        for index in [0, 4] { _ = try scene.end(producer, halves[index], rollback) }
        scene.advance(.seconds(3))
        if isCrash { for index in [6, 9] { _ = try scene.end(producer, halves[index], commit) } }
        let open: [Int64] = isCrash ? [3, 7, 8] : [3, 6, 7, 8, 9]
        #expect(scene.undecided == open)
        let next = isCrash ? try scene.crashed() : try scene.restarted()
        #expect(next.undecided == open)
        let again = try next.producer()
        // Its own outcome counts when it comes late.
        #expect(try next.end(again, halves[3], commit).responseCode == .success)
        #expect(try next.end(again, halves[1], commit).responseCode == .systemError, "decided long ago")
        next.advance(.seconds(8))
        let checks = try next.takeChecks(again)
        #expect(Set(checks.map { String(decoding: $0.message.body, as: UTF8.self) }) == Set(open.dropFirst().map { "\($0)" }))
        for check in checks { again.send(next.endRequest(check.half, rollback)) }
        next.settle()
        #expect(next.undecided.isEmpty)
        #expect(try next.bodies().sorted() == (isCrash ? ["1", "2", "3", "5", "6", "9"] : ["1", "2", "3", "5"]))
    }

    @Test("Producers are asked about all that is undecided when the log is not in memory at the first look")
    func hesitantDisk() throws {
        let scene = try TransactionsScene(["transactionTimeOut": "100"])
        let producer = try scene.producer()
        for index in 0..<20 { _ = try scene.sendHalf(producer, "\(index)") }
        let next = try scene.restarted()
        next.files.isHesitant = true
        let again = try next.producer()
        for _ in 1...2 {
            next.advance(.milliseconds(1100))
            #expect(try next.takeChecks(again).count == 20)
        }
    }

    @Test("How often a message was asked about is known after a crash")
    func checksCount() throws {
        let scene = try TransactionsScene(["transactionCheckMax": "4", "transactionTimeOut": "100"])
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        scene.advance(.milliseconds(2100))
        #expect(try scene.takeChecks(producer).count == 2)
        let next = try scene.crashed()
        #expect(next.undecided == scene.undecided && next.undecided.count == 1)
        let again = try next.producer()
        next.advance(.milliseconds(1100))
        #expect(try next.takeChecks(again).map { $0.message.properties["TRANSACTION_CHECK_TIMES"] } == ["3"])
        #expect(try next.end(again, half, commit).responseCode == .success, "the first place of the message is known still")
        #expect(try next.bodies() == ["one"] && next.undecided.isEmpty)
    }

    @Test("Progress is kept as offsets of the reference's group, and a start reads from there")
    func progress() throws {
        let scene = try TransactionsScene()
        let producer = try scene.producer()
        let halves = try (0..<100).map { try scene.sendHalf(producer, "\($0)") }
        for half in halves.prefix(99) { _ = try scene.end(producer, half, rollback) }
        scene.advance(.seconds(3))
        let offsets = scene.parts.offsets
        let group = "CID_RMQ_SYS_TRANS"
        #expect(offsets.offset(group: group, topic: "RMQ_SYS_TRANS_HALF_TOPIC", queueID: 0) == 99)
        #expect(offsets.offset(group: group, topic: "RMQ_SYS_TRANS_OP_HALF_TOPIC", queueID: 0) == 99)
        let next = try scene.restarted()
        #expect(next.parts.offsets.offset(group: group, topic: "RMQ_SYS_TRANS_HALF_TOPIC", queueID: 0) == 99)
        #expect(next.undecided == [99])
    }

    @Test("The file of the log with an undecided message goes when the message is stored anew")
    func retention() throws {
        let scene = try TransactionsScene([
            "fileReservedTime": "1", "deleteWhen": "0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23",
        ])
        let producer = try scene.producer()
        let half = try scene.sendHalf(producer, "one")
        for index in 0..<40 { _ = try scene.sendHalf(producer, String(repeating: "x", count: 40_000) + "\(index)") }
        for offset in scene.undecided.dropFirst() {
            let index = try #require(scene.parts.transactions.index.undecided[offset])
            let bulk = TransactionsScene.Half(
                answer: .success(), key: "", queueOffset: offset, commitLogOffset: index.physicalOffset)
            #expect(try scene.end(producer, bulk, rollback).responseCode == .success)
        }
        producer.close()
        #expect(scene.parts.store.minPhysicalOffset == 0)
        scene.loop.testClock.advance(by: .seconds(3700))
        scene.advance(.seconds(30))
        #expect(scene.parts.store.minPhysicalOffset >= 1 << 20, "the first file has gone")
        #expect(scene.undecided.count == 1)
        let again = try scene.producer()
        scene.advance(.milliseconds(1100))
        let check = try #require(try scene.takeChecks(again).first)
        #expect(check.half.key == half.key && check.message.properties["TRANSACTION_CHECK_TIMES"] == "1")
        #expect(try scene.end(again, check.half, commit).responseCode == .success)
        #expect(try scene.bodies() == ["one"])
    }

    /// A copy of the store that release 4.9.8 wrote.
    private static func referenceStore() throws -> TestFolder {
        let folder = try TestFolder()
        let archive = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "RocketMQStoreTests/Vectors/store-4.9.8.tar.gz")
        let tar = Process()
        tar.executableURL = URL(filePath: "/usr/bin/env")
        tar.arguments = ["tar", "--no-same-owner", "--strip-components=1", "-xzf", archive.path, "-C", folder.path]
        try tar.run()
        tar.waitUntilExit()
        try #require(tar.terminationStatus == 0)
        return folder
    }

    @Test("In a store that the reference wrote, its undecided message is found and can be decided")
    func reference() throws {
        let scene = try TransactionsScene(folder: Self.referenceStore(), root: "/store", started: .seconds(31_503_512))
        #expect(scene.undecided == [5])
        let found = try #require(scene.parts.transactions.index.undecided[5])
        #expect(found.group == "store_tx" && found.physicalOffset == 1_679_074 && found.checks == 0)
        let producer = try scene.producer("store_tx")
        scene.advance(.seconds(8))
        let check = try #require(try scene.takeChecks(producer).first)
        #expect(check.message.properties["KEYS"] == "tx-pending" && check.message.topic == "StoreTx" && check.message.queueID == 2)
        #expect(try scene.end(producer, check.half, commit, group: "store_tx").responseCode == .success)
        let message = try #require(try scene.messages("StoreTx", 2).last)
        #expect(message.properties["KEYS"] == "tx-pending" && message.systemFlag.transaction == .committed)
        #expect(try scene.crashed().undecided.isEmpty)
    }

    @Test("In a store that the reference wrote, what waits by level comes at its time, and what was delivered does not come again")
    func referenceLevels() throws {
        let scene = try TransactionsScene(folder: Self.referenceStore(), root: "/store", started: .seconds(31_503_512))
        func count(_ key: String) throws -> Int {
            let topics = [("StoreTopicA", 4), ("%RETRY%store_cg", 1)] as [(String, Int32)]
            return try topics.flatMap { topic, queues in try (0..<queues).flatMap { try scene.messages(topic, $0) } }
                .count { $0.properties["KEYS"] == key && ($0.topic != "StoreTopicA" || key.hasPrefix("delay")) }
        }
        scene.advance(.seconds(60))
        #expect(try (0..<4).map { try count("delay1-\($0)") } == [1, 1, 1, 1], "delayOffset.json says that they were delivered")
        #expect(try (0..<4).map { try count("delay18-\($0)") } == [0, 0, 0, 0] && count("key-StoreTopicA-2") == 0)
        scene.loop.testClock.advance(by: .seconds(7200))
        scene.advance(.seconds(2))
        #expect(try (0..<4).map { try count("delay18-\($0)") } == [1, 1, 1, 1])
        #expect(try count("key-StoreTopicA-2") == 1, "a retry, for its group")
    }
}
