import RocketMQBase
import RocketMQProtocol
import Synchronization

/// A server that connections made through a `TestLoop` lead to: what it answers to each request, `nil` for silence.
public final class TestServer {
    public var answer: (RemotingCommand) -> RemotingCommand?
    public private(set) var requests: [RemotingCommand] = []

    public init(_ answer: @escaping (RemotingCommand) -> RemotingCommand? = { _ in .success() }) { self.answer = answer }

    func take(_ request: RemotingCommand) -> RemotingCommand? {
        requests.append(request)
        return request.isOneway || request.isResponse ? nil : answer(request)
    }

    public func requests(_ code: RequestCode) -> [RemotingCommand] { requests.filter { $0.requestCode == code } }
}

/// The client's end of a connection to the server that listens on a `TestLoop`.
public final class TestClient {
    public let stream: ByteStream
    /// Lives as long as this client.
    public var server: AnyObject?
    /// False for a peer that does not read: what the server sends stays in its output.
    public private(set) var isReading = true
    private let loop: TestLoop
    private var lastOpaque: Int32 = 1000
    private var received = ByteBuffer()
    /// Requests and answers that came and were not taken yet.
    private var arrived: [RemotingCommand] = []

    init(stream: ByteStream, loop: TestLoop) {
        self.stream = stream
        self.loop = loop
    }

    public var isClosed: Bool { stream.isClosed }

    // MARK: Sending

    /// Sends bytes as they are.
    public func send(bytes: [UInt8]) {
        guard !stream.isClosed else { return }
        stream.input.append(bytes)
        stream.handler?.received(on: stream)
    }

    /// Sends a request; returns its opaque. Its effects are complete after the loop's `settle`.
    @discardableResult
    public func send(_ request: RemotingCommand) -> Int32 {
        var request = request
        lastOpaque += 1
        request.opaque = lastOpaque
        var output = ByteBuffer()
        request.encode(into: &output)
        send(bytes: output.copyBytes())
        return lastOpaque
    }

    /// Sends a request, lets everything happen that needs no time, and returns the answer.
    public func call(_ request: RemotingCommand) throws -> RemotingCommand {
        let opaque = send(request)
        loop.settle()
        guard let answer = takeAnswer(to: opaque) else { throw NoAnswer(code: request.requestCode) }
        return answer
    }

    /// Sends bytes as they are, lets everything happen that needs no time, and returns all answers.
    public func exchange(_ bytes: [UInt8]) -> [RemotingCommand] {
        send(bytes: bytes)
        loop.settle()
        return takeAnswers()
    }

    public func call(_ code: RequestCode, _ fields: [String: String] = [:], body: [UInt8] = []) throws -> RemotingCommand {
        try call(.request(code, fields, body: body))
    }

    /// Answers a request of the server's.
    public func answer(_ request: RemotingCommand, _ response: RemotingCommand) {
        var response = response
        response.opaque = request.opaque
        response.flag |= FrameFormat.responseFlag
        var output = ByteBuffer()
        response.encode(into: &output)
        send(bytes: output.copyBytes())
    }

    // MARK: Receiving

    func takeOutput() {
        stream.output.withBytes { received.append($0) }
        stream.output.removeAll()
    }

    private func arrive() {
        if isReading { takeOutput() }
        arrived += takeFrames(from: &received)
    }

    /// Stops reading, as a peer that hangs.
    public func stopReading() {
        takeOutput()
        isReading = false
    }

    /// Reads on, all that has waited.
    public func continueReading() {
        isReading = true
        takeOutput()
        loop.reportDrained(stream)
    }

    /// The answer, when it is there.
    public func takeAnswer(to opaque: Int32) -> RemotingCommand? {
        arrive()
        guard let index = arrived.firstIndex(where: { $0.isResponse && $0.opaque == opaque }) else { return nil }
        return arrived.remove(at: index)
    }

    /// All answers that are there, in the order in which they came.
    public func takeAnswers() -> [RemotingCommand] {
        arrive()
        defer { arrived.removeAll(where: \.isResponse) }
        return arrived.filter(\.isResponse)
    }

    /// Requests that the server sent.
    public func takeRequests() -> [RemotingCommand] {
        arrive()
        defer { arrived.removeAll { !$0.isResponse } }
        return arrived.filter { !$0.isResponse }
    }

    public func close() {
        loop.peerClosed(stream)
        loop.settle()
    }

    public struct NoAnswer: Error { public var code: RequestCode }
}

/// A background worker that does the work at once, or when the test lets it.
public final class TestWorker: BackgroundWorker {
    private let state = Mutex<(isHeld: Bool, waiting: [@Sendable () -> Void])>((false, []))

    public init() {}

    public func run(_ work: @escaping @Sendable () -> Void) {
        let isHeld = state.withLock { state in
            if state.isHeld { state.waiting.append(work) }
            return state.isHeld
        }
        if !isHeld { work() }
    }

    /// Keeps what is given from now on.
    public func hold() { state.withLock { $0.isHeld = true } }

    public var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Does what was kept; later work is done at once again.
    public func release() {
        let waiting = state.withLock { state in
            defer { state = (false, []) }
            return state.waiting
        }
        for work in waiting { work() }
    }
}
