import RocketMQBase
import RocketMQCommands
import RocketMQProtocol
import RocketMQRemoting
import RocketMQSystem
import RocketMQTesting
import Testing

/// Name server and broker as programs run them: real threads, sockets and files.
@Suite(.timeLimit(.minutes(1)), .serialized) struct ClusterTests {
    private final class Client: Sendable {
        let loop = EpollLoop(name: "client")
        let remoting: RemotingClient
        init() { remoting = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) }) }
        deinit {
            remoting.stop()
            loop.stop()
        }
        func call(_ code: RequestCode, _ fields: [String: String] = [:], body: [UInt8] = [], at address: String) async throws
            -> RemotingCommand
        {
            try await remoting.call(.request(code, fields, body: body), at: address, timeout: .seconds(10))
        }
        func send(_ topic: String, _ body: String, at address: String) async throws -> RemotingCommand {
            try await call(
                .sendMessageV2,
                ["a": "p", "b": topic, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "0", "h": "0", "i": "", "j": "0", "m": "false"],
                body: Array(body.utf8), at: address)
        }
        func pull(_ topic: String, _ offset: Int64, waiting: Int = 0, at address: String) async throws -> RemotingCommand {
            try await call(
                .pullMessage,
                [
                    "consumerGroup": "g", "topic": topic, "queueId": "0", "queueOffset": "\(offset)", "maxMsgNums": "32",
                    "sysFlag": waiting > 0 ? "6" : "4", "commitOffset": "0", "suspendTimeoutMillis": "\(waiting)", "subscription": "*",
                    "subVersion": "0", "expressionType": "TAG",
                ], at: address)
        }
    }

    @Test("The route of a topic is known at the name server when the send that created it is answered")
    func routeAfterSend() async throws {
        let cluster = try TestCluster()
        let client = Client()
        #expect(try await client.send("Fresh", "hello", at: cluster.brokerAddress).responseCode == .success)
        let answer = try await client.call(.getRouteinfoByTopic, ["topic": "Fresh"], at: cluster.nameServerAddress)
        #expect(answer.responseCode == .success)
        let route = try TopicRouteData(decoding: answer.body)
        #expect(route.brokerDatas.first?.brokerAddrs[0] == cluster.broker.advertisedAddress)
        #expect(route.queueDatas.first?.writeQueueNums == 4)
        let pulled = try await client.pull("Fresh", 0, at: cluster.brokerAddress)
        #expect(try MessageExt.decodeAll(pulled.body).map(\.body) == [Array("hello".utf8)])
    }

    @Test("A waiting pull gets what another connection sends")
    func waitingPull() async throws {
        let cluster = try TestCluster()
        let (consumer, producer) = (Client(), Client())
        #expect(try await producer.send("T", "first", at: cluster.brokerAddress).responseCode == .success)
        async let waiting = consumer.pull("T", 1, waiting: 10_000, at: cluster.brokerAddress)
        for _ in 0..<5 { #expect(try await producer.send("T", "more", at: cluster.brokerAddress).responseCode == .success) }
        #expect(try await waiting.responseCode == .success)
    }

    @Test("Everything that was acknowledged is there after a stop and a start in the same directory")
    func restart() async throws {
        let cluster = try TestCluster(settings: ["flushDiskType": "SYNC_FLUSH"])
        let client = Client()
        for index in 0..<50 { #expect(try await client.send("T", "m\(index)", at: cluster.brokerAddress).responseCode == .success) }
        cluster.broker.stop()
        cluster.broker.stop()
        let again = try TestCluster(settings: ["storePathRootDir": cluster.folder.path + "/store"])
        var bodies: [String] = []
        while true {
            let answer = try await client.pull("T", Int64(bodies.count), at: again.brokerAddress)
            guard answer.responseCode == .success else { break }
            bodies += try MessageExt.decodeAll(answer.body).map { String(decoding: $0.body, as: UTF8.self) }
        }
        #expect(bodies == (0..<50).map { "m\($0)" })
    }

    @Test("A second broker on the same store, and one on a port that is taken, say what is wrong and leave no thread behind")
    func cannotStart() throws {
        let cluster = try TestCluster()
        do {
            _ = try TestCluster(settings: ["storePathRootDir": cluster.folder.path + "/store"])
            Issue.record("two brokers opened one store")
        } catch { #expect("\(error)".contains("another") && "\(error)".contains("storePathRootDir"), "\(error)") }
        let port = cluster.broker.address.port
        do {
            _ = try TestCluster(settings: ["listenPort": "\(port)"])
            Issue.record("two brokers have one port")
        } catch { #expect("\(error)".contains("\(port)") && "\(error)".contains("listenPort"), "\(error)") }
    }

    @Test("The name server forgets a broker that stops")
    func unregisters() async throws {
        let cluster = try TestCluster()
        let client = Client()
        _ = try await client.send("T", "m", at: cluster.brokerAddress)
        cluster.broker.stop()
        let answer = try await client.call(.getRouteinfoByTopic, ["topic": "T"], at: cluster.nameServerAddress)
        #expect(answer.responseCode == .topicNotExist)
    }
}
