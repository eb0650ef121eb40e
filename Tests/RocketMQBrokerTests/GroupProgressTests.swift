import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

/// What a broker tells of groups that do not get on, and of what keeps them from it.
struct GroupProgressTests {
    /// A group whose consumers heartbeat, and do what each test has them do.
    struct Scene {
        let watch: GroupWatchTests.Scene
        let consumer: TestClient
        var broker: BrokerScene { watch.broker }

        init(_ settings: [String: String] = [:]) throws {
            watch = try GroupWatchTests.Scene(settings)
            consumer = try watch.broker.client()
        }

        func heartbeat(
            _ client: TestClient? = nil, id: String = "c1", topics: [String] = ["T"], from place: ConsumeFromWhere = .lastOffset,
            type: ConsumeType = .passively, model: MessageModel = .clustering
        ) throws {
            let data = HeartbeatData(
                clientID: id,
                consumerDataSet: [
                    ConsumerData(
                        groupName: "cg", consumeType: type, messageModel: model, consumeFromWhere: place,
                        subscriptionDataSet: try topics.map { try subscription($0) })
                ])
            #expect(try (client ?? consumer).call(.request(.heartBeat, body: data.encoded())).responseCode == .success)
        }

        /// Time passes while the consumer stays connected.
        func wait(_ seconds: Int, _ heartbeat: () throws -> Void) throws {
            for _ in 0..<(seconds / 10) {
                try heartbeat()
                broker.loop.advance(by: .seconds(10))
            }
        }

        func kinds() throws -> [ConsumerGroupFinding.Kind] { try watch.report("cg").findings.map(\.kind) }
        func message() throws -> String { try watch.report("cg").findings.first?.message ?? "" }

        func update(_ change: (inout SubscriptionGroupConfig) -> Void) throws {
            var config = SubscriptionGroupConfig(groupName: "cg")
            change(&config)
            let answer = try broker.client().call(.updateAndCreateSubscriptiongroup, body: config.encoded())
            #expect(answer.responseCode == .success)
        }
    }

    @Test("Messages in queues that a topic has no more are told of at once, with how they are read again", arguments: [true, false])
    func fewerQueues(isConnected: Bool) throws {
        let scene = try Scene()
        try scene.broker.createTopic("T", queues: 4)
        for queue in [0, 2, 3, 3] as [Int32] { try scene.broker.store("T", queue: queue) }
        if isConnected { try scene.heartbeat() }
        for (queue, offset) in [(0, 1), (2, 1), (3, 1)] as [(Int32, Int64)] { try scene.watch.commit(offset, queue: queue) }
        #expect(try scene.kinds() == [])
        try scene.broker.createTopic("T", queues: 2)
        let finding = try #require(try scene.watch.report("cg").findings.first)
        #expect(finding.kind == .notAllowed && finding.queueID == 3 && finding.lag == 1)
        #expect(finding.clients.map(\.connection.clientID) == (isConnected ? ["c1"] : []))
        #expect(
            finding.message.hasPrefix("1 messages of topic T wait for group cg in queue 3 that the topic has no more (readQueueNums=2)"))
        #expect(finding.message.contains("mqadmin updateTopic -t T -r 4 -w 2"))
        try scene.broker.createTopic("T", queues: 4)
        #expect(try scene.kinds() == [])
    }

    // MARK: Consumers that do nothing

    @Test("A consumer that neither pulls nor commits is told of when messages wait that it subscribes to, until it commits")
    func idle() throws {
        let scene = try Scene()
        for queue in [0, 0, 1] as [Int32] { try scene.broker.store("T", queue: queue) }
        try scene.wait(50) { try scene.heartbeat(from: .firstOffset) }
        #expect(try scene.kinds() == [], "it has just come")
        try scene.wait(40) { try scene.heartbeat(from: .firstOffset) }
        let found = try scene.watch.report("cg").findings
        #expect(found.map(\.kind) == [.queueStopped, .queueStopped] && found.map(\.queueID) == [0, 1] && found.map(\.lag) == [2, 1])
        #expect(found.allSatisfy { $0.clients.map(\.connection.clientID) == ["c1"] })
        #expect(
            found[0].message.contains("which has committed no offset there") && found[0].message.contains("c1 ("), "\(found[0].message)")
        #expect(scene.watch.warnings("queue 0 wait for group cg") == 1)
        try scene.watch.commit(2)
        try scene.watch.commit(1, queue: 1)
        try scene.wait(10) { try scene.heartbeat(from: .firstOffset) }
        #expect(try scene.kinds() == [])
        #expect(scene.broker.logSink.contains("no longer: QUEUE_STOPPED of group cg, topic T, queue 1", atLeast: .info))
    }

    @Test("A consumer that begins at the end misses only what comes after it, and a topic without messages nobody")
    func beginningAtTheEnd() throws {
        let scene = try Scene()
        try scene.broker.createTopic("Empty")
        for _ in 0..<5 { try scene.broker.store("T") }
        try scene.wait(100) { try scene.heartbeat(topics: ["T", "Empty", "NoneSuch"]) }
        #expect(try scene.kinds() == [], "nothing new came")
        try scene.broker.store("T", "new")
        try scene.wait(50) { try scene.heartbeat(topics: ["T", "Empty", "NoneSuch"]) }
        #expect(try scene.kinds() == [], "it waits for less than a minute")
        try scene.wait(30) { try scene.heartbeat(topics: ["T", "Empty", "NoneSuch"]) }
        #expect(try scene.watch.report("cg").findings.map(\.lag) == [1])
    }

    @Test("A consumer whose first pull began at the end waits for nothing, and one that got messages and never commits hangs")
    func pulling() throws {
        let scene = try Scene()
        try scene.heartbeat()
        scene.broker.loop.advance(by: .seconds(15))
        // These come between the first look and the first pull, which begins behind them.
        for _ in 0..<3 { try scene.broker.store("T") }
        #expect(try scene.watch.pull(scene.consumer, from: 3).responseCode == .pullNotFound)
        try scene.wait(120) {
            try scene.heartbeat()
            _ = try scene.watch.pull(scene.consumer, from: 3)
        }
        #expect(try scene.kinds() == [])
        try scene.broker.store("T")
        try scene.wait(80) {
            try scene.heartbeat()
            _ = try scene.watch.pull(scene.consumer, from: 4)
        }
        #expect(try scene.kinds() == [.queueStopped])
        #expect(try scene.message().contains("1 messages of topic T, queue 0 wait for group cg, which has committed no offset there"))
        #expect(try scene.message().contains("c1 (\(scene.consumer.stream.peer)) pulled it last"))
        // Another takes over, and begins at the end, as it wants.
        let other = try scene.broker.client()
        scene.consumer.close()
        try scene.heartbeat(other, id: "c2")
        _ = try scene.watch.pull(other, from: 4)
        try scene.wait(80) { try scene.heartbeat(other, id: "c2") }
        #expect(try scene.kinds() == [])
    }

    @Test("Nobody is told of who broadcasts, assigns queues to itself, or pulls in some of them when it wants to")
    func otherWays() throws {
        let scene = try Scene()
        for queue in [0, 1] as [Int32] { try scene.broker.store("T", queue: queue) }
        try scene.wait(100) { try scene.heartbeat(from: .firstOffset, model: .broadcasting) }
        #expect(try scene.kinds() == [])
        try scene.wait(100) { try scene.heartbeat(topics: [], from: .firstOffset, type: .actively) }
        #expect(try scene.kinds() == [])
        _ = try scene.watch.pull(scene.consumer)
        try scene.heartbeat(from: .firstOffset, type: .actively)
        _ = try scene.watch.pull(scene.consumer)
        try scene.wait(100) { try scene.heartbeat(from: .firstOffset, type: .actively) }
        #expect(try scene.kinds() == [], "it pulls, and keeps its offsets itself")
        try scene.watch.commit(1)
        try scene.wait(100) { try scene.heartbeat(from: .firstOffset, type: .actively) }
        #expect(try scene.kinds() == [], "it commits in one queue and wants no other")
    }

    @Test("A pull consumer that subscribes and pulls nothing at all is told of")
    func idlePullConsumer() throws {
        let scene = try Scene()
        try scene.broker.store("T")
        try scene.wait(90) { try scene.heartbeat(from: .firstOffset, type: .actively) }
        #expect(try scene.kinds() == [.queueStopped])
    }

    @Test("Queues of which a group that begins at the end has no offset are no backlog")
    func otherQueues() throws {
        let scene = try Scene()
        for queue in [0, 1, 1, 1] as [Int32] { try scene.broker.store("T", queue: queue) }
        try scene.watch.commit(1)
        try scene.wait(100) { try scene.heartbeat() }
        #expect(try scene.kinds() == [])
        try scene.broker.store("T", queue: 1)
        try scene.wait(80) { try scene.heartbeat() }
        #expect(try scene.watch.report("cg").findings.map(\.queueID) == [1])
    }

    // MARK: Reasons

    @Test("Of a group that is switched off the broker says so, by whom, and what switches it on, as long as it is")
    func switchedOff() throws {
        let scene = try Scene()
        try scene.broker.store("T")
        try scene.watch.commit(0)
        try scene.heartbeat()
        #expect(try scene.kinds() == [])
        try scene.update { $0.consumeEnable = false }
        #expect(scene.watch.warnings("group cg may not consume any more") == 1)
        #expect(try scene.watch.pull(scene.consumer).responseCode == .noPermission)
        #expect(try scene.kinds() == [.notAllowed], "at once")
        for part in ["consumeEnable=false), as ", "mqadmin updateSubGroup -g cg -s true", "1 messages of topic T"] {
            #expect(try scene.message().contains(part), "\(part)")
        }
        try scene.wait(80) { try scene.heartbeat() }
        #expect(try scene.kinds() == [.notAllowed])
        #expect(scene.watch.warnings("the group is switched off") == 1)
        scene.consumer.close()
        scene.broker.loop.advance(by: .seconds(80))
        #expect(try scene.kinds() == [.noClient])
        #expect(try scene.message().contains("Besides, the group is switched off"))
        try scene.update { $0.consumeEnable = true }
        let again = try scene.broker.client()
        try scene.heartbeat(again)
        #expect(try scene.watch.pull(again).responseCode == .success)
        try scene.watch.commit(1)
        #expect(try scene.kinds() == [])
    }

    @Test("Of a topic and a broker that may not be read the broker says so")
    func unreadable() throws {
        let scene = try Scene()
        try scene.broker.store("T")
        try scene.watch.commit(0)
        try scene.heartbeat()
        try scene.broker.createTopic("T", perm: 2)
        #expect(try scene.kinds() == [.notAllowed])
        #expect(try scene.message().contains("perm=2); mqadmin updateTopicPerm -t T -p 6"))
        try scene.broker.createTopic("T", perm: 6)
        #expect(try scene.kinds() == [])
        let change = Array("brokerPermission=2".utf8)
        #expect(try scene.broker.client().call(.updateBrokerConfig, body: change).responseCode == .success)
        #expect(try scene.kinds() == [.notAllowed])
        #expect(try scene.message().contains("brokerPermission=2); mqadmin updateBrokerConfig"))
    }

    @Test("Of a group that the broker does not make by itself it says so; names with a | are written for a shell")
    func unknownGroup() throws {
        let scene = try Scene(["autoCreateSubscriptionGroup": "false"])
        try scene.broker.store("T")
        try scene.heartbeat(from: .firstOffset)
        #expect(try scene.watch.pull(scene.consumer).responseCode == .subscriptionGroupNotExist)
        #expect(try scene.kinds() == [.notAllowed])
        #expect(try scene.message().contains("autoCreateSubscriptionGroup=false); mqadmin updateSubGroup -g cg makes it"))
        try scene.update { _ in }
        #expect(try scene.watch.pull(scene.consumer).responseCode == .success)
        #expect(try scene.kinds() == [])
        try scene.watch.commit(0, group: "a|b")
        scene.broker.loop.advance(by: .seconds(80))
        #expect(try scene.watch.report("a|b").findings.first?.message.contains("mqadmin deleteSubGroup -g 'a|b'") == true)
    }

    @Test("Who broadcasts in a group that may not is told of with the client, and why a pull was refused with its reason")
    func refusedPulls() throws {
        let scene = try Scene()
        try scene.broker.store("T")
        try scene.update { $0.consumeBroadcastEnable = false }
        try scene.heartbeat(model: .broadcasting)
        #expect(try scene.kinds() == [], "it has not pulled")
        #expect(try scene.watch.pull(scene.consumer).responseCode == .noPermission)
        #expect(try scene.kinds() == [.notAllowed])
        for part in ["c1 (", "consumeBroadcastEnable=false), as ", "mqadmin updateSubGroup -g cg -d true"] {
            #expect(try scene.message().contains(part), "\(part)")
        }
        try scene.update { $0.consumeBroadcastEnable = true }
        #expect(try scene.kinds() == [])

        try scene.heartbeat(from: .firstOffset)
        #expect(try scene.watch.pull(scene.consumer, version: 7).responseCode == .subscriptionNotLatest)
        try scene.wait(90) { try scene.heartbeat(from: .firstOffset) }
        #expect(try scene.kinds() == [.queueStopped])
        let message = try scene.message()
        #expect(message.contains("was refused 9") && message.contains("is older than the pull's"), "\(message)")
    }

    // MARK: Places that are none

    @Test("A commit beyond the end of its queue is refused, told of once with the client, and shown while it goes on")
    func beyondTheEnd() throws {
        let scene = try Scene()
        for _ in 0..<3 { try scene.broker.store("T") }
        try scene.heartbeat()
        try scene.watch.commit(2)
        let fields = ["consumerGroup": "cg", "topic": "T", "queueId": "0", "commitOffset": "1000"]
        for _ in 0..<3 {
            let answer = try scene.consumer.call(.updateConsumerOffset, fields)
            #expect(answer.responseCode == .systemError && answer.remark?.contains("which ends at 3") == true, "\(answer.remark ?? "")")
        }
        // One that comes with a pull is not taken either; the pull is served.
        var pull = scene.broker.pullRequest("T", 0, group: "cg", commit: 4)
        pull.fields["commitOffset"] = "4"
        #expect(try scene.consumer.call(pull).responseCode == .success)
        #expect(try scene.consumer.call(.queryConsumerOffset, fields).fields["offset"] == "2")
        #expect(scene.watch.warnings("client c1 (\(scene.consumer.stream.peer)) wants group cg to be at offset 1000 in queue 0") == 1)
        #expect(try scene.kinds() == [.offsetBeyondEnd])
        #expect(try scene.watch.report("cg").findings.first?.clients.map(\.connection.clientID) == ["c1"])
        // A client that does not learn.
        for _ in 0..<3 {
            _ = try scene.consumer.call(.updateConsumerOffset, fields)
            #expect(try scene.kinds() == [.offsetBeyondEnd])
            // A commit that is taken ends it, also one that comes with a pull.
            try scene.watch.commit(3)
            #expect(try scene.kinds() == [], "it is over")
        }
        _ = try scene.consumer.call(.updateConsumerOffset, fields)
        pull.fields["commitOffset"] = "3"
        #expect(try scene.consumer.call(pull).responseCode == .success)
        #expect(try scene.kinds() == [])
        #expect(scene.watch.warnings("wants group cg to be at offset 1000 in queue 0") == 1, "told of once all the same")
        // So does the deletion of the topic.
        _ = try scene.consumer.call(.updateConsumerOffset, fields)
        #expect(try scene.broker.client().call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        try scene.broker.createTopic("T")
        #expect(try !scene.kinds().contains(.offsetBeyondEnd))
        _ = try scene.consumer.call(.updateConsumerOffset, fields)
        #expect(try scene.kinds().contains(.offsetBeyondEnd))
        try scene.wait(80) { try scene.heartbeat() }
        #expect(try !scene.kinds().contains(.offsetBeyondEnd), "it is long ago")
    }

    @Test("A consumer ahead of a queue that lost its end is led to where its group stands, not past what came since")
    func ahead() throws {
        let scene = try Scene()
        for _ in 0..<5 { try scene.broker.store("T") }
        try scene.heartbeat()
        try scene.watch.commit(3)
        let answer = try scene.watch.pull(scene.consumer, from: 9)
        #expect(answer.responseCode == .pullOffsetMoved && answer.fields["nextBeginOffset"] == "3")
        #expect(scene.watch.warnings("asks for offset 9 of queue 0 of topic T, which ends at 5: it is led to 3") == 1)
        // The topic is made anew under it: all of it is new, and none of its old offsets is taken.
        #expect(try scene.broker.client().call(.deleteTopicInBroker, ["topic": "T"]).responseCode == .success)
        scene.broker.loop.advance(by: .seconds(10))
        for _ in 0..<5 { try scene.broker.store("T") }
        #expect(
            try scene.consumer.call(.updateConsumerOffset, ["consumerGroup": "cg", "topic": "T", "queueId": "0", "commitOffset": "9"])
                .responseCode == .systemError)
        #expect(try scene.watch.pull(scene.consumer, from: 9).fields["nextBeginOffset"] == "0")
        #expect(
            scene.broker.logSink.messages.contains { $0.contains("the topic was made anew since it came, and it is led to the start, 0") })
        // Who came later, keeps the offsets himself, or is not known, is led to the end.
        let later = try scene.broker.client()
        try scene.heartbeat(later, id: "c2")
        #expect(try scene.watch.pull(later, from: 9).fields["nextBeginOffset"] == "5")
        try scene.heartbeat(model: .broadcasting)
        #expect(try scene.watch.pull(scene.consumer, from: 9).fields["nextBeginOffset"] == "5")
        #expect(try scene.broker.client().call(scene.broker.pullRequest("T", 9, group: "cg")).fields["nextBeginOffset"] == "5")
    }

    @Test("Queues and topics that do not exist are not locked, and told of once")
    func locks() throws {
        let scene = try Scene()
        try scene.broker.createTopic("T", queues: 2)
        try scene.heartbeat(topics: ["T", "%RETRY%cg"])
        func lock(_ queues: [(String, Int32)]) throws -> Set<String> {
            let wanted = queues.map { MessageQueue(topic: $0.0, brokerName: "broker-a", queueID: $0.1) }
            let body = LockBatchRequestBody(consumerGroup: "cg", clientID: "c1", messageQueues: Set(wanted))
            let answer = try scene.consumer.call(.lockBatchMq, body: body.encoded())
            return Set(try LockBatchResponseBody(decoding: answer.body).lockedQueues.map { "\($0.topic)-\($0.queueID)" })
        }
        for _ in 0..<3 {
            let locked = try lock([("T", 1), ("T", 2), ("T", -1), ("None", 0), ("%RETRY%cg", 0), ("T", .max)])
            #expect(locked == ["T-1", "%RETRY%cg-0"])
        }
        #expect(scene.watch.warnings("gets no lock on queue 0 of topic None, which does not exist here") == 1)
        #expect(scene.watch.warnings("gets no lock") == 2)
        // As soon as a send or a tool makes the topic its queues can be locked.
        try scene.broker.store("None")
        #expect(try lock([("None", 0)]) == ["None-0"])
    }

    @Test("A member that lost its queue does not set back who has the lock now; forward, and as a tool, anybody moves the group")
    func lateCommits() throws {
        let scene = try Scene()
        for _ in 0..<9 { try scene.broker.store("T") }
        let next = try scene.broker.client()
        let tool = try scene.broker.client()
        try scene.heartbeat()
        try scene.heartbeat(next, id: "c2")
        func lock(_ client: TestClient, _ id: String) throws -> Bool {
            let wanted: Set = [MessageQueue(topic: "T", brokerName: "broker-a", queueID: 0)]
            let body = LockBatchRequestBody(consumerGroup: "cg", clientID: id, messageQueues: wanted)
            return try !LockBatchResponseBody(decoding: client.call(.lockBatchMq, body: body.encoded()).body).lockedQueues.isEmpty
        }
        func commit(_ offset: Int, _ client: TestClient) throws -> RemotingCommand {
            try client.call(
                .updateConsumerOffset, ["consumerGroup": "cg", "topic": "T", "queueId": "0", "commitOffset": "\(offset)"])
        }
        func position() throws -> String? {
            try tool.call(.queryConsumerOffset, ["consumerGroup": "cg", "topic": "T", "queueId": "0"]).fields["offset"]
        }
        // Nobody locks: as ever.
        for offset in [6, 5] { #expect(try commit(offset, scene.consumer).responseCode == .success) }
        #expect(try lock(next, "c2"))
        let refused = try commit(4, scene.consumer)
        #expect(
            refused.responseCode == .systemError && refused.remark?.contains("client c2 has the queue") == true, "\(refused.remark ?? "")")
        let pull = try scene.consumer.call(scene.broker.pullRequest("T", 0, group: "cg", commit: 3))
        #expect(try pull.responseCode == .success && position() == "5")
        for (offset, client) in [(7, scene.consumer), (6, next), (5, tool)] {
            #expect(try commit(offset, client).responseCode == .success)
            #expect(try position() == "\(offset)")
        }
        // Nor does a lock count whose owner has gone, or that was not renewed.
        next.close()
        scene.broker.loop.settle()
        #expect(try commit(4, scene.consumer).responseCode == .success)
        let third = try scene.broker.client()
        try scene.wait(40) { for (client, id) in [(scene.consumer, "c1"), (third, "c3")] { try scene.heartbeat(client, id: id) } }
        #expect(try lock(third, "c3"))
        #expect(try commit(3, scene.consumer).responseCode == .systemError)
        try scene.wait(70) { for (client, id) in [(scene.consumer, "c1"), (third, "c3")] { try scene.heartbeat(client, id: id) } }
        #expect(try commit(3, scene.consumer).responseCode == .success)
    }
}
