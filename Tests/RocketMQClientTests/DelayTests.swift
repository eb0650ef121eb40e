import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// Messages for a time of their own, against a real broker.
@Suite(.serialized) struct DelayTests {
    @Test func aMessageComesAtItsTimeUnlessItWasTakenBack() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            let received = Collected<MessageExt>()
            try await producer.send(Message(topic: "Timed", text: "now"))
            let consumer = try await cluster.consumer("timed", "Timed", into: received)
            var soon = Message(topic: "Timed", text: "soon")
            soon.delay = .milliseconds(1500)
            var recalled = Message(topic: "Timed", text: "recalled")
            recalled.deliverAtMilliseconds = producer.runtime.loop.clock.wallMilliseconds + 60_000
            let first = try await producer.send(soon)
            let second = try await producer.send(recalled)
            #expect(first.recallHandle != nil)
            let handle = try #require(second.recallHandle)
            #expect(try await producer.recallMessage("Timed", handle: handle) == second.messageID)
            await #expect(throws: MQError.self) { try await producer.recallMessage("Timed", handle: handle) }
            #expect(await eventually { received.count == 2 })
            let late = try #require(received.all.first { $0.body == Array("soon".utf8) })
            #expect(late.storeTimestamp >= late.bornTimestamp + 1500)
            #expect(late.messageID == first.messageID)
            await consumer.shutdown()
            await producer.shutdown()
        }
    }

    @Test func aWrongHandleIsExplained() async throws {
        try await withCluster { cluster in
            let producer = try await cluster.producer()
            try await producer.send(Message(topic: "Timed", text: "x"))
            for (handle, word) in [
                ("nonsense", "is no recall handle"),
                (RecallHandle(topic: "Other", brokerName: "local", due: 1, key: "K", queueOffset: nil).text, "is of topic Other"),
                (RecallHandle(topic: "Timed", brokerName: "gone", due: 1, key: "K", queueOffset: nil).text, "broker gone"),
                (RecallHandle(topic: "Timed", brokerName: "local", due: 1, key: "K", queueOffset: nil).text, "was due"),
            ] {
                let failure = await #expect(throws: MQError.self) { try await producer.recallMessage("Timed", handle: handle) }
                #expect(failure?.description.contains(word) == true, "\(failure.map { "\($0)" } ?? "")")
            }
            await producer.shutdown()
        }
    }
}
