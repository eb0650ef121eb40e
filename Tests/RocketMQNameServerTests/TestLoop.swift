import RocketMQBase
import RocketMQProtocol
import Synchronization

/// A clock that stands still until it is moved.
final class TestClock: SystemClock {
    private let now = Mutex<Int64>(0)

    var monotonicNow: MonotonicTime { MonotonicTime(nanoseconds: now.withLock { $0 }) }
    var wallMilliseconds: Int64 { 1_763_715_662_345 + monotonicNow.nanoseconds / 1_000_000 }
    func sleep(for duration: Duration) async throws {}

    func advance(by duration: Duration) { now.withLock { $0 += duration.inNanoseconds } }
}

/// A loop and a network within the test's thread: connections are pairs of buffers, time moves when the test says so.
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
    private var accept: ((ByteStream) -> (any ByteStreamHandler)?)?
    private var timers: [Timer] = []
    private var lastID: UInt64 = 0

    func execute(_ work: @escaping @Sendable () -> Void) { work() }

    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        let timer = Timer(due: testClock.monotonicNow + delay, work: work)
        timers.append(timer)
        return timer
    }

    func atEndOfTick(_ work: @escaping () -> Void) {}

    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        if address.port == 1 { throw TransportError(code: .addressInUse, address: address.description, reason: "Address already in use") }
        self.accept = accept
        return address
    }

    func stopListening() { accept = nil }

    func connect(to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void) {
        completion(.failure(TransportError(code: .refused, address: address, reason: "nobody listens here")))
    }

    func queueForFlush(_ stream: ByteStream) { stream.isQueuedForFlush = false }
    func close(_ stream: ByteStream) { stream.handler?.closed(stream, reason: "closed") }
    func pauseReading(_ stream: ByteStream, _ paused: Bool) {}

    /// Connects a client to whoever listens.
    func connectClient() -> TestClient? {
        lastID += 1
        let stream = ByteStream(
            id: lastID, peer: .loopback(port: UInt16(50_000 + lastID)), local: .loopback(port: 9876), loop: self)
        stream.handler = accept?(stream)
        return stream.handler == nil ? nil : TestClient(stream: stream)
    }

    /// Lets time pass, and does what falls due in it in order.
    func advance(by duration: Duration) {
        let end = testClock.monotonicNow + duration
        while let next = timers.filter({ $0.work != nil && $0.due <= end }).min(by: { $0.due < $1.due }) {
            testClock.advance(by: next.due - testClock.monotonicNow)
            let work = next.work
            next.cancel()
            work?()
            timers.removeAll { $0.work == nil }
        }
        testClock.advance(by: end - testClock.monotonicNow)
    }
}

/// The client's end of a connection in a `TestLoop`.
struct TestClient {
    let stream: ByteStream

    var isClosed: Bool { stream.isClosed }

    /// Sends bytes; returns the answers that came at once.
    func send(_ bytes: [UInt8]) throws -> [RemotingCommand] {
        stream.input.append(bytes)
        stream.handler?.received(on: stream)
        var answers: [RemotingCommand] = []
        while stream.output.count >= 4 {
            let length = stream.output.withBytes { Int($0.bigEndian(UInt32.self, at: 0)) }
            let frame = stream.output.withBytes { $0.array(4..<(4 + length)) }
            answers.append(try RemotingCommand(frame: frame.span.bytes))
            stream.output.consume(4 + length)
        }
        return answers
    }

    /// Sends a request; returns its one answer.
    func call(_ request: RemotingCommand) throws -> RemotingCommand {
        var request = request
        request.opaque = 77
        var output = ByteBuffer()
        request.encode(into: &output)
        let answers = try send(output.copyBytes())
        guard answers.count == 1, answers[0].isResponse, answers[0].opaque == 77 else { throw NoSingleAnswer(answers: answers) }
        return answers[0]
    }

    func call(_ code: RequestCode, _ fields: [String: String] = [:], body: [UInt8] = []) throws -> RemotingCommand {
        try call(.request(code, fields, body: body))
    }

    func close() {
        stream.markClosed()
        stream.handler?.closed(stream, reason: "the peer closed the connection")
    }

    struct NoSingleAnswer: Error { var answers: [RemotingCommand] }
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

    func release() {
        let waiting = state.withLock { state in
            defer { state = (false, []) }
            return state.waiting
        }
        for work in waiting { work() }
    }
}
