import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

@Suite struct BatchTests {
    @Test func aBatchGoesInOneRequest() async throws {
        let broker = try ScriptedServer(Scripts.storing)
        let (producer, _) = try Scripts.producer(brokers: [broker])
        try await producer.start()
        let messages = (0..<3).map { Message(topic: "T", tag: "t\($0)", text: "body \($0)") }
        let result = try await producer.send(contentsOf: messages)
        let request = try #require(broker.requests(.sendBatchMessage).first)
        #expect(request.fields["m"] == "true")
        let sent = try MessageBatch.decode(request.body.span.bytes, topic: "T")
        #expect(sent.map(\.tag) == ["t0", "t1", "t2"] && sent.map(\.body) == messages.map(\.body))
        #expect(result.messageID == sent.map { $0.uniqueKey ?? "" }.joined(separator: ","))
        #expect(Set(sent.map(\.uniqueKey)).count == 3)
        await producer.shutdown()
    }

    @Test func whatDoesNotFitABatchIsRefused() async throws {
        let producer = DefaultMQProducer(group: "pg", nameServers: ["127.0.0.1:1"])
        try await producer.start()
        var delayed = Message(topic: "T", text: "x")
        delayed.delayLevel = 3
        let plain = Message(topic: "T", text: "x")
        let large = Message(topic: "T", body: [UInt8](repeating: 0, count: 3 << 20))
        let wrong: [([Message], String)] = [
            ([], "at least one"), ([plain, Message(topic: "U", text: "x")], "one batch a topic"), ([plain, delayed], "delay"),
            ([large, large], "MessageBatchSplitter"),
        ]
        for (batch, text) in wrong {
            let error = await failure { () throws(MQError) in try await producer.send(contentsOf: batch) }
            #expect(error?.code == .invalidMessage && "\(error!)".contains(text))
        }
        await producer.shutdown()
    }

    @Test func theSplitterKeepsOrderSizesAndTopics() throws {
        var random = RandomSource(seed: 5)
        let messages = (0..<500).map { number in
            let body = [UInt8](repeating: 7, count: Int.random(in: 1...3000, using: &random))
            return Message(topic: number < 300 ? "T" : "U", keys: ["\(number)"], body: body)
        }
        let batches = Array(MessageBatchSplitter(messages, maximumSize: 10_000))
        #expect(batches.flatMap { $0 } == messages)
        for batch in batches {
            #expect(Set(batch.map(\.topic)).count == 1)
            #expect(try MessageBatch.encode(batch).count <= 10_000)
        }
        #expect(batches.count < 120)
        // One that is too large stands alone, and nothing is lost.
        let huge = Message(topic: "T", body: [UInt8](repeating: 7, count: 20_000))
        #expect(Array(MessageBatchSplitter([messages[0], huge, messages[1]], maximumSize: 10_000)).map(\.count) == [1, 1, 1])
    }
}
