// Orders in PostgreSQL and their messages, always the same: what example-orders does with SQLite. The tables are those of
// Sources/RocketMQClient/README.md.
//
//   example-orders-postgres --database "host=localhost dbname=shop" [--namesrv 127.0.0.1:9876] place ID AMOUNT [ID AMOUNT …]
//   example-orders-postgres …                                                         serve: answers brokers that ask how an order ended
//   --steps   before each step says which it is, and waits for a line: the moment to kill it

import ExampleOptions
import Glibc
import RocketMQClient

@main
struct PostgresOrders {
    static let options = Options(
        usage: """
            example-orders-postgres --database INFO [--namesrv HOST:PORT] [--steps] place ID AMOUNT [ID AMOUNT …] | serve
            INFO is that of psql: "host=localhost dbname=shop user=me", or postgresql://…
            """, valued: ["--database", "--namesrv"], flags: ["--steps"], takesWords: true)

    static func main() async {
        let words = options.words
        guard let database = options["--database"] else { options.complain("--database is needed") }
        let isPlacing = words.first == "place" && words.count > 1 && words.count % 2 == 1
        guard isPlacing || words == ["serve"] else { options.complain("place with pairs of ID and AMOUNT, or serve, is needed") }
        let nameServer = options.nameServer
        do {
            let ledger = OrderLedger(orders: try PostgresConnection(database), checks: try PostgresConnection(database))
            // Any producer of the group answers for all of them: one that was killed needs not come back itself.
            let producer = TransactionMQProducer(
                group: "order-service", nameServers: [nameServer], topics: ["OrdersPlaced"], listener: ledger)
            guard isPlacing else { return try await producer.run() }
            try await producer.start()
            for index in stride(from: 1, to: words.count, by: 2) {
                let order = Message(topic: "OrdersPlaced", keys: [words[index]], text: words[index + 1])
                Steps.reached("before the message is sent")
                print("order \(words[index]): \(try await producer.sendMessageInTransaction(order).localTransactionState)")
            }
            await producer.shutdown()
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }
}

/// For those who want to kill it between two steps.
enum Steps {
    static func reached(_ step: String) {
        guard PostgresOrders.options.has("--steps") else { return }
        print("step: \(step)")
        fflush(nil)
        _ = readLine()
    }
}
