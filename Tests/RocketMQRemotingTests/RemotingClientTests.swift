import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQSystem
import Synchronization
import Testing

/// Calls from many tasks over real sockets: every one returns, whatever happens to the connection.
@Suite(.timeLimit(.minutes(1)), .serialized) struct RemotingClientTests {
    /// A server on a loop of its own that answers as its script says.
    final class Server: Sendable {
        enum Reply: Sendable { case echo, silence, close }

        final class Handler: RequestHandler {
            let script: @Sendable (RemotingCommand) -> Reply
            var seen = 0
            init(_ script: @escaping @Sendable (RemotingCommand) -> Reply) { self.script = script }
            func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
                seen += 1
                let request = RemotingCommand(header, frame: frame)
                switch script(request) {
                case .echo: connection.answer(header.answerTo, .success(request.fields, body: request.body))
                case .silence: break
                case .close: connection.stream.close()
                }
            }
            func opened(_ connection: ServerConnection) {}
            func closed(_ connection: ServerConnection, reason: String) {}
        }

        let loop = EpollLoop(name: "server")
        let address: String
        private let bound: LoopBound<(RemotingServer, Handler)>

        init(_ script: @escaping @Sendable (RemotingCommand) -> Reply = { _ in .echo }) throws {
            let loop = loop
            bound = loop.perform {
                let handler = Handler(script)
                return LoopBound((RemotingServer(loop: loop, handler: handler) { _ in }, handler), on: loop)
            }
            let server = bound
            address = try loop.perform { () throws(TransportError) in try server.value.0.start(on: .loopback(port: 0)).description }
        }

        var connectionCount: Int { loop.perform { [bound] in bound.value.0.connectionCount } }
        var seen: Int { loop.perform { [bound] in bound.value.1.seen } }
        func stopServing() { loop.perform { [bound] in bound.value.0.stop() } }
        func stop() { loop.stop() }
    }

    private static func request(_ name: Int) -> RemotingCommand { .request(.getBrokerConfig, ["name": "\(name)"], body: [1, 2, 3]) }

    /// How `count` calls at once end, by kind.
    private func outcomes(
        _ client: RemotingClient, _ address: String, count: Int = 1_000, timeout: Duration = .seconds(20),
        meanwhile: @Sendable @escaping () async -> Void = {}
    ) async -> [String: Int] {
        await withTaskGroup(of: String?.self) { group in
            for index in 0..<count {
                group.addTask {
                    do throws(RemotingError) {
                        let answer = try await client.call(Self.request(index), at: address, timeout: timeout)
                        return answer.fields["name"] == "\(index)" ? "answered" : "mixed up"
                    } catch { return error.code.rawValue }
                }
            }
            group.addTask {
                await meanwhile()
                return nil
            }
            var counts: [String: Int] = [:]
            for await outcome in group { if let outcome { counts[outcome, default: 0] += 1 } }
            return counts
        }
    }

    @Test("A thousand calls at once are answered over one connection")
    func answered() async throws {
        let server = try Server()
        let loop = EpollLoop(name: "client")
        let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        #expect(await outcomes(client, server.address) == ["answered": 1_000])
        #expect(server.connectionCount == 1)
        client.stop()
        loop.stop()
        server.stop()
    }

    @Test("Calls without an answer all end at their time-out")
    func timedOut() async throws {
        let server = try Server { _ in .silence }
        let loop = EpollLoop(name: "client")
        let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        let start = ContinuousClock.now
        #expect(await outcomes(client, server.address, timeout: .milliseconds(300)) == [RemotingError.Code.timedOut.rawValue: 1_000])
        #expect(ContinuousClock.now - start < .seconds(10))
        client.stop()
        loop.stop()
        server.stop()
    }

    @Test("Stopping the client, and the loop, ends all calls; later calls fail at once")
    func stopped() async throws {
        for stopsLoop in [false, true] {
            let server = try Server { _ in .silence }
            let loop = EpollLoop(name: "client")
            let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
            let counts = await outcomes(client, server.address) {
                // Stop in the middle: when some requests have arrived.
                for _ in 0..<2_000 where server.seen < 100 { await Task.yield() }
                if stopsLoop { loop.stop() } else { client.stop() }
            }
            #expect(counts.values.reduce(0, +) == 1_000)
            #expect(counts["answered"] == nil && counts["mixed up"] == nil)
            let code = stopsLoop ? nil : RemotingError.Code.stopped
            if let code { #expect(counts == [code.rawValue: 1_000]) }
            await #expect(throws: RemotingError.self) { try await client.call(Self.request(1), at: server.address, timeout: .seconds(1)) }
            await #expect(throws: RemotingError.self) { try await client.callOneway(Self.request(1), at: server.address) }
            loop.stop()
            server.stop()
        }
    }

    @Test("A server that closes the connection now and then: every call ends, answered or told so")
    func closing() async throws {
        let count = Atomic(0)
        let server = try Server { _ in count.wrappingAdd(1, ordering: .relaxed).newValue % 97 == 0 ? .close : .echo }
        let loop = EpollLoop(name: "client")
        let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        for _ in 0..<3 {
            let counts = await outcomes(client, server.address)
            #expect(counts.values.reduce(0, +) == 1_000)
            #expect(Set(counts.keys).isSubset(of: ["answered", RemotingError.Code.connectionClosed.rawValue]))
        }
        client.stop()
        loop.stop()
        server.stop()
    }

    @Test("A server that goes away ends all calls, and nobody there is told at once")
    func serverGone() async throws {
        let server = try Server { _ in .silence }
        let loop = EpollLoop(name: "client")
        let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        let counts = await outcomes(client, server.address) {
            for _ in 0..<2_000 where server.seen < 1_000 { await Task.yield() }
            server.stop()
        }
        #expect(counts.values.reduce(0, +) == 1_000)
        let after = await outcomes(client, server.address, count: 10)
        #expect(after == [RemotingError.Code.connectFailed.rawValue: 10])
        client.stop()
        loop.stop()
    }

    @Test("A name that cannot be looked up is told with its name; a loop that ends meanwhile ends the call too")
    func unresolvable() async throws {
        let loop = EpollLoop(name: "client")
        let client = RemotingClient(loop: loop, onRequest: { _, _, answer in answer(nil) })
        do {
            _ = try await client.call(Self.request(1), at: "no-such-host.invalid:9876", timeout: .seconds(20))
            Issue.record("an answer from nowhere")
        } catch {
            #expect(error.code == .connectFailed)
            #expect(error.description.contains("no-such-host.invalid:9876"))
        }
        async let pending = outcomes(client, "another-such-host.invalid:9876", count: 10)
        loop.stop()
        #expect(await pending.values.reduce(0, +) == 10)
    }
}
