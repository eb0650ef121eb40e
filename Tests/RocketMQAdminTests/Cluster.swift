import Foundation
import RocketMQAdmin
import RocketMQCommands
import RocketMQProtocol
import RocketMQTesting
import Testing

/// Commands against a nameserver and a broker in this process, gone with the value.
final class Cluster {
    private let servers: TestCluster
    var broker: BrokerInstance { servers.broker }
    var nameServerAddress: String { servers.nameServerAddress }

    init(settings: [String: String] = [:]) throws { servers = try TestCluster(settings: settings) }

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
        await failure(words, sourceLocation: sourceLocation)
    }

    func failure(_ words: [String], sourceLocation: SourceLocation = #_sourceLocation) async -> String {
        let terminal = Terminal()
        let code = await terminal.run(words, nameServers: nameServerAddress)
        #expect(code == 1, "\(words): \(terminal.output)", sourceLocation: sourceLocation)
        return terminal.errors
    }
}
