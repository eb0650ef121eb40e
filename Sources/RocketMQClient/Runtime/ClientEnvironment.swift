import Glibc
import RocketMQBase
import RocketMQSystem

/// What clients take from the world: the event loop they live on (and with it clock and network), and who they are.
/// Everything in it can be replaced, by a simulated network for instance.
public struct ClientEnvironment: Sendable {
    /// All clients given this environment share the loop's thread.
    public var eventLoop: any EventLoop
    /// This machine's address, as it goes into client ids and message ids.
    public var host: SocketAddress.Host
    public var processID: Int32
    /// For the positions of broadcasting consumers.
    public var fileSystem: any FileSystem
    /// Reads and writes files, away from the loop; `nil`: a thread that all clients of the process share, started when it is
    /// first needed.
    public var fileWorker: (any BackgroundWorker)?
    /// Clients of one environment take their randomness from here, each its own.
    let seeds: SeedSequence

    public init(
        eventLoop: any EventLoop, host: SocketAddress.Host, processID: Int32, seed: UInt64,
        fileSystem: any FileSystem = LinuxFileSystem(), fileWorker: (any BackgroundWorker)? = nil
    ) {
        self.eventLoop = eventLoop
        self.host = host
        self.processID = processID
        self.fileSystem = fileSystem
        self.fileWorker = fileWorker
        seeds = SeedSequence(seed)
    }

    /// The environment of all clients that are given none: one event loop for the process, started when it is first needed.
    public static let shared = ClientEnvironment.system(threadName: "rocketmq-client")

    static let sharedFileWorker = WorkerThread(name: "rocketmq-files")

    /// An environment with an event loop of its own: for programs in which one thread for all clients is not enough.
    public static func system(threadName: String) -> ClientEnvironment {
        ClientEnvironment(
            eventLoop: EpollLoop(name: threadName), host: NetworkInterfaces.choose().host, processID: getpid(), seed: systemSeed())
    }
}
