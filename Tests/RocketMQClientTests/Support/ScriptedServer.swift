import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQSystem
import Synchronization

@testable import RocketMQClient

/// A nameserver or broker that answers as a test tells it to, over loopback, and keeps what it was asked. All share one
/// event loop and live until the tests end.
final class ScriptedServer: Sendable {
    enum Reply: Sendable {
        case answer(RemotingCommand)
        /// Keeps the client waiting.
        case silence
        case closeConnection
        /// When the gate is opened.
        case whenOpen(Gate, RemotingCommand)
    }

    typealias Script = @Sendable (RemotingCommand) -> Reply

    private struct State {
        var requests: [RemotingCommand] = []
        var script: Script
    }

    let address: String
    private static let sharedLoop = EpollLoop(name: "scripted")
    private let loop: EpollLoop
    private let state: Mutex<State>
    private let holder: LoopBound<Holder<(RemotingServer, Handler)>>

    init(_ script: @escaping Script) throws {
        let state = Mutex(State(script: script))
        self.state = state
        let loop = Self.sharedLoop
        self.loop = loop
        let holder = LoopBound(Holder<(RemotingServer, Handler)>(), on: loop)
        self.holder = holder
        let bound: SocketAddress = try loop.perform { () throws(TransportError) in
            let made = Handler()
            let server = RemotingServer(loop: loop, handler: made, log: { _ in })
            holder.value.value = (server, made)
            return try server.start(on: .loopback(port: 0))
        }
        address = bound.description
        loop.perform { holder.value.value?.1.receive = { [self] request in receive(request) } }
    }

    /// Answers differently from now on.
    func follow(_ script: @escaping Script) { state.withLock { $0.script = script } }

    var requests: [RemotingCommand] { state.withLock { $0.requests } }
    func requests(_ code: RequestCode) -> [RemotingCommand] { requests.filter { $0.requestCode == code } }

    /// Sends all clients a request that has no answer.
    func push(_ request: RemotingCommand) {
        loop.execute { [holder] in
            for connection in holder.value.value?.1.connections.values.map({ $0 }) ?? [] { connection.sendOneway(request) }
        }
    }

    /// Sends the first client a request and waits for its answer.
    func ask(_ request: RemotingCommand) async -> RemotingCommand? {
        await withCheckedContinuation { continuation in
            loop.execute { [holder] in
                guard let connection = holder.value.value?.1.connections.values.first else { return continuation.resume(returning: nil) }
                connection.call(request, timeout: .seconds(120)) { result in continuation.resume(returning: try? result.get()) }
            }
        }
    }

    private func receive(_ request: RemotingCommand) -> Reply {
        let script = state.withLock { state in
            state.requests.append(request)
            return state.script
        }
        return script(request)
    }

    /// Waits until `condition` holds of the requests that came; `false` after a minute.
    func wait(until condition: @Sendable ([RemotingCommand]) -> Bool) async -> Bool {
        await eventually { condition(self.requests) }
    }

    func wait(for code: RequestCode, count: Int = 1) async -> Bool {
        await wait { $0.filter { $0.requestCode == code }.count >= count }
    }

    final class Handler: RequestHandler {
        var connections: [UInt64: ServerConnection] = [:]
        var receive: (RemotingCommand) -> Reply = { _ in .silence }

        func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
            let request = RemotingCommand(header, frame: frame)
            let to = AnswerTo(opaque: request.opaque, serialization: request.serialization)
            switch receive(request) {
            case .answer(let response): if !request.isOneway { connection.answer(to, response) }
            case .whenOpen(let gate, let response):
                let connection = LoopBound(connection, on: ScriptedServer.sharedLoop)
                Task {
                    await gate.pass()
                    ScriptedServer.sharedLoop.execute { connection.value.answer(to, response) }
                }
            case .silence: break
            case .closeConnection: connection.stream.close()
            }
        }
        func opened(_ connection: ServerConnection) { connections[connection.id] = connection }
        func closed(_ connection: ServerConnection, reason: String) { connections[connection.id] = nil }
    }
}

/// Waits until `condition` holds, looking often; `false` after `limit`.
func eventually(within limit: Duration = .seconds(60), _ condition: @Sendable () async -> Bool) async -> Bool {
    let clock = ContinuousClock()
    let end = clock.now + limit
    while clock.now < end {
        if await condition() { return true }
        try? await clock.sleep(for: .milliseconds(5))
    }
    return await condition()
}
