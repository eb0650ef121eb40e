import Foundation
import RocketMQAdmin
import RocketMQBase
import RocketMQCommands
import RocketMQProtocol
import RocketMQSystem
import Testing

/// A nameserver and a broker in this process, on ports and in a directory of their own, gone with the value.
final class Cluster {
    let nameServer: NameServerInstance
    let broker: BrokerInstance
    let nameServerAddress: String
    private let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "mqadmin-tests-" + UUID().uuidString
        let log = Logger(component: "test", sink: MemoryLogSink(), clock: LinuxClock())
        let nameServerSettings = try Self.settings(
            NameServerSettings.schema,
            [
                "listenPort": "0", "bindAddress": "127.0.0.1", "kvConfigPath": "\(folder)/kv.json", "configStorePath": "\(folder)/n.conf",
            ])
        nameServer = try NameServerInstance(
            settings: nameServerSettings, clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: log)
        nameServerAddress = nameServer.address.description
        broker = try BrokerInstance(
            settings: Self.settings(
                BrokerSettings.schema,
                [
                    "listenPort": "0", "bindAddress": "127.0.0.1", "brokerIP1": "127.0.0.1", "brokerName": "broker-a",
                    "namesrvAddr": nameServerAddress, "storePathRootDir": "\(folder)/store", "mappedFileSizeCommitLog": "16777216",
                ]),
            clock: LinuxClock(), fileSystem: LinuxFileSystem(), log: log)
    }

    private static func settings(_ schema: SettingsSchema, _ texts: [String: String]) throws -> SettingsValues {
        var values = SettingsValues(schema)
        for (name, text) in texts { try values.set(name, text: text, origin: .chosen("a test")) }
        values.expandHome("/nonexistent")
        return values
    }

    deinit {
        broker.stop()
        nameServer.stop()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Runs a command that must succeed; returns what it printed.
    @discardableResult
    func run(_ words: String..., sourceLocation: SourceLocation = #_sourceLocation) async -> String {
        let terminal = Terminal()
        let code = await terminal.run(words, nameServers: nameServerAddress)
        #expect(code == 0, "\(words): \(terminal.errors)", sourceLocation: sourceLocation)
        return terminal.output
    }

    /// Runs a command with `--json` that must succeed; returns what it printed, a value a line.
    func json(_ words: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> [JSONValue] {
        let terminal = Terminal()
        let code = await terminal.run(words + ["--json"], nameServers: nameServerAddress)
        #expect(code == 0, "\(words): \(terminal.errors)", sourceLocation: sourceLocation)
        return try terminal.output.split(separator: "\n").map { line in
            // Standard JSON, that any reader takes.
            _ = try JSONSerialization.jsonObject(with: Data(line.utf8), options: .fragmentsAllowed)
            return try JSONValue(parsing: Array(line.utf8))
        }
    }

    /// Runs a command that must fail with exit code 1; returns what it complained.
    func failure(_ words: String..., sourceLocation: SourceLocation = #_sourceLocation) async -> String {
        let terminal = Terminal()
        let code = await terminal.run(words, nameServers: nameServerAddress)
        #expect(code == 1, "\(words): \(terminal.output)", sourceLocation: sourceLocation)
        return terminal.errors
    }
}
