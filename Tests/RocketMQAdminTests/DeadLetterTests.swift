import RocketMQAdmin
import RocketMQClient
import RocketMQProtocol
import Testing

/// Messages that a group gave up, against a name server and a broker of this process.
@Suite(.timeLimit(.minutes(2)))
struct DeadLetterTests {
    /// A group of which `count` messages of topic Orders are dead letters.
    private func clusterWithDeadLetters(_ count: Int, settings: [String: String] = [:]) async throws -> Cluster {
        let cluster = try Cluster(settings: settings)
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Orders", "-r", "1", "-w", "1")
        let body = String(repeating: "long ", count: 1000)
        for number in 0..<count {
            await cluster.run("sendMessage", "-t", "Orders", "-p", number == 0 ? body : "m\(number)", "-k", "k\(number)", "-c", "paid")
        }
        // No retries: what fails is a dead letter at once.
        _ = try await consume(cluster, count, retries: 0) { _ in false }
        // The name server hears of the new topic in a moment.
        for _ in 0..<10_000 { if try await letters(cluster).count == count { break } }
        return cluster
    }

    private func letters(_ cluster: Cluster) async throws -> [JSONValue] {
        try await cluster.json("deadLetters", "-g", "billing").filter { $0["messageId"] != nil }
    }

    /// Lets the group process messages until it has been given so many.
    private func consume(
        _ cluster: Cluster, _ count: Int, retries: Int32 = 16, _ process: @escaping @Sendable (MessageExt) -> Bool
    ) async throws -> [MessageExt] {
        let (stream, received) = AsyncStream.makeStream(of: MessageExt.self)
        var configuration = ConsumerConfiguration(group: "billing")
        configuration.consumeFromWhere = .firstOffset
        configuration.maxReconsumeTimes = retries
        let consumer = DefaultMQPushConsumer(configuration, client: ClientConfiguration(nameServers: [cluster.nameServerAddress]))
        try await consumer.subscribe("Orders")
        consumer.registerMessageListener { messages, _ in
            for message in messages { received.yield(message) }
            return messages.allSatisfy(process) ? .consumeSuccess : .reconsumeLater
        }
        try await consumer.start()
        var got: [MessageExt] = []
        for await message in stream {
            got.append(message)
            if got.count == count { break }
        }
        await consumer.shutdown()
        return got
    }

    @Test("Dead letters are shown with where they came from and why, and chosen by id, key, topic and number")
    func shown() async throws {
        let cluster = try await clusterWithDeadLetters(3)
        let all = try await letters(cluster)
        #expect(all.count == 3)
        let first = try #require(all.first { $0["keys"] == ["k0"] })
        #expect(first["originTopic"] == "Orders" && first["tags"] == "paid" && first["consumerGroup"] == "billing")
        #expect(first["reason"] == "it was delivered 1 times without success, 0 retries are the most" && first["sentAgain"] == [])
        #expect(first["body"]?.string?.count == 5000)
        let id = try #require(first["messageId"]?.string)
        let origin = try #require(first["originMessageId"]?.string)
        #expect(await cluster.run("queryMsgById", "-i", origin).contains("MessageID:           \(id)"))
        let text = await cluster.run("deadLetters", "-g", "billing", "-i", id)
        #expect(text.contains("Origin topic:  Orders") && text.contains("[paid] [k0]") && text.contains("… (5000 bytes)"))
        #expect(text.hasSuffix("\n1 dead letter of group billing\n"))
        for words in [["-k", "k0"], ["-i", origin], ["-i", "x,\(id)"], ["-m", "1"]] {
            let found = try await cluster.json("deadLetters", "-g", "billing", words[0], words[1])
            #expect(found.count == 1, "\(words)")
        }
        #expect(try await cluster.json("deadLetters", "-g", "billing", "-t", "Elsewhere").isEmpty)
        #expect(await cluster.failure("deadLetters", "-g", "biling").contains("there is no consumer group biling; did you mean billing?"))
        await cluster.run("updateTopicPerm", "-b", "broker-a", "-t", "%DLQ%billing", "-p", "2")
        #expect(await cluster.failure("deadLetters", "-g", "billing").contains("updateTopicPerm"))
    }

    @Test("They are sent again to the group once, whatever is asked how often, and as often as -f asks")
    func sentAgain() async throws {
        let cluster = try await clusterWithDeadLetters(3)
        let id = try #require(try await letters(cluster).first { $0["keys"] == ["k1"] }?["messageId"]?.string)
        func resend(_ words: String...) async throws -> [JSONValue?] {
            let terminal = Terminal()
            let code = await terminal.run(
                ["resendDeadLetters", "-g", "billing", "--json"] + words, nameServers: cluster.nameServerAddress)
            #expect(code == 0, "\(terminal.errors)")
            return try terminal.output.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8))["outcome"] }
        }
        #expect(try await resend("-a", "-d") == ["WOULD_BE_SENT", "WOULD_BE_SENT", "WOULD_BE_SENT"])
        #expect(try await resend("-i", id) == ["SENT"])
        try await untilIndexed(cluster, id)
        #expect(try await resend("-i", id) == ["SENT_BEFORE"])
        #expect(try await resend("-a").sorted { "\($0 ?? "")" < "\($1 ?? "")" } == ["SENT", "SENT", "SENT_BEFORE"])
        let got = try await consume(cluster, 3) { _ in true }
        #expect(Set(got.flatMap(\.keys)) == ["k0", "k1", "k2"])
        for message in got {
            #expect(message.topic == "Orders" && message.tag == "paid" && message.reconsumeTimes == 0)
            #expect(message.properties["DLQ_ORIGIN_TOPIC"] == "Orders" && message.properties["DLQ_ORIGIN_MESSAGE_ID"] == message.uniqueKey)
            #expect(message.properties["DLQ_REASON"] == nil)
        }
        #expect(got.first { $0.keys == ["k0"] }?.body.count == 5000)
        #expect(try await resend("-i", id, "-f", "-o") == ["SENT"])
        let again = try await consume(cluster, 1) { _ in true }
        #expect(again.first?.keys == ["k1"] && again.first?.properties["RETRY_TOPIC"] == nil)
        #expect(await cluster.run("deadLetters", "-g", "billing", "-i", id).contains("Sent again:"))
    }

    @Test("Retries of a copy are no copies, and a message that died twice is sent once a run")
    func diedAgain() async throws {
        let cluster = try await clusterWithDeadLetters(1)
        func resend(_ words: String...) async -> String {
            let terminal = Terminal()
            let code = await terminal.run(["resendDeadLetters", "-g", "billing", "-a"] + words, nameServers: cluster.nameServerAddress)
            #expect(code == 0, "\(terminal.errors)")
            return terminal.output
        }
        let id = try #require(try await letters(cluster).first?["messageId"]?.string)
        #expect(await resend().hasSuffix("group billing: 1 sent again\n"))
        try await untilIndexed(cluster, id)
        // The copy is given up too, and after one more delivery.
        _ = try await consume(cluster, 1, retries: 0) { _ in false }
        for _ in 0..<10_000 { if try await letters(cluster).count == 2 { break } }
        var both = try await letters(cluster)
        #expect(both.map { $0["messageId"] } == [.string(id), .string(id)])
        #expect(both.map { $0["sentAgain"]?.array?.count } == [1, 0], "the second has not been sent again")
        #expect(both[0]["sentAgain"]?.array?.first?["topic"] == "%RETRY%billing")
        #expect(await resend("-f", "-d").hasSuffix("1 would be sent again, 1 skipped: their messages were sent in this run already\n"))
        let forced = await resend("-f")
        #expect(forced.hasSuffix("1 sent again, 1 skipped: their messages were sent in this run already\n"))
        #expect(forced.contains("SENT_IN_THIS_RUN \(id)"))
        // Now both have been sent since they died.
        for _ in 0..<10_000 {
            both = try await letters(cluster)
            if both.allSatisfy({ $0["sentAgain"]?.array?.isEmpty == false }) { break }
        }
        #expect(both.map { $0["sentAgain"]?.array?.count } == [2, 1])
        #expect(await resend().hasSuffix("0 sent again, 2 sent before (-f sends them once more)\n"))
        _ = try await consume(cluster, 1) { _ in true }
    }

    /// Waits until the broker's index, which is built in the background, has the message's copy.
    private func untilIndexed(_ cluster: Cluster, _ id: String) async throws {
        for _ in 0..<10_000 {
            let letter = try await letters(cluster).first { $0["messageId"]?.string == id }
            if letter?["sentAgain"]?.array?.isEmpty == false { return }
        }
    }

    @Test("What cannot be sent does not keep back the rest, and is told of")
    func refused() async throws {
        let cluster = try await clusterWithDeadLetters(2)
        await cluster.run("deleteTopic", "-t", "Orders", "-c", "DefaultCluster")
        let failed = await cluster.failure("resendDeadLetters", "-g", "billing", "-a", "-o")
        #expect(failed.contains("2 messages could not be sent again") && failed.contains("topic Orders does not exist"))
        #expect(await !cluster.run("topicList").contains("Orders"))
        #expect(await cluster.failure("resendDeadLetters", "-g", "billing", "-i", "none").contains("has no dead letter none"))
        let id = try #require(try await letters(cluster).first?["messageId"]?.string)
        let told = await cluster.failure("resendDeadLetters", "-g", "billing", "-i", id, "-k", "nokey", "-t", "Orders")
        #expect(
            told.contains("dead letter \(id) of group billing is there, but it is none with the key nokey (-k), from topic Orders (-t)"))
        #expect(await cluster.failure("resendDeadLetters", "-g", "billing", "-i", "none", "-k", "k").contains("has no dead letter none"))
    }

    @Test("Long properties leave out what a copy does not need; what has no room even so is told of, by the dry run too")
    func longProperties() async throws {
        let cluster = try Cluster(settings: ["deduplicationWindow": "600000"])
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Orders", "-r", "1", "-w", "1")
        let producer = DefaultMQProducer(group: "shops", nameServers: [cluster.nameServerAddress])
        try await producer.start()
        // 32,767 bytes are the most. Of these a copy needs 89 in the retry topic and 70 in Orders, with CLUSTER, which the broker adds.
        let sizes = [32_300, 32_600, 32_660, 32_685, 32_710, 32_740]
        for size in sizes {
            var message = Message(topic: "Orders", body: Array("b\(size)".utf8))
            message.properties["UNIQ_KEY"] = "K\(size)"
            message.properties["x"] = "y"
            message.properties["x"] = String(repeating: "y", count: size - message.properties.encoded().count + 1)
            _ = try await producer.send(message)
        }
        await producer.shutdown()
        _ = try await consume(cluster, sizes.count, retries: 0) { _ in false }
        for _ in 0..<10_000 { if try await letters(cluster).count == sizes.count { break } }
        let all = try await letters(cluster).sorted { ($0["messageId"]?.string ?? "") < ($1["messageId"]?.string ?? "") }
        #expect(all.map { $0["originTopic"] } == sizes.map { _ in "Orders" })
        #expect(
            all.prefix(4).allSatisfy {
                ["tried 1x", "it was delivered 1 times without success, 0 retries are the most"].contains($0["reason"]?.string ?? "")
            }, "\(all)")
        func resend(_ words: String...) async throws -> [String] {
            let terminal = Terminal()
            let code = await terminal.run(
                ["resendDeadLetters", "-g", "billing", "-a", "--json"] + words, nameServers: cluster.nameServerAddress)
            let told = try terminal.output.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
            let outcomes = told.sorted { ($0["messageId"]?.string ?? "") < ($1["messageId"]?.string ?? "") }
                .map { $0["outcome"]?.string ?? "" }
            #expect((code == 1) == outcomes.contains { $0.hasSuffix("FAIL") || $0 == "FAILED" }, "\(terminal.errors)")
            if code == 1 { #expect(terminal.errors.contains("leave no room for what a copy needs")) }
            return outcomes
        }
        #expect(try await resend("-d") == ["WOULD_BE_SENT", "WOULD_BE_SENT", "WOULD_BE_SENT", "WOULD_FAIL", "WOULD_FAIL", "WOULD_FAIL"])
        #expect(
            try await resend("-d", "-o") == [
                "WOULD_BE_SENT", "WOULD_BE_SENT", "WOULD_BE_SENT", "WOULD_BE_SENT", "WOULD_FAIL", "WOULD_FAIL",
            ])
        #expect(try await resend() == ["SENT", "SENT", "SENT", "FAILED", "FAILED", "FAILED"])
        // What is advised helps, and nothing else is.
        func advice(_ words: String...) async -> String {
            await cluster.failure(["resendDeadLetters", "-g", "billing", "-d"] + words)
        }
        let toOrigin = await advice("-i", "K32685")
        #expect(toOrigin.contains("-o sends it to the topic Orders itself") && toOrigin.contains("-f sends it without the mark"))
        let unmarked = await advice("-i", "K32710")
        #expect(!unmarked.contains("-o ") && unmarked.contains("-f sends it without the mark"), "\(unmarked)")
        let both = await advice("-i", "K32740")
        #expect(both.contains("-o and -f together send it to the topic Orders itself"), "\(both)")
        #expect(!both.contains("-f sends"), "\(both)")
        #expect(await advice("-i", "K32740", "-o").contains("-f sends it without the mark"))
        #expect(await advice("-i", "K32740", "-f").contains("-o sends it to the topic Orders itself"))
        #expect(try await resend("-d", "-o", "-f") == sizes.map { _ in "WOULD_BE_SENT" })
        try await untilIndexed(cluster, "K32660")
        #expect(try await resend("-o") == ["SENT_BEFORE", "SENT_BEFORE", "SENT_BEFORE", "SENT", "FAILED", "FAILED"])
        let copies = try await consume(cluster, 4) { _ in true }
        #expect(Set(copies.map { String(decoding: $0.body, as: UTF8.self) }) == ["b32300", "b32600", "b32660", "b32685"])
        #expect(copies.allSatisfy { $0.topic == "Orders" && $0.properties["x"]?.isEmpty == false })
        // Without the mark the broker cannot tell it from what its producer sent.
        let refused = await cluster.failure("resendDeadLetters", "-g", "billing", "-i", "K32740", "-o", "-f")
        #expect(refused.contains("takes it for a retry of the first copy") && refused.contains("deduplicationWindow"))
    }

    @Test("Where nothing tells what was sent before, only -f sends")
    func withoutIndex() async throws {
        let cluster = try await clusterWithDeadLetters(1, settings: ["messageIndexEnable": "false"])
        #expect(await cluster.failure("resendDeadLetters", "-g", "billing", "-a").contains("messageIndexEnable=false"))
        #expect(await cluster.run("resendDeadLetters", "-g", "billing", "-a", "-f").contains("group billing: 1 sent again"))
        await cluster.run("updateSubGroup", "-c", "DefaultCluster", "-g", "shipping")
        #expect(await cluster.run("deadLetters", "-g", "shipping") == "no dead letters of group shipping\n")
    }
}
