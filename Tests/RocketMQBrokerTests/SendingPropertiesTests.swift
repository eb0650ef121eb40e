import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What is stored of what was sent.
@Suite struct SendingPropertiesTests {
    /// The properties as their bytes stand in the record.
    private func stored(_ sent: String) throws -> String {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        try scene.store("T", properties: sent)
        let answer = try scene.client().call(scene.pullRequest("T", 0))
        let bytes = answer.body
        let record = try MessageRecord.parse(bytes.span.bytes, at: 0)
        return bytes.span.bytes.string(record.properties)
    }

    @Test(
        "CLUSTER is appended, WAIT and another's CLUSTER dropped, separators at the end not doubled",
        arguments: [
            ("", "CLUSTER|DefaultCluster"), ("A|1", "A|1;CLUSTER|DefaultCluster"), ("A|1;", "A|1;CLUSTER|DefaultCluster"),
            ("A|1;;;", "A|1;CLUSTER|DefaultCluster"), ("WAIT|true", "CLUSTER|DefaultCluster"),
            ("WAIT|true;A|1", "A|1;CLUSTER|DefaultCluster"), ("A|1;WAIT|false;B|2", "A|1;B|2;CLUSTER|DefaultCluster"),
            ("A|1;WAIT|true", "A|1;CLUSTER|DefaultCluster"), ("CLUSTER|other;A|1", "A|1;CLUSTER|DefaultCluster"),
            ("A|1;CLUSTER|other;WAIT|true;", "A|1;CLUSTER|DefaultCluster"),
            ("AWAIT|true;WAITER|x", "AWAIT|true;WAITER|x;CLUSTER|DefaultCluster"),
            ("A|WAIT", "A|WAIT;CLUSTER|DefaultCluster"), ("A|ä😀", "A|ä😀;CLUSTER|DefaultCluster"),
        ])
    func rewriting(_ sent: String, _ expected: String) throws {
        func wire(_ text: String) -> String { String(text.map { $0 == "|" ? "\u{1}" : $0 == ";" ? "\u{2}" : $0 }) }
        #expect(try stored(wire(sent)) == wire(expected))
    }

    @Test("Any properties come out as they went in, but for WAIT and CLUSTER")
    func randomProperties() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        var random = RandomSource(seed: 11)
        let names = ["A", "TAGS", "KEYS", "WAIT", "CLUSTER", "UNIQ_KEY", "X_LONG_NAME_OF_A_PROPERTY", "ü", "WAITS", "DELA"]
        var sent: [[String: String]] = []
        for _ in 0..<400 {
            var properties: [String: String] = [:]
            for _ in 0..<(random.next() % 8) {
                let value = String((0..<(1 + random.next() % 30)).map { _ in "aB9é\\\"\n{ ".randomElement(using: &random) ?? "x" })
                properties[names.randomElement(using: &random) ?? "A"] = value
            }
            sent.append(properties)
            let text = properties.sorted { $0.key < $1.key }.map { "\($0)\u{1}\($1)" }.joined(separator: "\u{2}")
            scene.producer.send(scene.sendRequest("T", properties: text + (random.next() % 2 == 0 ? "\u{2}" : "")))
        }
        scene.loop.settle()
        #expect(scene.producer.takeAnswers().count { $0.responseCode == .success } == 400)
        let found = try scene.messages("T")
        try #require(found.count == 400)
        for (message, wanted) in zip(found, sent) {
            var wanted = wanted
            wanted["WAIT"] = nil
            wanted["CLUSTER"] = "DefaultCluster"
            #expect(Dictionary(uniqueKeysWithValues: message.properties.map { ($0.name, $0.value) }) == wanted)
        }
    }

    @Test("Fixed fields are stored as sent, with the peer as the born host; both header forms and both spellings")
    func fields() throws {
        let scene = try BrokerScene()
        try scene.createTopic("T")
        var v2 = scene.sendRequest("T", "v2", extra: ["g": "1700000000123", "h": "77", "j": "0", "f": "0"])
        v2.serialization = .binary
        #expect(try scene.producer.call(v2).serialization == .binary)
        let v1 = RemotingCommand.request(
            .sendMessage,
            [
                "producerGroup": "producers", "topic": "T", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0",
                "sysFlag": "0", "bornTimestamp": "1700000000123", "flag": "77", "properties": "UNIQ_KEY\u{1}K", "reconsumeTimes": "0",
                "unitMode": "false", "batch": "false",
            ], body: Array("v1".utf8))
        let answer = try scene.producer.call(v1)
        #expect(answer.responseCode == .success)
        #expect(answer.fields["transactionId"] == "K")
        for message in try scene.messages("T") {
            #expect(message.bornTimestamp == 1_700_000_000_123)
            #expect(message.flag == 77)
            #expect(message.bornHost == scene.producer.stream.peer)
            #expect(message.storeHost == .loopback(port: 10911))
            #expect(message.storeTimestamp >= 1_763_715_662_345)
            #expect(message.reconsumeTimes == 0)
        }
        #expect(try scene.bodies("T") == ["v2", "v1"])
    }
}
