import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import Testing

@testable import RocketMQBroker

struct RegistrationTests {
    private static let addresses = ["10.0.0.1:9876", "10.0.0.2:9876"]

    private final class Scene {
        let loop = TestLoop()
        let sink = MemoryLogSink()
        let first = TestServer()
        let second = TestServer()
        var topics = TopicConfigSerializeWrapper(topicConfigTable: ["T": TopicConfig(topicName: "T")])
        private(set) var registration: NameServerRegistration!

        init(nameServers: [String] = addresses, isCompressed: Bool = false, permission: Permission = .readWrite) {
            loop.servers = [addresses[0]: first, addresses[1]: second]
            registration = NameServerRegistration(
                identity: .init(
                    clusterName: "DefaultCluster", brokerName: "broker-a", brokerID: 0, address: "127.0.0.1:10911",
                    replicationAddress: "127.0.0.1:10912"),
                configuration: .init(nameServers: nameServers, isCompressed: isCompressed, permission: permission), loop: loop,
                topics: { [unowned self] in topics }, log: Logger(component: "registration", sink: sink, clock: loop.clock))
        }

        func change(_ name: String) {
            topics.topicConfigTable[name] = TopicConfig(topicName: name)
            topics.dataVersion.advance(nowMilliseconds: loop.clock.wallMilliseconds)
            registration.topicsChanged()
        }

        func body(_ request: RemotingCommand) throws -> RegisterBrokerBody {
            try RegisterBrokerBody(decoding: request.body.span.bytes, compressed: request.fields["compressed"] == "true")
        }
    }

    @Test("All nameservers are told at the start and every 30 s, with the fields of the reference")
    func periodic() throws {
        let scene = Scene()
        scene.registration.start()
        scene.loop.settle()
        for server in [scene.first, scene.second] {
            let request = try #require(server.requests(.registerBroker).first)
            #expect(
                request.fields == [
                    "brokerId": "0", "bodyCrc32": "\(Checksum.body(request.body))", "clusterName": "DefaultCluster",
                    "brokerAddr": "127.0.0.1:10911", "haServerAddr": "127.0.0.1:10912", "compressed": "false", "brokerName": "broker-a",
                ])
            #expect(try scene.body(request).topicConfigSerializeWrapper == scene.topics)
        }
        scene.loop.advance(by: .seconds(61))
        #expect(scene.first.requests(.registerBroker).count == 3)
        #expect(scene.sink.contains("registered with nameserver 10.0.0.2:9876"))
    }

    @Test("Changes of one tick are told at once and together; who waits hears when all know")
    func changes() throws {
        let scene = Scene()
        scene.registration.start()
        scene.loop.settle()
        var known = 0
        for name in ["A", "B", "C"] {
            scene.change(name)
            scene.registration.whenRegistered(timeout: .seconds(3)) { known += 1 }
        }
        #expect(known == 0)
        scene.loop.settle()
        #expect(known == 3)
        #expect(scene.first.requests(.registerBroker).count == 2)
        let told = try scene.body(#require(scene.second.requests(.registerBroker).last))
        #expect(told.topicConfigSerializeWrapper.topicConfigTable.keys.sorted() == ["A", "B", "C", "T"])
        var isCalled = false
        scene.registration.whenRegistered(timeout: .seconds(3)) { isCalled = true }
        #expect(isCalled, "nothing has changed since")
    }

    @Test("A nameserver that is silent delays no longer than asked, and later ones not at all")
    func silence() throws {
        let scene = Scene()
        scene.registration.start()
        scene.loop.settle()
        scene.second.answer = { _ in nil }
        scene.change("A")
        var known: [String] = []
        scene.registration.whenRegistered(timeout: .seconds(3)) { known.append("A") }
        scene.loop.advance(by: .milliseconds(2900))
        #expect(known.isEmpty)
        scene.loop.advance(by: .milliseconds(200))
        #expect(known == ["A"])
        scene.loop.advance(by: .seconds(4))
        #expect(scene.sink.contains("not registered with nameserver 10.0.0.2:9876", atLeast: .warning))
        scene.change("B")
        scene.registration.whenRegistered(timeout: .seconds(3)) { known.append("B") }
        scene.loop.settle()
        #expect(known == ["A", "B"], "the one that answers knows it")
    }

    @Test("Without nameservers, or with none that can be reached, nobody waits")
    func none() {
        let alone = Scene(nameServers: [])
        alone.registration.start()
        var calls = 0
        alone.registration.whenRegistered(timeout: .seconds(3)) { calls += 1 }
        #expect(calls == 1)
        #expect(alone.sink.contains("no nameserver is configured", atLeast: .warning))

        let scene = Scene()
        scene.loop.servers = [:]
        scene.registration.start()
        scene.registration.whenRegistered(timeout: .seconds(3)) { calls += 1 }
        scene.loop.settle()
        #expect(calls == 2)
        #expect(scene.sink.contains("nobody listens here", atLeast: .warning))
        #expect(scene.sink.contains("check namesrvAddr", atLeast: .warning))
    }

    @Test("A nameserver that comes later, or comes back, is told soon")
    func comingBack() {
        let scene = Scene()
        scene.loop.servers = [:]
        scene.registration.start()
        scene.loop.advance(by: .seconds(2))
        scene.loop.servers = [Self.addresses[0]: scene.first]
        scene.loop.advance(by: .seconds(3))
        #expect(scene.first.requests(.registerBroker).count == 1)
        scene.loop.disconnect(scene.first)
        scene.loop.advance(by: .seconds(1))
        #expect(scene.first.requests(.registerBroker).count == 2)
    }

    @Test("A refusal is logged with its reason")
    func refusal() {
        let scene = Scene()
        scene.first.answer = { _ in .response(.systemError, "crc32 not match") }
        scene.registration.start()
        scene.loop.settle()
        #expect(scene.sink.contains("crc32 not match", atLeast: .warning))
    }

    @Test("At the end the broker unregisters everywhere, and waits no longer than asked")
    func leaving() {
        let scene = Scene()
        scene.registration.start()
        scene.loop.settle()
        scene.second.answer = { _ in nil }
        var isDone = false
        scene.registration.stop(timeout: .seconds(2)) { isDone = true }
        scene.loop.settle()
        #expect(
            scene.first.requests(.unregisterBroker).first?.fields
                == ["brokerId": "0", "clusterName": "DefaultCluster", "brokerAddr": "127.0.0.1:10911", "brokerName": "broker-a"])
        #expect(!isDone)
        scene.loop.advance(by: .milliseconds(2100))
        #expect(isDone)
        let count = scene.first.requests.count
        scene.loop.advance(by: .seconds(60))
        #expect(scene.first.requests.count == count, "nothing is registered after it")
    }

    @Test("What the broker does not permit no topic permits; bodies may be compressed")
    func permissionAndCompression() throws {
        let scene = Scene(isCompressed: true, permission: .read)
        scene.registration.start()
        scene.loop.settle()
        let request = try #require(scene.first.requests(.registerBroker).first)
        #expect(request.fields["compressed"] == "true")
        #expect(request.fields["bodyCrc32"] == "\(Checksum.body(request.body))")
        #expect(try scene.body(request).topicConfigSerializeWrapper.topicConfigTable["T"]?.perm == .read)
    }

    @Test("Topics that nameservers keep as ordered are handed on when they name this broker")
    func ordered() {
        let scene = Scene()
        let table = KVTable(table: ["VecOrder": "broker-a:4", "Other": "broker-b:4", "Both": "broker-b:2;broker-a:2"])
        scene.first.answer = { _ in .success(body: table.encoded()) }
        var ordered: [String] = []
        scene.registration.onOrderedTopics = { ordered = $0 }
        scene.registration.start()
        scene.loop.settle()
        #expect(ordered == ["Both", "VecOrder"])
    }
}
