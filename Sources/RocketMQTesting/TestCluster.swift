import RocketMQBase
import RocketMQCommands
import RocketMQSystem

/// A name server and a broker in this process, on ports of 127.0.0.1 and in a directory of their own, gone with the value.
public final class TestCluster: Sendable {
    public let nameServer: NameServerInstance
    public let broker: BrokerInstance
    /// What both have logged.
    public let log: MemoryLogSink
    public let folder: TestFolder
    /// `host:port` for clients.
    public var nameServerAddress: String { nameServer.address.description }
    public var brokerAddress: String { broker.address.description }

    /// Returns when the name server knows the broker.
    ///
    /// - Parameter settings: settings of the broker by name, over those that keep it small and local.
    public init(settings: [String: String] = [:]) throws {
        folder = try TestFolder()
        log = MemoryLogSink()
        let registration = RegistrationSink(log)
        let logger = Logger(component: "test", threshold: LogThreshold(.debug), sink: registration, clock: LinuxClock())
        let nameServerSettings = try Self.values(
            NameServerSettings.schema,
            [
                "listenPort": "0", "bindAddress": "127.0.0.1", "kvConfigPath": "\(folder.path)/namesrv/kvConfig.json",
                "configStorePath": "\(folder.path)/namesrv/namesrv.properties",
            ])
        nameServer = try NameServerInstance(
            settings: nameServerSettings, clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: logger)
        var texts = [
            "listenPort": "0", "bindAddress": "127.0.0.1", "brokerIP1": "127.0.0.1", "brokerName": "broker-a",
            "namesrvAddr": nameServer.address.description, "storePathRootDir": "\(folder.path)/store",
            "mappedFileSizeCommitLog": "16777216",
        ]
        texts.merge(settings) { _, wanted in wanted }
        do {
            broker = try BrokerInstance(
                settings: Self.values(BrokerSettings.schema, texts), clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: logger)
        } catch {
            nameServer.stop()
            throw error
        }
        if settings["namesrvAddr"] == nil { registration.wait() }
    }

    private static func values(_ schema: SettingsSchema, _ texts: [String: String]) throws(SettingsFinding) -> SettingsValues {
        var values = SettingsValues(schema)
        for (name, text) in texts { try values.set(name, text: text, origin: .chosen("a test")) }
        values.expandHome("/nonexistent")
        return values
    }

    deinit {
        broker.stop()
        nameServer.stop()
    }
}

/// Keeps what is logged, and wakes who waits for the broker to be registered.
private final class RegistrationSink: LogSink {
    private let kept: MemoryLogSink
    private let isRegistered = Monitor(false)

    init(_ kept: MemoryLogSink) { self.kept = kept }

    func write(_ record: LogRecord) {
        kept.write(record)
        if record.message.contains("registered with nameserver") && record.level == .info { isRegistered.update { $0 = true } }
    }

    func wait() { _ = isRegistered.wait { $0 ? true : nil } }
}
