import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Why a broker cannot start or stop as it should.
public struct BrokerError: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// A broker: composes its parts, and hands each request to the one that answers it. Confined to its event loop.
public final class Broker {
    private let loop: any EventLoop
    let parts: BrokerParts
    private var server: RemotingServer?
    /// Where it listens, with the real port.
    public let address: SocketAddress
    /// `host:port` that clients are told to connect to.
    public var advertisedAddress: String { parts.advertisedAddress }

    private init(loop: any EventLoop, parts: BrokerParts, address: SocketAddress, server: RemotingServer, dispatcher: RequestDispatcher) {
        self.loop = loop
        self.parts = parts
        self.address = address
        self.server = server
        dispatcher.parts = parts
    }

    /// Takes its port, opens the store (which blocks while a log has to be recovered), listens, and registers with the
    /// nameservers. Before the store is open connections are refused, so that clients turn to another broker at once.
    public static func start(
        _ configuration: BrokerConfiguration, fileSystem: any FileSystem, loop: any EventLoop, workers: BrokerWorkers, log: Logger
    ) throws(BrokerError) -> Broker {
        let dispatcher = RequestDispatcher(log: log)
        var limits = RemotingServer.Limits()
        let idle = configuration.settings[CommonSettings.idleSeconds]
        limits.idle = idle == 0 ? .seconds(100 * 365 * 86_400) : .seconds(idle)
        let server = RemotingServer(loop: loop, limits: limits, handler: dispatcher) { line in
            log.log(.warning, limitedBy: "bad input", line)
        }
        let address: SocketAddress
        do throws(TransportError) { address = try server.reserve(configuration.listenAddress) } catch {
            throw cannotListen(configuration, error)
        }
        let advertised = SocketAddress(host: configuration.storeHost, port: address.port)
        let parts: BrokerParts
        do throws(BrokerError) {
            parts = try BrokerParts(
                configuration, storeHost: advertised, fileSystem: fileSystem, loop: loop, workers: workers, log: log)
        } catch {
            server.stop()
            throw error
        }
        let broker = Broker(loop: loop, parts: parts, address: address, server: server, dispatcher: dispatcher)
        do throws(TransportError) { _ = try server.start(on: address) } catch {
            parts.abandon()
            throw cannotListen(configuration, error)
        }
        loop.atEndOfTick { [round = parts.round] in round.endTick() }
        parts.start()
        return broker
    }

    private static func cannotListen(_ configuration: BrokerConfiguration, _ error: TransportError) -> BrokerError {
        BrokerError(
            "cannot listen on \(configuration.listenAddress): \(error.reason); another broker may run here: "
                + "stop it, or set another listenPort")
    }

    /// Leaves the nameservers, answers what is under way, stores everything; `completion` is called when it is done.
    public func stop(_ completion: @escaping (BrokerError?) -> Void) {
        guard let server else { return completion(nil) }
        self.server = nil
        loop.stopListening()
        parts.stop { failure in
            server.stop()
            completion(failure)
        }
    }
}

/// Hands requests to the part that answers them.
final class RequestDispatcher: RequestHandler {
    var parts: BrokerParts?
    private let log: Logger

    init(log: Logger) { self.log = log }

    func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
        guard let parts else { return connection.stream.close() }
        switch header.code {
        case RequestCode.sendMessageV2.rawValue, RequestCode.sendMessage.rawValue, RequestCode.sendBatchMessage.rawValue:
            parts.sending.handle(header, frame, from: connection)
        case RequestCode.pullMessage.rawValue, RequestCode.litePullMessage.rawValue:
            parts.pulling.handle(header, frame, from: connection)
        default:
            administer(parts, RemotingCommand(header, frame: frame), header.answerTo, from: connection)
        }
    }

    func prepare(_ header: borrowing HeaderTable, _ frame: RawSpan) {
        if header.code == RequestCode.sendMessageV2.rawValue { parts?.sending.prepare(header, frame) }
    }

    private func administer(_ parts: BrokerParts, _ request: RemotingCommand, _ to: AnswerTo, from connection: ServerConnection) {
        var answer: RemotingCommand?
        if let handler = parts.administration[request.code] {
            do throws(InvalidRequest) { answer = try handler.answer(request, from: connection) } catch {
                answer = .response(error.code, error.description)
            }
        } else {
            answer = .response(.requestCodeNotSupported, UnservedRequest.remark(request.code))
        }
        if let answer, !request.isOneway { connection.answer(to, answer) }
    }

    func opened(_ connection: ServerConnection) {}

    func closed(_ connection: ServerConnection, reason: String) {
        parts?.clients.connectionClosed(connection)
        parts?.longPolls.connectionClosed(connection)
    }
}
