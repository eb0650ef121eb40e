import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQSystem

/// A client as brokers see it: an id, one connection to each server, heartbeats, routes. Producers and consumers make one
/// of their own, or share one that they are given: `DefaultMQProducer(configuration, runtime: runtime)`. It starts with its
/// first member and ends with its last.
public final class ClientRuntime: Sendable {
    /// As given when it was made.
    public let configuration: ClientConfiguration
    /// `address@instanceName`, as tools show it.
    public let clientID: String
    let namespace: Namespace
    let environment: ClientEnvironment
    let uniqueKeys: UniqueKeyGenerator
    let log: Logger
    private let core: LoopBound<RuntimeCore>

    /// Connections are made when they are first needed, and end with the last producer or consumer that uses them.
    public init(_ configuration: ClientConfiguration, environment: ClientEnvironment = .shared) {
        self.configuration = configuration
        self.environment = environment
        namespace = Namespace(configuration.namespace)
        let seed = environment.seeds.next()
        let host = SocketAddress(host: environment.host, port: 0).hostText
        let instance = configuration.instanceName ?? "\(environment.processID)#\(String(seed & 0xFF_FFFF_FFFF, radix: 16))"
        clientID = "\(host)@\(instance)"
        uniqueKeys = UniqueKeyGenerator(
            host: environment.host, processID: environment.processID, instance: UInt32(truncatingIfNeeded: seed >> 32))
        log = Logger(
            component: "rocketmq.client", threshold: LogThreshold(configuration.logLevel),
            sink: configuration.logSink ?? SilentLogSink(), clock: environment.eventLoop.clock)
        core = LoopBound(
            RuntimeCore(configuration, loop: environment.eventLoop, clientID: clientID, log: log, seed: environment.seeds.next()),
            on: environment.eventLoop)
    }

    var loop: any EventLoop { environment.eventLoop }
    /// For those on the loop.
    var coreOnLoop: RuntimeCore { core.value }

    /// Runs `work` on the loop.
    func execute(_ work: @escaping @Sendable (RuntimeCore) -> Void) {
        let core = core
        loop.execute { work(core.value) }
    }

    /// Runs `work` on the loop and waits for what it gives to its completion, which it must call once.
    func perform<Value: Sendable>(
        _ work: @escaping @Sendable (RuntimeCore, @escaping (Result<Value, MQError>) -> Void) -> Void
    ) async throws(MQError) -> Value {
        let core = core
        let loop = loop
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, MQError>, Never>) in
            loop.execute { work(core.value) { continuation.resume(returning: $0) } }
        }
        return try result.get()
    }

    // MARK: Files

    /// Where a broadcasting consumer keeps its positions. A client without an `instanceName` is `address@DEFAULT` there, as with
    /// the Java client, so that it finds them again.
    func localOffsetFile(_ configuration: ConsumerConfiguration) -> LocalOffsetFile {
        let host = SocketAddress(host: environment.host, port: 0).hostText
        let directory = configuration.localOffsetDirectory ?? "\(CurrentProcess.homeDirectory)/.rocketmq_offsets"
        let path = LocalOffsetStore.path(
            directory: directory, clientID: "\(host)@\(self.configuration.instanceName ?? "DEFAULT")", group: configuration.group)
        return LocalOffsetFile(
            path: path, fileSystem: environment.fileSystem, worker: environment.fileWorker ?? ClientEnvironment.sharedFileWorker)
    }
}

/// Where positions are kept, and who reads and writes them.
struct LocalOffsetFile: Sendable {
    let path: String
    let fileSystem: any FileSystem
    let worker: any BackgroundWorker

    func store(on loop: any EventLoop, log: Logger) -> LocalOffsetStore {
        LocalOffsetStore(path: path, fileSystem: fileSystem, worker: worker, loop: loop, log: log)
    }
}
