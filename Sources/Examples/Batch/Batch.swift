// Many small messages in few requests, and many requests on their way at once.
//
//   example-batch [--namesrv 127.0.0.1:9876]

import Glibc
import RocketMQClient

@main
struct Batch {
    static func main() async {
        let producer = DefaultMQProducer(group: "batch-producers", nameServers: [option("--namesrv") ?? "127.0.0.1:9876"])
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

    static func option(_ name: String) -> String? {
        let words = CommandLine.arguments
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
}
