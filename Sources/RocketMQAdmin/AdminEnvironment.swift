import RocketMQBase
import RocketMQClient
import RocketMQSystem

/// What `mqadmin` takes from its surroundings; tests give it others.
public struct AdminEnvironment: Sendable {
    /// Event loop, clock and network.
    public var client: ClientEnvironment
    /// The value of `NAMESRV_ADDR`.
    public var nameServers: String?
    public var time: LocalTime
    /// Where exports go and lists come from.
    public var fileSystem: any FileSystem
    /// Writes to standard output as it is.
    public var write: @Sendable (String) -> Void
    /// Writes a line to standard error.
    public var complain: @Sendable (String) -> Void

    public init(
        client: ClientEnvironment, nameServers: String?, time: LocalTime, fileSystem: any FileSystem = LinuxFileSystem(),
        write: @escaping @Sendable (String) -> Void, complain: @escaping @Sendable (String) -> Void
    ) {
        self.client = client
        self.nameServers = nameServers
        self.time = time
        self.fileSystem = fileSystem
        self.write = write
        self.complain = complain
    }

    /// The process's own.
    public static func system() -> AdminEnvironment {
        AdminEnvironment(
            client: .shared, nameServers: CurrentProcess.environment("NAMESRV_ADDR"), time: .system, write: { Console.write($0) },
            complain: { Console.complain($0) })
    }
}
