// The steps of each order in their order: a selector sends all messages of one key to one queue.
//
//   example-ordered [--namesrv 127.0.0.1:9876]

import Glibc
import RocketMQClient

@main
struct Ordered {
    static let topic = "OrderedTopic"
    static let steps = ["created", "paid", "packed", "shipped"]

    static func main() async {
        do {
            try await sendAndConsume(nameServer: option("--namesrv") ?? "127.0.0.1:9876")
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    static func sendAndConsume(nameServer: String) async throws {
        let (received, inbox) = AsyncStream.makeStream(of: MessageExt.self)
        var consuming = ConsumerConfiguration(group: "ordered-consumers")
        consuming.consumeConcurrency = 1  // one message after another, so the order of a queue stays
        let consumer = DefaultMQPushConsumer(consuming, client: ClientConfiguration(nameServers: [nameServer]))
        try await consumer.subscribe(topic)
        consumer.registerMessageListener { messages, _ in
            for message in messages { inbox.yield(message) }
            return .consumeSuccess
        }
        try await consumer.start()

        let producer = DefaultMQProducer(group: "ordered-producers", nameServers: [nameServer])
        try await producer.start()
        // Several orders at once; a run has orders of its own, so that it can be repeated.
        let run = String(UInt32.random(in: .min ... .max), radix: 36)
        let orders = ["\(run)-1", "\(run)-2", "\(run)-3"]
        for step in steps {
            for order in orders {
                let message = Message(topic: topic, tag: step, keys: [order], text: "order \(order) is \(step)")
                try await producer.send(message, selecting: .hash(of: order))
            }
        }

        let timeout = Task {
            try await ContinuousClock().sleep(for: .seconds(30))
            inbox.finish()
        }
        var seen: [String: [String]] = [:]
        var left = orders.count * steps.count
        for await message in received {
            guard let order = message.keys.first, orders.contains(order), let step = message.tag else { continue }
            print("queue \(message.queueID) offset \(message.queueOffset): \(String(decoding: message.body, as: UTF8.self))")
            seen[order, default: []].append(step)
            left -= 1
            if left == 0 { break }
        }
        timeout.cancel()
        await producer.shutdown()
        await consumer.shutdown()
        for order in orders where seen[order] != steps { throw Failure(description: "order \(order) came as \(seen[order] ?? [])") }
        print("every order's steps came in their order")
    }

    struct Failure: Error, CustomStringConvertible { let description: String }

    static func option(_ name: String) -> String? {
        let words = CommandLine.arguments
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
}
