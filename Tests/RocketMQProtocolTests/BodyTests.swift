import RocketMQBase
import RocketMQProtocol
import Testing

@Suite struct BodyTests {
    /// Reads a body into its type and writes it again.
    typealias Rewriting = @Sendable ([UInt8]) throws -> JSONValue

    private static func through<Body: JSONBody>(_ type: Body.Type) -> Rewriting {
        { bytes in
            let body = try Body(decoding: bytes)
            let again = try Body(decoding: body.encoded())
            #expect(again == body)
            return body.json
        }
    }

    private func rewriting(of code: Int, request: Bool) -> Rewriting? {
        switch (code, request) {
        case (21, false): Self.through(TopicConfigSerializeWrapper.self)
        case (34, true): Self.through(HeartbeatData.self)
        case (38, false): Self.through(ConsumerIDList.self)
        case (41, true), (42, true): Self.through(LockBatchRequestBody.self)
        case (41, false): Self.through(LockBatchResponseBody.self)
        case (43, false): Self.through(ConsumerOffsetSerializeWrapper.self)
        case (45, false): Self.through(DelayOffsetSerializeWrapper.self)
        case (46, true): Self.through(CheckClientRequestBody.self)
        case (103, true): Self.through(RegisterBrokerBody.self)
        case (28, false), (103, false), (219, false): Self.through(KVTable.self)
        case (105, false): Self.through(TopicRouteData.self)
        case (106, false): Self.through(ClusterInfo.self)
        case (200, true): Self.through(SubscriptionGroupConfig.self)
        case (201, false): Self.through(SubscriptionGroupWrapper.self)
        case (202, false): Self.through(TopicStatsTable.self)
        case (203, false): Self.through(ConsumerConnection.self)
        case (204, false): Self.through(ProducerConnection.self)
        case (206, false), (224, false), (304, false), (305, false): Self.through(TopicList.self)
        case (208, false): Self.through(ConsumeStats.self)
        case (220, true), (222, false): Self.through(ResetOffsetBody.self)
        case (221, false), (223, false): Self.through(GetConsumerStatusBody.self)
        case (300, false): Self.through(GroupList.self)
        case (303, false): Self.through(QueryConsumeTimeSpanBody.self)
        case (307, false): Self.through(ConsumerRunningInfo.self)
        case (309, false): Self.through(ConsumeMessageDirectlyResult.self)
        case (315, false): Self.through(BrokerStatsData.self)
        case (317, false): Self.through(ConsumeStatsList.self)
        case (321, false): Self.through(QueryConsumeQueueResponseBody.self)
        case (328, false): Self.through(ProducerTableInfo.self)
        default: nil
        }
    }

    @Test func everyCapturedBodyKeepsItsMeaning() throws {
        let bodies = try Fixtures.bodies()
        #expect(bodies.count > 80)
        for body in bodies {
            guard let rewrite = rewriting(of: body.requestCode, request: body.isRequest) else {
                Issue.record("no type for \(body.requestCode)")
                continue
            }
            let original = try JSONValue(parsing: body.bytes)
            let rewritten = try rewrite(body.bytes)
            #expect(rewritten.normalised == original.normalised)
        }
    }

    @Test(arguments: [
        ("config-topics.json", Self.through(TopicConfigSerializeWrapper.self)),
        ("config-subscriptionGroup.json", Self.through(SubscriptionGroupWrapper.self)),
        ("config-consumerOffset.json", Self.through(ConsumerOffsetSerializeWrapper.self)),
        ("config-delayOffset.json", Self.through(DelayOffsetSerializeWrapper.self)),
    ])
    func everyTableOfAStoreKeepsItsMeaning(file: String, rewrite: Rewriting) throws {
        let bytes = try Fixtures.bytes(file)
        let original = try JSONValue(parsing: bytes)
        let rewritten = try rewrite(bytes)
        #expect(rewritten.normalised == original.normalised)
    }

    @Test func readsTheOffsetsOfAStore() throws {
        let offsets = try ConsumerOffsetSerializeWrapper(decoding: Fixtures.bytes("config-consumerOffset.json"))
        #expect(
            offsets.offsetTable[ConsumerOffsetSerializeWrapper.key(topic: "StoreTopicA", group: "store_cg")] == [
                0: 26, 1: 26, 2: 26, 3: 26,
            ])
        #expect(try DelayOffsetSerializeWrapper(decoding: Fixtures.bytes("config-delayOffset.json")).offsetTable == [1: 4])
        let quoted = #"{"dataVersion":{"counter":1,"timestamp":2,"stateVersion":3},"offsetTable":{"t@g":{"0":5}}}"#
        let read = try ConsumerOffsetSerializeWrapper(decoding: Array(quoted.utf8))
        #expect(read.offsetTable == ["t@g": [0: 5]])
        #expect(read.dataVersion == DataVersion(timestamp: 2, counter: 1, stateVersion: 3))
    }

    @Test func writesBrokerIDsQuotedUnlessAskedForBareOnes() throws {
        let route = TopicRouteData(
            orderTopicConf: "a:4", queueDatas: [QueueData(brokerName: "a", readQueueNums: 4, writeQueueNums: 2, perm: .readWrite)],
            brokerDatas: [BrokerData(cluster: "c", brokerName: "a", brokerAddrs: [1: "h:2", 0: "h:1"])],
            filterServerTable: ["h:1": ["f:1"]])
        let queues = #""queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":2}]"#
        let rest = #""brokerName":"a","cluster":"c"}],"filterServerTable":{"h:1":["f:1"]},"orderTopicConf":"a:4",\#(queues)}"#
        #expect(String(decoding: route.encoded(), as: UTF8.self) == #"{"brokerDatas":[{"brokerAddrs":{"0":"h:1","1":"h:2"},"# + rest)
        let bare = route.json(bareIDs: true)
        #expect(bare.description == #"{"brokerDatas":[{"brokerAddrs":{0:"h:1",1:"h:2"},"# + rest)
        #expect(try TopicRouteData(json: bare) == route)
        #expect(try TopicRouteData(decoding: Array(bare.description.utf8)) == route)
    }

    @Test func readsHeartbeatsOfCppClients() throws {
        let text = #"""
            {"clientID":"h@1","consumerDataSet":[{"consumeFromWhere":4,"consumeType":1,"groupName":"g","messageModel":"1",
            "subscriptionDataSet":[{"codeSet":["2598919",2598920],"subString":"TagA || TagB","subVersion":"123","tagsSet":["TagA","TagB"],
            "topic":"t"}]}],"producerDataSet":[]}
            """# + "\n"
        let heartbeat = try HeartbeatData(decoding: Array(text.utf8))
        let consumer = try #require(heartbeat.consumerDataSet.first)
        #expect(consumer.consumeFromWhere == .firstOffset && consumer.consumeType == .passively && consumer.messageModel == .clustering)
        let subscription = try #require(consumer.subscriptionDataSet.first)
        #expect(subscription.codeSet == [2_598_919, 2_598_920] && subscription.subVersion == 123 && subscription.isTagExpression)
    }

    @Test(arguments: [
        (#"[]"#, "heartbeat is an array"), (#"{}"#, "clientID"), (#"{"clientID":[]}"#, "clientID of heartbeat is an array"),
        (#"{"clientID":"a","consumerDataSet":{}}"#, "consumerDataSet"),
        (#"{"clientID":"a","consumerDataSet":[{"groupName":"g","consumeType":9}]}"#, "9 is none of CONSUME_ACTIVELY"),
        (#"{"clientID":"a","consumerDataSet":[{"groupName":"g","subscriptionDataSet":[{}]}]}"#, "subscription has no topic"),
    ])
    func saysWhatIsWrongWithABody(text: String, message: String) {
        do {
            _ = try HeartbeatData(decoding: Array(text.utf8))
            Issue.record("accepted \(text)")
        } catch {
            #expect(error.description.contains(message), "\(error)")
        }
    }

    @Test func refusesNumbersThatDoNotFit() {
        #expect(throws: MalformedBytes.self) {
            try TopicConfig(decoding: Array(#"{"topicName":"t","readQueueNums":4294967296}"#.utf8))
        }
        #expect(throws: MalformedBytes.self) {
            try BrokerData(decoding: Array(#"{"brokerName":"a","brokerAddrs":{"x":"h:1"}}"#.utf8))
        }
    }

    // MARK: Registrations

    private let compressed498 = """
        78da63606050af564ace2fcd2b492d52b232d7512ac9cc4d2d2e49cc2d50b23234b7343532b430333431b334ac656060600262f190fc82cc64470513050b0533\
        85604f3f771fd7f8104777a094846a906b4850a46aba8221109a29f886fa847842e5f8a2950c0df440d0d0ca50291600f2861ba5
        """
    private let compressed5 = """
        78da636060b0a8564ace2fcd2b492d52b232d7512a2e492c490d4b2d2acecccf53b232d6512ac9cc4d050ae6162859199a5b9a1a195a98199a98591ad6323030\
        3002b141487e4166b2a382898285829942b0a79fbb8f6b7c88a3bb42b512506371627aaa5e496541aa9295928bab8f63a412481f53742c90640000c877215c
        """

    @Test func readsCompressedRegistrations() throws {
        let body = try RegisterBrokerBody(decoding: hex(compressed498), compressed: true)
        #expect(body.filterServerList == ["10.0.0.1:1"])
        #expect(body.topicConfigSerializeWrapper.dataVersion == DataVersion(timestamp: 1_795_218_614_691, counter: 7))
        #expect(
            body.topicConfigSerializeWrapper.topicConfigTable == [
                "TopicA": TopicConfig(topicName: "TopicA", readQueueNums: 4, writeQueueNums: 8),
                "%RETRY%g": TopicConfig(topicName: "%RETRY%g", readQueueNums: 1, writeQueueNums: 1, topicFilterType: .multiTag),
            ])
        let newer = try RegisterBrokerBody(decoding: hex(compressed5), compressed: true).topicConfigSerializeWrapper
        #expect(newer.topicConfigTable["TopicA"]?.attributes == ["message.type": "DELAY"])
        #expect(newer.dataVersion.stateVersion == 3)
    }

    @Test func compressesRegistrations() throws {
        for bytes in try Fixtures.bodies(103, request: true) {
            var body = try RegisterBrokerBody(decoding: bytes)
            body.filterServerList = ["h:1", "h:2"]
            let read = try RegisterBrokerBody(decoding: body.encodedCompressed(), compressed: true)
            // The compressed layout has no room for the flag.
            for name in body.topicConfigSerializeWrapper.topicConfigTable.keys {
                body.topicConfigSerializeWrapper.topicConfigTable[name]?.order = false
            }
            #expect(read == body)
        }
    }

    @Test func refusesBrokenCompressedRegistrations() throws {
        var plain = try CompressionType.zlib.decompress(hex(compressed498), limit: 4096)
        for length in stride(from: 0, to: plain.count, by: 3) {
            let cut = try CompressionType.zlib.compress(Array(plain[..<length]))
            #expect(throws: MalformedBytes.self) { try RegisterBrokerBody(decoding: cut, compressed: true) }
        }
        let count = 4 + Int(plain[3])
        for value: [UInt8] in [[0x7F, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0xFF]] {
            plain.replaceSubrange(count..<(count + 4), with: value)
            let many = try CompressionType.zlib.compress(plain)
            #expect(throws: MalformedBytes.self) { try RegisterBrokerBody(decoding: many, compressed: true) }
        }
        #expect(throws: MalformedBytes.self) { try RegisterBrokerBody(decoding: [1, 2, 3], compressed: true) }
    }

    // MARK: Queues and subscriptions

    @Test func sortsQueuesAsTheReferenceDoes() {
        let queues = [("b", "x", 0), ("a", "y", 1), ("a", "x", 10), ("a", "x", 9), ("B", "x", 0)].map {
            MessageQueue(topic: $0.0, brokerName: $0.1, queueID: $0.2)
        }
        #expect(queues.sorted().map(\.description) == ["B@x:0", "a@x:9", "a@x:10", "a@y:1", "b@x:0"])
    }

    @Test func resetsOffsetsInBothForms() throws {
        let body = ResetOffsetBody(offsetTable: [MessageQueue(topic: "t", brokerName: "b", queueID: 1): 7])
        #expect(body.json.description == #"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"t"}:7}}"#)
        #expect(body.listJSON.description == #"{"offsetTable":[{"brokerName":"b","offset":7,"queueId":1,"topic":"t"}]}"#)
        #expect(try ResetOffsetBody(decoding: body.listJSON.encoded()) == body)
        #expect(try ResetOffsetBody(decoding: body.encoded()) == body)
    }

    @Test(arguments: [nil, "", "*"]) func subscribesToAll(expression: String?) throws {
        let subscription = try SubscriptionData(topic: "t", expression: expression)
        #expect(subscription.subString == "*" && subscription.tagsSet.isEmpty && subscription.codeSet.isEmpty && subscription.wantsAll)
    }

    @Test func subscribesToTags() throws {
        let subscription = try SubscriptionData(topic: "t", expression: " TagA||\t中文标签 ||||a|b ", subVersion: 5)
        #expect(subscription.tagsSet == ["TagA", "中文标签", "a|b"])
        #expect(subscription.codeSet == [2_598_919, 622_041_809, JavaHash.hash("a|b")])
        #expect(!subscription.wantsAll)
        #expect(try SubscriptionData(decoding: subscription.encoded()) == subscription)
        #expect(throws: InvalidExpression.self) { try SubscriptionData(topic: "t", expression: " || ") }
    }

    @Test func keepsOtherExpressionsForTheBroker() throws {
        let subscription = try SubscriptionData(topic: "t", expression: "i > 2 || j", type: "SQL92")
        #expect(subscription.subString == "i > 2 || j" && subscription.tagsSet.isEmpty && !subscription.wantsAll)
        #expect(throws: InvalidExpression.self) { try SubscriptionData(topic: "t", expression: "", type: "SQL92") }
    }

    @Test func countsWhatWaits() throws {
        let stats = try ConsumeStats(decoding: Fixtures.bodies(208, request: false)[0])
        #expect(stats.offsetTable.count == 4)
        #expect(stats.totalDiff == stats.offsetTable.values.reduce(0) { $0 + $1.brokerOffset - $1.consumerOffset })
    }

    @Test func advancesDataVersions() {
        var version = DataVersion(timestamp: 1, counter: 4)
        version.advance(nowMilliseconds: 9)
        #expect(version == DataVersion(timestamp: 9, counter: 5))
    }
}
