// Orders in a database and their messages, always the same: an order is inserted in SQLite and its message sent in one
// transaction. Kill it at any moment, start it again, and orders and delivered messages agree.
//
//   example-orders [--namesrv 127.0.0.1:9876] [--database orders.db]              places orders and ships them, and compares
//   example-orders … place ID AMOUNT [ID AMOUNT …]                                  places orders, then ends
//   example-orders … serve                                                          answers brokers that ask how an order ended
//   example-orders … ship                                                           ships what it is told of
//   --steps   before each step says which it is, and waits for a line: the moment to kill it

import ExampleOptions
import Glibc
import RocketMQClient
import RocketMQSQLite

@main
struct OrderService {
    static let options = Options(
        usage: "example-orders [--namesrv HOST:PORT] [--database FILE] [--steps] [place ID AMOUNT [ID AMOUNT …] | serve | ship]",
        valued: ["--namesrv", "--database"], flags: ["--steps"], takesWords: true)
    static let topic = "OrdersPlaced"
    static let producerGroup = "order-service"

    static func main() async {
        let words = checkedWords()
        do {
            let shop = try await Shop(options["--database"] ?? ":memory:")
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

    static func checkedWords() -> [String] {
        let words = options.words
        _ = nameServer
        switch words.first {
        case nil: break
        case "serve", "ship": if words.count > 1 { options.complain("nothing stands behind \(words[0]), not \"\(words[1])\"") }
        case "place":
            guard words.count > 1, words.count % 2 == 1 else { options.complain("place wants pairs of ID and AMOUNT") }
            for index in stride(from: 2, to: words.count, by: 2) where Int(words[index]) == nil {
                options.complain("an amount is a whole number, not \"\(words[index])\"")
            }
        case let word?: options.complain("\"\(word)\" is none of place, serve and ship")
        }
        return words
    }

    /// Any producer of the group answers for all of them: one that was killed needs not come back itself.
    static func producer(_ shop: Shop) -> TransactionMQProducer {
        TransactionMQProducer(
            group: producerGroup, nameServers: [nameServer], topics: [topic],
            listener: OrderPlacement(shop: shop, stops: options.has("--steps")))
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
        if options.has("--steps") { Steps.reached("before the message is sent") }
        let result = try await producer.sendMessageInTransaction(Message(topic: topic, keys: [id], text: amount))
        if options.has("--steps") { Steps.reached("the broker was told") }
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

    static var nameServer: String { options.nameServer }
}

/// For those who want to kill it between two steps.
enum Steps {
    static func reached(_ step: String) {
        print("step: \(step)")
        fflush(nil)
        _ = readLine()
    }
}
