import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What a broker tells of its consumer groups.
struct GroupWatchTests {
    /// A whole broker with consumers that heartbeat and pull as the Java client does.
    struct Scene {
        let broker: BrokerScene

        init(_ settings: [String: String] = [:]) throws {
            broker = try BrokerScene(["consumerStoppedAfter": "60000", "consumerCheckInterval": "10000"].merging(settings) { $1 })
        }

        func heartbeat(
            _ client: TestClient, _ clientID: String, _ subscriptions: [SubscriptionData], model: MessageModel = .clustering,
            version: Int32 = 409
        ) throws {
            let data = HeartbeatData(
                clientID: clientID,
                consumerDataSet: [ConsumerData(groupName: "cg", messageModel: model, subscriptionDataSet: subscriptions)])
            var request = RemotingCommand.request(.heartBeat, body: data.encoded())
            request.language = .java
            request.version = version
            #expect(try client.call(request).responseCode == .success)
        }

        /// A pull that leaves the filter to the broker.
        func pull(_ client: TestClient, _ topic: String = "T", from offset: Int64 = 0, version: Int64 = 1) throws -> RemotingCommand {
            var request = broker.pullRequest(topic, offset, group: "cg")
            request.fields["sysFlag"] = "0"
            request.fields["subscription"] = nil
            request.fields["subVersion"] = "\(version)"
            return try client.call(request)
        }

        func bodies(_ answer: RemotingCommand) throws -> [String] {
            try MessageExt.decodeAll(answer.body).map { String(decoding: $0.body, as: UTF8.self) }
        }

        func report(_ group: String? = nil) throws -> ConsumerGroupReport {
            let client = try broker.client()
            let opaque = client.send(.request(.checkConsumerGroups, group.map { ["group": $0] } ?? [:]))
            // A look at many groups makes pauses.
            broker.loop.advance(by: .milliseconds(200))
            let answer = try #require(client.takeAnswer(to: opaque))
            try #require(answer.responseCode == .success, "\(answer.remark ?? "")")
            return try ConsumerGroupReport(decoding: answer.body)
        }

        func commit(_ offset: Int64, queue: Int32 = 0, group: String = "cg") throws {
            let fields = ["consumerGroup": group, "topic": "T", "queueId": "\(queue)", "commitOffset": "\(offset)"]
            #expect(try broker.client().call(.updateConsumerOffset, fields).responseCode == .success)
        }

        func warnings(_ text: String) -> Int {
            broker.logSink.records.filter { $0.level == .warning && $0.message.contains(text) }.count
        }
    }

    @Test("Each consumer of a group gets what it asked for itself, whoever sent the last heartbeat")
    func ownSubscription() throws {
        let scene = try Scene()
        for (body, tag) in [("a", "A"), ("b", "B"), ("c", "A")] { try scene.broker.store("T", body, properties: "TAGS\u{1}\(tag)") }
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        try scene.heartbeat(first, "c1", [subscription("T", "A", version: 5)])
        try scene.heartbeat(second, "c2", [subscription("T", "B", version: 9)])
        #expect(try scene.bodies(scene.pull(first, version: 5)) == ["a", "c"])
        #expect(try scene.bodies(scene.pull(second, version: 9)) == ["b"])
        // A version is that of the client: its own must have come.
        #expect(try scene.pull(first, version: 6).responseCode == .subscriptionNotLatest)
        // Topics of one are not taken away by another's heartbeat.
        try scene.heartbeat(second, "c2", [subscription("U", "*", version: 10)])
        #expect(try scene.bodies(scene.pull(first, version: 5)) == ["a", "c"])
    }

    @Test("A pull that waits is answered when its consumer wants other messages: it would pass over them")
    func newExpression() throws {
        let scene = try Scene()
        try scene.broker.createTopic("T")
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        for (client, id) in [(first, "c1"), (second, "c2")] { try scene.heartbeat(client, id, [subscription("T", "A", version: 1)]) }
        func wait(_ client: TestClient) -> Int32 {
            var request = scene.broker.pullRequest("T", 0, group: "cg")
            request.fields.merge(["sysFlag": "2", "suspendTimeoutMillis": "15000", "subVersion": "1"]) { $1 }
            request.fields["subscription"] = nil
            let opaque = client.send(request)
            scene.broker.loop.settle()
            return opaque
        }
        let (waiting, other) = (wait(first), wait(second))
        #expect(first.takeAnswer(to: waiting) == nil)
        try scene.heartbeat(first, "c1", [subscription("T", "A", version: 2)])
        #expect(first.takeAnswer(to: waiting) == nil, "the same, said again")
        try scene.heartbeat(first, "c1", [subscription("T", "A || B", version: 3)])
        let answer = first.takeAnswer(to: waiting)
        #expect(answer?.responseCode == .pullNotFound && answer?.fields["nextBeginOffset"] == "0")
        #expect(second.takeAnswer(to: other) == nil)
        try scene.broker.store("T", "b", properties: "TAGS\u{1}B")
        #expect(try scene.bodies(scene.pull(first, version: 3)) == ["b"])
    }

    @Test("A connection that sent no heartbeat gets what all agree on, and is refused when they do not")
    func strangers() throws {
        let scene = try Scene()
        for (body, tag) in [("a", "A"), ("b", "B")] { try scene.broker.store("T", body, properties: "TAGS\u{1}\(tag)") }
        let (first, second, stranger) = (try scene.broker.client(), try scene.broker.client(), try scene.broker.client())
        try scene.heartbeat(first, "c1", [subscription("T", "A || B", version: 5)])
        try scene.heartbeat(second, "c2", [subscription("T", "B || A", version: 6)])
        #expect(try scene.bodies(scene.pull(stranger)) == ["a", "b"])
        try scene.heartbeat(second, "c2", [subscription("T", "B", version: 7)])
        let refused = try scene.pull(stranger)
        #expect(refused.responseCode == .subscriptionNotExist)
        #expect(refused.remark?.contains("c1 (") == true && refused.remark?.contains("c2 (") == true, "\(refused.remark ?? "")")
        first.close()
        #expect(try scene.bodies(scene.pull(stranger, version: 7)) == ["b"])
    }

    @Test("Consumers that differ are told of once a change with both named, and shown to tools until they agree")
    func differing() throws {
        let scene = try Scene()
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        try scene.heartbeat(first, "c1", [subscription("T", "A", version: 5)])
        #expect(try scene.report("cg").findings.isEmpty)
        for _ in 0..<3 {
            try scene.heartbeat(second, "c2", [subscription("T", "B", version: 5)])
            scene.broker.loop.advance(by: .seconds(2))
        }
        #expect(scene.warnings("differ") == 1)
        #expect(scene.warnings("consumers c2 (\(second.stream.peer)) and c1 (\(first.stream.peer)) of group cg differ") == 1)
        let report = try scene.report("cg")
        let finding = try #require(report.findings.first)
        #expect(report.findings.count == 1 && finding.kind == .differentSubscriptions && finding.topic == "T")
        #expect(finding.clients.map(\.connection.clientID) == ["c1", "c2"])
        #expect(finding.clients.map(\.connection.clientAddr) == [first, second].map { "\($0.stream.peer)" })
        #expect(finding.clients.map { $0.subscriptionSet.map(\.subString) } == [["A"], ["B"]])
        #expect(finding.clients.allSatisfy { $0.connection.language == "JAVA" && $0.connection.version == 409 })
        #expect(report.members.map(\.connection.clientID) == ["c1", "c2"])

        try scene.heartbeat(second, "c2", [subscription("T", "A", version: 6), subscription("U")])
        #expect(scene.warnings("only the first subscribes to U") == 1)
        #expect(try scene.report("cg").findings.map(\.topic) == ["U"])
        try scene.heartbeat(second, "c2", [subscription("T", "A", version: 7)], model: .broadcasting)
        #expect(try scene.report().findings.map(\.kind) == [.differentModels])
        try scene.heartbeat(second, "c2", [subscription("T", "A", version: 7)])
        #expect(try scene.report("cg").findings.isEmpty)
        #expect(scene.broker.logSink.contains("agree again", atLeast: .info))
    }

    @Test("A difference is told of once, whoever else comes or sends another version, and its end once")
    func toldOnce() throws {
        let scene = try Scene()
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        func wait() { scene.broker.loop.advance(by: .seconds(2)) }
        func agreements() -> [String] { scene.broker.logSink.messages.filter { $0.contains("agree again") } }
        try scene.heartbeat(first, "c1", [subscription("T", "A", version: 1), subscription("U", "*", version: 1)])
        try scene.heartbeat(second, "c2", [subscription("T", "B", version: 1), subscription("U", "x", version: 1)])
        #expect(scene.warnings("differ: T with") == 1 && scene.warnings("differ: U with") == 1)
        for version in 2..<5 {
            wait()
            try scene.heartbeat(first, "c1", [subscription("T", "A", version: Int64(version)), subscription("U", "*", version: 1)])
        }
        let third = try scene.broker.client()
        try scene.heartbeat(third, "c3", [subscription("T", "B", version: 9), subscription("U", "x", version: 9)])
        wait()
        third.close()
        #expect(scene.warnings("differ") == 2 && agreements().isEmpty)
        try scene.heartbeat(second, "c2", [subscription("T", "C", version: 10), subscription("U", "x", version: 1)])
        #expect(scene.warnings("differ: T with \"C\" and \"A\"") == 1)
        wait()
        try scene.heartbeat(second, "c2", [subscription("T", "B", version: 11), subscription("U", "x", version: 1)])
        #expect(scene.warnings("differ") == 3, "that was told of before")
        wait()
        try scene.heartbeat(second, "c2", [subscription("T", "A", version: 12), subscription("U", "x", version: 1)])
        #expect(agreements() == ["the consumers of group cg agree again on topic T"])
        wait()
        second.close()
        #expect(agreements().last == "the consumers of group cg agree again on what they subscribe to" && agreements().count == 2)
        wait()
        let again = try scene.broker.client()
        try scene.heartbeat(again, "c2", [subscription("T", "B", version: 1), subscription("U", "*", version: 1)])
        #expect(scene.warnings("differ") == 4, "a difference that had ended begins anew")
    }

    @Test("A client that changes its mind all the time does not fill the log")
    func fickle() throws {
        let scene = try Scene()
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        try scene.heartbeat(first, "c1", [subscription("T", "A", version: 1)])
        for version in 0..<400 {
            try scene.heartbeat(second, "c2", [subscription("T", version % 2 == 0 ? "B\(version)" : "A", version: Int64(version))])
            scene.broker.loop.advance(by: .milliseconds(50))
        }
        let lines = scene.broker.logSink.messages.filter { $0.contains(" differ: T") || $0.contains("agree again on") }
        #expect(lines.count >= 2 && lines.count <= 10, "\(lines.count) lines in 20 s")
        #expect(try scene.report("cg").findings.isEmpty)
    }

    @Test("Many topics that differ at once are counted, not all told")
    func manyDifferences() throws {
        let scene = try Scene()
        try scene.heartbeat(try scene.broker.client(), "c1", (0..<100).map { try subscription("T\($0)", "A", version: 1) })
        try scene.heartbeat(try scene.broker.client(), "c2", (0..<100).map { try subscription("T\($0)", "B", version: 1) })
        #expect(scene.warnings("differ: T") == 4 && scene.warnings("96 more topics") == 1)
        #expect(try scene.report("cg").findings.count == 100)
    }

    @Test("Who broadcasts beside others differs in that alone: no retries come to it")
    func retriesOfModels() throws {
        let scene = try Scene()
        let retry = try subscription("%RETRY%cg")
        try scene.heartbeat(try scene.broker.client(), "share", [subscription("T"), retry])
        let other = try scene.broker.client()
        try scene.heartbeat(other, "all", [subscription("T")], model: .broadcasting)
        let finding = try #require(try scene.report("cg").findings.first)
        #expect(try scene.report("cg").findings.map(\.kind) == [.differentModels])
        #expect(Set(finding.clients.map(\.connection.clientID)) == ["share", "all"])
        #expect(scene.warnings("one is BROADCASTING, the other CLUSTERING") == 1 && scene.warnings("%RETRY%") == 0)
        // A pull consumer among push consumers is given queues of retries, and does not read them.
        try scene.heartbeat(other, "all", [subscription("T")])
        let found = try scene.report("cg").findings
        #expect(found.map(\.kind) == [.differentSubscriptions] && found.first?.topic == "%RETRY%cg")
        #expect(found.first?.message.contains("retries that fall to one without it wait") == true)
    }

    @Test("An expression of another type is another subscription, also for who pulls just now")
    func expressionTypes() throws {
        let scene = try Scene(["enablePropertyFilter": "true"])
        for (body, tag) in [("a", "A"), ("b", "B")] { try scene.broker.store("T", body, properties: "TAGS\u{1}\(tag)") }
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        try scene.heartbeat(first, "c1", [subscription("T", "A", version: 1)])
        try scene.heartbeat(second, "c2", [subscription("T", "A", version: 1)])
        var condition = try subscription("T", "TAGS = 'B'", version: 2)
        condition.expressionType = ExpressionType.sql92
        (condition.tagsSet, condition.codeSet) = ([], [])
        try scene.heartbeat(second, "c2", [condition])
        #expect(try scene.bodies(scene.pull(first, version: 1)) == ["a"])
        #expect(try scene.bodies(scene.pull(second, version: 2)) == ["b"])
        #expect(try scene.report("cg").findings.map(\.kind) == [.differentSubscriptions])
        // One leaves (35): the other keeps what it has.
        #expect(try second.call(.unregisterClient, ["clientID": "c2", "consumerGroup": "cg"]).responseCode == .success)
        #expect(try scene.bodies(scene.pull(first, version: 1)) == ["a"])
        #expect(try scene.report("cg").findings.isEmpty)
    }

    @Test("A subscription that the broker cannot serve is told of once, with client, expression and place, until it is corrected")
    func refusedSubscription() throws {
        let scene = try Scene()
        try scene.broker.store("T", "waits")
        let client = try scene.broker.client()
        func subscribe(_ expression: String, _ type: String, version: Int64) throws {
            var condition = try subscription("T", "*", version: version)
            (condition.expressionType, condition.subString) = (type, expression)
            (condition.tagsSet, condition.codeSet) = ([], [])
            try scene.heartbeat(client, "c1", [condition])
        }
        try subscribe("v > ", ExpressionType.sql92, version: 1)
        #expect(try scene.pull(client).responseCode == .filterDataNotExist)
        let finding = try #require(try scene.report("cg").findings.first)
        #expect(finding.kind == .subscriptionRefused && finding.topic == "T" && finding.clients.map(\.connection.clientID) == ["c1"])
        #expect(finding.message.contains("c1") && finding.message.contains("\"v > \" is refused, at character 5"))
        scene.broker.loop.advance(by: .seconds(25))
        #expect(scene.warnings("is refused, at character 5") == 1)
        try subscribe("v > 0", "WEIRD", version: 2)
        #expect(try scene.report("cg").findings.first?.message.contains("not by WEIRD") == true)
        try subscribe("v > 0", ExpressionType.sql92, version: 3)
        scene.broker.loop.advance(by: .seconds(10))
        #expect(try scene.report("cg").findings.isEmpty)
        #expect(scene.broker.logSink.messages.contains { $0.contains("no longer: SUBSCRIPTION_REFUSED of group cg, topic T") })
    }

    @Test("A connection that calls itself another consumer is told of: its subscription takes the place of the one before")
    func twoConsumersOnOneConnection() throws {
        let scene = try Scene()
        let client = try scene.broker.client()
        try scene.heartbeat(client, "x1", [subscription("T", "A")])
        try scene.heartbeat(client, "x1", [subscription("T", "A")])
        #expect(scene.warnings("calls itself") == 0)
        try scene.heartbeat(client, "x2", [subscription("T", "B")])
        #expect(scene.warnings("of group cg calls itself x2 now") == 1)
    }

    @Test("Two consumers of one client id are told of while both are there, and not a client that connected anew")
    func namesakes() throws {
        let scene = try Scene()
        let (first, second) = (try scene.broker.client(), try scene.broker.client())
        try scene.heartbeat(first, "same", [subscription("T")])
        scene.broker.loop.advance(by: .seconds(1))
        try scene.heartbeat(second, "same", [subscription("T")])
        #expect(try scene.report("cg").findings.isEmpty, "it may have connected anew")
        scene.broker.loop.advance(by: .seconds(30))
        for client in [first, second] { try scene.heartbeat(client, "same", [subscription("T")]) }
        let finding = try #require(try scene.report("cg").findings.first)
        #expect(
            finding.kind == .sameClientID && finding.clients.map(\.connection.clientAddr) == [first, second].map { "\($0.stream.peer)" })
        scene.broker.loop.advance(by: .seconds(10))
        #expect(scene.warnings("2 consumers of group cg call themselves same") == 1)
        // Others of one id in the same group are told of too.
        let others = [try scene.broker.client(), try scene.broker.client()]
        for _ in 0..<2 {
            for client in others { try scene.heartbeat(client, "twin", [subscription("T")]) }
            scene.broker.loop.advance(by: .seconds(10))
        }
        #expect(scene.warnings("2 consumers of group cg call themselves twin") == 1)
        #expect(scene.warnings("2 consumers of group cg call themselves same") == 1)
        others[0].close()
        second.close()
        #expect(try scene.report("cg").findings.isEmpty)
    }

    @Test("A queue whose offset does not move is told of with the consumer that pulled it last, and no more when it moves")
    func stopped() throws {
        let scene = try Scene()
        for index in 0..<6 { try scene.broker.store("T", "\(index)", queue: Int32(index % 2)) }
        let consumer = try scene.broker.client()
        func wait(_ seconds: Int, committing offset: Int64? = nil) throws {
            for _ in 0..<(seconds / 10) {
                try scene.heartbeat(consumer, "c1", [subscription("T")])
                scene.broker.loop.advance(by: .seconds(10))
            }
        }
        try scene.heartbeat(consumer, "c1", [subscription("T")])
        try scene.commit(1)
        try scene.commit(3, queue: 1)
        _ = try scene.pull(consumer, from: 1)
        try wait(50)
        #expect(try scene.report().findings.isEmpty, "it has not waited long enough")
        try wait(30)
        let finding = try #require(try scene.report().findings.first)
        #expect(finding.kind == .queueStopped && finding.queueID == 0 && finding.lag == 2 && finding.group == "cg")
        #expect(finding.clients.map(\.connection.clientID) == ["c1"])
        #expect(scene.broker.loop.clock.wallMilliseconds - finding.since >= 60_000)
        #expect(finding.message.contains("c1 (\(consumer.stream.peer)) pulled it last"))
        #expect(scene.warnings("2 messages of topic T, queue 0 wait for group cg") == 1, "once, however often it is looked at")
        try scene.commit(3)
        try wait(10)
        #expect(try scene.report().findings.isEmpty)
        #expect(scene.broker.logSink.contains("no longer: QUEUE_STOPPED of group cg, topic T, queue 0", atLeast: .info))
    }

    @Test("Messages that wait for a group without consumers, or wait in masses, are told of")
    func backlog() throws {
        let scene = try Scene(["consumerBacklogWarning": "5"])
        for index in 0..<5 { try scene.broker.store("T", "\(index)") }
        try scene.commit(1)
        scene.broker.loop.advance(by: .seconds(80))
        let findings = try scene.report().findings
        #expect(findings.map(\.kind) == [.noClient])
        #expect(findings.first?.lag == 4 && findings.first?.clients.isEmpty == true)
        try scene.broker.store("T", "one more")
        #expect(try scene.report("cg").findings.map(\.kind) == [.noClient, .backlog])
        scene.broker.loop.advance(by: .seconds(10))
        #expect(scene.warnings("consumerBacklogWarning=5") == 1)
        let runtime = try KVTable(decoding: scene.broker.client().call(.getBrokerRuntimeInfo).body).table
        #expect(runtime["consumerGroupFindings"] == "BACKLOG=1 NO_CLIENT=1")
        // Groups that broadcast keep their offsets themselves.
        try scene.heartbeat(try scene.broker.client(), "b1", [subscription("T")], model: .broadcasting)
        #expect(try scene.report("cg").findings.isEmpty)
        #expect(try scene.broker.client().call(.checkConsumerGroups, ["group": "none"]).responseCode == .subscriptionGroupNotExist)
    }

    @Test("Consumers of releases that are too old are told of with language and version")
    func old() throws {
        let scene = try Scene(["oldestClientVersion": "400"])
        try scene.heartbeat(try scene.broker.client(), "new", [subscription("T")])
        try scene.heartbeat(try scene.broker.client(), "old", [subscription("T")], version: 399)
        let finding = try #require(try scene.report().findings.first)
        #expect(finding.kind == .clientTooOld && finding.clients.map(\.connection.clientID) == ["old"])
        #expect(finding.message.contains("JAVA version 399"))
        #expect(scene.warnings("JAVA version 399") == 1)
    }

    @Test("A look at many groups is done in pieces, and findings are many without many lines")
    func many() throws {
        let scene = try Scene(["autoCreateSubscriptionGroup": "true"])
        try scene.broker.createTopic("T", queues: 64)
        try scene.broker.store("T", "waits")
        for index in 0..<300 { try scene.commit(0, group: "g\(index)") }
        scene.broker.loop.advance(by: .seconds(100))
        let report = try scene.report()
        #expect(report.findings.count == 300 && Set(report.findings.map(\.kind)) == [.noClient])
        #expect(scene.warnings("of which no consumer is connected") == 50 && scene.warnings("250 more findings") == 1)
    }
}
