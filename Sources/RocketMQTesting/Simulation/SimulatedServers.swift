import RocketMQBase
import RocketMQBroker
import RocketMQNameServer
import RocketMQStore

extension SettingsValues {
    /// Settings of a server in memory: the built-in ones, and over them these.
    static func simulated(_ schema: SettingsSchema, _ texts: [String: String]) throws -> SettingsValues {
        var values = SettingsValues(schema)
        for (name, text) in texts.sorted(by: { $0.key < $1.key }) { try values.set(name, text: text, origin: .chosen("a simulation")) }
        values.expandHome("/home")
        return values
    }
}

/// The name server on a host of a `Simulation`: the real one, with what is around it simulated.
public final class SimulatedNameServer {
    public let host: String
    public var address: String { "\(host):9876" }
    private let simulation: Simulation
    private let settings: SettingsValues
    private let files = MemoryFileSystem()
    private var server: NameServer?
    public private(set) var process: SimulatedProcess?

    public init(_ simulation: Simulation, host: String) throws {
        self.simulation = simulation
        self.host = host
        settings = try .simulated(NameServerSettings.schema, ["kvConfigPath": "/namesrv/kv.json", "configStorePath": "/namesrv/conf"])
    }

    public func start() throws {
        let process = SimulatedProcess(simulation, host: host)
        let log = Logger(component: "namesrv \(host)", threshold: LogThreshold(.warning), sink: simulation.log, clock: process.clock)
        let server = NameServer(
            loop: process, settings: settings, fileSystem: files, worker: SimulatedWorker(process), log: log)
        _ = try server.start()
        (self.process, self.server) = (process, server)
        simulation.note("name server \(host) started")
    }

    public func kill() {
        process?.kill()
        (process, server) = (nil, nil)
        simulation.note("name server \(host) killed")
    }

    public var isRunning: Bool { process != nil }
}

/// Files, without keeping them.
public struct WeakFiles {
    public weak var value: MemoryFileSystem?
}

/// The broker on a host of a `Simulation`: the real one over files in memory, with what is around it simulated. Its files stay
/// when it is killed.
public final class SimulatedBroker {
    public let name: String
    public let host: String
    public var address: String { "\(host):10911" }
    private let simulation: Simulation
    private let settings: SettingsValues
    public private(set) var files = MemoryFileSystem() {
        didSet { generations.append(WeakFiles(value: files)) }
    }
    /// The files of each of its lives: they stay in memory for as long as anything of that broker does.
    public private(set) var generations: [WeakFiles] = []
    public private(set) var process: SimulatedProcess?
    private var broker: Broker?
    private var starts: UInt64 = 0
    /// How far the host's wall clock is ahead; counts from the next start on when it does not run.
    public var wallOffsetMilliseconds: Int64 = 0 {
        didSet { process?.wallOffsetMilliseconds = wallOffsetMilliseconds }
    }

    public init(_ simulation: Simulation, name: String, host: String, nameServers: [String], settings: [String: String]) throws {
        self.simulation = simulation
        self.name = name
        self.host = host
        var texts = [
            "storePathRootDir": "/store", "brokerName": name, "brokerIP1": host, "namesrvAddr": nameServers.joined(separator: ";"),
            "messageIndexEnable": "false", "mappedFileSizeCommitLog": "262144", "mappedFileSizeConsumeQueue": "20000",
            "maxMessageSize": "32768",
        ]
        texts.merge(settings) { $1 }
        self.settings = try .simulated(BrokerSettings.schema, texts)
        generations.append(WeakFiles(value: files))
    }

    public var isRunning: Bool { broker != nil }

    public func start() throws {
        guard broker == nil else { return }
        let process = SimulatedProcess(simulation, host: host)
        process.wallOffsetMilliseconds = wallOffsetMilliseconds
        simulation.network.hostIsUp(host)
        starts += 1
        let configuration = BrokerConfiguration(
            settings: settings, advertisedHost: host, storeHost: SocketAddress.Host(host) ?? .ipv4(0), name: name,
            seed: simulation.seed &* 1000 &+ starts)
        let workers = BrokerWorkers(
            store: StoreWorkers(
                flusher: SimulatedWorker(process), readers: SimulatedWorker(process), housekeeper: SimulatedWorker(process)),
            tables: SimulatedWorker(process))
        let log = Logger(component: name, threshold: LogThreshold(.warning), sink: simulation.log, clock: process.clock)
        broker = try Broker.start(configuration, fileSystem: files, loop: process, workers: workers, log: log)
        self.process = process
        simulation.note("broker \(name) started")
    }

    /// `kill -9`: the files stay as they are at this instant.
    public func kill() {
        guard broker != nil else { return }
        files = files.copy()
        process?.kill()
        (process, broker) = (nil, nil)
        simulation.note("broker \(name) killed")
    }

    /// Stops in good order; `completion` when its process has ended.
    public func stop(_ completion: @escaping () -> Void = {}) {
        guard let broker, let process else { return completion() }
        simulation.note("broker \(name) stops")
        simulation.schedule(after: .zero, on: process) { [self] in
            broker.stop { [self] failure in
                if let failure { simulation.note("broker \(name) stopped: \(failure)") }
                // The answers under way leave first.
                simulation.after(.milliseconds(1)) { [self] in
                    guard self.process === process else { return }
                    files = files.copy()
                    process.kill()
                    (self.process, self.broker) = (nil, nil)
                    simulation.note("broker \(name) stopped")
                    completion()
                }
            }
        }
    }

    public func pause() { process?.pause() }
    public func resume() { process?.resume() }
}
