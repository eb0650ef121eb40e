import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore
import Testing

@testable import RocketMQBroker

/// Filters where consumers meet them: pulls that carry an expression, pulls that rely on heartbeats, waiting pulls, the check
/// of a subscription, retried messages.
struct FilteringPullTests {
    @Test("A pull that carries an expression gets what it lets through, in order")
    func carried() throws {
        let scene = try FilteringScene()
        for n in 0..<10 { try scene.append("m\(n)", ["n": "\(n)", "TAGS": n % 2 == 0 ? "even" : "odd"]) }
        let answer = try scene.pull("n > 6 OR TAGS = 'even' AND n < 3")
        #expect(answer.responseCode == .success)
        #expect(try scene.bodies(answer) == ["m0", "m2", "m7", "m8", "m9"])
        #expect(answer.fields["nextBeginOffset"] == "10")
        #expect(try scene.bodies(scene.pull("TRUE")).count == 10)
        #expect(try scene.bodies(scene.pull("odd || even", type: "TAG")).count == 10)
        let nothing = try scene.pull("n > 9")
        #expect(nothing.responseCode == .pullRetryImmediately)
        #expect(nothing.fields["nextBeginOffset"] == "10", "the consumer goes on behind what it did not want")
    }

    @Test("Numbers are found however they are written, booleans by themselves, and what is unknown does not pass")
    func whatUsersWrite() throws {
        let scene = try FilteringScene()
        try scene.append("wanted", ["ts": "1763749664123", "price": "2.50", "vip": "true"])
        try scene.append("cheap", ["ts": "1763749664123", "price": "2.00", "vip": "true"])
        try scene.append("no vip", ["ts": "1763749664123", "price": "2.50", "vip": "no"])
        try scene.append("no number", ["ts": "yesterday", "price": "2.50", "vip": "true"])
        try scene.append("nothing", [:])
        #expect(try scene.bodies(scene.pull("ts > 0 AND price > 2 AND vip")) == ["wanted"])
        #expect(try scene.bodies(scene.pull("NOT (ts > 0) OR price = price OR price = 2")) == ["wanted", "cheap", "no vip", "no number"])
        #expect(try scene.bodies(scene.pull("NOT (ts > 0 AND price > 2 AND vip)")) == ["cheap"])
        #expect(try scene.bodies(scene.pull("(ts > 0) IS NULL")) == ["no number", "nothing"])
    }

    @Test("A bad expression is refused with its place, and other pulls go on")
    func bad() throws {
        let scene = try FilteringScene()
        try scene.append("m", ["n": "1"])
        for _ in 0..<2 {
            let refused = try scene.pull("n >> 1")
            #expect(refused.responseCode == .subscriptionParseFailed)
            #expect(refused.remark?.contains("at character 4: expected a property") == true, "\(refused.remark ?? "")")
        }
        #expect(try scene.pull("").responseCode == .subscriptionParseFailed)
        #expect(try scene.bodies(scene.pull("n = 1")) == ["m"])
        let unknown = try scene.pull("n = 1", type: "CLASS")
        #expect(unknown.responseCode == .systemError && unknown.remark?.contains("CLASS") == true)
    }

    @Test("Where property filters are switched off the setting is named, and switched on they work at once")
    func switchedOff() throws {
        let scene = try FilteringScene()
        try scene.append("m", ["n": "1"])
        scene.handler.configuration.isPropertyFilterEnabled = false
        let refused = try scene.pull("n = 1")
        #expect(refused.responseCode == .systemError && refused.remark?.contains("enablePropertyFilter") == true)
        #expect(throws: InvalidRequest.self) { try scene.handler.check(sql("T", "n = 1")) }
        #expect(try scene.bodies(scene.pull("*", type: "TAG")) == ["m"])
        scene.handler.configuration.isPropertyFilterEnabled = true
        #expect(try scene.bodies(scene.pull("n = 1")) == ["m"])
    }

    @Test("A pull without an expression gets what the group's heartbeats ask for")
    func fromHeartbeat() throws {
        let scene = try FilteringScene()
        for n in 0..<4 { try scene.append("m\(n)", ["n": "\(n)"]) }
        try scene.heartbeat([sql("T", "n BETWEEN 1 AND 2", version: 5)])
        #expect(try scene.bodies(scene.pull(nil)) == ["m1", "m2"])
        #expect(try scene.pull(nil, version: 6).responseCode == .subscriptionNotLatest)
        try scene.heartbeat([sql("T", "n = 3", version: 6)])
        #expect(try scene.bodies(scene.pull(nil, version: 6)) == ["m3"])
        try scene.heartbeat([sql("T", "n == 3", version: 7)])
        let refused = try scene.pull(nil, version: 7)
        #expect(refused.responseCode == .filterDataNotExist)
        #expect(refused.remark?.contains("at character 4") == true, "\(refused.remark ?? "")")
        scene.handler.configuration.isPropertyFilterEnabled = false
        #expect(try scene.pull(nil, version: 7).remark?.contains("enablePropertyFilter") == true)
    }

    @Test("A waiting pull is woken by a message that suits it, not by others")
    func waiting() throws {
        let scene = try FilteringScene()
        try scene.append("m0", ["n": "0"])
        let opaque = scene.sendPull("n > 5", offset: 1, suspend: 10_000)
        scene.base.loop.settle()
        #expect(scene.client.takeAnswer(to: opaque) == nil)
        try scene.append("m1", ["n": "1"])
        #expect(scene.client.takeAnswer(to: opaque) == nil)
        try scene.append("m2", ["n": "6"])
        let answer = try #require(scene.client.takeAnswer(to: opaque))
        #expect(try scene.bodies(answer) == ["m2"])
        #expect(answer.fields["nextBeginOffset"] == "3")
    }

    @Test("The check of a subscription accepts what compiles and says what does not")
    func check() throws {
        let scene = try FilteringScene()
        try scene.handler.check(sql("T", "n > 1"))
        try scene.handler.check(subscription("T", "a || b"))
        let wrong = try sql("T", "n > ")
        do throws(InvalidRequest) {
            try scene.handler.check(wrong)
            Issue.record("accepted")
        } catch {
            #expect(error.code == .subscriptionParseFailed)
            #expect(error.description.contains("at character"))
        }
    }

    @Test("Retried messages pass whatever the expression says, unless filterSupportRetry is set")
    func retries() throws {
        let scene = try FilteringScene()
        let retry = "%RETRY%cg"
        for (body, topic, n) in [("m0", "T", 1), ("m1", "T", 9), ("m2", "Other", 1), ("m3", "Tags", 1)] {
            try scene.append(body, ["RETRY_TOPIC": topic, "n": "\(n)"], topic: retry)
        }
        try scene.append("m4", ["n": "1"], topic: retry)
        try scene.heartbeat([sql("T", "n > 5"), subscription("Tags", "a"), subscription(retry)])
        #expect(try scene.bodies(scene.pull("*", type: "TAG", topic: retry)).count == 5)
        #expect(try scene.bodies(scene.pull(nil, topic: retry)).count == 5)
        scene.handler.configuration.filtersRetries = true
        #expect(try scene.bodies(scene.pull("*", type: "TAG", topic: retry)) == ["m1", "m2", "m3", "m4"])
        #expect(try scene.bodies(scene.pull(nil, topic: retry)) == ["m1", "m2", "m3", "m4"])
        #expect(try scene.bodies(scene.pull("n < 5", topic: "T")) == [], "other topics are not concerned")
    }
}

private func sql(_ topic: String, _ expression: String, version: Int64 = 1) throws -> SubscriptionData {
    try SubscriptionData(topic: topic, expression: expression, type: ExpressionType.sql92, subVersion: version)
}

/// A pull handler over the tables and the store of an `AdminScene`.
private final class FilteringScene {
    let base: AdminScene
    let handler: PullHandler
    let client: TestClient
    private let server: RemotingServer
    private let longPolls: LongPolls
    private var consumer: TestClient?

    init() throws {
        base = try AdminScene()
        for topic in ["T", "%RETRY%cg"] { base.createTopic(topic, queues: 1) }
        base.groups.update(SubscriptionGroupConfig(groupName: "cg"))
        consumer = try base.client()
        longPolls = LongPolls(loop: base.loop)
        let log = Logger(component: "pulls", threshold: LogThreshold(.error), sink: MemoryLogSink(), clock: base.loop.clock)
        handler = PullHandler(
            PullConfiguration(
                brokerName: AdminScene.brokerName, permission: .readWrite, isLongPollingEnabled: true, shortPolling: .seconds(1),
                mostBytes: 1 << 20, mostMessages: 32, isPropertyFilterEnabled: true, filtersRetries: false),
            store: base.store, topics: base.topics, groups: base.groups, clients: base.clients, offsets: base.offsets,
            overruns: OffsetOverruns(clients: base.clients, clock: base.loop.clock, log: log), longPolls: longPolls,
            counters: BrokerCounters(), loop: base.loop, log: log)
        // Connections from here on go to the pull handler.
        server = RemotingServer(loop: base.loop, handler: Pulls(handler)) { _ in }
        _ = try server.start(on: .loopback(port: 10911))
        client = try #require(base.loop.connectClient())
    }

    private final class Pulls: RequestHandler {
        let handler: PullHandler
        init(_ handler: PullHandler) { self.handler = handler }
        func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
            handler.handle(header, frame, from: connection)
        }
        func opened(_ connection: ServerConnection) {}
        func closed(_ connection: ServerConnection, reason: String) {}
    }

    func append(_ body: String, _ properties: [String: String], topic: String = "T") throws {
        let now = base.loop.clock.wallMilliseconds
        let fields = MessageFields(
            bornTimestamp: now, bornHost: .loopback(port: 1), storeTimestamp: now, storeHost: .loopback(port: 10911),
            tagsCode: properties["TAGS"].map { Int64(JavaHash.hash($0)) } ?? 0)
        let queue = try #require(base.topics.find(topic)).brokerQueue(0)
        _ = try base.store.append(
            fields, body: Array(body.utf8).span.bytes, properties: encoded(properties).span.bytes, to: queue.queue)
        try base.store.commit()
        longPolls.messagesArrived(in: queue)
        base.loop.settle()
    }

    func heartbeat(_ subscriptions: [SubscriptionData]) throws {
        try base.heartbeat(#require(consumer), "c", group: "cg", subscriptions)
    }

    /// - Parameter expression: `nil` for a pull that carries none.
    func sendPull(
        _ expression: String?, type: String = "SQL92", topic: String = "T", version: Int64 = 0, offset: Int64 = 0, suspend: Int64 = 0
    ) -> Int32 {
        var fields = [
            "consumerGroup": "cg", "topic": topic, "queueId": "0", "queueOffset": "\(offset)", "maxMsgNums": "32", "commitOffset": "0",
            "sysFlag": "\((expression == nil ? 0 : 4) | (suspend > 0 ? 2 : 0))", "suspendTimeoutMillis": "\(suspend)",
            "subVersion": "\(version)",
        ]
        if let expression { (fields["subscription"], fields["expressionType"]) = (expression, type) }
        return client.send(.request(.pullMessage, fields))
    }

    func pull(_ expression: String?, type: String = "SQL92", topic: String = "T", version: Int64 = 0) throws -> RemotingCommand {
        let opaque = sendPull(expression, type: type, topic: topic, version: version)
        base.loop.settle()
        return try #require(client.takeAnswer(to: opaque))
    }

    func bodies(_ answer: RemotingCommand) throws -> [String] {
        var bodies: [String] = []
        var start = 0
        let bytes = answer.body
        while start < bytes.count {
            let record = try MessageRecord.parse(bytes.span.bytes, at: start)
            bodies.append(bytes.span.bytes.string(record.body))
            start = record.range.upperBound
        }
        return bodies
    }
}
