// The steps of each order in their order: a selector sends all messages of one key to one queue, and an orderly listener gets
// the messages of a queue one after another, in the whole group.
//
//   example-ordered [--namesrv 127.0.0.1:9876]                       sends some orders and consumes them
//   example-ordered --follow TOPIC [--group G] [--seconds N]         consumes for N seconds: start it several times

import ExampleOptions
import Glibc
import RocketMQClient

@main
struct Ordered {
    static let options = Options(
        usage: "example-ordered [--namesrv HOST:PORT] [--follow TOPIC [--group GROUP] [--seconds COUNT]]",
        valued: ["--namesrv", "--follow", "--group", "--seconds"])
    static let topic = "OrderedTopic"
    static let steps = ["created", "paid", "packed", "shipped"]

    static func main() async {
        let nameServer = options.nameServer
        do {
            if let topic = options["--follow"] {
                let seconds = options.number("--seconds", in: 1...86_400, unlessGiven: 30)
                try await follow(topic, group: options["--group"] ?? "ordered-followers", seconds: seconds, nameServer: nameServer)
            } else {
                try await sendAndConsume(nameServer: nameServer)
            }
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    static func sendAndConsume(nameServer: String) async throws {
        let (received, inbox) = AsyncStream.makeStream(of: MessageExt.self)
        let consumer = DefaultMQPushConsumer(group: "ordered-consumers", nameServers: [nameServer])
        try await consumer.subscribe(topic)
        consumer.registerMessageListener(orderly: { messages, _ in
            for message in messages { inbox.yield(message) }
            return .success  // or .suspendCurrentQueueAMoment, or a throw: the queue waits, and the same messages come again
        })
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

    /// Consumes from the first message on, and says when each came. Members of the group share the queues.
    static func follow(_ topic: String, group: String, seconds: Int, nameServer: String) async throws {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        let consumer = DefaultMQPushConsumer(
            configuration, client: ClientConfiguration(nameServers: [nameServer]), subscriptions: [Subscription(topic)])
        consumer.registerMessageListener(orderly: { messages, context in
            for message in messages {
                let text = String(decoding: message.body, as: UTF8.self)
                print("\(milliseconds()) queue \(context.messageQueue.queueID) offset \(message.queueOffset): \(text)")
            }
            return .success
        })
        // run() consumes until its task is cancelled, and leaves the group in good order then.
        let running = Task { try await consumer.run() }
        whenAskedToEnd { running.cancel() }
        let ending = Task {
            try await ContinuousClock().sleep(for: .seconds(seconds))
            running.cancel()
        }
        try await running.value
        ending.cancel()
        print("left the group")
    }

    static func milliseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}
