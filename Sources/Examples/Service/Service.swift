// A service: everything is given at init, run() owns the work, and cancelling the task ends it in good order.
//
//   example-service [--namesrv 127.0.0.1:9876]                       places orders and bills them
//   example-service --follow TOPIC [--group G] [--seconds N]         consumes for N seconds: start it several times

import ExampleOptions
import Glibc
import RocketMQClient

struct Billing: MessageListenerConcurrently {
    let billed: AsyncStream<String>.Continuation

    func consumeMessage(_ messages: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus {
        for message in messages {
            print("billed \(message.keys.joined(separator: " ")), delivery \(message.reconsumeTimes + 1)")
            billed.yield(message.messageID)
        }
        return .consumeSuccess
    }
}

@main
struct Service {
    static let options = Options(
        usage: "example-service [--namesrv HOST:PORT] [--follow TOPIC [--group GROUP] [--seconds COUNT]]",
        valued: ["--namesrv", "--follow", "--group", "--seconds"])
    static func main() async {
        if let topic = options["--follow"] { return await follow(topic) }
        let (billed, report) = AsyncStream.makeStream(of: String.self)
        // One client for both: one id, one connection to each broker.
        let client = ClientRuntime(ClientConfiguration(nameServers: [options.nameServer]))
        var producing = ProducerConfiguration(group: "service-producers")
        producing.sendTimeout = .seconds(2)
        let producer = DefaultMQProducer(producing, runtime: client)
        let consumer = DefaultMQPushConsumer(
            ConsumerConfiguration(group: "service-consumers"), runtime: client, subscriptions: [Subscription("ServiceTopic")],
            listener: Billing(billed: report))

        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await producer.run() }
                group.addTask { try await consumer.run() }
                group.addTask {
                    try await producer.waitUntilStarted()
                    try await consumer.waitUntilStarted()
                    try await placeOrdersUntilBilled(producer, billed)
                }
                group.addTask {
                    try await ContinuousClock().sleep(for: .seconds(60))
                    throw Failure(description: "not all orders were billed within 60 s")
                }
                // A real service waits for a signal here; this one ends when its orders are billed.
                _ = try await group.next()
                group.cancelAll()
            }
            print("all orders were billed")
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    static func placeOrdersUntilBilled(_ producer: DefaultMQProducer, _ billed: AsyncStream<String>) async throws {
        var waiting: Set<String> = []
        for number in 1...5 {
            let result = try await producer.send(Message(topic: "ServiceTopic", keys: ["order-\(number)"], text: "\(number * 10) EUR"))
            waiting.insert(result.messageID)
        }
        for await id in billed {
            waiting.remove(id)
            if waiting.isEmpty { return }
        }
    }

    /// Consumes from the first message on, and says when each came. Members of the group share the queues.
    static func follow(_ topic: String) async {
        let seconds = options.number("--seconds", in: 1...86_400, unlessGiven: 30)
        var configuration = ConsumerConfiguration(group: options["--group"] ?? "service-followers")
        configuration.consumeFromWhere = .firstOffset
        let consumer = DefaultMQPushConsumer(
            configuration, client: ClientConfiguration(nameServers: [options.nameServer]),
            subscriptions: [Subscription(topic)])
        consumer.registerMessageListener { messages, _ in
            for message in messages {
                let text = String(decoding: message.body, as: UTF8.self)
                print(
                    "\(milliseconds()) queue \(message.queueID) offset \(message.queueOffset): \(text), delivery \(message.reconsumeTimes + 1)"
                )
            }
            return .consumeSuccess
        }
        do {
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
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    static func milliseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}
