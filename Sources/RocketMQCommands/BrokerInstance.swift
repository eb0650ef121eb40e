import RocketMQBase
import RocketMQBroker
import RocketMQStore
import RocketMQSystem
import Synchronization

/// A broker on an event loop of its own, with the threads that block for it.
public final class BrokerInstance: Sendable {
    /// Where it listens, with the real port.
    public let address: SocketAddress
    /// `host:port` that clients are told to connect to.
    public let advertisedAddress: String
    private let loop: EpollLoop
    private let workers: [WorkerThread]
    private let broker: LoopBound<Broker>
    private let hasStopped = Atomic(false)

    /// Opens the store and starts; returns when the broker serves.
    /// - Parameters:
    ///   - settingsFile: where the settings were read from, `nil` when from no file.
    ///   - interruption: ends a start that takes long.
    public init(
        settings: SettingsValues, settingsFile: String? = nil, clock: any SystemClock, fileSystem: any FileSystem, log: Logger,
        interruption: StartInterruption = StartInterruption()
    ) throws(StartFailure) {
        var configuration = try Self.configuration(settings, settingsFile, log)
        configuration.interruption = interruption
        // Of reading and of writing so many each; the log and the index have theirs open as well.
        configuration.openQueueFiles = min(512, max(4, CurrentProcess.openFileLimit / 16))
        let complete = configuration
        let loop = EpollLoop(name: "broker", clock: clock)
        // Index and cleaning take what sends and pulls leave of the processors.
        let workers = [
            WorkerThread(name: "broker-flush"), WorkerThread(name: "broker-read", niceness: 5),
            WorkerThread(name: "broker-files", niceness: 10),
            WorkerThread(name: "broker-tables"), WorkerThread(name: "broker-query", niceness: 5),
        ]
        let brokerWorkers = BrokerWorkers(
            store: StoreWorkers(flusher: workers[0], readers: workers[1], housekeeper: workers[2], queries: workers[4]),
            tables: workers[3])
        let started: LoopBound<Broker>
        do throws(BrokerError) {
            started = try loop.perform { () throws(BrokerError) in
                LoopBound(
                    try Broker.start(complete, fileSystem: fileSystem, loop: loop, workers: brokerWorkers, log: log), on: loop)
            }
        } catch {
            loop.stop()
            for worker in workers { worker.stop() }
            throw StartFailure(error.description)
        }
        broker = started
        address = loop.perform { started.value.address }
        advertisedAddress = loop.perform { started.value.advertisedAddress }
        self.loop = loop
        self.workers = workers
    }

    /// Leaves the nameservers and stores everything; returns when all is done, with what could not be stored. Later calls
    /// do nothing.
    @discardableResult
    public func stop() -> StopFailure? {
        guard !hasStopped.exchange(true, ordering: .acquiringAndReleasing) else { return nil }
        let failure = loop.waitFor { [broker] done in broker.value.stop { done($0?.description) } }
        loop.stop()
        for worker in workers { worker.stop() }
        return failure.map { StopFailure($0) }
    }

    /// Fills in what the settings leave open: name and address.
    private static func configuration(
        _ settings: SettingsValues, _ settingsFile: String?, _ log: Logger
    ) throws(StartFailure) -> BrokerConfiguration {
        let name = settings[BrokerSettings.brokerName]
        var host = settings[BrokerSettings.brokerIP1]
        var storeHost = SocketAddress.Host(host)
        if host.isEmpty {
            let bind = SocketAddress.Host(settings[CommonSettings.bindAddress]) ?? .ipv4(0)
            if bind != .ipv4(0), bind != .ipv6(0, 0) {
                storeHost = bind
            } else {
                let choice = NetworkInterfaces.choose()
                storeHost = choice.host
                let others = choice.others.isEmpty ? "" : "; others are \(choice.others.joined(separator: ", "))"
                log.info(
                    "clients are told to connect to \(SocketAddress(host: choice.host, port: 0).hostText), the address of "
                        + "\(choice.interface)\(others); set brokerIP1 to choose another")
            }
            host = storeHost.map { SocketAddress(host: $0, port: 0).hostText } ?? "127.0.0.1"
        } else if storeHost == nil {
            // Records hold addresses, not names.
            storeHost = try resolve(host)
        }
        var settings = settings
        let chosenName = name.isEmpty ? CurrentProcess.hostName : name
        do throws(SettingsFinding) {
            // What was chosen is what tools are shown.
            if name.isEmpty { try settings.set(BrokerSettings.brokerName.name, text: chosenName, origin: .chosen("the machine's name")) }
            if settings[BrokerSettings.brokerIP1].isEmpty {
                try settings.set(BrokerSettings.brokerIP1.name, text: host, origin: .chosen("an address of this machine"))
            }
        } catch {
            throw StartFailure(error.description)
        }
        return BrokerConfiguration(
            settings: settings, advertisedHost: host, storeHost: storeHost ?? .ipv4(0x7F00_0001), name: chosenName,
            localOffsetSeconds: { CurrentProcess.localOffsetSeconds(at: $0) }, seed: systemSeed(), settingsFile: settingsFile)
    }

    private static func resolve(_ host: String) throws(StartFailure) -> SocketAddress.Host {
        do throws(TransportError) { return try HostNames.resolve(host) } catch {
            throw StartFailure("brokerIP1=\(host): \(error.reason); set an address, or a name that this machine can look up")
        }
    }
}
