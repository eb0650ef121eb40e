import RocketMQBase
import RocketMQProtocol

/// What a server does with requests. Called on the server's event loop.
public protocol RequestHandler: AnyObject {
    /// One whole request. `frame` is without its length word; `header` was scanned from it. Both are valid for the time of
    /// the call. Answers are written to `connection.stream.output` (then `flushLater()`), or given to
    /// `connection.answer`, now or later. One-way requests must not be answered.
    func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection)
    /// A request that `handle` will be called with after some others that came with it: time to fetch what it needs from memory.
    /// Not called for each, and what it was called with may never be handled.
    func prepare(_ header: borrowing HeaderTable, _ frame: RawSpan)
    func opened(_ connection: ServerConnection)
    func closed(_ connection: ServerConnection, reason: String)
}

extension RequestHandler {
    public func prepare(_ header: borrowing HeaderTable, _ frame: RawSpan) {}
}

/// Accepts connections on one address and cuts what comes into frames for a `RequestHandler`. Confined to its loop.
public final class RemotingServer {
    /// Limits that protect a server from its peers.
    public struct Limits: Sendable {
        /// A connection without a byte for this long is closed. The reference: 120 s.
        public var idle: Duration = .seconds(120)
        /// Connections beyond these are refused.
        public var mostConnections = 65_536
        /// While a peer leaves this many bytes of answers unread, its further requests wait.
        public var mostUnreadBytes = 8 << 20
        /// Bytes of unfinished frames that all peers together may leave here; beyond them, who sends more of a large frame
        /// is closed.
        public var mostUnfinishedBytes = 512 << 20
        public init() {}
    }

    private let loop: any EventLoop
    private let limits: Limits
    private let handler: any RequestHandler
    private let log: (String) -> Void
    private var connections: [UInt64: ServerConnection] = [:]
    private var parser = RequestParser()
    private var unfinishedBytes = 0
    private var idleCheck: (any ScheduledCall)?

    /// `log` gets a line for each connection that is closed because of what it sent.
    public init(loop: any EventLoop, limits: Limits = Limits(), handler: any RequestHandler, log: @escaping (String) -> Void) {
        self.loop = loop
        self.limits = limits
        self.handler = handler
        self.log = log
    }

    /// Takes the address for `start(on:)`: one that cannot be had is known early, while nobody can connect yet.
    public func reserve(_ address: SocketAddress) throws(TransportError) -> SocketAddress { try loop.reserve(address) }

    /// Starts to listen; returns the address with the real port.
    public func start(on address: SocketAddress) throws(TransportError) -> SocketAddress {
        let bound = try loop.listen(on: address) { [unowned self] stream in
            guard connections.count < limits.mostConnections else {
                log("refused \(stream.peer): \(limits.mostConnections) connections are open")
                return nil
            }
            let connection = ServerConnection(stream: stream, loop: loop)
            connections[stream.id] = connection
            handler.opened(connection)
            return ConnectionHandler(server: self, connection: connection)
        }
        idleCheck = loop.scheduleRepeatedly(every: .seconds(10)) { [unowned self] in closeIdle() }
        return bound
    }

    public func connection(_ id: UInt64) -> ServerConnection? { connections[id] }

    public var connectionCount: Int { connections.count }

    /// Stops listening and closes all connections after what was written is sent.
    public func stop() {
        idleCheck?.cancel()
        loop.stopListening()
        for (_, connection) in connections.sorted(by: { $0.key < $1.key }) { connection.stream.close() }
    }

    private func closeIdle() {
        let limit = loop.clock.monotonicNow.nanoseconds / 1_000_000 - limits.idle.inMilliseconds
        let idle = connections.values.filter { $0.lastHeardMilliseconds < limit }
        for connection in idle.sorted(by: { $0.id < $1.id }) { connection.stream.close() }
    }

    /// Handles all whole frames that arrived.
    fileprivate func received(on connection: ServerConnection) {
        let stream = connection.stream
        connection.lastHeardMilliseconds = loop.clock.monotonicNow.nanoseconds / 1_000_000
        var outcome = RequestParser.Outcome()
        // All whole frames in one borrow of the input: a handler may not touch it meanwhile, which exclusive access to the
        // property enforces.
        stream.input.withBytes { bytes in
            outcome = parser.handleFrames(in: bytes, from: connection, handler, mostUnreadBytes: limits.mostUnreadBytes)
        }
        stream.input.consume(outcome.consumed)
        // Frames may be left: they go on when the answers are sent, however fast that is.
        stream.wantsDrained = stream.output.count > limits.mostUnreadBytes
        if let failure = outcome.failure { refuse(connection, failure) }
    }

    private func refuse(_ connection: ServerConnection, _ reason: String) {
        log("closed \(connection.peer): \(reason)")
        connection.stream.input.removeAll()
        connection.stream.close()
    }

    fileprivate func closed(_ connection: ServerConnection, reason: String) {
        connections[connection.id] = nil
        if reason == ByteStream.unreadReason { log("closed \(connection.peer): \(reason)") }
        unfinishedBytes -= connection.unfinishedBytes
        connection.unfinishedBytes = 0
        connection.failPending(reason)
        handler.closed(connection, reason: reason)
    }

    private final class ConnectionHandler: ByteStreamHandler {
        /// Kept alive by its open connections: the last of them close after the owner has let go of it.
        private let server: RemotingServer
        private let connection: ServerConnection

        init(server: RemotingServer, connection: ServerConnection) {
            self.server = server
            self.connection = connection
        }

        func received(on stream: ByteStream) { server.received(on: connection) }
        func drained(_ stream: ByteStream) { server.received(on: connection) }
        func closed(_ stream: ByteStream, reason: String) { server.closed(connection, reason: reason) }
    }
}

/// Cuts bytes into frames and hands over requests, whose headers it scans a few ahead; keeps the header tables for all of them.
private struct RequestParser: ~Copyable {
    struct Outcome {
        var consumed = 0
        /// Why the bytes are not frames, if so.
        var failure: String?
    }

    /// Frames scanned and not handled yet, at most.
    private static let most = 8
    /// A ring. Memory safety: it belongs to this value alone, and every index into it is below `most`.
    private let headers: UnsafeMutablePointer<HeaderTable>
    private var ranges = [Range<Int>](repeating: 0..<0, count: most)
    private var first = 0
    private var count = 0

    init() {
        headers = .allocate(capacity: Self.most)
        for index in 0..<Self.most { (headers + index).initialize(to: HeaderTable()) }
    }

    deinit {
        headers.deinitialize(count: Self.most)
        headers.deallocate()
    }

    /// Handles all whole frames, or as many until the peer has too much to read.
    mutating func handleFrames(
        in bytes: RawSpan, from connection: ServerConnection, _ handler: any RequestHandler, mostUnreadBytes: Int
    ) -> Outcome {
        var outcome = Outcome()
        // Behind the last frame that was scanned, and what is wrong there.
        var scanned = 0
        var failure: String?
        var isAtEnd = false
        let stream = connection.stream
        (first, count) = (0, 0)
        while !stream.isClosed, stream.output.count <= mostUnreadBytes {
            while !isAtEnd, count < Self.most { isAtEnd = !scanNext(in: bytes, &scanned, &failure, handler) }
            guard count > 0 else {
                outcome.failure = failure
                return outcome
            }
            let place = first
            first = (first + 1) % Self.most
            count -= 1
            outcome.consumed = ranges[place].upperBound
            handle(place, bytes.extracting(ranges[place]), connection, handler)
        }
        return outcome
    }

    /// Scans the header of the next frame, if it is there whole and is one.
    private mutating func scanNext(
        in bytes: RawSpan, _ scanned: inout Int, _ failure: inout String?, _ handler: any RequestHandler
    ) -> Bool {
        switch FrameReader.next(in: bytes, at: scanned) {
        case .incomplete: return false
        case .malformed(let reason):
            failure = reason
            return false
        case .frame(let length):
            let place = (first + count) % Self.most
            let range = (scanned + 4)..<(scanned + 4 + length)
            do throws(MalformedBytes) { try headers[place].scan(bytes.extracting(range)) } catch {
                failure = error.description
                return false
            }
            scanned = range.upperBound
            ranges[place] = range
            if !headers[place].isResponse { handler.prepare(headers[place], bytes.extracting(range)) }
            count += 1
            return true
        }
    }

    private func handle(_ place: Int, _ frame: RawSpan, _ connection: ServerConnection, _ handler: any RequestHandler) {
        if headers[place].isResponse {
            connection.received(response: RemotingCommand(headers[place], frame: frame))
        } else {
            handler.handle(headers[place], frame, from: connection)
        }
    }
}
