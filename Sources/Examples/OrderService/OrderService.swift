// Orders in a database and their messages, always the same: an order is inserted in SQLite and its message sent in one
// transaction. Kill it at any moment, start it again, and orders and delivered messages agree.
//
//   example-orders [--namesrv 127.0.0.1:9876] [--database orders.db]              places orders and ships them, and compares
//   example-orders … place ID AMOUNT [ID AMOUNT …]                                  places orders, then ends
//   example-orders … serve                                                          answers brokers that ask how an order ended
//   example-orders … ship                                                           ships what it is told of
//   --steps   before each step says which it is, and waits for a line: the moment to kill it

import Glibc
import RocketMQClient
import RocketMQSQLite

@main
struct OrderService {
    static let topic = "OrdersPlaced"
    static let producerGroup = "order-service"

    static func main() async {
        do {
            let shop = try await Shop(option("--database") ?? ":memory:")
            let words = CommandLine.arguments.dropFirst().drop { !["place", "serve", "ship"].contains($0) }
            switch words.first {
            case "place": try await place(Array(words.dropFirst()), shop)
            case "serve": try await producer(shop).run()
            case "ship": try await shipping(shop).run()
            default: try await demonstrate(shop)
            }
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    /// Any producer of the group answers for all of them: one that was killed needs not come back itself.
    static func producer(_ shop: Shop) -> TransactionMQProducer {
        TransactionMQProducer(
            group: producerGroup, nameServers: [nameServer], topics: [topic],
            listener: OrderPlacement(shop: shop, stops: CommandLine.arguments.contains("--steps")))
    }

    static func shipping(_ shop: Shop) -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: "shipping")
        configuration.consumeFromWhere = .firstOffset
        return DefaultMQPushConsumer(
            configuration, client: ClientConfiguration(nameServers: [nameServer]), subscriptions: [Subscription(topic)],
            listener: Shipping(shop: shop))
    }

    static func place(_ words: [String], _ shop: Shop) async throws {
        let producer = producer(shop)
        try await producer.start()
        for (id, amount) in zip(words.enumerated().filter { $0.offset % 2 == 0 }, words.enumerated().filter { $0.offset % 2 == 1 }) {
            try await place(id.element, amount.element, producer)
        }
        await producer.shutdown()
    }

    static func place(_ id: String, _ amount: String, _ producer: TransactionMQProducer) async throws {
        if CommandLine.arguments.contains("--steps") { Steps.reached("before the message is sent") }
        let result = try await producer.sendMessageInTransaction(Message(topic: topic, keys: [id], text: amount))
        if CommandLine.arguments.contains("--steps") { Steps.reached("the broker was told") }
        print("order \(id): \(result.localTransactionState)")
    }

    /// Places six orders, two of which the shop refuses, and waits until what was placed is shipped.
    static func demonstrate(_ shop: Shop) async throws {
        let run = UInt32.random(in: 1...UInt32.max)
        let consumer = shipping(shop)
        try await consumer.start()
        let producer = producer(shop)
        try await producer.start()
        for number in 1...6 { try await place("\(run)-\(number)", "\(number.isMultiple(of: 3) ? -1 : number * 10)", producer) }
        for _ in 0..<300 {
            let (placed, shipped) = try await shop.agreement()
            if placed == shipped {
                print("\(placed.count) orders were placed, and these and no others shipped")
                await producer.shutdown()
                await consumer.shutdown()
                return
            }
            try await ContinuousClock().sleep(for: .milliseconds(200))
        }
        throw Failure(description: "orders and shipments did not agree within a minute")
    }

    struct Failure: Error, CustomStringConvertible { let description: String }

    static var nameServer: String { option("--namesrv") ?? "127.0.0.1:9876" }

    static func option(_ name: String) -> String? {
        let words = CommandLine.arguments
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
}

/// For those who want to kill it between two steps.
enum Steps {
    static func reached(_ step: String) {
        print("step: \(step)")
        fflush(nil)
        _ = readLine()
    }
}
