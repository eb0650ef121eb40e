import RocketMQBase
import RocketMQNameServer
import RocketMQSystem
import Synchronization

/// `mqnamesrv [-c FILE] [-p]`
public enum NameServerCommand {
    public static let program = ServerProgram(
        "mqnamesrv", "Tells clients which brokers serve which topic.", schema: NameServerSettings.schema,
        notes: "Port 9876 unless the settings say otherwise. conf/namesrv.conf is an example of FILE."
    ) { context throws(StartFailure) in
        let instance = try NameServerInstance(
            settings: context.settings, settingsFile: context.settingsFile, clock: context.clock, fileSystem: context.fileSystem,
            log: context.log.component("namesrv"))
        return ServerProgram.Running(summary: "listens on \(instance.address)") {
            instance.stop()
            return nil
        }
    }
}

/// A name server on an event loop and a thread for files of its own.
public final class NameServerInstance: Sendable {
    /// Where it listens, with the real port.
    public let address: SocketAddress
    private let loop: EpollLoop
    private let worker: WorkerThread
    private let server: LoopBound<NameServer>
    private let hasStopped = Atomic(false)

    /// - Parameter portSetting: how its port is set, for the message that it cannot be had.
    public init(
        settings: SettingsValues, settingsFile: String? = nil, portSetting: String = "listenPort in a file given with -c",
        clock: any SystemClock, fileSystem: any FileSystem, log: Logger
    ) throws(StartFailure) {
        let loop = EpollLoop(name: "namesrv", clock: clock)
        let worker = WorkerThread(name: "namesrv-files")
        let server = LoopBound(
            NameServer(
                loop: loop, settings: settings, settingsFile: settingsFile, fileSystem: fileSystem, worker: worker, log: log), on: loop)
        do throws(NameServerError) {
            address = try loop.perform { () throws(NameServerError) in try server.value.start() }
        } catch {
            loop.stop()
            worker.stop()
            throw StartFailure(error, portSetting: portSetting)
        }
        self.loop = loop
        self.worker = worker
        self.server = server
    }

    /// Finishes what is being written to files, and closes the connections. Later calls do nothing.
    public func stop() {
        guard !hasStopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        // The worker first: when it is done, the loop has the answers to what it saved, and sends them before it closes.
        worker.stop()
        loop.perform { [server] in server.value.stop() }
        loop.stop()
    }
}
