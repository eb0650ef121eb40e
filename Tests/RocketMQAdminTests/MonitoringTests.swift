import RocketMQClient
import RocketMQProtocol
import RocketMQTesting
import Testing

@testable import RocketMQAdmin

/// Commands that measure, watch and export, against a name server and a broker of this process.
@Suite(.timeLimit(.minutes(2)))
struct MonitoringTests {
    @Test("Send times of every broker, of a topic's queues and of one broker, and what could not be sent")
    func sendTimes() async throws {
        let cluster = try Cluster()
        let broker = cluster.broker.advertisedAddress
        let rounds = try await cluster.json("clusterRT", "-a", "5", "-r", "2", "-i", "1")
        #expect(rounds.count == 2)
        for round in rounds {
            let line = try #require(round.array?.first)
            #expect(round.array?.count == 1 && line["clusterName"] == "DefaultCluster" && line["brokerName"] == "broker-a")
            #expect(line["successCount"] == 5 && line["failCount"] == 0)
        }
        let log = await cluster.run("clusterRT", "-a", "1", "-r", "1", "-p", "true", "-m", "room1")
        #expect(log.contains("|room1|DefaultCluster|broker-a|") && log.split(separator: "\n").count == 1)
        #expect(await cluster.failure("clusterRT", "-c", "Defaultcluster", "-r", "1").contains("did you mean DefaultCluster?"))

        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "2", "-w", "2")
        let sent = try await cluster.json("checkMsgSendRT", "-t", "Orders", "-a", "4", "-s", "10")
        #expect(sent.map { $0["queueId"] } == [0, 1, 0, 1] && sent.allSatisfy { $0["sent"] == true })
        #expect(await cluster.run("checkMsgSendRT", "-t", "Orders", "-a", "1").contains("Avg RT: "))
        let bodies = try await cluster.json("consumeMessage", "-t", "Orders").compactMap { $0["body"]?.string?.utf8.count }
        #expect(bodies.sorted() == [10, 10, 10, 10, 128])
        #expect(await cluster.failure("checkMsgSendRT", "-t", "Order").contains("did you mean Orders?"))
        await cluster.run("updateTopicPerm", "-b", broker, "-t", "Orders", "-p", "4")
        #expect(await cluster.failure("checkMsgSendRT", "-t", "Orders").contains("no queue that may be written to"))

        let answers = try await cluster.json("sendMsgStatus", "-b", "broker-a", "-c", "3")
        #expect(answers.map { $0["sendStatus"] } == ["SEND_OK", "SEND_OK", "SEND_OK"])
        #expect(
            await cluster.run("sendMsgStatus", "-b", "broker-a", "-c", "1").contains(
                "ms, SendResult=SendResult [sendStatus=SEND_OK, msgId="))
        #expect(await cluster.failure("sendMsgStatus", "-b", "broker-b").contains("there is no broker broker-b"))
    }

    @Test("startMonitoring shows what waits, for whom, and what is wrong")
    func monitoring() async throws {
        let cluster = try Cluster(settings: ["consumerBacklogWarning": "3"])
        let broker = cluster.broker.advertisedAddress
        #expect(await cluster.run("startMonitoring", "-r", "1").contains("no messages wait, 0 findings"))
        await cluster.run("updateTopic", "-b", broker, "-t", "Orders", "-r", "2", "-w", "2")
        await cluster.run("updateTopic", "-b", broker, "-t", "%RETRY%billing", "-r", "1", "-w", "1")
        await cluster.run("updateSubGroup", "-b", broker, "-g", "billing")
        for number in 0..<4 { await cluster.run("sendMessage", "-t", "Orders", "-p", "x", "-b", "broker-a", "-i", number == 0 ? "1" : "0") }
        await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-s", "0")
        await cluster.run("resetOffsetByTime", "-g", "billing", "-t", "Orders", "-b", "broker-a", "-q", "0", "-o", "1")
        let rounds = try await cluster.json("startMonitoring", "-r", "2", "-i", "1")
        #expect(rounds.count == 2)
        let undone = try #require(rounds[0]["undoneMsgs"]?.array?.first { $0["topic"] == "Orders" })
        #expect(undone["consumerGroup"] == "billing" && undone["undoneMsgsTotal"] == 3 && undone["undoneMsgsSingleMQ"] == 2)
        #expect(try #require(undone["undoneMsgsDelayTimeMills"]?.int64) >= 0)
        #expect(rounds[0]["findings"]?.array?.map { $0["kind"] } == ["BACKLOG"])
        // Who looks at the group's progress is told too.
        let progress = await cluster.run("consumerProgress", "-g", "billing")
        #expect(progress.hasSuffix("Findings: BACKLOG on Orders; see mqadmin checkConsumers -g billing\n"), "\(progress)")
        #expect(await cluster.run("consumerProgress").hasSuffix("\nFindings: BACKLOG of billing; see mqadmin checkConsumers\n"))
        let known = try await cluster.json("consumerProgress", "-g", "billing").first?["findings"]?.array
        #expect(known?.map { $0["kind"] } == ["BACKLOG"])
        let text = await cluster.run("startMonitoring", "-r", "1")
        #expect(text.contains("messages wait for 1 groups and topics, 1 findings") && text.contains("BACKLOG at broker-a: 3 messages"))
    }

    @Test("What one broker's export holds makes the same topics and groups at another")
    func exportAndBack() async throws {
        let cluster = try Cluster()
        let folder = try TestFolder()
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Orders", "-r", "3", "-w", "2", "-a", "+retention.time=12h")
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Bills", "-p", "4")
        await cluster.run("updateSubGroup", "-b", "broker-a", "-g", "billing", "-r", "5")
        let file = folder.path + "/a/metadata.json"
        #expect(await cluster.run("exportMetadata", "-b", "broker-a", "-f", folder.path + "/a/") == "export \(file) success\n")
        let exported = try JSONValue(parsing: Array(try #require(folder.read("a/metadata.json")).utf8))
        #expect(exported["topicConfigTable"]?.object?.members.map(\.key) == ["Bills", "Orders"], "none of the system's own")
        #expect(exported["subscriptionGroupTable"]?.object?.members.map(\.key) == ["billing"])
        #expect((exported["exportTime"]?.int64 ?? 0) > 0)

        let other = try Cluster()
        #expect(await other.run("updateTopicList", "-c", "DefaultCluster", "-f", file).hasPrefix("2 topics created or changed at "))
        #expect(await other.run("updateSubGroupList", "-b", "broker-a", "-f", file).hasPrefix("1 consumer groups created or changed at "))
        let again = try #require(await other.json("exportMetadata", "-c", "DefaultCluster", "-f", "-").first)
        #expect(again["topicConfigTable"] == exported["topicConfigTable"])
        #expect(again["subscriptionGroupTable"] == exported["subscriptionGroupTable"])

        await cluster.run("exportMetadata", "-c", "DefaultCluster", "-f", folder.path, "-t")
        #expect(folder.read("topic.json")?.contains("subscriptionGroupTable") == false)
        try folder.write("[{\"topicName\":\"New\"},{\"topic\":\"Wrong\"}]", to: "list.json")
        #expect(await wrong("updateTopicList", "-f", folder.path + "/list.json", at: other).contains("element 2 of 2"))
        #expect(await !other.run("topicList").contains("New"), "nothing of a list with an error")
        try folder.write("[]", to: "list.json")
        #expect(await wrong("updateSubGroupList", "-f", folder.path + "/list.json", at: other).contains("holds no settings"))
        #expect(await wrong("updateTopicList", "-f", folder.path + "/none", at: other).contains("there is no file"))
        try folder.write("{", to: "list.json")
        #expect(await wrong("updateTopicList", "-f", folder.path + "/list.json", at: other).contains("is no JSON"))
        #expect(await cluster.failure("exportConfigs", "-c", "DefaultCluster", "-f", file).contains("cannot be written"))
    }

    /// A call that makes no sense; what is complained.
    private func wrong(_ words: String..., at cluster: Cluster) async -> String {
        let terminal = Terminal()
        #expect(await terminal.run(words + ["-c", "DefaultCluster"], nameServers: cluster.nameServerAddress) == 2)
        return terminal.errors
    }

    @Test("Settings and load of a cluster as files")
    func configsAndMetrics() async throws {
        let cluster = try Cluster()
        let folder = try TestFolder()
        await cluster.run("updateTopic", "-b", "broker-a", "-t", "Orders")
        await cluster.run("updateSubGroup", "-b", "broker-a", "-g", "billing")
        await cluster.run("exportConfigs", "-c", "DefaultCluster", "-f", folder.path)
        let configs = try JSONValue(parsing: Array(try #require(folder.read("configs.json")).utf8))
        #expect(configs["clusterScale"] == ["masterBrokerSize": 1, "namesrvSize": 1, "slaveBrokerSize": 0])
        let settings = try #require(configs["brokerConfigs"]?["broker-a"])
        #expect(settings["brokerName"] == "broker-a" && settings["flushDiskType"] == "ASYNC_FLUSH" && settings["listenPort"] == nil)
        let metrics = try #require(await cluster.json("exportMetrics", "-c", "DefaultCluster", "-f", "-").first)
        let quota = try #require(metrics["evaluateReport"]?["broker-a"]?["runtimeQuota"])
        #expect(quota["topicSize"] == 1 && quota["groupSize"] == 1 && quota["tps"]?["normalInTps"] != nil)
        #expect(metrics["evaluateReport"]?["broker-a"]?["runtimeVersion"]?["rocketmqVersion"] == "V4_9_8")
        #expect(metrics["totalData"]?["totalTps"]?["totalNormalInTps"] != nil)
        #expect(metrics["totalData"]?["totalOneDayNum"]?["totalTransOneDayInNum"] == 0)
        #expect(await cluster.failure("exportMetrics", "-c", "Other", "-f", "-").contains("there is no cluster Other"))
    }
}
