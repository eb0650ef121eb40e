import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// A name server: brokers register with it, clients ask it for routes. It knows what brokers told it and forgets it when it
/// ends; only the key-value configuration is kept in a file. Several run side by side without knowing of each other.
///
/// Confined to its event loop, like all that it is made of.
public final class NameServer: RequestHandler {
    let loop: any EventLoop
    let fileSystem: any FileSystem
    let worker: any BackgroundWorker
    let log: Logger
    /// The file that the settings came from; changes by requests are written to it.
    let settingsFile: String?

    var settings: SettingsValues
    var routes = RouteTable()
    var keyValues = KeyValueConfiguration()
    private var server: RemotingServer?
    private var expiry: (any ScheduledCall)?

    /// - Parameters:
    ///   - settings: values of `NameServerSettings.schema`, paths expanded.
    ///   - settingsFile: where the settings were read from, `nil` when from no file.
    ///   - worker: where files are written, away from the loop.
    public init(
        loop: any EventLoop, settings: SettingsValues, settingsFile: String? = nil,
        fileSystem: any FileSystem, worker: any BackgroundWorker, log: Logger
    ) {
        self.loop = loop
        self.settings = settings
        self.settingsFile = settingsFile
        self.fileSystem = fileSystem
        self.worker = worker
        self.log = log
    }

    /// Reads the key-value configuration and starts to listen; returns the address with the real port.
    public func start() throws(NameServerError) -> SocketAddress {
        try loadKeyValues()
        let address = SocketAddress(
            host: SocketAddress.Host(settings[CommonSettings.bindAddress]) ?? .ipv4(0),
            port: UInt16(clamping: settings[NameServerSettings.listenPort]))
        var limits = RemotingServer.Limits()
        let idleSeconds = settings[CommonSettings.idleSeconds]
        limits.idle = idleSeconds == 0 ? .seconds(100 * 365 * 86_400) : .seconds(idleSeconds)
        let server = RemotingServer(loop: loop, limits: limits, handler: Requests(of: self)) { [log] line in
            log.log(.warning, limitedBy: "connections", line)
        }
        let bound: SocketAddress
        do throws(TransportError) { bound = try server.start(on: address) } catch { throw .cannotListen(error) }
        self.server = server
        let interval = Duration.milliseconds(settings[NameServerSettings.scanNotActiveBrokerInterval])
        expiry = loop.scheduleRepeatedly(every: interval) { [unowned self] in expireBrokers() }
        return bound
    }

    /// Closes everything; what is being written to files is finished by the worker.
    public func stop() {
        expiry?.cancel()
        server?.stop()
    }

    // MARK: Connections

    public func opened(_ connection: ServerConnection) {}

    public func closed(_ connection: ServerConnection, reason: String) {
        for broker in routes.connectionClosed(connection.id, now: loop.clock.monotonicNow) {
            log.warning("broker \(broker.brokerName) (id \(broker.brokerID), \(broker.key)) is gone: its connection ended: \(reason)")
        }
    }

    private func expireBrokers() {
        for broker in routes.expire(now: loop.clock.monotonicNow) {
            log.warning(
                "broker \(broker.brokerName) (id \(broker.brokerID), \(broker.key)) is gone: "
                    + "nothing heard of it for \(broker.silence.inMilliseconds / 1000) s")
            // Several brokers of one process may share the connection.
            if !routes.usesConnection(broker.connection) { server?.connection(broker.connection)?.stream.close() }
        }
        log.reportLeftOut()
    }

    // MARK: Requests

    /// What becomes of a request.
    enum Reply {
        case now(RemotingCommand)
        /// The handler answers when its work is done.
        case later
    }

    public func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
        if header.code == RequestCode.getRouteinfoByTopic.rawValue { return answerRoute(header, frame, connection) }
        let request = RemotingCommand(header, frame: frame)
        let reply: Reply
        do {
            reply = try dispatch(request, connection)
        } catch let error as InvalidRequest {
            reply = .now(.response(error.code, error.description))
        } catch {
            reply = .now(.response(.systemError, "\(request.requestCode) cannot be read: \(error)"))
        }
        if case .now(let response) = reply { answer(request, response, connection) }
    }

    /// Answers unless the request is one-way.
    func answer(_ request: RemotingCommand, _ response: RemotingCommand, _ connection: ServerConnection) {
        guard !request.isOneway else { return }
        connection.answer(AnswerTo(opaque: request.opaque, serialization: request.serialization), response)
    }

    private func dispatch(_ request: RemotingCommand, _ connection: ServerConnection) throws -> Reply {
        switch request.requestCode {
        case .registerBroker: .now(try registerBroker(request, connection))
        case .unregisterBroker: .now(try unregisterBroker(request))
        case .queryDataVersion: .now(try queryDataVersion(request))
        case .brokerHeartbeat: .now(try heartbeat(request))
        case .getBrokerMemberGroup: .now(try brokerMembers(request))
        case .registerTopicInNamesrv: .now(try registerTopic(request))
        case .getBrokerClusterInfo: .now(.success(body: routes.clusterInfo.encoded()))
        case .getAllTopicListFromNameserver: .now(topicList(routes.topicNames))
        case .getTopicsByCluster: .now(topicList(routes.topicNames(inCluster: try request.text("cluster"))))
        case .getSystemTopicListFromNs: .now(systemTopics())
        case .getUnitTopicList: .now(topicList(routes.topicNames(with: .unit)))
        case .getHasUnitSubTopicList: .now(topicList(routes.topicNames(with: .unitSubscription)))
        case .getHasUnitSubUnunitTopicList: .now(topicList(routes.topicNames(with: .unitSubscription, without: .unit)))
        case .deleteTopicInNamesrv: .now(try deleteTopic(request, connection))
        case .wipeWritePermOfBroker: .now(try setWritable(false, request, connection))
        case .addWritePermOfBroker: .now(try setWritable(true, request, connection))
        case .putKvConfig: try putKeyValue(request, connection)
        case .getKvConfig: .now(try getKeyValue(request))
        case .deleteKvConfig: try deleteKeyValue(request, connection)
        case .getKvlistByNamespace: .now(try listKeyValues(request))
        case .updateNamesrvConfig: try updateSettings(request, connection)
        case .getNamesrvConfig: .now(.success(body: Array(settings.propertiesText().utf8)))
        default: .now(.response(.requestCodeNotSupported, " request type \(request.code) not supported"))
        }
    }
}

/// Hands requests on to a name server without holding it: what it holds would hold it.
private final class Requests: RequestHandler {
    private weak var server: NameServer?

    init(of server: NameServer) { self.server = server }

    func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
        guard let server else { return connection.stream.close() }
        server.handle(header, frame, from: connection)
    }

    func opened(_ connection: ServerConnection) { server?.opened(connection) }
    func closed(_ connection: ServerConnection, reason: String) { server?.closed(connection, reason: reason) }
}
