import RocketMQBase
import RocketMQProtocol
import RocketMQSystem
import RocketMQTesting
import Testing

@testable import RocketMQClient

/// Every member gets every message, and keeps its own positions in a file.
@Suite struct BroadcastingTests {
    static func environment(_ files: MemoryFileSystem) -> ClientEnvironment {
        ClientEnvironment(
            eventLoop: ClientEnvironment.shared.eventLoop, host: SocketAddress.loopback(port: 0).host, processID: 7, seed: 1,
            fileSystem: files)
    }

    /// A consumer that notes what it gets.
    static func consumer(
        _ broker: ScriptedBroker, _ files: MemoryFileSystem, instance: String? = nil, into received: Collected<String>,
        _ change: (inout ConsumerConfiguration) -> Void = { _ in }
    ) -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: "cg")
        configuration.messageModel = .broadcasting
        configuration.consumeFromWhere = .firstOffset
        configuration.localOffsetDirectory = "/offsets"
        change(&configuration)
        let runtime = ClientRuntime(
            ClientConfiguration(nameServers: [broker.nameServer.address], instanceName: instance), environment: environment(files))
        let consumer = DefaultMQPushConsumer(configuration, runtime: runtime, subscriptions: [Subscription("T")])
        consumer.registerMessageListener { messages, context in
            for message in messages { received.append("\(context.messageQueue.queueID):\(message.queueOffset)") }
            return .consumeSuccess
        }
        return consumer
    }

    @Test func everyMemberGetsEverything() async throws {
        let broker = try ScriptedBroker(queues: 2)
        for queue in 0..<2 as Range<Int32> { broker.store("T", queueID: queue, count: 10) }
        let files = MemoryFileSystem()
        let (first, second) = (Collected<String>(), Collected<String>())
        let one = Self.consumer(broker, files, instance: "one", into: first)
        let two = Self.consumer(broker, files, instance: "two", into: second)
        try await one.start()
        try await two.start()
        #expect(await eventually { first.count == 20 && second.count == 20 })
        await one.shutdown()
        await two.shutdown()
        #expect(Set(first.all).count == 20 && Set(first.all) == Set(second.all))
        let data = try HeartbeatData(decoding: broker.server.requests(.heartBeat)[0].body)
        let group = try #require(data.consumerDataSet.first)
        #expect(group.messageModel == .broadcasting && group.subscriptionDataSet.map(\.topic) == ["T"])
        // The broker keeps nothing of it.
        #expect(broker.offset("T") == nil && broker.server.requests(.lockBatchMq).isEmpty)
        #expect(broker.server.requests(.pullMessage).allSatisfy { $0.fields["sysFlag"] == "2" })
        #expect(files.paths.filter { $0.hasSuffix(".json") } == ["one", "two"].map { "/offsets/127.0.0.1@\($0)/cg/offsets.json" })
    }

    @Test func itGoesOnWhereItStopped() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 5)
        let files = MemoryFileSystem()
        let before = Collected<String>()
        let first = Self.consumer(broker, files, into: before) { $0.consumeFromWhere = .lastOffset }
        try await first.start()
        broker.store("T", count: 3)
        #expect(await eventually { before.count == 3 })
        await first.shutdown()
        // The file that the Java client reads.
        let path = "/offsets/127.0.0.1@DEFAULT/cg/offsets.json"
        let text = try #require(files.bytes(path).map { String(decoding: $0, as: UTF8.self).filter { !$0.isWhitespace } })
        #expect(text == #"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:8}}"#)
        broker.store("T", count: 2)
        // A queue that came meanwhile is new to this member, and is not skipped.
        broker.store("T", queueID: 1, count: 1)
        broker.nameServer.follow(
            Scripts.nameServer(["T": Scripts.route([(ScriptedBroker.name, broker.server.address)], queues: 2)]))
        let after = Collected<String>()
        let second = Self.consumer(broker, files, into: after) { $0.consumeFromWhere = .lastOffset }
        try await second.start()
        #expect(await eventually { after.count == 3 })
        await second.shutdown()
        #expect(after.all.sorted() == ["0:8", "0:9", "1:0"])
    }

    @Test func aPullConsumerGetsEverythingAndKeepsItsPositionsHere() async throws {
        let broker = try ScriptedBroker(queues: 2)
        for queue in 0..<2 as Range<Int32> { broker.store("T", queueID: queue, count: 5) }
        let files = MemoryFileSystem()
        var configuration = ConsumerConfiguration(group: "cg")
        configuration.messageModel = .broadcasting
        configuration.consumeFromWhere = .firstOffset
        configuration.localOffsetDirectory = "/offsets"
        let settings = configuration
        func consumer(_ instance: String) -> DefaultLitePullConsumer {
            let client = ClientConfiguration(nameServers: [broker.nameServer.address], instanceName: instance)
            return DefaultLitePullConsumer(
                settings, runtime: ClientRuntime(client, environment: Self.environment(files)), subscriptions: [Subscription("T")])
        }
        func read(_ count: Int, _ consumer: DefaultLitePullConsumer) async throws -> [String] {
            var read: [String] = []
            while read.count < count { read += try await consumer.poll().map { "\($0.queueID):\($0.queueOffset)" } }
            return read.sorted()
        }
        let everything = (0..<2).flatMap { queue in (0..<5).map { "\(queue):\($0)" } }
        let (one, two) = (consumer("one"), consumer("two"))
        try await one.start()
        try await two.start()
        #expect(try await read(10, one) == everything)
        #expect(try await read(10, two) == everything)
        let same = consumer("one")
        let error = try #require(await failure { () throws(MQError) in try await same.start() })
        #expect(error.advice.contains("instanceName"))
        let queue = ScriptedBroker.queue(1)
        try await one.commit()
        #expect(try await one.committed(queue) == 5)
        await one.shutdown()
        await two.shutdown()
        // The broker keeps nothing of it, and what was read does not come again.
        #expect(broker.offset("T") == nil && broker.server.requests(.updateConsumerOffset).isEmpty)
        #expect(broker.server.requests(.pullMessage).allSatisfy { $0.fields["sysFlag"] == "2" })
        #expect(broker.server.requests(.getConsumerListByGroup).isEmpty)
        let data = try HeartbeatData(decoding: broker.server.requests(.heartBeat)[0].body)
        #expect(data.consumerDataSet.first?.messageModel == .broadcasting)
        broker.store("T", queueID: 1, count: 1)
        let again = consumer("one")
        try await again.start()
        #expect(try await read(1, again) == ["1:5"])
        await again.shutdown()
    }

    @Test func twoCannotShareOneFile() async throws {
        let broker = try ScriptedBroker()
        let files = MemoryFileSystem()
        let received = Collected<String>()
        let one = Self.consumer(broker, files, into: received)
        let two = Self.consumer(broker, files, into: received)
        try await one.start()
        let error = try #require(await failure { () throws(MQError) in try await two.start() })
        #expect(error.message.contains("another consumer") && error.advice.contains("instanceName"))
        await one.shutdown()
        try await two.start()
        await two.shutdown()
    }

    @Test func whatFailsIsTriedAgainHereAndThenGivenUp() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 2)
        let received = Collected<String>()
        let consumer = Self.consumer(broker, MemoryFileSystem(), into: received) { $0.maxReconsumeTimes = 1 }
        consumer.registerMessageListener { messages, _ in
            received.append("\(messages[0].queueOffset)#\(messages[0].reconsumeTimes)")
            return messages[0].queueOffset == 0 ? .reconsumeLater : .consumeSuccess
        }
        try await consumer.start()
        #expect(await eventually(within: .seconds(20)) { received.count == 3 })
        #expect(received.all.sorted() == ["0#0", "0#1", "1#0"])
        let isPassed = await eventually {
            let body = await broker.server.ask(.request(.getConsumerStatusFromClient, ["topic": "T", "group": "cg"]))?.body ?? []
            return (try? GetConsumerStatusBody(decoding: body))?.messageQueueTable == [ScriptedBroker.queue(): 2]
        }
        #expect(isPassed && broker.sentBack.isEmpty)
        await consumer.shutdown()
    }

    @Test func orderIsKeptWithoutLocks() async throws {
        let broker = try ScriptedBroker()
        broker.store("T", count: 40)
        let received = Collected<String>()
        let consumer = Self.consumer(broker, MemoryFileSystem(), into: received)
        consumer.registerMessageListener(orderly: { messages, _ in
            received.append("\(messages[0].queueOffset)")
            return messages[0].queueOffset == 3 && messages[0].reconsumeTimes == 0 ? .suspendCurrentQueueAMoment : .success
        })
        try await consumer.start()
        #expect(await eventually { received.count == 41 })
        await consumer.shutdown()
        #expect(received.all == ([0, 1, 2, 3] + Array(3..<40)).map { "\($0)" })
    }

    // MARK: The file

    /// A store on a loop of its own.
    final class Scene {
        let loop = TestLoop()
        let files: MemoryFileSystem
        let store: LocalOffsetStore
        let queue = MessageQueue(topic: "T", brokerName: "b", queueID: 3)

        init(_ files: MemoryFileSystem = MemoryFileSystem()) {
            self.files = files
            let log = Logger(component: "test", threshold: LogThreshold(.error), sink: SilentLogSink(), clock: loop.clock)
            store = LocalOffsetStore(path: "/o/c/g/offsets.json", fileSystem: files, worker: loop, loop: loop, log: log)
        }

        func load() -> MQError? {
            var result: MQError?
            store.load { result = $0 }
            loop.settle()
            return result
        }

        func save(_ offset: Int64) -> FileSystemError? {
            store.set(queue, offset)
            var result: FileSystemError?
            store.save { result = $0 }
            loop.settle()
            return result
        }
    }

    @Test func theFileIsOldOrNewWhateverFails() throws {
        let scene = Scene()
        #expect(scene.load() == nil && scene.store.offset(of: scene.queue) == nil)
        #expect(scene.save(5) == nil && scene.save(6) == nil)
        for operation in [MemoryFileSystem.Operation.open, .write, .synchronize, .rename] {
            scene.files.setFault { found, _ in found == operation ? .fail(.noSpace) : nil }
            #expect(scene.save(7) != nil, "\(operation)")
            scene.files.setFault(nil)
            // What a process finds that comes after a crash now.
            let next = Scene(scene.files.copy())
            #expect(next.load() == nil && [6, 7].contains(next.store.offset(of: next.queue)), "\(operation)")
        }
        // A later save catches up.
        #expect(scene.save(7) == nil)
        let next = Scene(scene.files.copy())
        #expect(next.load() == nil && next.store.offset(of: next.queue) == 7 && next.store.knows(topic: "T"))
    }

    @Test func aDamagedFileIsReplacedByItsCopy() throws {
        let scene = Scene()
        #expect(scene.load() == nil && scene.save(1) == nil && scene.save(2) == nil)
        scene.files.setBytes(scene.store.path, Array("{\"offsetTable\":".utf8))
        let next = Scene(scene.files.copy())
        #expect(next.load() == nil && next.store.offset(of: next.queue) == 2)
        scene.files.setBytes(scene.store.path + ".bak", [])
        let last = Scene(scene.files.copy())
        #expect(last.load()?.message.contains("offsets.json.bak is damaged") == true)
    }
}
