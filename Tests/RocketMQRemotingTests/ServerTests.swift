import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQTesting
import Testing

/// Answers with the fields and body of the request; keeps what happened.
final class Echo: RequestHandler {
    var opened: [ServerConnection] = []
    var closed: [String] = []
    var handled: [RemotingCommand] = []
    var isSilent = false
    var answerBytes = 0

    func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
        let request = RemotingCommand(header, frame: frame)
        handled.append(request)
        guard !request.isOneway, !isSilent else { return }
        let body = answerBytes > 0 ? [UInt8](repeating: 7, count: answerBytes) : request.body
        connection.answer(header.answerTo, .success(request.fields, body: body))
    }
    func opened(_ connection: ServerConnection) { opened.append(connection) }
    func closed(_ connection: ServerConnection, reason: String) { closed.append(reason) }
}

@Suite struct ServerTests {
    final class Scene {
        let loop = TestLoop()
        let echo = Echo()
        let server: RemotingServer
        let lines = Lines()

        final class Lines { var all: [String] = [] }

        init(_ adjust: (inout RemotingServer.Limits) -> Void = { _ in }) throws {
            var limits = RemotingServer.Limits()
            adjust(&limits)
            server = RemotingServer(loop: loop, limits: limits, handler: echo) { [lines] in lines.all.append($0) }
            _ = try server.start(on: .loopback(port: 10911))
        }

        func client() throws -> TestClient { try #require(loop.connectClient()) }
    }

    static func bytes(_ commands: [RemotingCommand]) -> [UInt8] {
        var output = ByteBuffer()
        for command in commands { command.encode(into: &output) }
        return output.copyBytes()
    }

    static func request(_ opaque: Int32, _ body: [UInt8] = [], _ form: Serialization = .json) -> RemotingCommand {
        RemotingCommand(code: 999, opaque: opaque, fields: ["n": "\(opaque)"], body: body, serialization: form)
    }

    @Test("Many frames in one read are all answered, each with its opaque and in its form")
    func pipelined() throws {
        let scene = try Scene()
        let client = try scene.client()
        client.send(bytes: Self.bytes((1...200).map { Self.request($0, [UInt8($0)], $0 % 2 == 0 ? .json : .binary) }))
        scene.loop.settle()
        let answers = client.takeAnswers()
        #expect(answers.map(\.opaque) == Array(1...200))
        #expect(answers.allSatisfy { $0.fields["n"] == "\($0.opaque)" && $0.body == [UInt8($0.opaque)] && $0.isResponse })
        #expect(answers.allSatisfy { $0.serialization == ($0.opaque % 2 == 0 ? .json : .binary) })
    }

    @Test("Frames cut anywhere are put together again", arguments: [1, 2, 3, 7, 64])
    func fragments(_ size: Int) throws {
        let scene = try Scene()
        let client = try scene.client()
        let bytes = Self.bytes((1...20).map { Self.request($0, .init(repeating: 1, count: Int($0) * 3)) })
        for start in stride(from: 0, to: bytes.count, by: size) {
            client.send(bytes: Array(bytes[start..<min(start + size, bytes.count)]))
            if start % 5 == 0 { scene.loop.settle() }
        }
        scene.loop.settle()
        #expect(client.takeAnswers().map(\.opaque) == Array(1...20))
    }

    @Test(
        "Bytes that are no frame end their own connection only, after the answers to what came before, with a line that says why",
        arguments: [
            ([0, 0, 0, 0], "length 0"), ([0, 0, 0, 3], "length 3"), ([0xFF, 0xFF, 0xFF, 0xFF], "length -1"), ([0x80, 0, 0, 0], "length"),
            ([1, 0, 0, 1, 0], "length"), ([0x16, 3, 1, 2], "TLS"), (Array("GET / HTTP/1.1\r\n".utf8), "HTTP"),
            ([0, 0, 0, 4, 9, 0, 0, 0], "form"),
            ([0, 0, 0, 4, 0, 0, 0, 9], "longer"), ([0, 0, 0, 6, 0, 0, 0, 2, 0x7B, 0x7B], "JSON"),
            ([0, 0, 0, 6, 1, 0, 0, 2, 0, 0], "cut off"),
        ] as [([UInt8], String)])
    func malformed(_ bytes: [UInt8], _ word: String) throws {
        let scene = try Scene()
        let (bad, good) = (try scene.client(), try scene.client())
        bad.send(bytes: Self.bytes([Self.request(1)]) + bytes + Self.bytes([Self.request(2)]))
        scene.loop.settle()
        #expect(bad.takeAnswers().map(\.opaque) == [1])
        #expect(bad.isClosed)
        #expect(scene.lines.all.count == 1)
        #expect(scene.lines.all.first?.contains(word) == true, "\(scene.lines.all)")
        #expect(scene.echo.closed.count == 1)
        #expect(scene.server.connectionCount == 1)
        good.send(bytes: Self.bytes([Self.request(3)]))
        scene.loop.settle()
        #expect(good.takeAnswers().map(\.opaque) == [3])
    }

    @Test("A frame of 16 MiB is taken, one byte more is not")
    func largest() throws {
        let scene = try Scene()
        scene.echo.isSilent = true
        let client = try scene.client()
        let head = Self.bytes([Self.request(1)])
        let most = FrameFormat.mostBytes
        var frame = head + [UInt8](repeating: 0, count: most - (head.count - 4))
        frame.replaceSubrange(0..<4, with: [UInt8(most >> 24), UInt8(most >> 16 & 255), UInt8(most >> 8 & 255), UInt8(most & 255)])
        client.send(bytes: frame)
        scene.loop.settle()
        #expect(scene.echo.handled.map(\.body.count) == [most - head.count + 4])
        #expect(!client.isClosed)
        frame[3] += 1
        client.send(bytes: Array(frame.prefix(100)))
        scene.loop.settle()
        #expect(client.isClosed)
    }

    @Test("Connections that say nothing are closed after the idle time; those that speak stay")
    func idle() throws {
        let scene = try Scene { $0.idle = .seconds(120) }
        let (silent, talking) = (try scene.client(), try scene.client())
        for second in stride(from: 0, to: 110, by: 10) {
            talking.send(bytes: Self.bytes([Self.request(Int32(second))]))
            scene.loop.advance(by: .seconds(10))
        }
        #expect(!silent.isClosed)
        scene.loop.advance(by: .seconds(25))
        #expect(silent.isClosed)
        #expect(!talking.isClosed)
        #expect(scene.server.connectionCount == 1)
        #expect(scene.echo.closed.count == 1)
    }

    @Test("Connections above the limit are refused, and taken again when others have gone")
    func mostConnections() throws {
        let scene = try Scene { $0.mostConnections = 3 }
        let clients = try (0..<3).map { _ in try scene.client() }
        #expect(scene.loop.connectClient() == nil)
        #expect(scene.lines.all.first?.contains("3 connections") == true)
        clients[0].close()
        let fresh = try scene.client()
        fresh.send(bytes: Self.bytes([Self.request(1)]))
        scene.loop.settle()
        #expect(fresh.takeAnswers().count == 1)
    }

    @Test("A peer that does not read its answers is not served on until it does; then all come, in order")
    func backPressure() throws {
        let scene = try Scene { $0.mostUnreadBytes = 100_000 }
        scene.echo.answerBytes = 10_000
        let slow = try scene.client()
        slow.stopReading()
        slow.send(bytes: Self.bytes((1...100).map { Self.request($0) }))
        scene.loop.settle()
        #expect((10...12).contains(scene.echo.handled.count))
        slow.send(bytes: Self.bytes((101...110).map { Self.request($0) }))
        scene.loop.settle()
        #expect((10...12).contains(scene.echo.handled.count))
        let other = try scene.client()
        other.send(bytes: Self.bytes([Self.request(1)]))
        scene.loop.settle()
        #expect(other.takeAnswers().count == 1, "others are served meanwhile")
        slow.continueReading()
        scene.loop.settle()
        #expect(slow.takeAnswers().map(\.opaque) == Array(1...110))
    }

    @Test("A peer that reads fast is served to the end of what it sent, however large the answers")
    func burst() throws {
        let scene = try Scene { $0.mostUnreadBytes = 100_000 }
        scene.echo.answerBytes = 10_000
        let client = try scene.client()
        client.send(bytes: Self.bytes((1...100).map { Self.request($0) }))
        scene.loop.settle()
        #expect(client.takeAnswers().map(\.opaque) == Array(1...100))
    }

    @Test("Requests of the server: answers find their call, late and foreign ones nobody")
    func serverCalls() throws {
        let scene = try Scene()
        let (client, other) = (try scene.client(), try scene.client())
        var results: [String] = []
        func call(_ name: String, _ timeout: Duration = .seconds(3)) {
            scene.echo.opened[0].call(.request(.checkTransactionState, ["name": name]), timeout: timeout) { result in
                switch result {
                case .success(let answer): results.append("\(name): \(answer.remark ?? "")")
                case .failure(let error): results.append("\(name): \(error.code)")
                }
            }
        }
        for name in ["first", "second", "late"] { call(name) }
        scene.loop.settle()
        let requests = client.takeRequests()
        #expect(requests.map { $0.fields["name"] } == ["first", "second", "late"])
        #expect(Set(requests.map(\.opaque)).count == 3)
        // Whoever answers over another connection does not reach it.
        other.answer(requests[0], .response(.success, "forged"))
        client.answer(requests[1], .response(.success, "two"))
        client.answer(requests[0], .response(.success, "one"))
        client.answer(requests[0], .response(.success, "one again"))
        scene.loop.settle()
        #expect(results == ["second: two", "first: one"])
        scene.loop.advance(by: .seconds(4))
        client.answer(requests[2], .response(.success, "too late"))
        scene.loop.settle()
        #expect(results.last == "late: timedOut")
        call("cut")
        scene.loop.settle()
        client.close()
        #expect(results.last == "cut: connectionClosed")
        call("gone")
        #expect(results.last == "gone: connectionClosed")
        scene.loop.advance(by: .seconds(10))
        #expect(results.count == 5, "each was told once")
        #expect(scene.lines.all.isEmpty)
    }

    @Test("Answers for a connection that has ended go nowhere; stopping closes what is open and tells the handler once")
    func ends() throws {
        let scene = try Scene()
        scene.echo.isSilent = true
        let clients = try (0..<5).map { _ in try scene.client() }
        for client in clients { client.send(bytes: Self.bytes([Self.request(4)])) }
        scene.loop.settle()
        clients[0].close()
        scene.echo.opened[0].answer(AnswerTo(opaque: 4, serialization: .json), .success())
        scene.echo.opened[0].sendOneway(.request(.notifyConsumerIdsChanged))
        scene.echo.opened[1].answer(AnswerTo(opaque: 4, serialization: .json), .success())
        scene.server.stop()
        scene.loop.settle()
        #expect(clients.allSatisfy { $0.isClosed })
        #expect(clients[1].takeAnswers().count == 1, "what was written before is sent")
        #expect(clients[0].takeAnswers().isEmpty)
        #expect(scene.echo.closed.count == 5)
        #expect(scene.loop.connectClient() == nil)
    }
}
