import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Tables and settings that do not fit what the store holds.
@Suite struct CarriedOverTests {
    @Test("Offsets before the first message count for nothing: consumers begin where they would without them")
    func negativeOffsets() {
        let table = ConsumerOffsetTable(loaded: ConsumerOffsetSerializeWrapper(offsetTable: ["T@G": [0: 25, 1: -1, 2: 0, 3: -7]]))
        let offsets = (0..<4).map { table.offset(group: "G", topic: "T", queueID: $0) }
        #expect(offsets == [25, nil, 0, nil])
    }

    @Test("Messages in a delay level that the settings have no more are told of, and come when they have it again")
    func fewerLevels() throws {
        let first = try BrokerScene(["messageDelayLevel": "1s 2s 3s"])
        try first.createTopic("T")
        try first.store("T", "before", properties: "DELAY\u{1}3")
        first.loop.advance(by: .seconds(4))
        #expect(try first.bodies("T") == ["before"])
        try first.store("T", "late", properties: "DELAY\u{1}3")
        try first.stop()
        let second = try BrokerScene(["messageDelayLevel": "1s"], files: first.files, clock: first.loop.testClock)
        #expect(second.logSink.contains("1 messages wait in delay level 3, and messageDelayLevel has 1 levels", atLeast: .warning))
        let table = try KVTable(decoding: second.client().call(.getBrokerRuntimeInfo).body).table
        #expect(table["delayLevelRemoved_3"] == "1" && table["delayLevelRemoved_2"] == nil)
        second.loop.advance(by: .seconds(30))
        try second.stop()
        let third = try BrokerScene(["messageDelayLevel": "1s 2s 3s"], files: first.files, clock: first.loop.testClock)
        third.loop.advance(by: .seconds(5))
        #expect(try third.bodies("T") == ["before", "late"], "what was delivered before is not delivered again")
    }

    @Test("Topics that the store has and their table has not are named")
    func unknownTopics() throws {
        let first = try BrokerScene()
        try first.createTopic("Lost")
        try first.store("Lost")
        try first.stop()
        first.files.removeTree("/store/config")
        let second = try BrokerScene(files: first.files, clock: first.loop.testClock)
        #expect(second.logSink.contains("config/topics.json does not name (1), and nobody can read them: Lost", atLeast: .warning))
    }
}
