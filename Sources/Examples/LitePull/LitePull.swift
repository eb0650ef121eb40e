// Reads messages when the program wants them: a loop over them, positions committed by hand, and a step back.
//
//   example-litepull [--namesrv 127.0.0.1:9876]
//   example-litepull --follow TOPIC [--group G] [--seconds N]         reads for N seconds: start it several times

import ExampleOptions
import Glibc
import RocketMQClient

@main
struct LitePull {
    static let options = Options(
        usage: "example-litepull [--namesrv HOST:PORT] [--follow TOPIC [--group GROUP] [--seconds COUNT]]",
        valued: ["--namesrv", "--follow", "--group", "--seconds"])
    static let topic = "LitePullTopic"

    static func main() async {
        do {
            if let topic = options["--follow"] { return try await follow(topic) }
            try await sendAndRead(nameServer: options.nameServer)
        } catch {
            print("failed: \(error)")
            exit(1)
        }
    }

    static func sendAndRead(nameServer: String) async throws {
        let producer = DefaultMQProducer(group: "litepull-producers", nameServers: [nameServer])
        try await producer.start()
        var waiting: Set<String> = []
        for number in 1...20 {
            waiting.insert(try await producer.send(Message(topic: topic, keys: ["order-\(number)"], text: "order \(number)")).messageID)
        }
        await producer.shutdown()

        var configuration = ConsumerConfiguration(group: "litepull-consumers")
        configuration.consumeFromWhere = .firstOffset
        configuration.autoCommit = false
        let consumer = DefaultLitePullConsumer(
            configuration, client: ClientConfiguration(nameServers: [nameServer]), subscriptions: [Subscription(topic)])
        try await consumer.start()
        // Ends the loop when something is wrong.
        let limit = Task {
            try await ContinuousClock().sleep(for: .seconds(30))
            await consumer.shutdown()
        }

        // No reader, no pull: messages come as fast as this loop takes them.
        for try await message in consumer.messages {
            print("read \(message.keys.joined(separator: " ")) from queue \(message.queueID) offset \(message.queueOffset)")
            try await consumer.commit(message)
            waiting.remove(message.messageID)
            if waiting.isEmpty { break }
        }
        guard waiting.isEmpty else { throw Failure(description: "\(waiting.count) of 20 messages were not read within 30 s") }

        // Back to the first message of a queue; what is committed stays so until the next commit.
        for queue in await consumer.assignment {
            try await consumer.seek(queue, to: .begin)
            guard let first = try await consumer.poll(timeout: .seconds(10)).first else { continue }
            let committed = try await consumer.committed(queue) ?? 0
            print("read \(first.keys.joined(separator: " ")) again, from \(queue); committed is \(committed)")
            break
        }
        limit.cancel()
        await consumer.shutdown()
        print("all 20 messages were read and committed")
    }

    /// Reads from the first message on, and says when each came. Members of the group share the queues.
    static func follow(_ topic: String) async throws {
        var configuration = ConsumerConfiguration(group: options["--group"] ?? "litepull-followers")
        configuration.consumeFromWhere = .firstOffset
        let consumer = DefaultLitePullConsumer(
            configuration, client: ClientConfiguration(nameServers: [options.nameServer]), subscriptions: [Subscription(topic)])
        let seconds = options.number("--seconds", in: 1...86_400, unlessGiven: 30)
        let running = Task { try await consumer.run() }
        whenAskedToEnd { running.cancel() }
        let ending = Task {
            try await ContinuousClock().sleep(for: .seconds(seconds))
            // Leaves the group in good order, which ends the loop.
            running.cancel()
        }
        for try await message in consumer.messages {
            let text = String(decoding: message.body, as: UTF8.self)
            print("\(milliseconds()) queue \(message.queueID) offset \(message.queueOffset): \(text)")
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
