import Foundation
import RocketMQBase
import Synchronization
import Testing

@testable import RocketMQSystem

/// A connection on which both sides have more to say than it holds.
@Suite(.timeLimit(.minutes(3)), .serialized) struct FullConnectionTests {
    final class Counter: ByteStreamHandler {
        let total: Int
        let end: DispatchSemaphore
        var received = 0
        init(_ total: Int, _ end: DispatchSemaphore) {
            self.total = total
            self.end = end
        }
        func received(on stream: ByteStream) {
            received += stream.input.count
            stream.input.removeAll()
            if received >= total { end.signal() }
        }
        func closed(_ stream: ByteStream, reason: String) { end.signal() }
    }

    /// The server does not read on from whom it has much to give; should the client wait for the server as well, nothing would ever
    /// move again.
    @Test func whoConnectsTakesAnswersWhateverItHasToSend() throws {
        let scene = try EpollLoopTests.Scene()
        let client = EpollLoop(name: "client")
        let total = 8 * EpollLoopCore.pauseAboveOutput
        let end = DispatchSemaphore(value: 0)
        let counter = client.perform { LoopBound(Counter(total, end), on: client) }
        let port = scene.port
        client.perform {
            client.connect(to: "127.0.0.1:\(port)", timeout: .seconds(10)) { result in
                guard case .success(let stream) = result else {
                    end.signal()
                    return
                }
                stream.handler = counter.value
                let chunk = [UInt8](repeating: 7, count: 1 << 20)
                for _ in 0..<(total >> 20) { stream.output.append(chunk) }
                stream.flushLater()
            }
        }
        #expect(end.wait(timeout: .now() + 60) == .success, "both sides wait for each other")
        #expect(client.perform { counter.value.received } == total)
        client.stop()
        scene.loop.stop()
    }
}
