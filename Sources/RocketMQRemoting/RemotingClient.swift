import RocketMQBase
import RocketMQProtocol

/// Requests to servers from tasks: `ClientConnections` behind `async` calls. One connection an address, shared by all.
public final class RemotingClient: Sendable {
    /// Answers requests that servers send (check-back, member changes, …); `nil` is no answer. Called on the loop: work
    /// that takes long goes into a task.
    public typealias ServerRequestHandler =
        @Sendable (
            _ request: RemotingCommand, _ address: String, _ answer: @escaping @Sendable (RemotingCommand?) -> Void
        ) -> Void

    private let loop: any EventLoop
    private let connections: LoopBound<Holder>

    private final class Holder {
        var connections: ClientConnections?
    }

    /// `onClosed` is told the address of each connection that ended.
    public init(
        loop: any EventLoop, connectTimeout: Duration = .seconds(3), onRequest: @escaping ServerRequestHandler,
        onClosed: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.loop = loop
        let bound = LoopBound(Holder(), on: loop)
        connections = bound
        loop.execute {
            bound.value.connections = ClientConnections(
                loop: loop, connectTimeout: connectTimeout,
                onRequest: { request, address, answer in
                    let answer = LoopBound(answer, on: loop)
                    onRequest(request, address) { response in loop.execute { answer.value(response) } }
                }, onClosed: onClosed)
        }
    }

    /// Sends a request and waits for its answer, whatever its code.
    public func call(
        _ request: RemotingCommand, at address: String, timeout: Duration
    ) async throws(RemotingError) -> RemotingCommand {
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<RemotingCommand, RemotingError>, Never>) in
            start(request, at: address, timeout: timeout) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// As `call`, without a task: `completion` is called once, on the loop, or at once when that has stopped.
    public func start(
        _ request: RemotingCommand, at address: String, timeout: Duration,
        completion: @escaping @Sendable (Result<RemotingCommand, RemotingError>) -> Void
    ) {
        let connections = connections
        let isTaken = loop.executeUnlessStopped {
            guard let open = connections.value.connections else {
                return completion(.failure(RemotingError(.stopped, address: address, request: request.requestCode)))
            }
            open.call(request, at: address, timeout: timeout, completion: completion)
        }
        if !isTaken { completion(.failure(RemotingError(.stopped, address: address, request: request.requestCode))) }
    }

    /// Sends a request that has no answer; returns when it was handed to the connection.
    public func callOneway(_ request: RemotingCommand, at address: String) async throws(RemotingError) {
        let connections = connections
        let loop = loop
        let failure: RemotingError? = await withCheckedContinuation { continuation in
            let stopped = RemotingError(.stopped, address: address, request: request.requestCode)
            let isTaken = loop.executeUnlessStopped {
                guard let open = connections.value.connections else { return continuation.resume(returning: stopped) }
                open.callOneway(request, at: address) { continuation.resume(returning: $0) }
            }
            if !isTaken { continuation.resume(returning: stopped) }
        }
        if let failure { throw failure }
    }

    /// Closes the connection to one server.
    public func disconnect(_ address: String) {
        let connections = connections
        loop.execute { connections.value.connections?.disconnect(address) }
    }

    /// Closes all connections; waiting calls fail with `.stopped`.
    public func stop() {
        let connections = connections
        loop.execute {
            connections.value.connections?.stop()
        }
    }
}
