import Foundation
import RocketMQBase
import Synchronization
import Testing

@testable import RocketMQSystem

/// The loop with real threads and sockets. One test at a time, as they block the threads that tasks of other tests need.
@Suite(.timeLimit(.minutes(1)), .serialized) struct EpollLoopTests {
    /// Answers every byte with itself, and keeps what happened to its streams.
    final class Echo: ByteStreamHandler {
        var closed: [String] = []
        var received = 0
        var drainedCount = 0
        var isSilent = false
        func received(on stream: ByteStream) {
            received += stream.input.count
            if !isSilent {
                stream.input.withBytes { stream.output.append($0) }
                stream.flushLater()
            }
            stream.input.removeAll()
        }
        func drained(_ stream: ByteStream) { drainedCount += 1 }
        func closed(_ stream: ByteStream, reason: String) { closed.append(reason) }
    }

    final class Scene: Sendable {
        let loop = EpollLoop(name: "tested")
        let echo: LoopBound<Echo>
        let port: UInt16
        init() throws {
            let echo = loop.perform { [loop] in LoopBound(Echo(), on: loop) }
            self.echo = echo
            port = try loop.perform { [loop] () throws(TransportError) in try loop.listen(on: .loopback(port: 0)) { _ in echo.value }.port }
        }
        func closed() -> [String] { loop.perform { [echo] in echo.value.closed } }
        func wait(_ condition: @escaping @Sendable (Echo) -> Bool) -> Bool {
            for _ in 0..<5_000 {
                if loop.perform({ [echo] in condition(echo.value) }) { return true }
                usleep(1_000)
            }
            return false
        }
    }

    /// A blocking socket of the test's own.
    final class Peer: Sendable {
        let descriptor: Int32
        init(port: UInt16, receiveBuffer: Int32? = nil) throws {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            if var size = receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size)) }
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            let code = Sockets.withKernelAddress(.loopback(port: port)) { connect(descriptor, $0, $1) }
            try #require(code == 0, "\(errno)")
        }
        deinit { Foundation.close(descriptor) }
        func write(_ bytes: [UInt8]) -> Int { send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }
        /// Reads so many bytes, fewer when the peer ends or ten seconds pass.
        func read(_ count: Int) -> [UInt8] {
            var all: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while all.count < count {
                let got = recv(descriptor, &buffer, min(buffer.count, count - all.count), 0)
                if got <= 0 { break }
                all += buffer[..<got]
            }
            return all
        }
        func finishWriting() { shutdown(descriptor, Int32(SHUT_WR)) }
    }

    @Test("What many threads give is done, all of it, each thread's in its order, on the loop's thread")
    func execute() {
        let loop = EpollLoop(name: "tested")
        let seen = Mutex<[[Int]]>(.init(repeating: [], count: 8))
        let strangers = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for number in 0..<2_000 {
                loop.execute {
                    if !loop.isCurrent { strangers.add(1, ordering: .relaxed) }
                    seen.withLock { $0[thread].append(number) }
                }
            }
        }
        loop.perform {}
        #expect(seen.withLock { $0 } == .init(repeating: Array(0..<2_000), count: 8))
        #expect(strangers.load(ordering: .relaxed) == 0)
        #expect(!loop.isCurrent)
        loop.stop()
        #expect(!loop.executeUnlessStopped {})
    }

    @Test("Timers come in order and not early; cancelled ones do not come")
    func timers() {
        let loop = EpollLoop(name: "tested")
        let result: [String] = loop.waitFor { done in
            var ran: [String] = []
            let start = loop.clock.monotonicNow
            func note(_ name: String, _ delay: Duration) {
                ran.append(loop.clock.monotonicNow - start >= delay ? name : "\(name) too early")
            }
            let cancelled = loop.schedule(after: .milliseconds(15)) { ran.append("cancelled") }
            loop.schedule(after: .milliseconds(30)) { note("30", .milliseconds(30)) }
            loop.schedule(after: .milliseconds(10)) {
                note("10", .milliseconds(10))
                cancelled.cancel()
            }
            loop.schedule(after: .zero) { note("0", .zero) }
            loop.schedule(after: .milliseconds(-5)) { note("-5", .zero) }
            loop.schedule(after: .milliseconds(45)) { done(ran) }
        }
        #expect(result == ["-5", "0", "10", "30"])
        loop.stop()
    }

    @Test("Bytes come back as they were sent, small and large, over many connections")
    func echo() throws {
        let scene = try Scene()
        let peers = try (0..<50).map { _ in try Peer(port: scene.port) }
        for (index, peer) in peers.enumerated() { #expect(peer.write([UInt8(index), 1, 2]) == 3) }
        for (index, peer) in peers.enumerated() { #expect(peer.read(3) == [UInt8(index), 1, 2]) }
        let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let peer = peers[7]
        let writer = Thread { _ = peer.write(large) }
        writer.start()
        #expect(peer.read(large.count) == large)
        scene.loop.stop()
    }

    @Test("A peer that ends its side after a request gets the answer, and the stream ends once")
    func halfClose() throws {
        let scene = try Scene()
        let peer = try Peer(port: scene.port)
        _ = peer.write([1, 2, 3])
        peer.finishWriting()
        #expect(peer.read(10) == [1, 2, 3])
        #expect(scene.wait { $0.closed.count == 1 })
        #expect(scene.closed().first?.contains("peer") == true)
        scene.loop.stop()
    }

    @Test("A peer that does not read is not read from either, others go on, and it gets everything when it reads again")
    func slowReader() throws {
        let scene = try Scene()
        let slow = try Peer(port: scene.port, receiveBuffer: 4_096)
        let total = 40 << 20
        let sent = Atomic(0)
        let writer = Thread {
            let chunk = [UInt8](repeating: 5, count: 1 << 20)
            var done = 0
            while done < total {
                let count = slow.write(chunk)
                if count <= 0 { break }
                done += count
                sent.store(done, ordering: .relaxed)
            }
        }
        writer.start()
        // It stops taking when so much lies unread.
        #expect(scene.wait { $0.received > EpollLoopCore.pauseAboveOutput })
        var before = -1
        for _ in 0..<100 {
            let now = sent.load(ordering: .relaxed)
            if now == before { break }
            before = now
            usleep(100_000)
        }
        #expect(sent.load(ordering: .relaxed) < total, "the server must not take what it cannot give back")
        let other = try Peer(port: scene.port)
        _ = other.write([9])
        #expect(other.read(1) == [9])
        let all = slow.read(total)
        #expect(all.count == total)
        #expect(scene.wait { $0.drainedCount > 0 })
        scene.loop.stop()
    }

    @Test("A peer that lets too much pile up is cut off")
    func cutOff() throws {
        let scene = try Scene()
        scene.loop.perform { [echo = scene.echo] in echo.value.isSilent = true }
        let peer = try Peer(port: scene.port, receiveBuffer: 4_096)
        scene.loop.perform {}
        let flood = Flood()
        let port = try scene.loop.perform { [loop = scene.loop] () throws(TransportError) in
            try loop.listen(on: .loopback(port: 0)) { _ in flood }.port
        }
        let victim = try Peer(port: port, receiveBuffer: 4_096)
        _ = victim.write([1])
        var isCut = false
        for _ in 0..<500 where !isCut {
            isCut = scene.loop.perform { flood.reason.withLock { $0 } != nil }
            usleep(10_000)
        }
        #expect(flood.reason.withLock { $0 }?.contains("does not read") == true)
        withExtendedLifetime(peer) {}
        scene.loop.stop()
    }

    /// Answers one byte with more than any peer may leave unread.
    final class Flood: ByteStreamHandler, @unchecked Sendable {
        let reason = Mutex<String?>(nil)
        func received(on stream: ByteStream) {
            stream.input.removeAll()
            let chunk = [UInt8](repeating: 0, count: 1 << 20)
            for _ in 0..<(EpollLoopCore.mostOutput >> 20 + 16) { stream.output.append(chunk) }
            stream.flushLater()
        }
        func closed(_ stream: ByteStream, reason: String) { self.reason.withLock { $0 = reason } }
    }

    @Test("Connecting: refused, not answered in time, a name that nobody knows")
    func connecting() throws {
        let scene = try Scene()
        func connect(_ address: String, _ timeout: Duration = .seconds(5)) -> TransportError? {
            scene.loop.waitFor { [loop = scene.loop] done in
                loop.connect(to: address, timeout: timeout) { result in
                    switch result {
                    case .success(let stream):
                        stream.close()
                        done(nil)
                    case .failure(let error): done(error)
                    }
                }
            }
        }
        #expect(connect("127.0.0.1:\(scene.port)") == nil)
        #expect(connect("localhost:\(scene.port)") == nil)
        let free = try #require(
            {
                let other = EpollLoop(name: "other")
                defer { other.stop() }
                return try? other.perform { () throws(TransportError) in try other.listen(on: .loopback(port: 0)) { _ in nil }.port }
            }())
        let refused = connect("127.0.0.1:\(free)")
        #expect(refused?.code == .refused)
        #expect(refused?.description.contains("127.0.0.1:\(free)") == true)
        #expect(connect("no-such-host.invalid:1")?.description.contains("no-such-host.invalid") == true)
        #expect(connect("127.0.0.1") != nil)
        #expect(connect("127.0.0.1:99999") != nil)
        #expect(connect("") != nil)
        scene.loop.stop()
    }

    @Test("An address that is reserved cannot be connected to before somebody listens, nor be listened on by others")
    func reservedAddress() throws {
        let scene = try Scene()
        let reserved = try scene.loop.perform { [loop = scene.loop] () throws(TransportError) in try loop.reserve(.loopback(port: 0)) }
        #expect(reserved.port != 0)
        let first = scene.loop.waitFor { done in
            scene.loop.connect(to: "\(reserved)", timeout: .seconds(5)) { done($0.failureCode) }
        }
        #expect(first == .refused)
        let bound = try scene.loop.perform { [loop = scene.loop, echo = scene.echo] () throws(TransportError) in
            try loop.listen(on: reserved) { _ in echo.value }
        }
        #expect(bound == reserved)
        let peer = try Peer(port: reserved.port)
        withExtendedLifetime(peer) {}
        let other = EpollLoop(name: "other")
        #expect(throws: TransportError.self) { try other.perform { () throws(TransportError) in try other.reserve(reserved) } }
        other.stop()
        scene.loop.stop()
    }

    @Test("A connection that nobody accepts fails at its time-out")
    func connectTimeout() throws {
        // A listener whose queue is full takes no more.
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { Foundation.close(listener) }
        try #require(Sockets.withKernelAddress(.loopback(port: 0)) { bind(listener, $0, $1) } == 0)
        try #require(listen(listener, 0) == 0)
        let port = try #require(Sockets.localAddress(listener)?.port)
        let loop = EpollLoop(name: "tested")
        var outcomes: [TransportError.Code?] = []
        for _ in 0..<4 {
            let code: TransportError.Code? = loop.waitFor { done in
                loop.connect(to: "127.0.0.1:\(port)", timeout: .milliseconds(200)) { result in
                    if case .failure(let error) = result { done(error.code) } else { done(nil) }
                }
            }
            outcomes.append(code)
        }
        #expect(outcomes.contains(.timedOut), "\(outcomes)")
        loop.stop()
    }

    @Test("Listening where somebody does, or nowhere, says so")
    func listening() throws {
        let scene = try Scene()
        let other = EpollLoop(name: "other")
        #expect(throws: TransportError.self) {
            _ = try other.perform { [port = scene.port] () throws(TransportError) in
                try other.listen(on: .loopback(port: port)) { _ in nil }
            }
        }
        scene.loop.perform { [loop = scene.loop] in loop.stopListening() }
        let port: UInt16 = try other.perform { [port = scene.port] () throws(TransportError) in
            try other.listen(on: .loopback(port: port)) { _ in nil }.port
        }
        #expect(port == scene.port, "the port is free at once")
        // A connection that is refused by the application ends.
        let peer = try Peer(port: port)
        #expect(peer.read(1).isEmpty)
        other.stop()
        scene.loop.stop()
    }

    @Test("Thousands of connections, opened and closed in any order, leave nothing behind")
    func manyConnections() throws {
        let scene = try Scene()
        func descriptors() -> Int { (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0 }
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let count = min(1_500, (Int(clamping: limit.rlim_cur) - 300) / 2)
        try #require(count > 50)
        for round in 0..<2 {
            var peers = try (0..<count).map { _ in try Peer(port: scene.port) }
            for peer in peers { _ = peer.write([1]) }
            for peer in peers { #expect(peer.read(1) == [1]) }
            peers.shuffle()
            peers.removeLast(count / 2)
            #expect(scene.wait { $0.closed.count == round * count + count / 2 })
            for peer in peers { _ = peer.write([2]) }
            for peer in peers { #expect(peer.read(1) == [2]) }
            peers = []
            #expect(scene.wait { $0.closed.count == (round + 1) * count })
        }
        scene.loop.stop()
    }

    @Test("Stopping ends open streams, sends what was written, and tells each handler once; timers do not come afterwards")
    func stopping() throws {
        let scene = try Scene()
        let peers = try (0..<20).map { _ in try Peer(port: scene.port) }
        for peer in peers { _ = peer.write([1]) }
        for peer in peers { _ = peer.read(1) }
        let late = Atomic(0)
        scene.loop.perform { [loop = scene.loop] in _ = loop.schedule(after: .milliseconds(1)) { late.add(1, ordering: .relaxed) } }
        scene.loop.perform {}
        for peer in peers { _ = peer.write([7]) }
        #expect(scene.wait { $0.received == 40 })
        let echo = scene.echo
        let count = Mutex(0)
        scene.loop.perform { [loop = scene.loop] in
            // The last thing that the loop does is to close its streams.
            loop.schedule(after: .seconds(3600)) { late.add(100, ordering: .relaxed) }
            count.withLock { $0 = echo.value.closed.count }
        }
        scene.loop.stop()
        scene.loop.stop()
        for peer in peers { #expect(peer.read(2) == [7]) }
        #expect(count.withLock { $0 } == 0)
        #expect(late.load(ordering: .relaxed) <= 1)
    }

    @Test("A stream that was closed is deaf: what comes late reaches nobody, its number is never used again")
    func lateEvents() throws {
        let scene = try Scene()
        let closing = Closing()
        let port: UInt16 = try scene.loop.perform { [loop = scene.loop] () throws(TransportError) in
            try loop.listen(on: .loopback(port: 0)) { _ in closing }.port
        }
        for round in 0..<30 {
            let peer = try Peer(port: port)
            _ = peer.write([UInt8](repeating: 1, count: 100_000))
            _ = peer.read(1)
            _ = peer.write([2])
            var isClosed = false
            for _ in 0..<2_000 where !isClosed {
                isClosed = closing.ids.withLock { $0.count } == round + 1
                usleep(500)
            }
            #expect(isClosed)
        }
        #expect(closing.afterClose.load(ordering: .relaxed) == 0)
        #expect(Set(closing.ids.withLock { $0 }).count == 30)
        scene.loop.stop()
    }

    /// Closes at the first bytes.
    final class Closing: ByteStreamHandler, @unchecked Sendable {
        let ids = Mutex<[UInt64]>([])
        let afterClose = Atomic(0)
        func received(on stream: ByteStream) {
            if stream.isClosed { afterClose.add(1, ordering: .relaxed) }
            stream.output.append([1])
            stream.close()
        }
        func closed(_ stream: ByteStream, reason: String) { ids.withLock { $0.append(stream.id) } }
    }
}

extension Result<ByteStream, TransportError> {
    fileprivate var failureCode: TransportError.Code? { if case .failure(let error) = self { error.code } else { nil } }
}
