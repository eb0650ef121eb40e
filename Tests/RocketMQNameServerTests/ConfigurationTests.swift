import Foundation
import RocketMQBase
import RocketMQNameServer
import RocketMQProtocol
import Testing

struct KeyValueRequestTests {
    @Test("Pairs are kept over a restart")
    func restart() throws {
        let scene = try Scene()
        try scene.start().stop()
        try scene.start()
        let client = try scene.client()
        #expect(try client.call(.putKvConfig, ["namespace": "N", "key": "k", "value": "值"]).responseCode == .success)
        #expect(try client.call(.putKvConfig, ["namespace": "N", "key": "k2", "value": "v2"]).responseCode == .success)
        #expect(try client.call(.deleteKvConfig, ["namespace": "N", "key": "k2"]).responseCode == .success)
        #expect(
            try KeyValueConfiguration(decoding: Array((scene.text(of: "\(scene.folder)/config/kv.json") ?? "").utf8))["N"] == ["k": "值"])

        try scene.start()
        let other = try scene.client()
        #expect(try other.call(.getKvConfig, ["namespace": "N", "key": "k"]).fields["value"] == "值")
        #expect(try KVTable(decoding: other.call(.getKvlistByNamespace, ["namespace": "N"]).body) == KVTable(table: ["k": "值"]))
        #expect(try other.call(.getKvConfig, ["namespace": "N", "key": "k2"]).responseCode == .queryNotFound)
        #expect(try other.call(.getKvlistByNamespace, ["namespace": "M"]).responseCode == .queryNotFound)
        #expect(try other.call(.deleteKvConfig, ["namespace": "M", "key": "k"]).responseCode == .success)
        #expect(try other.call(.putKvConfig, ["namespace": "N", "key": "k"]).responseCode == .systemError)
    }

    @Test("A change is answered when the file holds it, not before, while other requests go on")
    func durability() throws {
        let scene = try Scene()
        try scene.start()
        let client = try scene.client()
        scene.worker.hold()
        var put = ByteBuffer()
        var request = RemotingCommand.request(.putKvConfig, ["namespace": "N", "key": "k", "value": "v"])
        request.opaque = 5
        request.encode(into: &put)
        #expect(client.exchange(put.copyBytes()).isEmpty)
        #expect(try client.call(.getBrokerClusterInfo).responseCode == .success)
        scene.worker.release()
        let answers = client.exchange([])
        #expect(answers.map(\.opaque) == [5])
        #expect(answers.map(\.responseCode) == [.success])
    }

    @Test("A file that cannot be written is told to whoever changed something")
    func unwritable() throws {
        let scene = try Scene()
        try scene.start()
        try "in the way".write(toFile: "\(scene.folder)/config", atomically: true, encoding: .utf8)
        let answer = try scene.client().call(.putKvConfig, ["namespace": "N", "key": "k", "value": "v"])
        #expect(answer.responseCode == .systemError)
        #expect(answer.remark?.contains("not saved") == true)
        #expect(scene.sink.contains("could not be saved", atLeast: .error))
    }

    @Test("A broken file stops the start instead of being overwritten; a file that is lost is taken from its copy")
    func recovery() throws {
        let scene = try Scene()
        try scene.start()
        let client = try scene.client()
        _ = try client.call(.putKvConfig, ["namespace": "N", "key": "k", "value": "old"])
        _ = try client.call(.putKvConfig, ["namespace": "N", "key": "k", "value": "new"])
        let path = "\(scene.folder)/config/kv.json"
        try "{\"configTable\":".write(toFile: path, atomically: true, encoding: .utf8)
        #expect {
            try scene.start()
        } throws: { "\($0)".contains(path) }
        try FileManager.default.removeItem(atPath: path)
        try scene.start()
        #expect(try scene.client().call(.getKvConfig, ["namespace": "N", "key": "k"]).fields["value"] == "new")
    }

    @Test("Routes carry the queue order of a topic once that is switched on, and brokers are given all of it")
    func orderTopics() throws {
        let scene = try Scene()
        try scene.start()
        let client = try scene.client()
        #expect(try client.call(registrationRequest("a", ["T", "U"])).body == [])
        _ = try client.call(.putKvConfig, ["namespace": "ORDER_TOPIC_CONFIG", "key": "T", "value": "a:4"])
        #expect(try client.call(registrationRequest("a", ["T", "U"])).body == Array(#"{"table":{"T":"a:4"}}"#.utf8))
        func order() throws -> String? {
            try TopicRouteData(decoding: client.call(.getRouteinfoByTopic, ["topic": "T"]).body).orderTopicConf
        }
        #expect(try order() == nil)
        #expect(try client.call(.updateNamesrvConfig, body: Array("orderMessageEnable=true".utf8)).responseCode == .success)
        #expect(try order() == "a:4")
        _ = try client.call(.putKvConfig, ["namespace": "ORDER_TOPIC_CONFIG", "key": "T", "value": "a:8"])
        #expect(try order() == "a:8")
    }
}

struct SettingsRequestTests {
    private func update(_ client: TestClient, _ text: String) throws -> RemotingCommand {
        try client.call(.updateNamesrvConfig, body: Array(text.utf8))
    }

    @Test("Changes take effect, show, and go into the file that the settings came from")
    func change() throws {
        let scene = try Scene()
        let file = "\(scene.folder)/namesrv.conf"
        try "# mine\nlogLevel=info\nlistenPort=9876\n".write(toFile: file, atomically: true, encoding: .utf8)
        try scene.start(settingsFile: file)
        let client = try scene.client()
        #expect(try update(client, "orderMessageEnable=true\nlogLevel=warning").responseCode == .success)
        #expect(scene.text(of: file) == "# mine\nlogLevel=warning\nlistenPort=9876\norderMessageEnable=true\n")
        let shown = String(decoding: try client.call(.getNamesrvConfig).body, as: UTF8.self)
        #expect(shown.contains("orderMessageEnable=true\n"))
        #expect(shown.contains("listenPort=9876\n"))
    }

    @Test("Without a file, changes go to configStorePath")
    func changeWithoutFile() throws {
        let scene = try Scene()
        try scene.start()
        #expect(try update(try scene.client(), "orderMessageEnable=true").responseCode == .success)
        #expect(scene.text(of: "\(scene.folder)/config/namesrv.properties") == "orderMessageEnable=true\n")
    }

    @Test(
        "What cannot be changed is refused with everything that came with it",
        arguments: [
            ("kvConfigPath=/elsewhere", ResponseCode.noPermission), ("configBlackList=", .noPermission), ("rocketmqHome=/", .noPermission),
            ("listenPort=1", .systemError), ("logLevel=loud", .systemError), ("orderMessageEnabel=true", .systemError),
        ])
    func refusals(text: String, code: ResponseCode) throws {
        let scene = try Scene()
        try scene.start()
        let client = try scene.client()
        let before = try client.call(.getNamesrvConfig).body
        let answer = try update(client, "orderMessageEnable=true\n\(text)")
        #expect(answer.responseCode == code)
        #expect(answer.remark?.contains(String(text.prefix { $0 != "=" })) == true)
        #expect(try client.call(.getNamesrvConfig).body == before)
        #expect(scene.text(of: "\(scene.folder)/config/namesrv.properties") == nil)
    }

    @Test("A setting of the reference's that does nothing here is taken without complaint")
    func withoutEffect() throws {
        let scene = try Scene()
        try scene.start()
        #expect(try update(try scene.client(), "clusterTest=false").responseCode == .success)
        #expect(try update(try scene.client(), "").responseCode == .success)
        #expect(try update(try scene.client(), "a=\\u12").responseCode == .systemError)
    }
}
