// Sends ten messages with tags and keys, and consumes them.
//
//   example-quickstart [--namesrv 127.0.0.1:9876]

import ExampleOptions
import Glibc
import RocketMQClient

@main
struct QuickStart {
    static let options = Options(usage: "example-quickstart [--namesrv HOST:PORT]", valued: ["--namesrv"])
    static let topic = "QuickStartTopic"

    static func main() async {
        do {
            try await sendAndConsume(nameServer: options.nameServer)
        } catch {
            print("quick start failed: \(error)")
            exit(1)
        }
    }

    static func sendAndConsume(nameServer: String) async throws {
        // The consumer first: start() returns when it has its queues, so that it misses nothing.
        let (received, inbox) = AsyncStream.makeStream(of: MessageExt.self)
        let consumer = DefaultMQPushConsumer(group: "quickstart-consumers", nameServers: [nameServer])
        try await consumer.subscribe(topic, filter: .tags("TagA", "TagB"))
        consumer.registerMessageListener { messages, _ in
            for message in messages { inbox.yield(message) }
            return .consumeSuccess  // a throw means: again, later
        }
        try await consumer.start()

        let producer = DefaultMQProducer(group: "quickstart-producers", nameServers: [nameServer])
        try await producer.start()
        var waiting: Set<String> = []
        for number in 1...10 {
            let tag = number.isMultiple(of: 2) ? "TagA" : "TagB"
            let message = Message(topic: topic, tag: tag, keys: ["order-\(number)"], text: "Hello RocketMQ \(number)")
            let result = try await producer.send(message)
            print("sent     \(result.messageID) \(tag) order-\(number) -> \(result.messageQueue) offset \(result.queueOffset)")
            waiting.insert(result.messageID)
        }

        // Half a minute is plenty: a topic that was created just now is found within seconds.
        let missing = await withTaskGroup(of: Int.self) { group in
            group.addTask { [waiting] in
                var waiting = waiting
                for await message in received {
                    guard waiting.remove(message.messageID) != nil else { continue }
                    let text = String(decoding: message.body, as: UTF8.self)
                    print("received \(message.messageID) \(message.tag ?? "-") \(message.keys.joined(separator: " ")) \"\(text)\"")
                    if waiting.isEmpty { break }
                }
                return waiting.count
            }
            group.addTask {
                try? await ContinuousClock().sleep(for: .seconds(30))
                inbox.finish()
                return -1
            }
            var missing = 0
            while let result = await group.next() {
                guard result >= 0 else { continue }
                missing = result
                group.cancelAll()
            }
            return missing
        }
        await producer.shutdown()
        await consumer.shutdown()
        guard missing == 0 else { throw Failure(description: "\(missing) of 10 messages were not consumed within 30 s") }
        print("all 10 messages were sent and consumed")
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}
