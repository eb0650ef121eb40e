import RocketMQAdmin
import RocketMQClient
import Synchronization

/// Where `mqadmin` prints in tests.
final class Terminal: Sendable {
    private let printed = Mutex((output: "", errors: ""))

    var output: String { printed.withLock { $0.output } }
    var errors: String { printed.withLock { $0.errors } }

    /// Runs one command line in UTC; returns the exit code.
    func run(_ words: [String], nameServers: String? = nil) async -> Int32 {
        await AdminProgram.run(
            words,
            AdminEnvironment(
                client: .shared, nameServers: nameServers, time: .utc, write: { text in self.printed.withLock { $0.output += text } },
                complain: { line in self.printed.withLock { $0.errors += line + "\n" } }))
    }
}
