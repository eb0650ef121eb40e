import Foundation
import RocketMQBase
import RocketMQCommands
import RocketMQProtocol
import RocketMQSystem
import Synchronization

@testable import RocketMQClient

/// A real nameserver and a real broker in this process, on free ports, with a directory of their own.
final class LocalCluster: Sendable {
    let nameServer: NameServerInstance
    let directory: String
    private let broker: Mutex<BrokerInstance?>
    private let others = Mutex<[BrokerInstance]>([])
    let brokerName: String
    private let brokerPort: Mutex<UInt16>

    init(brokerName: String = "local") throws {
        self.brokerName = brokerName
        directory = NSTemporaryDirectory() + "rocketmq-client-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var settings = SettingsValues(NameServerSettings.schema)
        try settings.set("listenPort", text: "0", origin: .option("test"))
        try settings.set("bindAddress", text: "127.0.0.1", origin: .option("test"))
        try settings.set("kvConfigPath", text: directory + "/kv.json", origin: .option("test"))
        nameServer = try NameServerInstance(settings: settings, clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: Self.log)
        broker = Mutex(nil)
        brokerPort = Mutex(0)
        try startBroker()
    }

    var address: String { nameServer.address.description }

    private static let log = Logger(component: "cluster", threshold: LogThreshold(.error), sink: StandardErrorSink(), clock: LinuxClock())

    /// Starts the broker; after a stop, at the port that it had.
    func startBroker() throws {
        let instance = try newBroker(brokerName, port: brokerPort.withLock { $0 }, store: directory + "/store")
        brokerPort.withLock { $0 = instance.address.port }
        broker.withLock { $0 = instance }
    }

    /// Another master.
    func addBroker(_ name: String) throws {
        let instance = try newBroker(name, port: 0, store: directory + "/" + name)
        others.withLock { $0.append(instance) }
    }

    private func newBroker(_ name: String, port: UInt16, store: String) throws -> BrokerInstance {
        var settings = SettingsValues(BrokerSettings.schema)
        let values = [
            "listenPort": "\(port)", "bindAddress": "127.0.0.1", "storePathRootDir": store, "namesrvAddr": address, "brokerName": name,
            "diskSpaceWarningLevelRatio": "99", "mappedFileSizeCommitLog": "16777216",
            "mappedFileSizeConsumeQueue": "600000",
        ]
        for (name, text) in values { try settings.set(name, text: text, origin: .option("test")) }
        return try BrokerInstance(settings: settings, clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: Self.log)
    }

    /// Makes a topic with so many queues at each broker, or gives one more.
    func make(_ topic: String, queues: Int) async {
        let fields = [
            "topic": topic, "readQueueNums": "\(queues)", "writeQueueNums": "\(queues)", "perm": "6", "topicFilterType": "SINGLE_TAG",
            "defaultTopic": "TBW102", "topicSysFlag": "0", "order": "false",
        ]
        await ask(.request(.updateAndCreateTopic, fields))
    }

    /// Deletes a topic at each broker.
    func delete(_ topic: String) async { await ask(.request(.deleteTopicInBroker, ["topic": topic])) }

    /// Has each broker do something.
    private func ask(_ request: RemotingCommand) async {
        let addresses = [broker.withLock { $0?.address }].compactMap(\.self) + others.withLock { $0.map(\.address) }
        let runtime = ClientRuntime(ClientConfiguration(nameServers: [address]))
        let consumer = DefaultLitePullConsumer(ConsumerConfiguration(group: "topics"), runtime: runtime)
        try? await consumer.start()
        for address in addresses {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                runtime.execute { core in
                    core.call(request, at: address.description, timeout: .seconds(60)) { _ in continuation.resume() }
                }
            }
        }
        await consumer.shutdown()
    }

    func stopBroker() { broker.withLock { $0.take() }?.stop() }

    func stop() {
        stopBroker()
        for other in others.withLock({ $0 }) { other.stop() }
        nameServer.stop()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func producer(_ group: String = "pg") async throws -> DefaultMQProducer {
        let producer = DefaultMQProducer(group: group, nameServers: [address])
        try await producer.start()
        return producer
    }

    /// A started consumer that puts what it gets into `into`.
    func consumer(
        _ group: String, _ topic: String, filter: MessageFilter = .all, into collected: Collected<MessageExt>,
        _ change: (inout ConsumerConfiguration) -> Void = { _ in }
    ) async throws -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        change(&configuration)
        let consumer = DefaultMQPushConsumer(
            configuration, client: ClientConfiguration(nameServers: [address]), subscriptions: [Subscription(topic, filter: filter)])
        consumer.registerMessageListener { messages, _ in
            for message in messages { collected.append(message) }
            return .consumeSuccess
        }
        try await consumer.start()
        return consumer
    }
}

/// Runs a test with a cluster and stops it afterwards.
func withCluster(brokerName: String = "local", _ body: (LocalCluster) async throws -> Void) async throws {
    let cluster = try LocalCluster(brokerName: brokerName)
    defer { cluster.stop() }
    try await body(cluster)
}
