import RocketMQBase
import RocketMQProtocol
import Synchronization

/// A clock that stands still until it is moved.
final class TestClock: SystemClock {
    private let now = Mutex<Int64>(1_000_000_000)

    var monotonicNow: MonotonicTime { MonotonicTime(nanoseconds: now.withLock { $0 }) }
    var wallMilliseconds: Int64 { 1_763_715_662_345 + monotonicNow.nanoseconds / 1_000_000 }
    func sleep(for duration: Duration) async throws { advance(by: duration) }

    func advance(by duration: Duration) { now.withLock { $0 += duration.inNanoseconds } }
}

/// A server that connections made through a `TestLoop` lead to: what it answers to each request, `nil` for silence.
final class TestServer {
    var answer: (RemotingCommand) -> RemotingCommand?
    private(set) var requests: [RemotingCommand] = []

    init(_ answer: @escaping (RemotingCommand) -> RemotingCommand? = { _ in .success() }) { self.answer = answer }

    fileprivate func take(_ request: RemotingCommand) -> RemotingCommand? {
        requests.append(request)
        return request.isOneway ? nil : answer(request)
    }

    func requests(_ code: RequestCode) -> [RemotingCommand] { requests.filter { $0.requestCode == code } }
}

/// A loop and a network within the test's thread: time moves, and work is done, when the test says so.
///
/// `@unchecked Sendable` holds because a test uses its loop on one thread alone.
final class TestLoop: EventLoop, ByteStreamLoop, @unchecked Sendable {
    private final class Timer: ScheduledCall {
        let due: MonotonicTime
        var work: (() -> Void)?
        init(due: MonotonicTime, work: @escaping () -> Void) {
            self.due = due
            self.work = work
        }
        func cancel() { work = nil }
    }

    let testClock = TestClock()
    var clock: any SystemClock { testClock }
    var isCurrent: Bool { true }
    /// Servers that can be connected to, by address.
    var servers: [String: TestServer] = [:]
    private var accept: ((ByteStream) -> (any ByteStreamHandler)?)?
    private var timers: [Timer] = []
    private var executed: [() -> Void] = []
    private var outgoing: [(stream: ByteStream, server: TestServer)] = []
    private var lastID: UInt64 = 0

    func execute(_ work: @escaping @Sendable () -> Void) { executed.append(work) }

    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        let timer = Timer(due: testClock.monotonicNow + delay, work: work)
        timers.append(timer)
        return timer
    }

    func atEndOfTick(_ work: @escaping () -> Void) {}

    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        self.accept = accept
        return address
    }

    func stopListening() { accept = nil }

    func connect(to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void) {
        executed.append { [self] in
            guard let server = servers[address] else {
                return completion(.failure(TransportError(code: .refused, address: address, reason: "nobody listens here")))
            }
            let stream = makeStream()
            outgoing.append((stream, server))
            completion(.success(stream))
        }
    }

    /// Ends all connections to a server, as when its process stops.
    func disconnect(_ server: TestServer) {
        let ended = outgoing.filter { $0.server === server }
        outgoing.removeAll { $0.server === server }
        for (stream, _) in ended {
            stream.markClosed()
            stream.handler?.closed(stream, reason: "the peer closed the connection")
        }
    }

    private func makeStream() -> ByteStream {
        lastID += 1
        return ByteStream(id: lastID, peer: .loopback(port: UInt16(50_000 + lastID)), local: .loopback(port: 10911), loop: self)
    }

    func queueForFlush(_ stream: ByteStream) { stream.isQueuedForFlush = false }
    func close(_ stream: ByteStream) { stream.handler?.closed(stream, reason: "closed") }
    func pauseReading(_ stream: ByteStream, _ paused: Bool) {}

    /// Connects a client to whoever listens.
    func connectClient() -> TestClient? {
        let stream = makeStream()
        stream.handler = accept?(stream)
        return stream.handler == nil ? nil : TestClient(stream: stream, loop: self)
    }

    /// Does everything that can be done without time passing.
    func settle() {
        for _ in 0..<100_000 where !step() { return }
    }

    private func step() -> Bool {
        if !executed.isEmpty {
            executed.removeFirst()()
            return true
        }
        if let timer = timers.first(where: { $0.work != nil && !(testClock.monotonicNow < $0.due) }) {
            let work = timer.work
            timer.cancel()
            timers.removeAll { $0.work == nil }
            work?()
            return true
        }
        for (stream, server) in outgoing where !stream.isClosed && stream.output.count > 0 {
            for request in takeFrames(of: stream) {
                guard var answer = server.take(request) else { continue }
                answer.opaque = request.opaque
                answer.flag |= FrameFormat.responseFlag
                answer.encode(into: &stream.input)
            }
            stream.handler?.received(on: stream)
            return true
        }
        return false
    }

    /// Lets time pass, and does what falls due in it in order.
    func advance(by duration: Duration) {
        let end = testClock.monotonicNow + duration
        settle()
        while let next = timers.filter({ $0.work != nil && !(end < $0.due) }).min(by: { $0.due < $1.due }) {
            if testClock.monotonicNow < next.due { testClock.advance(by: next.due - testClock.monotonicNow) }
            settle()
        }
        if testClock.monotonicNow < end { testClock.advance(by: end - testClock.monotonicNow) }
    }
}

/// Takes the whole frames out of what was written to a stream.
func takeFrames(of stream: ByteStream) -> [RemotingCommand] {
    var frames: [RemotingCommand] = []
    while stream.output.count >= 4 {
        let length = stream.output.withBytes { Int($0.bigEndian(UInt32.self, at: 0)) }
        let frame = stream.output.withBytes { $0.array(4..<(4 + length)) }
        if let command = try? RemotingCommand(frame: frame.span.bytes) { frames.append(command) }
        stream.output.consume(4 + length)
    }
    return frames
}

/// The client's end of a connection to the server that listens on a `TestLoop`.
final class TestClient {
    let stream: ByteStream
    private let loop: TestLoop
    /// Lives as long as this client.
    var server: AnyObject?
    private var lastOpaque: Int32 = 1000
    /// Requests and answers that came and were not taken yet.
    private var arrived: [RemotingCommand] = []

    init(stream: ByteStream, loop: TestLoop) {
        self.stream = stream
        self.loop = loop
    }

    var isClosed: Bool { stream.isClosed }

    /// Sends a request; returns its opaque.
    @discardableResult
    func send(_ request: RemotingCommand) -> Int32 {
        var request = request
        lastOpaque += 1
        request.opaque = lastOpaque
        request.encode(into: &stream.input)
        stream.handler?.received(on: stream)
        return lastOpaque
    }

    /// The answer, when it is there.
    func takeAnswer(to opaque: Int32) -> RemotingCommand? {
        arrived += takeFrames(of: stream)
        guard let index = arrived.firstIndex(where: { $0.isResponse && $0.opaque == opaque }) else { return nil }
        return arrived.remove(at: index)
    }

    /// Requests that the server sent.
    func takeRequests() -> [RemotingCommand] {
        arrived += takeFrames(of: stream)
        defer { arrived.removeAll { !$0.isResponse } }
        return arrived.filter { !$0.isResponse }
    }

    /// Sends a request, lets everything happen that needs no time, and returns the answer.
    func call(_ request: RemotingCommand) throws -> RemotingCommand {
        let opaque = send(request)
        loop.settle()
        guard let answer = takeAnswer(to: opaque) else { throw NoAnswer(code: request.requestCode) }
        return answer
    }

    func call(_ code: RequestCode, _ fields: [String: String] = [:], body: [UInt8] = []) throws -> RemotingCommand {
        try call(.request(code, fields, body: body))
    }

    /// Answers a request of the server's.
    func answer(_ request: RemotingCommand, _ response: RemotingCommand) {
        var response = response
        response.opaque = request.opaque
        response.flag |= FrameFormat.responseFlag
        response.encode(into: &stream.input)
        stream.handler?.received(on: stream)
    }

    func close() {
        stream.markClosed()
        stream.handler?.closed(stream, reason: "the peer closed the connection")
        loop.settle()
    }

    struct NoAnswer: Error { var code: RequestCode }
}

/// Does the work at once, or when the test lets it.
final class TestWorker: BackgroundWorker {
    private let state = Mutex<(isHeld: Bool, waiting: [@Sendable () -> Void])>((false, []))

    func run(_ work: @escaping @Sendable () -> Void) {
        let isHeld = state.withLock { state in
            if state.isHeld { state.waiting.append(work) }
            return state.isHeld
        }
        if !isHeld { work() }
    }

    func hold() { state.withLock { $0.isHeld = true } }

    var waitingCount: Int { state.withLock { $0.waiting.count } }

    func release() {
        let waiting = state.withLock { state in
            defer { state = (false, []) }
            return state.waiting
        }
        for work in waiting { work() }
    }
}
