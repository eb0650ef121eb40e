import RocketMQProtocol
import Testing

@testable import RocketMQBroker

@Suite struct LoadedTopicsTests {
    @Test("A topic table that says what cannot be is repaired, with a line for each change")
    func repaired() {
        var table = TopicConfigSerializeWrapper()
        func add(_ name: String, read: Int32 = 4, write: Int32 = 4, perm: Int32 = 6, as own: String? = nil) {
            table.topicConfigTable[name] = TopicConfig(
                topicName: own ?? name, readQueueNums: read, writeQueueNums: write, perm: Permission(rawValue: perm))
        }
        add("Good")
        add("%RETRY%group", read: 1, write: 1)
        add("Closed", perm: 0)
        add("Shrunk", write: 0)
        for name in ["", ".", "..", "a/b", "../../etc", "tab\u{9}", String(repeating: "x", count: 256)] { add(name) }
        add("Many", read: .max, write: 70_000)
        add("Negative", read: -1, write: -4, perm: -1)
        add("Perm", perm: 1 << 20)
        add("Key", as: "Other")
        let (found, notes) = LoadedTopics.repaired(table) { $0 == "Many" ? 12 : 0 }
        #expect(found.topicConfigTable.keys.sorted() == ["%RETRY%group", "Closed", "Good", "Key", "Many", "Negative", "Perm", "Shrunk"])
        for name in ["Good", "%RETRY%group", "Closed", "Shrunk"] { #expect(found.topicConfigTable[name] == table.topicConfigTable[name]) }
        #expect(found.topicConfigTable["Many"]?.readQueueNums == 12 && found.topicConfigTable["Many"]?.writeQueueNums == 12)
        #expect(found.topicConfigTable["Negative"]?.readQueueNums == 1 && found.topicConfigTable["Negative"]?.perm == .readWrite)
        #expect(found.topicConfigTable["Perm"]?.perm == .readWrite && found.topicConfigTable["Key"]?.topicName == "Key")
        #expect(notes.count == 7 + 2 + 3 + 1 + 1)
        #expect(notes.contains { $0.contains("Many") && $0.contains("2147483647") } && notes.contains { $0.contains("../../etc") })
    }
}
