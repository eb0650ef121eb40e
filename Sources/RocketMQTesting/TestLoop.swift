import RocketMQBase
import RocketMQProtocol
import Synchronization

/// A loop, a network and a background worker within the test's thread: time moves, and work is done, when the test says so.
///
/// What clients send is handed to the server's handlers at once; the end of the tick, with the work of `atEndOfTick`, comes
/// with `settle`. So requests that are sent without a `settle` between them share a tick.
///
/// `@unchecked Sendable` holds because a test uses its loop on one thread alone.
public final class TestLoop: EventLoop, ByteStreamLoop, BackgroundWorker, @unchecked Sendable {
    private final class Timer: ScheduledCall {
        let due: MonotonicTime
        var work: (() -> Void)?
        init(due: MonotonicTime, work: @escaping () -> Void) {
            self.due = due
            self.work = work
        }
        func cancel() { work = nil }
    }

    public let testClock: ManualClock
    public var clock: any SystemClock { testClock }
    public var isCurrent: Bool { true }
    /// Servers that can be connected to, by address. Connecting anywhere else is refused.
    public var servers: [String: TestServer] = [:]
    /// Addresses at which connecting neither succeeds nor fails until its time-out.
    public var silentAddresses: Set<String> = []
    /// Connections to servers of this loop that were made and not closed by either side.
    public var openConnectionCount: Int { outgoing.count { !$0.stream.isClosed } }

    private var accept: ((ByteStream) -> (any ByteStreamHandler)?)?
    private var timers: [Timer] = []
    private let executed = Mutex<[@Sendable () -> Void]>([])
    private let background = Mutex<[@Sendable () -> Void]>([])
    private var local: [() -> Void] = []
    private var endOfTick: [() -> Void] = []
    private var outgoing: [(stream: ByteStream, server: TestServer)] = []
    private var clients: [UInt64: ClientConnection] = [:]
    private var flushQueue: [ByteStream] = []
    private var drainedQueue: [ByteStream] = []
    private var closeQueue: [ByteStream] = []
    private var lastID: UInt64 = 0

    private struct ClientConnection {
        let stream: ByteStream
        weak var client: TestClient?
    }

    public init(clock: ManualClock = ManualClock()) { testClock = clock }

    // MARK: The loop

    public func execute(_ work: @escaping @Sendable () -> Void) { executed.withLock { $0.append(work) } }

    public func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        let timer = Timer(due: testClock.monotonicNow + delay, work: work)
        timers.append(timer)
        return timer
    }

    public func atEndOfTick(_ work: @escaping () -> Void) { endOfTick.append(work) }

    /// Work for the background: done by `settle`, or one piece at a time by `runBackgroundStep`.
    public func run(_ work: @escaping @Sendable () -> Void) { background.withLock { $0.append(work) } }

    /// Does one piece of background work; false when there is none.
    @discardableResult
    public func runBackgroundStep() -> Bool {
        let next = background.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        next?()
        return next != nil
    }

    /// Drops everything that is scheduled or waits: the process is gone, and what it kept goes with it.
    public func abandon() {
        // A connection and what handles it hold each other until it is closed.
        for connection in clients.values { connection.stream.handler = nil }
        for connection in outgoing { connection.stream.handler = nil }
        for timer in timers { timer.cancel() }
        timers = []
        executed.withLock { $0 = [] }
        background.withLock { $0 = [] }
        // A handler and its stream know each other.
        for client in clients.values { client.client?.stream.handler = nil }
        for (stream, _) in outgoing { stream.handler = nil }
        (local, endOfTick, outgoing, clients, flushQueue) = ([], [], [], [:], [])
        (drainedQueue, closeQueue, accept, servers) = ([], [], nil, [:])
    }

    /// Ends the tick: the work of `atEndOfTick`, then sending and closing. Nothing else is done.
    public func finishTick() {
        for work in endOfTick { work() }
        while !flushQueue.isEmpty || !closeQueue.isEmpty {
            let flushing = flushQueue
            flushQueue = []
            for stream in flushing {
                stream.isQueuedForFlush = false
                flush(stream)
            }
            let closing = closeQueue
            closeQueue = []
            for stream in closing { end(stream, "closed by this side") }
        }
    }

    /// Does everything that can be done without time passing.
    public func settle() {
        for _ in 0..<1_000_000 {
            finishTick()
            if !step() { return }
        }
        preconditionFailure("the loop never comes to rest")
    }

    /// Lets time pass, and does what falls due in it in order.
    public func advance(by duration: Duration) {
        let end = testClock.monotonicNow + duration
        settle()
        while let next = timers.filter({ $0.work != nil && $0.due <= end }).min(by: { $0.due < $1.due }) {
            if testClock.monotonicNow < next.due { testClock.advance(by: next.due - testClock.monotonicNow) }
            settle()
        }
        if testClock.monotonicNow < end { testClock.advance(by: end - testClock.monotonicNow) }
    }

    private func step() -> Bool {
        if !drainedQueue.isEmpty {
            let drained = drainedQueue
            drainedQueue = []
            for stream in drained where !stream.isClosed { stream.handler?.drained(stream) }
            return true
        }
        if !local.isEmpty {
            local.removeFirst()()
            return true
        }
        let next = executed.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        if let next {
            next()
            return true
        }
        if let timer = dueTimer() {
            let work = timer.work
            timer.cancel()
            timers.removeAll { $0.work == nil }
            work?()
            return true
        }
        if serveOutgoing() { return true }
        return runBackgroundStep()
    }

    /// The first of those that are due: in the order of their times, and as they were scheduled where these are the same.
    private func dueTimer() -> Timer? {
        let now = testClock.monotonicNow
        return timers.filter { $0.work != nil && $0.due <= now }.min { $0.due < $1.due }
    }

    // MARK: Streams

    public func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        // A port that nobody may have here.
        if address.port == 1 { throw TransportError(code: .addressInUse, address: address.description, reason: "Address already in use") }
        self.accept = accept
        return address
    }

    public func stopListening() { accept = nil }

    public func queueForFlush(_ stream: ByteStream) { flushQueue.append(stream) }
    public func close(_ stream: ByteStream) { closeQueue.append(stream) }
    public func pauseReading(_ stream: ByteStream, _ paused: Bool) {}

    private func makeStream() -> ByteStream {
        lastID += 1
        return ByteStream(
            id: lastID, peer: .loopback(port: UInt16(truncatingIfNeeded: 50_000 + lastID)), local: .loopback(port: 10911), loop: self)
    }

    /// What was written goes to the client, unless that does not read.
    private func flush(_ stream: ByteStream) {
        guard let client = clients[stream.id]?.client, client.isReading else { return }
        client.takeOutput()
        if stream.wantsDrained {
            stream.wantsDrained = false
            drainedQueue.append(stream)
        }
    }

    private func end(_ stream: ByteStream, _ reason: String) {
        flush(stream)
        clients[stream.id] = nil
        let handler = stream.handler
        stream.handler = nil
        handler?.closed(stream, reason: reason)
    }

    // MARK: Clients of a server on this loop

    /// Connects a client to whoever listens; `nil` when nobody does, or when it is refused.
    public func connectClient() -> TestClient? {
        guard let accept else { return nil }
        let stream = makeStream()
        stream.handler = accept(stream)
        guard stream.handler != nil else { return nil }
        let client = TestClient(stream: stream, loop: self)
        clients[stream.id] = ClientConnection(stream: stream, client: client)
        return client
    }

    func reportDrained(_ stream: ByteStream) {
        stream.wantsDrained = false
        drainedQueue.append(stream)
    }

    /// The client ended the connection.
    func peerClosed(_ stream: ByteStream) {
        guard !stream.isClosed else { return }
        stream.markClosed()
        end(stream, "the peer closed the connection")
    }

    // MARK: Servers that this loop's connections lead to

    public func connect(to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void) {
        if silentAddresses.contains(address) {
            _ = schedule(after: timeout) {
                completion(.failure(TransportError(code: .timedOut, address: address, reason: "no connection within \(timeout)")))
            }
            return
        }
        local.append { [self] in
            guard let server = servers[address] else {
                return completion(.failure(TransportError(code: .refused, address: address, reason: "nobody listens here")))
            }
            let stream = makeStream()
            outgoing.append((stream, server))
            completion(.success(stream))
        }
    }

    /// Ends all connections to a server, as when its process stops.
    public func disconnect(_ server: TestServer) {
        let ended = outgoing.filter { $0.server === server && !$0.stream.isClosed }
        outgoing.removeAll { $0.server === server }
        for (stream, _) in ended { peerClosed(stream) }
    }

    /// Sends everyone connected to `server` something that they did not ask for.
    public func push(_ command: RemotingCommand, from server: TestServer) {
        var output = ByteBuffer()
        command.encode(into: &output)
        pushBytes(output.copyBytes(), from: server)
    }

    /// As above, bytes as they are.
    public func pushBytes(_ bytes: [UInt8], from server: TestServer) {
        for (stream, owner) in outgoing where owner === server && !stream.isClosed {
            stream.input.append(bytes)
            stream.handler?.received(on: stream)
        }
    }

    private func serveOutgoing() -> Bool {
        outgoing.removeAll { $0.stream.isClosed }
        for (stream, server) in outgoing where stream.output.count > 0 {
            for request in takeFrames(from: &stream.output) {
                guard var answer = server.take(request) else { continue }
                answer.opaque = request.opaque
                answer.flag |= FrameFormat.responseFlag
                answer.encode(into: &stream.input)
            }
            if !stream.input.isEmpty { stream.handler?.received(on: stream) }
            return true
        }
        return false
    }
}

/// Takes the whole frames out of a buffer.
public func takeFrames(from buffer: inout ByteBuffer) -> [RemotingCommand] {
    var frames: [RemotingCommand] = []
    while buffer.count >= 4 {
        let length = buffer.withBytes { Int($0.bigEndian(UInt32.self, at: 0)) }
        guard buffer.count >= 4 + length else { break }
        let frame = buffer.withBytes { $0.array(4..<(4 + length)) }
        if let command = try? RemotingCommand(frame: frame.span.bytes) { frames.append(command) }
        buffer.consume(4 + length)
    }
    return frames
}
