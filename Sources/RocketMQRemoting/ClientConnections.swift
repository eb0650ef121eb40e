import RocketMQBase
import RocketMQProtocol

/// Connections to servers by address, made when first needed, and the requests that wait for answers on them.
/// Confined to its loop; completions are called on it. `RemotingClient` is the same for tasks.
public final class ClientConnections {
    public typealias Completion = (Result<RemotingCommand, RemotingError>) -> Void
    /// A request that a server sent. Call `answer` once with the answer, or with `nil` for none.
    public typealias ServerRequestHandler = (_ request: RemotingCommand, _ address: String, _ answer: @escaping (RemotingCommand?) -> Void)
        -> Void

    private let loop: any EventLoop
    private let connectTimeout: Duration
    private let onRequest: ServerRequestHandler
    private let onOpened: (String) -> Void
    private let onClosed: (String) -> Void
    private var connections: [String: Connection] = [:]
    private var isStopped = false
    private var sweep: (any ScheduledCall)?

    /// `onRequest` is called for requests of servers, `onOpened` with the address of a connection that was made, before anything that
    /// waits for it is sent, `onClosed` with that of one that ended.
    public init(
        loop: any EventLoop, connectTimeout: Duration = .seconds(3),
        onRequest: @escaping ServerRequestHandler = { _, _, answer in answer(nil) },
        onOpened: @escaping (String) -> Void = { _ in }, onClosed: @escaping (String) -> Void = { _ in }
    ) {
        self.loop = loop
        self.connectTimeout = connectTimeout
        self.onRequest = onRequest
        self.onOpened = onOpened
        self.onClosed = onClosed
    }

    /// Sends a request and calls `completion` once with the answer, or with why there is none.
    public func call(_ request: RemotingCommand, at address: String, timeout: Duration, completion: @escaping Completion) {
        let deadline = loop.clock.monotonicNow + timeout
        startSweeping()
        connection(to: address).send(request, deadline: deadline, completion: completion)
    }

    /// Sends a request that has no answer; `completion` says whether it was handed to the connection.
    public func callOneway(_ request: RemotingCommand, at address: String, completion: @escaping (RemotingError?) -> Void) {
        connection(to: address).sendOneway(request, completion)
    }

    /// Closes the connection to one server, if there is one.
    public func disconnect(_ address: String) { connections[address]?.stream?.close() }

    /// Closes everything; later calls fail with `.stopped`.
    public func stop() {
        isStopped = true
        sweep?.cancel()
        for connection in inOrder { connection.end(.stopped, "") }
        connections.removeAll()
    }

    /// What is told to several callers is told in an order that does not change from run to run.
    private var inOrder: [Connection] { connections.values.sorted { $0.address < $1.address } }

    private func connection(to address: String) -> Connection {
        if let connection = connections[address] { return connection }
        let connection = Connection(address: address, owner: self)
        if isStopped {
            connection.end(.stopped, "")
        } else {
            connections[address] = connection
            connection.open(connectTimeout)
        }
        return connection
    }

    /// Time-outs are looked for twenty times a second while anything waits: one timer instead of one a request.
    private func startSweeping() {
        guard sweep == nil, !isStopped else { return }
        // Holds this object as long as something waits: everything that waits is told, also when the owner let go.
        sweep = loop.schedule(after: .milliseconds(50)) { [self] in
            sweep = nil
            let now = loop.clock.monotonicNow
            var isWaiting = false
            for connection in inOrder where connection.expire(now) { isWaiting = true }
            if isWaiting { startSweeping() }
        }
    }

    // MARK: One connection

    private final class Connection: ByteStreamHandler {
        private struct Waiting {
            var code: RequestCode
            var deadline: MonotonicTime
            var completion: Completion
        }

        let address: String
        private(set) var stream: ByteStream?
        /// Gone when its owner was let go of after `stop()`, while the loop still closes this stream.
        private weak var owner: ClientConnections?
        private let loop: any EventLoop
        private var waiting: [Int32: Waiting] = [:]
        private var unsent: [RemotingCommand] = []
        private var lastOpaque: Int32 = 0
        private var ended: (RemotingError.Code, String)?
        private var header = HeaderTable()

        init(address: String, owner: ClientConnections) {
            self.address = address
            self.owner = owner
            loop = owner.loop
        }

        func open(_ timeout: Duration) {
            loop.connect(to: address, timeout: timeout) { [weak self] result in
                guard let self else {
                    // Stopped and let go of meanwhile: nobody else would close it.
                    if case .success(let stream) = result { stream.close() }
                    return
                }
                switch result {
                case .failure(let error): end(.connectFailed, error.reason)
                case .success(let stream):
                    guard ended == nil else { return stream.close() }
                    self.stream = stream
                    stream.handler = self
                    owner?.onOpened(address)
                    // Not those whose callers were told of a time-out: they may have asked someone else since.
                    for request in unsent where request.isOneway || waiting[request.opaque] != nil {
                        request.encode(into: &stream.output)
                    }
                    unsent = []
                    stream.flushLater()
                }
            }
        }

        func send(_ request: RemotingCommand, deadline: MonotonicTime, completion: @escaping Completion) {
            if let ended {
                return completion(.failure(RemotingError(ended.0, address: address, request: request.requestCode, detail: ended.1)))
            }
            guard Self.fits(request) else {
                return completion(.failure(RemotingError(.frameTooLarge, address: address, request: request.requestCode)))
            }
            var request = request
            repeat { lastOpaque = lastOpaque == .max ? 1 : lastOpaque + 1 } while waiting[lastOpaque] != nil
            request.opaque = lastOpaque
            waiting[lastOpaque] = Waiting(code: request.requestCode, deadline: deadline, completion: completion)
            write(request)
        }

        func sendOneway(_ request: RemotingCommand, _ completion: (RemotingError?) -> Void) {
            if let ended { return completion(RemotingError(ended.0, address: address, request: request.requestCode, detail: ended.1)) }
            guard Self.fits(request) else {
                return completion(RemotingError(.frameTooLarge, address: address, request: request.requestCode))
            }
            var request = request
            request.flag |= FrameFormat.onewayFlag
            lastOpaque = lastOpaque == .max ? 1 : lastOpaque + 1
            request.opaque = lastOpaque
            write(request)
            completion(nil)
        }

        /// Whether a server takes it: with room for a header beside the body.
        private static func fits(_ request: RemotingCommand) -> Bool { request.body.count < FrameFormat.mostBytes - 64 * 1024 }

        private func write(_ request: RemotingCommand) {
            guard let stream else { return unsent.append(request) }
            request.encode(into: &stream.output)
            stream.flushLater()
        }

        /// Fails what has waited too long; whether anything still waits.
        func expire(_ now: MonotonicTime) -> Bool {
            let late = waiting.filter { $0.value.deadline < now }.sorted { $0.key < $1.key }
            for (opaque, call) in late {
                waiting[opaque] = nil
                call.completion(.failure(RemotingError(.timedOut, address: address, request: call.code)))
            }
            return !waiting.isEmpty
        }

        /// Ends the connection for good and fails what waits.
        func end(_ code: RemotingError.Code, _ detail: String) {
            guard ended == nil else { return }
            ended = (code, detail)
            if let owner, owner.connections[address] === self { owner.connections[address] = nil }
            stream?.close()
            unsent = []
            let failed = waiting
            waiting = [:]
            for (_, call) in failed.sorted(by: { $0.key < $1.key }) {
                call.completion(.failure(RemotingError(code, address: address, request: call.code, detail: detail)))
            }
        }

        func received(on stream: ByteStream) {
            while !stream.isClosed {
                switch stream.input.withBytes({ FrameReader.next(in: $0, at: 0) }) {
                case .incomplete: return
                case .malformed(let reason):
                    stream.input.removeAll()
                    return end(.malformedAnswer, reason)
                case .frame(let length):
                    let command = stream.input.withBytes { bytes -> RemotingCommand? in
                        let frame = bytes.extracting(4..<(4 + length))
                        do throws(MalformedBytes) { try header.scan(frame) } catch { return nil }
                        return RemotingCommand(header, frame: frame)
                    }
                    stream.input.consume(4 + length)
                    guard let command else { return end(.malformedAnswer, "a frame's header cannot be read") }
                    dispatch(command)
                }
            }
        }

        private func dispatch(_ command: RemotingCommand) {
            if command.isResponse {
                if let call = waiting.removeValue(forKey: command.opaque) { call.completion(.success(command)) }
                return
            }
            let to = AnswerTo(opaque: command.opaque, serialization: command.serialization)
            owner?.onRequest(command, address) { [weak self] answer in
                guard let self, let stream, !stream.isClosed, !command.isOneway, var answer else { return }
                answer.opaque = to.opaque
                answer.serialization = to.serialization
                answer.flag |= FrameFormat.responseFlag
                answer.encode(into: &stream.output)
                stream.flushLater()
            }
        }

        func closed(_ stream: ByteStream, reason: String) {
            let owner = owner
            end(.connectionClosed, reason)
            owner?.onClosed(address)
        }
    }
}
