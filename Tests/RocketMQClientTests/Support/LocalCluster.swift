import Foundation
import RocketMQBase
import RocketMQCommands
import RocketMQSystem
import Synchronization

@testable import RocketMQClient

/// A real nameserver and a real broker in this process, on free ports, with a directory of their own.
final class LocalCluster: Sendable {
    let nameServer: NameServerInstance
    let directory: String
    private let broker: Mutex<BrokerInstance?>
    private let brokerPort: Mutex<UInt16>

    init() throws {
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
        var settings = SettingsValues(BrokerSettings.schema)
        let values = [
            "listenPort": "\(brokerPort.withLock { $0 })", "bindAddress": "127.0.0.1", "storePathRootDir": directory + "/store",
            "namesrvAddr": address, "brokerName": "local", "diskSpaceWarningLevelRatio": "99", "mappedFileSizeCommitLog": "16777216",
            "mappedFileSizeConsumeQueue": "600000",
        ]
        for (name, text) in values { try settings.set(name, text: text, origin: .option("test")) }
        let instance = try BrokerInstance(settings: settings, clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: Self.log)
        brokerPort.withLock { $0 = instance.address.port }
        broker.withLock { $0 = instance }
    }

    func stopBroker() { broker.withLock { $0.take() }?.stop() }

    func stop() {
        stopBroker()
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
func withCluster(_ body: (LocalCluster) async throws -> Void) async throws {
    let cluster = try LocalCluster()
    defer { cluster.stop() }
    try await body(cluster)
}
