import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// Sends to so many topics that what they need is fetched ahead of time (`QueueHints`).
@Suite struct ManyTopicsTests {
    @Test("Sends that come together are stored where they belong, also while topics come and go between them")
    func together() throws {
        let scene = try BrokerScene()
        let topics = (0..<QueueHints.fewestTopics).map { "Topic\($0)" }
        for topic in topics { try scene.createTopic(topic) }
        let client = try scene.client()
        var sent: [(opaque: Int32, topic: String, queue: Int32)] = []
        var lost: Set<Int> = []
        for round in 0..<6 {
            // One piece of bytes.
            var bytes = ByteBuffer()
            for (index, topic) in topics.enumerated() {
                let queue = Int32((index + round) % 4)
                if round == 3, index % 50 == 7 {
                    // What was fetched for the sends to it behind this request has gone when they are handled.
                    RemotingCommand.request(.deleteTopicInBroker, ["topic": topic]).encode(into: &bytes)
                    lost.insert(index)
                }
                var request = scene.sendRequest(topic, "\(round) \(topic)", queue: queue, extra: ["c": "none"])
                request.opaque = Int32(1000 + sent.count)
                request.encode(into: &bytes)
                sent.append((request.opaque, topic, queue))
            }
            client.send(bytes: bytes.copyBytes())
            scene.loop.settle()
        }
        for (number, send) in sent.enumerated() {
            let answer = try #require(client.takeAnswer(to: send.opaque))
            let (round, index) = (number / topics.count, number % topics.count)
            if lost.contains(index), round >= 3 {
                #expect(answer.responseCode == .topicNotExist)
            } else {
                #expect(answer.responseCode == .success)
                #expect(answer.fields["queueId"] == "\(send.queue)")
                #expect(answer.fields["queueOffset"] == "\(round / 4)")
            }
        }
        for (index, topic) in topics.enumerated() where !lost.contains(index) {
            let queue = Int32(index % 4)
            #expect(try scene.bodies(topic, queue: queue) == ["0 \(topic)", "4 \(topic)"])
        }
    }

    @Test("A topic that is deleted and made again begins anew, whatever was known of its queues")
    func again() throws {
        let scene = try BrokerScene()
        let topics = (0..<QueueHints.fewestTopics).map { "Topic\($0)" }
        for topic in topics { try scene.createTopic(topic) }
        let client = try scene.client()
        func send(_ body: String) throws {
            let sent = topics.enumerated().map { index, topic in client.send(scene.sendRequest(topic, body, queue: Int32(index % 4))) }
            scene.loop.settle()
            for opaque in sent { #expect(try #require(client.takeAnswer(to: opaque)).responseCode == .success) }
        }
        try send("first")
        try send("second")
        for topic in topics where topic.hasSuffix("7") {
            client.send(RemotingCommand.request(.deleteTopicInBroker, ["topic": topic]))
            scene.loop.settle()
            try scene.createTopic(topic)
        }
        try send("third")
        for (index, topic) in topics.enumerated() {
            let wanted = topic.hasSuffix("7") ? ["third"] : ["first", "second", "third"]
            #expect(try scene.bodies(topic, queue: Int32(index % 4)) == wanted)
        }
        // What a topic allows counts from the next send on.
        try scene.createTopic(topics[1], perm: 4)
        let last = client.send(scene.sendRequest(topics[1], "fourth", queue: 1))
        scene.loop.settle()
        #expect(try #require(client.takeAnswer(to: last)).responseCode == .noPermission)
    }

    @Test("Hashes of names follow their bytes, whatever their length")
    func hashes() {
        let names = (0..<300).map { String(repeating: "x", count: $0 % 30) + "\($0)" }
        let hashes = names.map { name in
            let bytes = Array(name.utf8)
            return QueueHints.hash(bytes.span.bytes)
        }
        #expect(Set(hashes).count == names.count)
    }
}
