import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQSystem
import Testing

@testable import RocketMQStore

/// Stores written by Apache RocketMQ 4.9.8, stopped cleanly and killed.
@Suite struct ReferenceStoreTests {
    private func open(_ reference: ReferenceStore) throws -> StoreHarness {
        try StoreHarness(files: LinuxFileSystem()) {
            $0.rootDirectory = reference.root
            $0.commitLogFileSize = 1 << 30
            $0.consumeQueueFileEntries = 300_000
        }
    }

    private func expectAll(_ harness: StoreHarness, _ reference: ReferenceStore) throws {
        for (name, range) in reference.expected.queuesMinMax {
            let dash = name.lastIndex(of: "-")!
            let queue = harness.store.existingQueue(topic: String(name[..<dash]), id: Int32(name[name.index(after: dash)...])!)
            #expect(queue?.minOffset == range[0] && queue?.maxOffset == range[1] + Int64(reference.expected.lateCount(name)), "\(name)")
        }
        var byQueue: [String: [StoreHarness.Found]] = [:]
        for message in reference.expected.messages {
            let name = "\(message.topic)-\(message.queueId)"
            if byQueue[name] == nil { byQueue[name] = try harness.records(message.topic, message.queueId) }
            let found = try #require(
                byQueue[name]?.first { $0.fields.queueOffset == message.queueOffset }, "\(name) \(message.queueOffset)")
            #expect(found.topic == message.topic)
            #expect(found.fields.physicalOffset == message.commitLogOffset)
            #expect(found.fields.storeTimestamp == message.storeTimestamp)
            #expect("/\(found.fields.bornHost)" == message.bornHost)
            #expect(found.properties.contains(message.msgId) || message.topic == SystemTopic.transactionOperation)
            if let tags = message.tags { #expect(found.properties.contains("TAGS\u{1}\(tags)")) }
            var output = ByteBuffer()
            #expect(try harness.store.readMessage(at: message.commitLogOffset, into: &output))
            #expect(try StoreHarness.parse(output.copyBytes()) == [found])
        }
        for (name, records) in byQueue {
            #expect(
                records.count == reference.expected.messages.filter { "\($0.topic)-\($0.queueId)" == name }.count
                    + reference.expected.lateCount(name), "\(name)")
        }
    }

    @Test(arguments: ["store-4.9.8", "store-4.9.8-crash"])
    func everyMessageIsServed(name: String) throws {
        let reference = try ReferenceStore(name)
        let harness = try open(reference)
        try expectAll(harness, reference)
        // Written to, stopped and started it is all still there.
        let next = try harness.append("StoreTopicA", 0, "ours", tags: "TagA")
        #expect(next.queueOffset == reference.expected.queuesMinMax["StoreTopicA-0"]?[1])
        try harness.store.commit()
        try harness.closeAndOpen()
        #expect(try harness.bodies("StoreTopicA", 0).last == "ours")
    }

    @Test(arguments: ["store-4.9.8", "store-4.9.8-crash"])
    func everyMessageIsServedFromTheLogAlone(name: String) throws {
        let reference = try ReferenceStore(name)
        let written = try Self.entries(reference)
        try FileManager.default.removeItem(atPath: reference.root + "/consumequeue")
        try FileManager.default.removeItem(atPath: reference.root + "/checkpoint")
        let harness = try open(reference)
        try expectAll(harness, reference)
        // The same entries as the reference wrote, tags codes and delivery times included.
        for (queue, entries) in written {
            let name = queue.split(separator: "/")
            let ours = try #require(harness.store.existingQueue(topic: String(name[0]), id: Int32(name[1])!))
            #expect((0..<Int64(entries.count)).map { harness.store.entry(ours, at: $0) } == entries, "\(queue)")
        }
    }

    @Test func deliveryAndTagFiltersFindWhatTheReferenceFinds() throws {
        let reference = try ReferenceStore("store-4.9.8")
        let harness = try open(reference)
        let wanted = reference.expected.messages.filter { $0.topic == "StoreTopicA" && $0.tags == "TagA" }
        var found: [StoreHarness.Found] = []
        let filter = MessageFilter(tagsCodes: [Int64(JavaHash.hash("TagA"))])
        for id in 0..<4 { found += try harness.records("StoreTopicA", Int32(id), filter: filter) }
        #expect(!wanted.isEmpty)
        #expect(Set(found.map(\.fields.physicalOffset)) == Set(wanted.map(\.commitLogOffset)))
    }

    /// All entries in the consume queue files, by `topic/id`.
    private static func entries(_ reference: ReferenceStore) throws -> [String: [QueueEntry]] {
        let root = reference.root + "/consumequeue"
        var found: [String: [QueueEntry]] = [:]
        for topic in try FileManager.default.contentsOfDirectory(atPath: root) {
            for id in try FileManager.default.contentsOfDirectory(atPath: root + "/" + topic) {
                var entries: [QueueEntry] = []
                for file in try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(topic)/\(id)").sorted() {
                    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(root)/\(topic)/\(id)/\(file)")))
                    bytes.withUnsafeBytes { raw in
                        for start in stride(from: 0, to: raw.count, by: 20) { entries.append(QueueEntry(from: raw.baseAddress! + start)) }
                    }
                }
                found["\(topic)/\(id)"] = entries.filter { !$0.isVoid }
            }
        }
        return found
    }
}
