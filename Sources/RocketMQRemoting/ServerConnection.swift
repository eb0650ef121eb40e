import RocketMQBase
import RocketMQProtocol

/// One client's connection at a server. Confined to the server's event loop.
public final class ServerConnection {
    public let stream: ByteStream
    /// Unique in the process, never used again.
    public var id: UInt64 { stream.id }
    public var peer: SocketAddress { stream.peer }
    /// When bytes last came from the peer, in monotonic milliseconds.
    public internal(set) var lastHeardMilliseconds: Int64
    /// Bytes of a frame that has not arrived whole.
    var unfinishedBytes = 0
    /// For the owner of the handler: what it knows of this client.
    public var attachment: AnyObject?
    private var pending: [Int32: PendingCall] = [:]
    private var lastOpaque: Int32 = 0
    private let loop: any EventLoop

    private struct PendingCall {
        var timeout: any ScheduledCall
        var completion: (Result<RemotingCommand, RemotingError>) -> Void
    }

    init(stream: ByteStream, loop: any EventLoop) {
        self.stream = stream
        self.loop = loop
        lastHeardMilliseconds = loop.clock.monotonicNow.nanoseconds / 1_000_000
    }

    /// Sends an answer; nothing happens when the connection has ended.
    public func answer(_ request: AnswerTo, _ response: RemotingCommand) {
        guard !stream.isClosed else { return }
        var response = response
        response.opaque = request.opaque
        response.serialization = request.serialization
        response.flag |= FrameFormat.responseFlag
        response.encode(into: &stream.output)
        stream.flushLater()
    }

    /// Sends the client a request that has no answer.
    public func sendOneway(_ request: RemotingCommand) {
        guard !stream.isClosed else { return }
        var request = request
        lastOpaque &+= 1
        request.opaque = lastOpaque
        request.flag |= FrameFormat.onewayFlag
        request.encode(into: &stream.output)
        stream.flushLater()
    }

    /// Sends the client a request; `completion` is called once, on the loop.
    public func call(
        _ request: RemotingCommand, timeout: Duration, completion: @escaping (Result<RemotingCommand, RemotingError>) -> Void
    ) {
        let address = peer.description
        let code = request.requestCode
        guard !stream.isClosed else {
            return completion(.failure(RemotingError(.connectionClosed, address: address, request: code)))
        }
        var request = request
        lastOpaque &+= 1
        let opaque = lastOpaque
        request.opaque = opaque
        let timer = loop.schedule(after: timeout) { [weak self] in
            guard let call = self?.pending.removeValue(forKey: opaque) else { return }
            call.completion(.failure(RemotingError(.timedOut, address: address, request: code, detail: "no answer within \(timeout)")))
        }
        pending[opaque] = PendingCall(timeout: timer, completion: completion)
        request.encode(into: &stream.output)
        stream.flushLater()
    }

    func received(response: RemotingCommand) {
        guard let call = pending.removeValue(forKey: response.opaque) else { return }
        call.timeout.cancel()
        call.completion(.success(response))
    }

    func failPending(_ reason: String) {
        let failed = pending
        pending.removeAll()
        for (_, call) in failed.sorted(by: { $0.key < $1.key }) {
            call.timeout.cancel()
            call.completion(.failure(RemotingError(.connectionClosed, address: peer.description, request: nil, detail: reason)))
        }
    }
}
