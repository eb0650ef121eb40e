// Many small messages in few requests, and many requests on their way at once.
//
//   example-batch [--namesrv 127.0.0.1:9876]

import ExampleOptions
import Glibc
import RocketMQClient

@main
struct Batch {
    static let options = Options(usage: "example-batch [--namesrv HOST:PORT]", valued: ["--namesrv"])
    static func main() async {
        let producer = DefaultMQProducer(group: "batch-producers", nameServers: [options.nameServer])
        do {
            try await producer.start()
            let readings = (1...10_000).map { Message(topic: "BatchTopic", tag: "reading", text: "reading \($0)") }

            // All messages of a batch go to one queue, in one request. The splitter keeps each batch small enough.
            for batch in MessageBatchSplitter(readings, maximumSize: 256 * 1024) {
                let result = try await producer.send(contentsOf: batch)
                print("sent \(batch.count) messages to \(result.messageQueue), the first at offset \(result.queueOffset)")
            }

            // One request a message, 64 on their way at once, results in order.
            var stored = 0
            for await outcome in producer.send(each: readings, inFlight: 64) {
                _ = try outcome.get()
                stored += 1
            }
            print("sent \(stored) messages one by one")
            await producer.shutdown()
        } catch {
            print("failed: \(error)")
            await producer.shutdown()
            exit(1)
        }
    }
}
