import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQRemoting

/// Asks nameservers and brokers what administrators want to know, and tells them what they want done: a method a request.
///
/// Lookups go to the first nameserver that answers; changes go to all of them.
public final class AdminClient: Sendable {
    /// `host:port` of each nameserver; may be empty when only brokers are asked.
    public let nameServers: [String]
    /// How long an answer may take.
    public let timeout: Duration
    private let remoting: RemotingClient

    /// - Parameter connectTimeout: how long a connection may take to be made.
    public init(
        nameServers: [String], environment: ClientEnvironment = .shared, timeout: Duration = .seconds(5),
        connectTimeout: Duration = .seconds(3)
    ) {
        self.nameServers = nameServers
        self.timeout = timeout
        remoting = RemotingClient(
            loop: environment.eventLoop, connectTimeout: connectTimeout, onRequest: { _, _, answer in answer(nil) })
    }

    /// Closes all connections.
    public func stop() { remoting.stop() }

    /// Sends a request; returns its answer whatever the code.
    /// - Parameter action: completes `cannot …` in errors.
    func answer(
        to request: RemotingCommand, from server: AdminServer, doing action: String, timeout: Duration? = nil
    ) async throws(AdminError) -> RemotingCommand {
        do throws(RemotingError) {
            return try await remoting.call(request, at: server.address, timeout: timeout ?? self.timeout)
        } catch {
            throw AdminError(error, doing: action, at: server)
        }
    }

    /// Sends a request; returns its answer when it is a success.
    @discardableResult
    func call(
        _ request: RemotingCommand, _ server: AdminServer, doing action: String, timeout: Duration? = nil
    ) async throws(AdminError) -> RemotingCommand {
        let response = try await answer(to: request, from: server, doing: action, timeout: timeout)
        guard response.responseCode == .success else { throw AdminError(response, doing: action, at: server) }
        return response
    }

    /// Sends a request whose answer has a body.
    func call<Body: JSONBody>(
        _ request: RemotingCommand, _ server: AdminServer, doing action: String, timeout: Duration? = nil, as type: Body.Type = Body.self
    ) async throws(AdminError) -> Body {
        let response = try await call(request, server, doing: action, timeout: timeout)
        return try Self.decode(response.body, server, doing: action)
    }

    static func decode<Body: JSONBody>(
        _ body: [UInt8], _ server: AdminServer, doing action: String, as type: Body.Type = Body.self
    ) throws(AdminError) -> Body {
        do throws(MalformedBytes) { return try Body(decoding: body) } catch {
            throw AdminError(
                .malformedAnswer, "cannot \(action): the answer of \(server) cannot be read: \(error.what)",
                remedy: "check that this is a RocketMQ server of release 4.x or 5.x")
        }
    }

    /// Asks the nameservers one after another until one answers; returns what it says, and which it was.
    func askNameServers(
        _ request: RemotingCommand, doing action: String
    ) async throws(AdminError) -> (answer: RemotingCommand, server: AdminServer) {
        var failures: [AdminError] = []
        for address in try requireNameServers() {
            let server = AdminServer.nameServer(address)
            do throws(AdminError) {
                return (try await answer(to: request, from: server, doing: action), server)
            } catch {
                failures.append(error)
            }
        }
        guard failures.count > 1 else { throw failures[0] }
        throw AdminError(
            .unreachable, "cannot \(action): none of the name servers \(nameServers.joined(separator: ", ")) answers",
            remedy: "the first says: \(failures[0].message)")
    }

    /// As `askNameServers`, for an answer that has a body.
    func askNameServers<Body: JSONBody>(
        _ request: RemotingCommand, doing action: String, as type: Body.Type = Body.self
    ) async throws(AdminError) -> Body {
        let (response, server) = try await askNameServers(request, doing: action)
        guard response.responseCode == .success else { throw AdminError(response, doing: action, at: server) }
        return try Self.decode(response.body, server, doing: action)
    }

    /// The nameservers, of which there must be at least one.
    func requireNameServers() throws(AdminError) -> [String] {
        guard !nameServers.isEmpty else {
            throw AdminError(
                .wrongCall, "there is no name server to ask",
                remedy: "give -n HOST:PORT, several separated by ';', or set NAMESRV_ADDR")
        }
        return nameServers
    }

    /// The answer's field as a number.
    static func number(_ name: String, of response: RemotingCommand, _ server: AdminServer, doing action: String) throws(AdminError)
        -> Int64
    {
        guard let number = response.fields[name].flatMap({ Int64($0) }) else {
            throw AdminError(.malformedAnswer, "cannot \(action): the answer of \(server) lacks the number \(name)")
        }
        return number
    }

    /// The pairs of a body in the form of a properties file.
    static func properties(_ body: [UInt8], _ server: AdminServer, doing action: String) throws(AdminError) -> [(
        key: String, value: String
    )] {
        do throws(SettingsFinding) {
            return try PropertiesText(body, source: "\(server)").entries.map { ($0.key, $0.value) }
        } catch {
            throw AdminError(.malformedAnswer, "cannot \(action): the answer of \(server) cannot be read: \(error)")
        }
    }
}
