import Foundation
import RocketMQBase
import RocketMQNameServer
import RocketMQProtocol
import RocketMQSystem
import Testing

/// A name server over a `TestLoop`, with its files in a folder that goes with it.
final class Scene {
    let loop = TestLoop()
    let worker = TestWorker()
    let sink = MemoryLogSink()
    let folder: String
    private(set) var settings = SettingsValues(NameServerSettings.schema)
    private var servers: [NameServer] = []

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "namesrv-tests-\(UUID().uuidString)").path()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try set(NameServerSettings.kvConfigPath, "\(folder)/config/kv.json")
        try set(NameServerSettings.configStorePath, "\(folder)/config/namesrv.properties")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func set<Value>(_ setting: Setting<Value>, _ value: Value) throws { try settings.set(setting, to: value, origin: .builtIn) }

    @discardableResult
    func start(settingsFile: String? = nil) throws -> NameServer {
        let log = Logger(component: "namesrv", sink: sink, clock: loop.clock)
        let server = NameServer(
            loop: loop, settings: settings, settingsFile: settingsFile, fileSystem: LinuxFileSystem(), worker: worker, log: log)
        servers.append(server)
        _ = try server.start()
        return server
    }

    func client() throws -> TestClient { try #require(loop.connectClient()) }
    func text(of path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
}

/// A registration of broker `name` with topics of four queues.
func registrationRequest(
    _ name: String, _ topics: [String], address: String = "127.0.0.1:10911", id: Int = 0, version: Int64 = 1, compressed: Bool = false
) throws -> RemotingCommand {
    let configs = topics.map { ($0, TopicConfig(topicName: $0, readQueueNums: 4, writeQueueNums: 4)) }
    let body = RegisterBrokerBody(
        topicConfigSerializeWrapper: TopicConfigSerializeWrapper(
            topicConfigTable: Dictionary(uniqueKeysWithValues: configs), dataVersion: DataVersion(timestamp: 5, counter: version)))
    let bytes = compressed ? try body.encodedCompressed() : body.encoded()
    return .request(
        .registerBroker,
        [
            "brokerName": name, "brokerAddr": address, "clusterName": "C", "haServerAddr": "127.0.0.1:10912", "brokerId": "\(id)",
            "compressed": "\(compressed)", "bodyCrc32": "\(Checksum.body(bytes))",
        ], body: bytes)
}

struct NameServerTests {
    @Test("Registered topics have routes, with plain and with compressed bodies", arguments: [false, true])
    func register(compressed: Bool) throws {
        let scene = try Scene()
        try scene.start()
        let broker = try scene.client()
        #expect(try broker.call(registrationRequest("a", ["T", "U"], compressed: compressed)).responseCode == .success)
        let answer = try scene.client().call(.getRouteinfoByTopic, ["topic": "T"])
        #expect(answer.responseCode == .success)
        let route = try TopicRouteData(decoding: answer.body)
        #expect(route.queueDatas.map(\.writeQueueNums) == [4])
        #expect(route.brokerDatas.map(\.masterAddress) == ["127.0.0.1:10911"])
        #expect(try broker.call(registrationRequest("a", ["T", "U"], compressed: compressed)).responseCode == .success, "again, the same")
        #expect(scene.sink.messages.filter { $0.contains("has registered") }.count == 1)
    }

    @Test("A damaged, an unreadable and an incomplete registration are refused and change nothing")
    func badRegistrations() throws {
        let scene = try Scene()
        try scene.start()
        let broker = try scene.client()
        let good = try registrationRequest("a", ["T", "U"])
        var damaged = good
        damaged.fields["bodyCrc32"] = "12345"
        var unreadable = good
        unreadable.body = Array("{\"topicConfigSerializeWrapper\":".utf8)
        unreadable.fields["bodyCrc32"] = "0"
        var notCompressed = good
        notCompressed.fields["compressed"] = "true"
        for bad in [damaged, unreadable, notCompressed] {
            let answer = try broker.call(bad)
            #expect(answer.responseCode == .systemError)
            #expect(answer.remark?.isEmpty == false)
        }
        for field in ["brokerName", "brokerAddr", "clusterName", "brokerId"] {
            var incomplete = good
            incomplete.fields[field] = nil
            let answer = try broker.call(incomplete)
            #expect(answer.responseCode == .systemError)
            #expect(answer.remark?.contains(field) == true)
            incomplete.fields[field] = field == "brokerId" ? "-1" : ""
            #expect(try broker.call(incomplete).responseCode == .systemError)
        }
        #expect(try broker.call(.getAllTopicListFromNameserver).body == TopicList(topicList: []).encoded())
        #expect(try broker.call(good).responseCode == .success, "the connection goes on")
    }

    @Test("A broker is dropped when its connection ends")
    func connectionEnds() throws {
        let scene = try Scene()
        try scene.start()
        let broker = try scene.client()
        let client = try scene.client()
        _ = try broker.call(registrationRequest("a", ["T", "U"]))
        broker.close()
        #expect(try client.call(.getRouteinfoByTopic, ["topic": "T"]).responseCode == .topicNotExist)
        #expect(scene.sink.contains("broker a (id 0, 127.0.0.1:10911 of cluster C) is gone", atLeast: .warning))
    }

    @Test("A silent broker is dropped after 120 seconds, though its connection lives")
    func silence() throws {
        let scene = try Scene()
        try scene.start()
        let broker = try scene.client()
        _ = try broker.call(registrationRequest("a", ["T", "U"]))
        for _ in 0..<12 {
            scene.loop.advance(by: .seconds(10))
            #expect(try broker.call(.getRouteinfoByTopic, ["topic": "T"]).responseCode == .success)
        }
        scene.loop.advance(by: .seconds(6))
        #expect(broker.isClosed)
        let client = try scene.client()
        #expect(try client.call(.getRouteinfoByTopic, ["topic": "T"]).responseCode == .topicNotExist)
        #expect(scene.sink.contains("nothing heard of it for 125 s", atLeast: .warning))
    }

    @Test("Asking for the data version and heartbeats keep a broker in the routes")
    func heartbeats() throws {
        let scene = try Scene()
        try scene.start()
        let broker = try scene.client()
        let ids = ["brokerName": "a", "brokerAddr": "127.0.0.1:10911", "clusterName": "C", "brokerId": "0"]
        _ = try broker.call(registrationRequest("a", ["T", "U"], version: 3))
        let version = DataVersion(timestamp: 5, counter: 3)
        scene.loop.advance(by: .seconds(100))
        let same = try broker.call(.queryDataVersion, ids, body: version.encoded())
        #expect(same.fields["changed"] == "false")
        #expect(try DataVersion(decoding: same.body) == version)
        scene.loop.advance(by: .seconds(100))
        let other = try broker.call(.queryDataVersion, ids, body: DataVersion(timestamp: 5, counter: 4).encoded())
        #expect(other.fields["changed"] == "true")
        scene.loop.advance(by: .seconds(100))
        #expect(try broker.call(.brokerHeartbeat, ids).responseCode == .success)
        scene.loop.advance(by: .seconds(100))
        #expect(try broker.call(.getRouteinfoByTopic, ["topic": "T"]).responseCode == .success)
        let members = try broker.call(.getBrokerMemberGroup, ["clusterName": "C", "brokerName": "a"])
        #expect(
            String(decoding: members.body, as: UTF8.self)
                == #"{"brokerMemberGroup":{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"a","cluster":"C"}}"#)
    }

    @Test("Unknown codes are answered in words; one-way requests never")
    func unknownCodes() throws {
        let scene = try Scene()
        try scene.start()
        let client = try scene.client()
        let answer = try client.call(RemotingCommand(code: 9999))
        #expect((answer.code, answer.remark) == (3, " request type 9999 not supported"))
        for code: Int32 in [9999, 103, 105, 106] {
            var output = ByteBuffer()
            RemotingCommand(code: code, opaque: 1, flag: FrameFormat.onewayFlag).encode(into: &output)
            #expect(client.exchange(output.copyBytes()).isEmpty)
        }
        #expect(try client.call(.getBrokerClusterInfo).responseCode == .success)
        #expect(try client.call(.getRouteinfoByTopic).responseCode == .systemError)
    }

    @Test("A port that is taken stops the start")
    func portInUse() throws {
        let scene = try Scene()
        try scene.set(NameServerSettings.listenPort, 1)
        #expect {
            try scene.start()
        } throws: { error in
            guard case .cannotListen(let cause)? = error as? NameServerError else { return false }
            return cause.code == .addressInUse
        }
    }
}
