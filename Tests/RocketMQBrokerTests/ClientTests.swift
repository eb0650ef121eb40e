import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQBroker

struct ClientTests {
    @Test("A heartbeat makes the group and its retry topic, and what it subscribes to can be looked up")
    func heartbeat() throws {
        let scene = try AdminScene()
        scene.groups.update(SubscriptionGroupConfig(groupName: "cg", retryQueueNums: 3))
        if case .noGroup = scene.clients.lookup(group: "cg", topic: "T", connection: 0) {} else { Issue.record("nobody is there yet") }
        _ = try scene.consumer("c1", group: "cg", [subscription("T", "TagA || TagB"), subscription("All")], model: .broadcasting)
        let retry = try #require(scene.topics.find("%RETRY%cg"))
        #expect(retry.config.readQueueNums == 3 && retry.config.perm == .readWrite)
        guard case .found(let active, let model) = scene.clients.lookup(group: "cg", topic: "T", connection: 0) else {
            Issue.record("the subscription is not found")
            return
        }
        #expect(model == .broadcasting)
        #expect(active.tagsCodes == [JavaHash.hash("TagA"), JavaHash.hash("TagB")].sorted().map { Int64($0) })
        guard case .found(let all, _) = scene.clients.lookup(group: "cg", topic: "All", connection: 0) else {
            Issue.record("the subscription is not found")
            return
        }
        #expect(all.tagsCodes == nil)
        if case .noSubscription = scene.clients.lookup(group: "cg", topic: "Other", connection: 0) {
        } else {
            Issue.record("nobody subscribed to it")
        }
    }

    @Test("The C++ client's heartbeat: ordinals for names, hashes and tags in its own order")
    func plusPlus() throws {
        let scene = try AdminScene()
        let client = try scene.client()
        let body = """
            {"clientID":"10.0.0.1@7@1","consumerDataSet":[{"consumeFromWhere":0,"consumeType":1,"groupName":"cpp","messageModel":1,\
            "subscriptionDataSet":[{"codeSet":["2598919"],"subString":"TagA","subVersion":"1763715662345","tagsSet":["TagA"],"topic":"T"}]}],\
            "producerDataSet":[{"groupName":"pp"}]}\n
            """
        var request = RemotingCommand.request(.heartBeat, body: Array(body.utf8))
        request.language = .cpp
        #expect(try client.call(request).responseCode == .success)
        guard case .found(let active, .clustering) = scene.clients.lookup(group: "cpp", topic: "T", connection: 0) else {
            Issue.record("the subscription is not found")
            return
        }
        #expect(active.tagsCodes == [Int64(JavaHash.hash("TagA"))])
        let producers = try ProducerConnection(decoding: client.call(.getProducerConnectionList, ["producerGroup": "pp"]).body)
        #expect(producers.connectionSet.first?.language == "CPP")
        #expect(producers.connectionSet.first?.clientID == "10.0.0.1@7@1")
    }

    @Test("A one-way heartbeat counts and is not answered; a broken one is answered with what is wrong")
    func forms() throws {
        let scene = try AdminScene()
        let client = try scene.client()
        var request = RemotingCommand.request(
            .heartBeat, body: HeartbeatData(clientID: "c", producerDataSet: [ProducerData(groupName: "pg")]).encoded())
        request.flag = FrameFormat.onewayFlag
        let opaque = client.send(request)
        scene.loop.settle()
        #expect(client.takeAnswer(to: opaque) == nil)
        #expect(scene.clients.producers(ofGroup: "pg")?.count == 1)
        for body in ["", "{", "{}", "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"messageModel\":\"NONE\"}]}"] {
            let answer = try client.call(.heartBeat, body: Array(body.utf8))
            #expect(answer.responseCode == .systemError)
            #expect(answer.remark?.contains("HEART_BEAT") == true, "\(answer.remark ?? "")")
        }
    }

    @Test("Every member is told when one comes, leaves, or goes away, and nobody for a heartbeat that changes nothing")
    func notifications() throws {
        let scene = try AdminScene()
        let first = try scene.consumer("c1", group: "cg", [subscription("T")])
        #expect(first.takeRequests().map(\.requestCode) == [.notifyConsumerIdsChanged])
        try scene.heartbeat(first, "c1", group: "cg", [subscription("T", version: 2)])
        #expect(first.takeRequests().isEmpty)
        let second = try scene.consumer("c2", group: "cg", [subscription("T")])
        for client in [first, second] {
            let requests = client.takeRequests()
            #expect(requests.map(\.fields) == [["consumerGroup": "cg"]])
            #expect(requests.first?.isOneway == true)
        }
        let ids = try ConsumerIDList(decoding: first.call(.getConsumerListByGroup, ["consumerGroup": "cg"]).body)
        #expect(ids.consumerIDs == ["c1", "c2"])
        #expect(try second.call(.unregisterClient, ["clientID": "c2", "consumerGroup": "cg"]).responseCode == .success)
        #expect(first.takeRequests().count == 1)
        #expect(second.takeRequests().isEmpty)
        let third = try scene.consumer("c3", group: "cg", [subscription("T")])
        _ = first.takeRequests()
        third.close()
        #expect(first.takeRequests().count == 1)
        first.close()
        let answer = try second.call(.getConsumerListByGroup, ["consumerGroup": "cg"])
        #expect(answer.responseCode == .systemError)
        #expect(answer.remark == "no consumer for this group, cg")
    }

    @Test("A group, or the broker, may have the notifications off")
    func quiet() throws {
        let scene = try AdminScene()
        scene.groups.update(SubscriptionGroupConfig(groupName: "quiet", notifyConsumerIDsChangedEnable: false))
        #expect(try scene.consumer("c1", group: "quiet", [subscription("T")]).takeRequests().isEmpty)
        scene.clients.configuration.notifiesMembers = false
        #expect(try scene.consumer("c1", group: "cg", [subscription("T")]).takeRequests().isEmpty)
    }

    @Test("Tools see the newest expression of each topic that a member subscribes to, and a topic that nobody wants goes")
    func differing() throws {
        let scene = try AdminScene()
        let first = try scene.consumer("c1", group: "cg", [subscription("T", "A", version: 5), subscription("U")])
        _ = first.takeRequests()
        let second = try scene.consumer("c2", group: "cg", [subscription("T", "B", version: 4), subscription("U")])
        func expressions() throws -> [String: String] {
            let body = try second.call(.getConsumerConnectionList, ["consumerGroup": "cg"]).body
            return try ConsumerConnection(decoding: body).subscriptionTable.mapValues(\.subString)
        }
        #expect(try expressions() == ["T": "A", "U": "*"])
        #expect(scene.logSink.contains("c2", atLeast: .warning) && scene.logSink.contains("c1 (", atLeast: .warning))
        _ = first.takeRequests()
        try scene.heartbeat(second, "c2", group: "cg", [subscription("T", "B", version: 6)])
        #expect(try expressions() == ["T": "B", "U": "*"], "the first still wants U")
        #expect(first.takeRequests().isEmpty)
        try scene.heartbeat(first, "c1", group: "cg", [subscription("T", "B", version: 7)])
        #expect(try expressions() == ["T": "B"])
        #expect(!second.takeRequests().isEmpty, "a topic that went is told to all")
    }

    @Test("Tools see what each member subscribes to itself, beside what the reference's tools read")
    func eachSubscription() throws {
        let scene = try AdminScene()
        let first = try scene.consumer("c1", group: "cg", [subscription("T", "A", version: 5)])
        _ = try scene.consumer("c2", group: "cg", [subscription("T", "B", version: 6)])
        let body = try first.call(.getConsumerConnectionList, ["consumerGroup": "cg"]).body
        let connection = try ConsumerConnection(decoding: body)
        #expect(connection.connectionSet.map(\.clientID) == ["c1", "c2"])
        #expect(connection.members.map { $0.subscriptionSet.map(\.subString) } == [["A"], ["B"]])
        #expect(connection.members.map(\.connection) == connection.connectionSet)
        let text = String(decoding: body, as: UTF8.self)
        for name in ["connectionSet", "clientId", "clientAddr", "language", "version", "subscriptionTable", "consumeType", "messageModel"] {
            #expect(text.contains("\"\(name)\":"), "\(name)")
        }
    }

    @Test("A client that connects anew is one member to those who share the queues, and tools reach its new connection")
    func reconnected() throws {
        let scene = try AdminScene()
        let old = try scene.consumer("c1", group: "cg", [subscription("T")])
        scene.loop.testClock.advance(by: .seconds(1))
        let new = try scene.consumer("c1", group: "cg", [subscription("T")])
        let ids = try ConsumerIDList(decoding: new.call(.getConsumerListByGroup, ["consumerGroup": "cg"]).body)
        #expect(ids.consumerIDs == ["c1"])
        for client in [old, new] { _ = client.takeRequests() }
        let tool = try scene.client()
        tool.send(.request(.getConsumerRunningInfo, ["consumerGroup": "cg", "clientId": "c1"]))
        scene.loop.settle()
        #expect(old.takeRequests().isEmpty && new.takeRequests().map(\.requestCode) == [.getConsumerRunningInfo])
        old.close()
        #expect(try ConsumerIDList(decoding: new.call(.getConsumerListByGroup, ["consumerGroup": "cg"]).body).consumerIDs == ["c1"])
    }

    @Test("A client without heartbeats is taken out of its groups, and disconnected when it is in no other")
    func expiry() throws {
        let scene = try AdminScene()
        scene.clients.start(on: scene.loop)
        let silent = try scene.consumer("silent", group: "cg", [subscription("T")])
        let alive = try scene.consumer("alive", group: "cg", [subscription("T")])
        for _ in 0..<5 {
            scene.loop.advance(by: .seconds(26))
            try scene.heartbeat(alive, "alive", group: "cg", [subscription("T")])
            // What keeps the connection itself open.
            _ = try? silent.call(.getConsumerListByGroup, ["consumerGroup": "cg"])
        }
        #expect(scene.clients.consumerGroup("cg")?.sortedMembers.map(\.identity.clientID) == ["alive"])
        #expect(silent.isClosed)
        #expect(!alive.isClosed)
        #expect(scene.logSink.contains("no heartbeat", atLeast: .warning))
    }

    @Test("Tools see who is connected, as captured from the reference")
    func connections() throws {
        let scene = try AdminScene()
        let consumer = try scene.consumer("127.0.0.1@vecpush1", group: "vec_cg", [subscription("VecTopic", version: 9)])
        let body = try consumer.call(.getConsumerConnectionList, ["consumerGroup": "vec_cg"]).body
        let port = consumer.stream.peer.port
        #expect(
            String(decoding: body, as: UTF8.self) == """
                {"connectionSet":[{"clientAddr":"127.0.0.1:\(port)","clientId":"127.0.0.1@vecpush1","language":"JAVA","version":409}],\
                "consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING",\
                "subscriptionTable":{"VecTopic":{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*",\
                "subVersion":9,"tagsSet":[],"topic":"VecTopic"}}}
                """)
        let offline = try consumer.call(.getConsumerConnectionList, ["consumerGroup": "none"])
        #expect(offline.responseCode == .consumerNotOnline)
        #expect(offline.remark == "the consumer group[none] not online")
        let producer = HeartbeatData(clientID: "p", producerDataSet: [ProducerData(groupName: "pg")])
        _ = try consumer.call(.heartBeat, body: producer.encoded())
        let table = try ProducerTableInfo(decoding: consumer.call(.getAllProducerInfo).body)
        #expect(table.data["pg"]?.first?.remoteIP == "/127.0.0.1:\(port)")
        #expect(try consumer.call(.getProducerConnectionList, ["producerGroup": "none"]).remark == "the producer group[none] not exist")
    }

    @Test("Expressions are checked before a consumer starts")
    func check() throws {
        let scene = try AdminScene()
        let client = try scene.client()
        func check(_ type: String) throws -> RemotingCommand {
            let data = SubscriptionData(topic: "T", subString: "i > 2", expressionType: type)
            return try client.call(
                .checkClientConfig, body: CheckClientRequestBody(clientID: "c", group: "g", subscriptionData: data).encoded())
        }
        #expect(try check("TAG").responseCode == .success)
        #expect(try check("SQL92").responseCode == .systemError)
    }

    @Test("Locks: one client a queue, renewed by its owner, free again after a minute or when given up")
    func locks() throws {
        let scene = try AdminScene()
        scene.createTopic("T", queues: 3)
        let client = try scene.client()
        let queues = (0..<3).map { MessageQueue(topic: "T", brokerName: "broker-a", queueID: $0) }
        let members = try ["a", "b", "c"].map { try scene.consumer($0, group: "g", [subscription("T")]) }
        var held: Set<MessageQueue> = []
        func lock(_ clientID: String, _ wanted: ArraySlice<MessageQueue>) throws -> Set<MessageQueue> {
            let body = LockBatchRequestBody(consumerGroup: "g", clientID: clientID, messageQueues: Set(wanted))
            let answer = try LockBatchResponseBody(decoding: client.call(.lockBatchMq, body: body.encoded()).body)
            held = answer.heldByMembers
            return answer.lockedQueues
        }
        #expect(try lock("a", queues[0..<2]) == Set(queues[0..<2]) && held.isEmpty)
        #expect(try lock("b", queues[0..<3]) == [queues[2]] && held == Set(queues[0..<2]))
        scene.loop.advance(by: .seconds(40))
        #expect(try lock("a", queues[0..<1]) == [queues[0]])
        scene.loop.advance(by: .seconds(30))
        #expect(try lock("b", queues[0..<2]) == [queues[1]], "the first was renewed, the second not")
        let unlock = LockBatchRequestBody(consumerGroup: "g", clientID: "b", messageQueues: Set(queues))
        #expect(try client.call(.unlockBatchMq, body: unlock.encoded()).responseCode == .success)
        #expect(try lock("c", queues[0..<3]) == Set(queues[1..<3]), "what another holds is not unlocked")

        // Of a client that is gone, as soon as it cannot believe in its lock any more.
        members[2].close()
        scene.loop.advance(by: .seconds(29))
        #expect(try lock("b", queues[1..<3]).isEmpty && held.isEmpty)
        scene.loop.advance(by: .seconds(2))
        #expect(try lock("b", queues[1..<3]) == Set(queues[1..<3]))
    }

    @Test("Requests of tools are answered by the consumer itself")
    func relay() throws {
        let scene = try AdminScene()
        let consumer = try scene.consumer("c1", group: "cg", [subscription("T")])
        _ = consumer.takeRequests()
        let tool = try scene.client()
        let fields = ["consumerGroup": "cg", "clientId": "c1", "jstackEnable": "false"]
        let opaque = tool.send(.request(.getConsumerRunningInfo, fields))
        let asked = try #require(consumer.takeRequests().first)
        #expect(asked.requestCode == .getConsumerRunningInfo && asked.fields == fields)
        consumer.answer(asked, .success(body: Array("{}".utf8)))
        #expect(tool.takeAnswer(to: opaque)?.body == Array("{}".utf8))

        let stored = try scene.append("T", 0, "message")
        let id = OffsetMessageID(storeHost: .loopback(port: 10911), commitLogOffset: stored.physicalOffset)
        let direct = tool.send(.request(.consumeMessageDirectly, ["consumerGroup": "cg", "clientId": "c1", "msgId": "\(id)"]))
        let consume = try #require(consumer.takeRequests().first)
        #expect(consume.fields["brokerName"] == "broker-a")
        #expect(consume.body.count == Int(stored.size))
        scene.loop.advance(by: .seconds(11))
        #expect(tool.takeAnswer(to: direct)?.responseCode == .consumeMsgTimeout)
        #expect(
            try tool.call(.getConsumerRunningInfo, ["consumerGroup": "cg", "clientId": "x"]).remark == "The Consumer <cg> <x> not online")
    }

    @Test("The offsets of all members are collected")
    func status() throws {
        let scene = try AdminScene()
        let consumers = try ["c1", "c2"].map { try scene.consumer($0, group: "cg", [subscription("T")]) }
        for consumer in consumers { _ = consumer.takeRequests() }
        let tool = try scene.client()
        let opaque = tool.send(.request(.invokeBrokerToGetConsumerStatus, ["topic": "T", "group": "cg", "clientAddr": ""]))
        for (index, consumer) in consumers.enumerated() {
            let asked = try #require(consumer.takeRequests().first)
            #expect(asked.requestCode == .getConsumerStatusFromClient)
            let queue = MessageQueue(topic: "T", brokerName: "broker-a", queueID: Int32(index))
            consumer.answer(asked, .success(body: GetConsumerStatusBody(messageQueueTable: [queue: 5]).encoded()))
        }
        let body = try GetConsumerStatusBody(decoding: #require(tool.takeAnswer(to: opaque)).body)
        #expect(body.consumerTable.mapValues { $0.keys.map(\.queueID) } == ["c1": [0], "c2": [1]])
    }
}
