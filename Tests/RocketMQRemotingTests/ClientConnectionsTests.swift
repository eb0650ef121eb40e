import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQTesting
import Testing

@Suite struct ClientConnectionsTests {
    final class Scene {
        static let address = "10.0.0.1:10911"
        let loop = TestLoop()
        let server = TestServer { request in .success(request.fields, body: request.body) }
        var results: [String] = []
        var closed: [String] = []
        var requests: [RemotingCommand] = []
        private(set) var connections: ClientConnections?

        init() {
            loop.servers[Self.address] = server
            connections = ClientConnections(
                loop: loop, connectTimeout: .seconds(3),
                onRequest: { [unowned self] request, _, answer in
                    requests.append(request)
                    answer(.response(.success, "from the client"))
                }, onClosed: { [unowned self] in closed.append($0) })
        }

        func call(_ name: String, at address: String = Scene.address, timeout: Duration = .seconds(3), body: Int = 0) {
            connections?.call(
                .request(.getBrokerConfig, ["name": name], body: .init(repeating: 1, count: body)), at: address, timeout: timeout
            ) {
                [unowned self] result in
                switch result {
                case .success(let answer): results.append("\(name): \(answer.fields["name"] ?? "")")
                case .failure(let error): results.append("\(name): \(error.code)")
                }
            }
        }

        func forget() { connections = nil }
    }

    @Test("Calls share one connection, and answers that come in any order find their calls")
    func pairing() {
        let scene = Scene()
        for index in 0..<100 { scene.call("\(index)") }
        scene.loop.settle()
        #expect(scene.loop.openConnectionCount == 1)
        #expect(Set(scene.results) == Set((0..<100).map { "\($0): \($0)" }))
        #expect(scene.results.count == 100)
        #expect(Set(scene.server.requests.map(\.opaque)).count == 100)
    }

    @Test("A call without an answer ends at its time-out, and an answer that comes later harms nobody")
    func timeouts() throws {
        let scene = Scene()
        scene.server.answer = { _ in nil }
        scene.call("short", timeout: .seconds(1))
        scene.call("long", timeout: .seconds(5))
        scene.loop.advance(by: .milliseconds(990))
        #expect(scene.results.isEmpty)
        scene.loop.advance(by: .milliseconds(120))
        #expect(scene.results == ["short: timedOut"])
        let late = try #require(scene.server.requests.first)
        var answer = RemotingCommand.success()
        answer.opaque = late.opaque
        scene.loop.push(answer, from: scene.server)
        #expect(scene.results == ["short: timedOut"])
        scene.loop.advance(by: .seconds(5))
        #expect(scene.results == ["short: timedOut", "long: timedOut"])
    }

    @Test("A connection that ends fails what waits on it; the next call makes a new one")
    func reconnect() {
        let scene = Scene()
        scene.server.answer = { _ in nil }
        scene.call("waiting")
        scene.loop.settle()
        scene.loop.disconnect(scene.server)
        #expect(scene.results == ["waiting: connectionClosed"])
        #expect(scene.closed == [Scene.address])
        scene.server.answer = { .success($0.fields) }
        scene.call("again")
        scene.loop.settle()
        #expect(scene.results.last == "again: again")
        #expect(scene.loop.openConnectionCount == 1)
    }

    @Test("Nobody there: refused at once, or after the time to connect; later calls try again")
    func cannotConnect() {
        let scene = Scene()
        scene.call("refused", at: "10.0.0.9:1")
        scene.loop.settle()
        #expect(scene.results == ["refused: connectFailed"])
        scene.loop.silentAddresses = ["10.0.0.8:1"]
        scene.call("silent", at: "10.0.0.8:1", timeout: .seconds(30))
        scene.loop.advance(by: .seconds(4))
        #expect(scene.results.last == "silent: connectFailed")
        scene.loop.servers["10.0.0.9:1"] = scene.server
        scene.call("there", at: "10.0.0.9:1")
        scene.loop.settle()
        #expect(scene.results.last == "there: there")
    }

    @Test("A request whose caller was told of its time-out is not sent afterwards")
    func notSentAfterTimeout() {
        let scene = Scene()
        let slow = SlowConnecting(scene.loop)
        let connections = ClientConnections(loop: slow)
        var outcome = ""
        connections.call(.request(.sendMessageV2), at: Scene.address, timeout: .seconds(1)) { result in
            if case .failure(let error) = result { outcome = "\(error.code)" }
        }
        connections.call(.request(.heartBeat), at: Scene.address, timeout: .seconds(10)) { _ in }
        scene.loop.advance(by: .milliseconds(2_500))
        #expect(outcome == "timedOut")
        #expect(scene.server.requests.map(\.requestCode) == [.heartBeat])
        connections.stop()
    }

    @Test("Stopping fails everything that waits, closes all, also what is being connected, and refuses what comes")
    func stop() {
        let scene = Scene()
        scene.server.answer = { _ in nil }
        scene.call("sent")
        scene.loop.settle()
        let other = TestServer { _ in nil }
        scene.loop.servers["10.0.0.2:1"] = other
        scene.call("connecting", at: "10.0.0.2:1")
        scene.connections?.stop()
        #expect(Set(scene.results) == ["sent: stopped", "connecting: stopped"])
        scene.loop.settle()
        #expect(scene.loop.openConnectionCount == 0, "a connection that was made after the stop must not stay open")
        #expect(other.requests.isEmpty)
        scene.call("late")
        #expect(scene.results.last == "late: stopped")
        scene.forget()
        scene.loop.advance(by: .seconds(10))
        #expect(scene.results.count == 3)
    }

    @Test("A server's answer that is no frame ends the connection with the reason")
    func malformedAnswer() {
        let scene = Scene()
        scene.server.answer = { _ in RemotingCommand(code: 0, fields: ["x": "y"], body: []) }
        scene.call("first")
        scene.loop.settle()
        scene.server.answer = { _ in nil }
        scene.call("second")
        scene.loop.settle()
        scene.loop.pushBytes([0, 0, 0, 1, 9], from: scene.server)
        scene.loop.settle()
        #expect(scene.results.last == "second: malformedAnswer")
        #expect(scene.loop.openConnectionCount == 0)
    }

    @Test("What is larger than a frame may be is refused before it is sent, and the connection stays")
    func tooLarge() {
        let scene = Scene()
        scene.call("large", body: FrameFormat.mostBytes)
        #expect(scene.results == ["large: frameTooLarge"])
        var refusal: RemotingError?
        scene.connections?.callOneway(
            .request(.sendMessageV2, body: .init(repeating: 0, count: FrameFormat.mostBytes)), at: Scene.address
        ) { refusal = $0 }
        #expect(refusal?.code == .frameTooLarge)
        scene.call("small")
        scene.loop.settle()
        #expect(scene.results.last == "small: small")
        #expect(scene.server.requests.count == 1)
    }

    @Test("Requests of the server are answered with its opaque; one-way ones are not")
    func serverRequests() {
        let scene = Scene()
        scene.call("connect")
        scene.loop.settle()
        var request = RemotingCommand.request(.checkTransactionState)
        request.opaque = 4711
        scene.loop.push(request, from: scene.server)
        request.flag |= FrameFormat.onewayFlag
        request.opaque = 4712
        scene.loop.push(request, from: scene.server)
        scene.loop.settle()
        #expect(scene.requests.count == 2)
        let answers = scene.server.requests.filter(\.isResponse)
        #expect(answers.map(\.opaque) == [4711])
        #expect(answers.first?.remark == "from the client")
    }

    @Test("A completion may call again, on the same connection and after a failure")
    func reentrance() {
        let scene = Scene()
        var rounds = 0
        func next() {
            scene.connections?.call(.request(.heartBeat), at: Scene.address, timeout: .seconds(1)) { _ in
                rounds += 1
                if rounds == 5 { scene.loop.disconnect(scene.server) }
                if rounds < 10 { next() }
            }
        }
        next()
        scene.loop.advance(by: .seconds(5))
        #expect(rounds == 10)
    }
}

/// Connects two seconds later than asked.
private final class SlowConnecting: EventLoop, @unchecked Sendable {
    private let inner: TestLoop
    init(_ inner: TestLoop) { self.inner = inner }
    var isCurrent: Bool { true }
    var clock: any SystemClock { inner.clock }
    func execute(_ work: @escaping @Sendable () -> Void) { inner.execute(work) }
    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall { inner.schedule(after: delay, work) }
    func atEndOfTick(_ work: @escaping () -> Void) { inner.atEndOfTick(work) }
    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress { try inner.listen(on: address, accept: accept) }
    func stopListening() { inner.stopListening() }
    func connect(to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void) {
        _ = inner.schedule(after: .seconds(2)) { [inner] in inner.connect(to: address, timeout: timeout, completion: completion) }
    }
}
