import Foundation
import RocketMQClient
import RocketMQProtocol
import RocketMQTesting
import Synchronization
import Testing

@testable import RocketMQAdmin

/// Commands against a nameserver and a broker of this process.
@Suite(.timeLimit(.minutes(2)))
struct EndToEndTests {
    @Test("The life of a topic: create, list, route, status, send, query by id, progress, delete")
    func topic() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        #expect(await cluster.run("clusterList").contains("DefaultCluster  broker-a      0     \(broker)"))

        let created = await cluster.run("updateTopic", "-c", "DefaultCluster", "-t", "Orders", "-r", "4", "-w", "4")
        #expect(
            created == """
                create topic to \(broker) success.
                TopicConfig [topicName=Orders, readQueueNums=4, writeQueueNums=4, perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, \
                order=false]

                """)
        #expect(await cluster.run("topicList").split(separator: "\n").contains("Orders"))
        let route = try TopicRouteData(json: try #require(await cluster.json("topicRoute", "-t", "Orders").first))
        #expect(route.queueDatas == [QueueData(brokerName: "broker-a", readQueueNums: 4, writeQueueNums: 4, perm: .readWrite)])
        #expect(await cluster.run("topicClusterList", "-t", "Orders") == "DefaultCluster\n")
        #expect(try await offsets(cluster) == [0, 0, 0, 0])

        let sent = try #require(
            await cluster.json("sendMessage", "-t", "Orders", "-p", "hällo", "-k", "k1 k2", "-c", "paid", "-b", "broker-a", "-i", "2")
                .first?
                .array?.first)
        #expect(sent["sendStatus"] == "SEND_OK" && sent["queueId"] == 2 && sent["queueOffset"] == 0)
        #expect(try await offsets(cluster) == [0, 0, 1, 0])

        let id = try #require(sent["offsetMessageId"]?.string)
        let found = try #require(await cluster.json("queryMsgById", "-i", id).first)
        #expect(found["messageId"] == sent["messageId"] && found["body"] == "hällo" && found["tags"] == "paid")
        #expect(found["keys"] == ["k1", "k2"] && found["tracks"] == [])
        #expect(await cluster.run("queryMsgById", "-i", id).contains("Message Body:        hällo"))
        let place = await cluster.run("queryMsgByOffset", "-t", "Orders", "-b", "broker-a", "-i", "2", "-o", "0")
        #expect(place.contains("OffsetID:            \(id)"))

        #expect(await cluster.failure("consumerProgress", "-g", "billing").contains("group billing has consumed nothing yet"))
        try await consume(cluster, group: "billing", count: 1)
        let progress = try #require(await cluster.json("consumerProgress", "-g", "billing").first)
        #expect(progress["diffTotal"] == 0)
        let orders = progress["queues"]?.array?.filter { $0["topic"] == "Orders" } ?? []
        #expect(orders.map { $0["consumerOffset"] } == [0, 0, 1, 0])
        #expect(await cluster.run("consumerProgress").contains("billing  0       OFFLINE"))

        await cluster.run("deleteTopic", "-t", "Orders", "-c", "DefaultCluster")
        #expect(await !cluster.run("topicList").contains("Orders"))
        #expect(await cluster.failure("topicRoute", "-t", "Orders").contains("no name server knows topic Orders"))
        #expect(await cluster.failure("queryMsgById", "-i", "7F000001000000010000000000000000").contains("cannot be reached"))
    }

    /// The next offset of each queue of topic Orders.
    private func offsets(_ cluster: Cluster) async throws -> [Int64] {
        let queues = try await cluster.json("topicStatus", "-t", "Orders").first?.array ?? []
        return queues.compactMap { $0["maxOffset"]?.int64 }
    }

    /// Lets a group consume this many messages of topic Orders from the first on, and leaves.
    private func consume(
        _ cluster: Cluster, group: String, count: Int, meanwhile: (DefaultMQPushConsumer) async throws -> Void = { _ in }
    ) async throws {
        let (stream, received) = AsyncStream.makeStream(of: String.self)
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        let consumer = DefaultMQPushConsumer(configuration, client: ClientConfiguration(nameServers: [cluster.nameServerAddress]))
        try await consumer.subscribe("Orders")
        consumer.registerMessageListener { messages, _ in
            for message in messages { received.yield(message.messageID) }
            return .consumeSuccess
        }
        try await consumer.start()
        var left = count
        for await _ in stream {
            left -= 1
            if left == 0 { break }
        }
        try await meanwhile(consumer)
        // Leaving commits the offsets.
        await consumer.shutdown()
    }

    @Test("Messages of a topic, by queue, offset, time, tag and number")
    func messages() async throws {
        let cluster = try Cluster()
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Orders", "-r", "2", "-w", "2")
        for number in 0..<6 {
            await cluster.run(
                "sendMessage", "-t", "Orders", "-p", "m\(number)", "-b", "broker-a", "-i", "\(number % 2)", "-c", number < 2 ? "new" : "old"
            )
        }
        func bodies(_ words: [JSONValue]) -> [String] { words.compactMap { $0["body"]?.string } }
        #expect(bodies(try await cluster.json("consumeMessage", "-t", "Orders")) == ["m0", "m2", "m4", "m1", "m3", "m5"])
        #expect(bodies(try await cluster.json("consumeMessage", "-t", "Orders", "-c", "4")) == ["m0", "m2", "m4", "m1"])
        #expect(
            bodies(try await cluster.json("consumeMessage", "-t", "Orders", "-b", "broker-a", "-i", "1", "-o", "1")) == ["m3", "m5"])
        let all = try await cluster.json("consumeMessage", "-t", "Orders", "-b", "broker-a", "-i", "0")
        let times = all.compactMap { $0["storeTimestamp"]?.int64 }
        let from = try await cluster.json("consumeMessage", "-t", "Orders", "-b", "broker-a", "-i", "0", "-s", "\(times[1])")
        #expect(bodies(from).last == "m4" && !bodies(from).isEmpty)
        let until = try await cluster.json("consumeMessage", "-t", "Orders", "-b", "broker-a", "-i", "0", "-e", "\(times[0] - 1)")
        #expect(until.isEmpty)
        #expect(bodies(try await cluster.json("printMsg", "-t", "Orders", "-s", "new")) == ["m0", "m1"])
        let counted = try await cluster.json("printMsgByQueue", "-t", "Orders", "-a", "broker-a", "-i", "1", "-f", "true")
        #expect(counted == [[["tag": "old", "count": 2], ["tag": "new", "count": 1]]])
        #expect(
            await cluster.failure("consumeMessage", "-t", "Orders", "-b", "broker-a", "-i", "0", "-o", "9").contains(
                "has no message at offset 9"))
        #expect(await cluster.failure("consumeMessage", "-t", "Orders", "-b", "broker-a", "-i", "7").contains("has no queue 7"))
    }

    @Test("Groups: settings, members, what they do, messages handed to one, offsets moved and copied, deletion")
    func groups() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "1", "-w", "1")
        await cluster.run("updateSubGroup", "-c", "DefaultCluster", "-g", "billing", "-r", "3")
        let config = try #require(await cluster.json("getConsumerConfig", "-g", "billing").first?.array?.first?["subscriptionGroupConfig"])
        #expect(try SubscriptionGroupConfig(json: config).retryMaxTimes == 3)
        #expect(await cluster.failure("consumerConnection", "-g", "billing").contains("no member of consumer group billing is connected"))

        var ids: [String] = []
        for number in 0..<3 {
            let sent = try await cluster.json("sendMessage", "-t", "Orders", "-p", "m\(number)").first?.array?.first
            ids.append(try #require(sent?["offsetMessageId"]?.string))
        }
        try await consume(cluster, group: "billing", count: 3) { consumer in
            let client = consumer.runtime.clientID
            let connections = try #require(await cluster.json("consumerConnection", "-g", "billing").first)
            #expect(connections["connectionSet"]?.array?.map { $0["clientId"] } == [.string(client)])
            #expect(connections["subscriptionTable"]?["Orders"]?["subString"] == "*")
            let status = try #require(await cluster.json("consumerStatus", "-g", "billing", "-i", client).first?.array?.first)
            #expect(status["queues"]?.array?.contains { $0["messageQueue"]?["topic"] == "Orders" } == true)
            let consumed = try #require(await cluster.json("queryMsgById", "-i", ids[0], "-g", "billing", "-d", client).first)
            #expect(consumed["consumeResult"] == "CR_SUCCESS")
            let listed = try #require(await cluster.json("consumerProgress").first?.array?.first { $0["groupName"] == "billing" })
            #expect(listed["count"] == 1 && listed["consumeType"] == "PUSH" && listed["version"] == "V4_9_8")
        }
        let tracks = try #require(await cluster.json("queryMsgById", "-i", ids[2]).first?["tracks"]?.array)
        #expect(tracks.map { $0["consumerGroup"] } == ["billing"] && tracks.map { $0["trackType"] } == ["NOT_ONLINE"])

        await cluster.run("cloneGroupOffset", "-s", "billing", "-d", "audit", "-t", "Orders")
        #expect(try await behind(cluster, "audit") == 0)
        await cluster.run("resetOffsetByTime", "-g", "audit", "-t", "Orders", "-s", "0")
        #expect(try await behind(cluster, "audit") == 3)
        await cluster.run("resetOffsetByTimeOld", "-g", "audit", "-t", "Orders", "-s", "now", "-f", "false")
        #expect(try await behind(cluster, "audit") == 3)
        await cluster.run("skipAccumulatedMessage", "-g", "audit", "-t", "Orders")
        #expect(try await behind(cluster, "audit") == 0)
        for command in ["resetOffsetByTime", "resetOffsetByTimeOld"] {
            await cluster.run(command, "-g", "audit", "-t", "Orders", "-s", "0")
            #expect(try await behind(cluster, "audit") == 3)
            await cluster.run(command, "-g", "audit", "-t", "Orders", "-s", "-1")
            #expect(try await behind(cluster, "audit") == 0)
        }
        #expect(await cluster.failure("cloneGroupOffset", "-s", "nobody", "-d", "audit", "-t", "Orders").contains("nobody has no offsets"))

        await cluster.run("deleteSubGroup", "-c", "DefaultCluster", "-g", "billing", "-r", "true")
        #expect(await !cluster.run("topicList").contains("%RETRY%billing"))
        #expect(await cluster.failure("getConsumerConfig", "-g", "billing").contains("no broker has a consumer group billing"))
    }

    @Test("A group is placed before it ever consumed, by time and at an offset, and a mistyped name is not")
    func placed() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "2", "-w", "2")
        for number in 0..<6 {
            await cluster.run("sendMessage", "-t", "Orders", "-p", "m\(number)", "-b", "broker-a", "-i", "\(number % 2)")
        }
        let unknown = await cluster.failure("resetOffsetByTime", "-g", "biling", "-t", "Orders", "-s", "now")
        #expect(unknown.contains("there is no consumer group biling") && unknown.contains("updateSubGroup"))
        await cluster.run("updateSubGroup", "-c", "DefaultCluster", "-g", "billing")
        #expect(await cluster.failure("skipAccumulatedMessage", "-g", "biling", "-t", "Orders").contains("did you mean billing?"))
        func offsets() async throws -> [Int64] {
            let queues = try await cluster.json("consumerProgress", "-g", "billing").first?["queues"]?.array ?? []
            return queues.filter { $0["topic"] == "Orders" }.compactMap { $0["consumerOffset"]?.int64 }
        }
        await cluster.run("skipAccumulatedMessage", "-g", "billing", "-t", "Orders")
        #expect(try await offsets() == [3, 3])
        await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-b", "broker-a", "-q", "1", "-o", "2")
        #expect(try await offsets() == [3, 2])
        let beyond = await cluster.failure("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-b", broker, "-q", "1", "-o", "4")
        #expect(beyond.contains("has 0...3"))
        #expect(
            await cluster.failure("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-b", broker, "-q", "2", "-o", "0").contains(
                "queue 2"))
        await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-s", "0", "-b", broker, "-q", "0")
        #expect(try await offsets() == [0, 2])
        // A time after all messages is their end: none comes again.
        await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-s", "4102444800000")
        #expect(try await offsets() == [3, 3])
        await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-s", "0")
        try await consume(cluster, group: "billing", count: 6) { consumer in
            // One queue of a group at work: six again would be all of both.
            let shown = await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-b", broker, "-q", "1", "-o", "3")
            #expect(shown.contains("to offset[3]"))
            let old = Terminal()
            #expect(
                await old.run(
                    ["resetOffsetByTimeOld", "-g", "billing", "-t", "Orders", "-s", "now"], nameServers: cluster.nameServerAddress) == 0)
            #expect(old.errors.contains("1 members of group billing are connected (\(consumer.runtime.clientID))"))
            let deletion = Terminal()
            #expect(await deletion.run(["deleteSubGroup", "-b", broker, "-g", "billing"], nameServers: cluster.nameServerAddress) == 0)
            #expect(deletion.errors.contains("1 consumers of group billing are connected"))
        }
    }

    @Test("Consumers that broadcast go where they are told while they run, and the command says whom it did not reach")
    func broadcasting() async throws {
        let cluster = try Cluster()
        await cluster.run("updateTopic", "-c", "DefaultCluster", "-t", "Orders", "-r", "1", "-w", "1")
        let (stream, received) = AsyncStream.makeStream(of: String.self)
        var configuration = ConsumerConfiguration(group: "news")
        configuration.messageModel = .broadcasting
        configuration.consumeFromWhere = .firstOffset
        let folder = try TestFolder()
        configuration.localOffsetDirectory = folder.path
        let consumer = DefaultMQPushConsumer(configuration, client: ClientConfiguration(nameServers: [cluster.nameServerAddress]))
        try await consumer.subscribe("Orders")
        consumer.registerMessageListener { messages, _ in
            for message in messages { received.yield(String(decoding: message.body, as: UTF8.self)) }
            return .consumeSuccess
        }
        try await consumer.start()
        var arrived = stream.makeAsyncIterator()
        for number in 0..<3 { await cluster.run("sendMessage", "-t", "Orders", "-p", "m\(number)") }
        // Several are processed at a time.
        func three() async -> Set<String> {
            var bodies: Set<String> = []
            for _ in 0..<3 { if let body = await arrived.next() { bodies.insert(body) } }
            return bodies
        }
        #expect(await three() == ["m0", "m1", "m2"])
        let refused = await cluster.failure("resetOffsetByTime", "-g", "news", "-t", "Orders", "-s", "0", "-f", "false")
        #expect(refused.contains("BROADCASTING") && refused.contains("keep their own positions"))
        #expect(await cluster.failure("resetOffsetByTimeOld", "-g", "news", "-t", "Orders", "-s", "0").contains("news is BROADCASTING"))
        let terminal = Terminal()
        #expect(
            await terminal.run(["resetOffsetByTime", "-g", "news", "-t", "Orders", "-s", "0"], nameServers: cluster.nameServerAddress) == 0)
        #expect(terminal.errors.contains("the 1 that are connected were told"))
        #expect(await three() == ["m0", "m1", "m2"], "once more from the beginning")
        await consumer.shutdown()
    }

    @Test("consumerConnection shows who wants what when members of a group differ")
    func differingMembers() async throws {
        let cluster = try Cluster()
        await cluster.run("updateTopic", "-c", "DefaultCluster", "-t", "Orders", "-r", "1", "-w", "1")
        var members: [DefaultMQPushConsumer] = []
        for (name, tags) in [("one", ["A"]), ("two", ["B", "C"])] {
            var client = ClientConfiguration(nameServers: [cluster.nameServerAddress])
            client.instanceName = name
            let consumer = DefaultMQPushConsumer(ConsumerConfiguration(group: "billing"), client: client)
            try await consumer.subscribe("Orders", filter: .tags(tags))
            consumer.registerMessageListener { _, _ in .consumeSuccess }
            try await consumer.start()
            members.append(consumer)
        }
        let shown = await cluster.run("consumerConnection", "-g", "billing")
        let rows = shown.components(separatedBy: "each gets what it subscribes to itself:\n").last ?? ""
        for (member, expression) in zip(members, ["A", "B || C"]) {
            #expect(
                rows.split(separator: "\n").contains {
                    $0.contains(member.runtime.clientID) && $0.contains("Orders") && $0.hasSuffix(" \(expression)")
                }, "\(shown)")
        }
        #expect(!rows.contains("%RETRY%"), "on that they agree")
        let connections = try await cluster.json("consumerConnection", "-g", "billing").first?["connectionSet"]?.array ?? []
        let own = connections.map { $0["subscriptionSet"]?.array?.first { $0["topic"] == "Orders" }?["subString"] }
        #expect(own == ["A", "B || C"])
        for member in members { await member.shutdown() }
    }

    private func behind(_ cluster: Cluster, _ group: String) async throws -> Int64? {
        let queues = try await cluster.json("consumerProgress", "-g", group).first?["queues"]?.array ?? []
        return queues.first { $0["topic"] == "Orders" }?["diff"]?.int64
    }

    @Test("Brokers and name servers: state, settings, permissions, keys, order")
    func servers() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        let state = try #require(await cluster.json("brokerStatus", "-b", broker).first?[broker])
        #expect(state["brokerVersionDesc"] == "V4_9_8")
        #expect(await cluster.run("brokerStatus", "-c", "DefaultCluster").contains(broker))

        await cluster.run("updateBrokerConfig", "-b", broker, "-k", "autoCreateTopicEnable", "-v", "false")
        #expect(try await cluster.json("getBrokerConfig", "-b", "broker-a").first?[broker]?["autoCreateTopicEnable"] == "false")
        let refused = await cluster.failure("updateBrokerConfig", "-b", broker, "-k", "autoCreateTopicEnabled", "-v", "true")
        #expect(refused.contains(broker) && refused.contains("autoCreateTopicEnable"))
        #expect(try await cluster.json("getNamesrvConfig").first?[cluster.nameServerAddress]?["bindAddress"] == "127.0.0.1")
        await cluster.run("updateNamesrvConfig", "-k", "orderMessageEnable", "-v", "true")

        await cluster.run("updateTopic", "-b", broker, "-t", "Ordered", "-w", "3", "-r", "3", "-o", "true")
        #expect(try await cluster.json("topicRoute", "-t", "Ordered").first?["orderTopicConf"] == "broker-a:3")
        await cluster.run("updateOrderConf", "-t", "Ordered", "-m", "delete")
        #expect(try await cluster.json("updateOrderConf", "-t", "Ordered", "-m", "get").first?["orderConf"] == .null)
        await cluster.run("updateTopicPerm", "-c", "DefaultCluster", "-t", "Ordered", "-p", "4")
        let sent = await cluster.failure("sendMessage", "-t", "Ordered", "-p", "x", "-b", "broker-a")
        #expect(sent.contains("may not be written to"))
        await cluster.run("updateTopicPerm", "-b", broker, "-t", "Ordered", "-p", "6")
        let queues = try await cluster.json("topicRoute", "-t", "Ordered").first?["queueDatas"]?.array?.first
        #expect(queues?["perm"] == 6 && queues?["writeQueueNums"] == 3)

        #expect(await cluster.run("wipeWritePerm", "-b", "broker-a").contains("in name server[\(cluster.nameServerAddress)] OK"))
        #expect(try await cluster.json("topicRoute", "-t", "Ordered").first?["queueDatas"]?.array?.first?["perm"] == 4)
        await cluster.run("addWritePerm", "-b", "broker-a")
        #expect(try await cluster.json("topicRoute", "-t", "Ordered").first?["queueDatas"]?.array?.first?["perm"] == 6)
        #expect(
            await cluster.run("updateKvConfig", "-s", "N", "-k", "k", "-v", "v") == "create or update kv config to namespace success.\n")
        #expect(await cluster.run("deleteKvConfig", "-s", "N", "-k", "k") == "delete kv config from namespace success.\n")
        #expect(await cluster.run("cleanUnusedTopic") == "success\n")
        let divided = try await cluster.json("allocateMQ", "-t", "Ordered", "-i", "a,b").first?["result"]
        #expect(divided?["a"]?.array?.count == 2 && divided?["b"]?.array?.count == 1)
    }

    @Test("What is not there is named, with what it may have been meant to be")
    func unknownNames() async throws {
        let cluster = try Cluster()
        #expect(
            await cluster.failure("updateTopic", "-c", "DefaultClustr", "-t", "T").contains(
                "there is no cluster DefaultClustr; did you mean DefaultCluster?"))
        #expect(await cluster.failure("updateTopic", "-c", "Elsewhere", "-t", "T").contains("the name server knows DefaultCluster"))
        #expect(await cluster.failure("brokerStatus", "-b", "broker-b").contains("there is no broker broker-b; did you mean broker-a?"))
        #expect(await cluster.failure("topicStatus", "-t", "BenchmarkTset").contains("did you mean BenchmarkTest?"))
        let illegal = await cluster.failure("updateTopic", "-b", "broker-a", "-t", "no blanks")
        #expect(illegal.contains("broker \(cluster.broker.advertisedAddress) refused"))
        #expect(await cluster.failure("topicList", "-n", "127.0.0.1:1").contains("name server 127.0.0.1:1 cannot be reached"))
        // One that answers is enough for a question, not for a change.
        let both = "127.0.0.1:1;\(cluster.nameServerAddress)"
        #expect(await cluster.run("topicList", "-n", both).contains("TBW102"))
        let partly = await cluster.failure("updateKvConfig", "-n", both, "-s", "N", "-k", "k", "-v", "v")
        #expect(partly.contains("failed at 1 of 2 servers") && partly.contains("done at \(cluster.nameServerAddress)"))
    }
}
