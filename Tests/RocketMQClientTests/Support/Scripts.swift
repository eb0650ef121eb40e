import RocketMQBase
import RocketMQProtocol
import RocketMQSystem

@testable import RocketMQClient

/// Parts of scripts.
enum Scripts {
    /// The route of a topic on brokers of these names and addresses.
    static func route(_ brokers: [(name: String, address: String)], queues: Int32 = 2) -> TopicRouteData {
        TopicRouteData(
            queueDatas: brokers.map { QueueData(brokerName: $0.name, readQueueNums: queues, writeQueueNums: queues, perm: .readWrite) },
            brokerDatas: brokers.map { BrokerData(cluster: "c", brokerName: $0.name, brokerAddrs: [0: $0.address]) })
    }

    /// A nameserver that knows these topics.
    static func nameServer(_ routes: [String: TopicRouteData]) -> ScriptedServer.Script {
        { request in
            guard let topic = request.fields["topic"], let route = routes[topic] else {
                return .answer(
                    .response(.topicNotExist, "No topic route info in name server for the topic: \(request.fields["topic"] ?? "")"))
            }
            return .answer(.success(body: route.encoded()))
        }
    }

    /// A broker's answer to a send.
    static func stored(_ request: RemotingCommand, offset: Int64 = 0, code: ResponseCode = .success) -> ScriptedServer.Reply {
        .answer(
            .response(
                code, nil,
                [
                    "msgId": "7F00000100002A9F0000000000000000", "queueId": request.fields["e"] ?? "0", "queueOffset": "\(offset)",
                    "MSG_REGION": "DefaultRegion", "TRACE_ON": "true",
                ]))
    }

    /// A broker that stores everything.
    static let storing: ScriptedServer.Script = { request in
        switch request.requestCode {
        case .sendMessageV2, .sendBatchMessage: stored(request)
        default: .answer(.success())
        }
    }

    /// Client, nameserver and brokers for one topic `T`.
    static func producer(
        brokers: [ScriptedServer], _ change: (inout ProducerConfiguration) -> Void = { _ in }
    ) throws -> (DefaultMQProducer, ScriptedServer) {
        let named = brokers.enumerated().map { ("broker-\($0)", $1.address) }
        let nameServer = try ScriptedServer(Scripts.nameServer(["T": route(named)]))
        var configuration = ProducerConfiguration(group: "pg")
        change(&configuration)
        return (DefaultMQProducer(configuration, client: ClientConfiguration(nameServers: [nameServer.address])), nameServer)
    }
}

/// An address on loopback where nobody listens.
///
/// A port below those that the system hands out: tests that run at the same time cannot be given it.
func unusedAddress() throws -> String { "127.0.0.1:1" }

/// The error that an operation throws; fails the test when it throws none.
func failure<Value>(of operation: () async throws(MQError) -> Value) async -> MQError? {
    do throws(MQError) {
        _ = try await operation()
        return nil
    } catch { return error }
}
