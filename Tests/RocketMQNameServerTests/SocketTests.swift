import Foundation
import RocketMQBase
import RocketMQNameServer
import RocketMQProtocol
import RocketMQRemoting
import RocketMQSystem
import Testing

/// A name server and clients over real sockets of this machine.
struct SocketTests {
    @Test("Registration, route, and the end of the broker's connection", .timeLimit(.minutes(1)))
    func overSockets() async throws {
        let scene = try Scene()
        try scene.set(NameServerSettings.listenPort, 0)
        try scene.set(CommonSettings.bindAddress, "127.0.0.1")
        let loop = EpollLoop(name: "test")
        let worker = WorkerThread(name: "test-files")
        let log = Logger(component: "namesrv", sink: scene.sink, clock: LinuxClock())
        let server = LoopBound(
            NameServer(loop: loop, settings: scene.settings, fileSystem: LinuxFileSystem(), worker: worker, log: log), on: loop)
        let address = try loop.perform { () throws(NameServerError) in try server.value.start() }.description

        let broker = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        func call(_ client: RemotingClient, _ request: RemotingCommand) async throws -> RemotingCommand {
            try await client.call(request, at: address, timeout: .seconds(10))
        }
        #expect(try await call(broker, registrationRequest("a", ["T", "U"])).responseCode == .success)
        #expect(try await call(client, .request(.getRouteinfoByTopic, ["topic": "T"])).responseCode == .success)
        let put = RemotingCommand.request(.putKvConfig, ["namespace": "N", "key": "k", "value": "v"])
        #expect(try await call(client, put).responseCode == .success)
        broker.stop()
        // The end of the connection is noticed soon, not at once: ask until the route is gone.
        while try await call(client, .request(.getRouteinfoByTopic, ["topic": "T"])).responseCode != .topicNotExist {}

        client.stop()
        loop.perform { server.value.stop() }
        worker.stop()
        loop.stop()
        #expect(scene.text(of: "\(scene.folder)/config/kv.json")?.contains("\"k\"") == true)
    }
}
