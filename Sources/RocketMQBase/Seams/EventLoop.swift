/// One connection as bytes, seen from the event loop that owns it. The loop moves bytes between the peer and the two
/// buffers; the handler reads `input` and writes `output`. Confined to its loop, therefore not `Sendable`.
public final class ByteStream {
    /// Unique in the process and never used again, so a late answer cannot reach a newer connection.
    public let id: UInt64
    public let peer: SocketAddress
    public let local: SocketAddress
    /// Bytes received and not consumed yet.
    public var input = ByteBuffer(capacity: 512)
    /// Bytes to send. After writing call `flushLater()`; the loop sends at the end of the tick.
    public var output = ByteBuffer(capacity: 512)
    public var handler: (any ByteStreamHandler)?
    /// Set by `close()`, or by the loop when the peer went away.
    public private(set) var isClosed = false
    /// For the loop: sends what is in `output` at the end of the current tick.
    public var isQueuedForFlush = false
    /// Set by a handler that has left input unhandled because of too much output: `drained` is called when all of that is
    /// sent, even if none of it had to wait. The loop clears it.
    public var wantsDrained = false
    private let loop: any ByteStreamLoop

    public init(id: UInt64, peer: SocketAddress, local: SocketAddress, loop: any ByteStreamLoop) {
        self.id = id
        self.peer = peer
        self.local = local
        self.loop = loop
    }

    /// Sends `output` at the end of the current tick, together with whatever else is written until then.
    @inlinable @inline(__always)
    public func flushLater() {
        if !isQueuedForFlush { queueForFlush() }
    }

    @usableFromInline
    func queueForFlush() {
        guard !isClosed else { return }
        isQueuedForFlush = true
        loop.queueForFlush(self)
    }

    /// Closes after `output` was sent as far as the peer takes it at once. The handler's `closed` is called, once.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        loop.close(self)
    }

    /// Why a loop ends a stream whose peer lets what it is sent pile up.
    public static let unreadReason = "the peer does not read what it is sent"

    /// For the loop: marks the stream closed because the peer or the loop ended it.
    public func markClosed() { isClosed = true }

    /// Stops (`true`) or continues reading from the peer: back-pressure for one that sends faster than it is served,
    /// or that doesn't read its answers.
    public func pauseReading(_ paused: Bool) { loop.pauseReading(self, paused) }
}

/// What a `ByteStream` asks of its loop.
public protocol ByteStreamLoop: AnyObject {
    func queueForFlush(_ stream: ByteStream)
    func close(_ stream: ByteStream)
    func pauseReading(_ stream: ByteStream, _ paused: Bool)
}

/// Owns what happens on a stream. Called on the loop only.
public protocol ByteStreamHandler: AnyObject {
    /// There are new bytes in `stream.input`: consume all whole units.
    func received(on stream: ByteStream)
    /// All of `output` was sent after some of it had to wait, or after `wantsDrained` was set.
    func drained(_ stream: ByteStream)
    /// The stream ended; the last call. `reason` says why in words, for a log line.
    func closed(_ stream: ByteStream, reason: String)
}

extension ByteStreamHandler {
    public func drained(_ stream: ByteStream) {}
}

/// A call that was scheduled on a loop and can be taken back, on that loop.
public protocol ScheduledCall: AnyObject {
    func cancel()
}

/// Why a connection could not be made or an address not be listened on.
public struct TransportError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable { case refused, timedOut, unreachable, addressInUse, noPermission, stopped, other }
    public var code: Code
    public var address: String
    public var reason: String
    public init(code: Code, address: String, reason: String) {
        self.code = code
        self.address = address
        self.reason = reason
    }
    public var description: String { "\(address): \(reason)" }
}

/// The transport and timers, as a seam: real sockets over epoll, or a simulated network. All calls but `execute` are
/// made on the loop; what a loop owns stays on it.
public protocol EventLoop: AnyObject, Sendable {
    var isCurrent: Bool { get }
    var clock: any SystemClock { get }

    /// From any thread: runs `work` on the loop, in the order of the calls. Dropped after the loop stopped.
    func execute(_ work: @escaping @Sendable () -> Void)

    /// As `execute`; `false` when the loop has stopped and `work` will never run.
    func executeUnlessStopped(_ work: @escaping @Sendable () -> Void) -> Bool

    /// Runs `work` once, `delay` from now.
    @discardableResult
    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall

    /// Runs `work` at the end of each tick, after all input was handled and before output is sent: for work in batches.
    func atEndOfTick(_ work: @escaping () -> Void)

    /// Takes an address for a later `listen`, without letting anybody connect yet. Returns the address with the real port,
    /// which `listen` is to be called with.
    func reserve(_ address: SocketAddress) throws(TransportError) -> SocketAddress

    /// Accepts connections; `accept` gives each its handler (`nil` refuses). Returns the address with the real port.
    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress

    /// Connects to `host:port`, the host a number or a name; `completion` is called once, on the loop, with the stream or
    /// the reason. Set the stream's handler there.
    func connect(
        to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void
    )

    /// Stops accepting new connections; those that exist go on.
    func stopListening()
}

extension EventLoop {
    public func reserve(_ address: SocketAddress) throws(TransportError) -> SocketAddress { address }

    public func executeUnlessStopped(_ work: @escaping @Sendable () -> Void) -> Bool {
        execute(work)
        return true
    }

    /// Runs `work` every `interval`, the first time after one interval, until the returned call is cancelled.
    @discardableResult
    public func scheduleRepeatedly(every interval: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        let repeated = RepeatedCall()
        repeated.start(on: self, every: interval, work)
        return repeated
    }
}

private final class RepeatedCall: ScheduledCall {
    private var next: (any ScheduledCall)?
    private var isCancelled = false

    func start(on loop: any EventLoop, every interval: Duration, _ work: @escaping () -> Void) {
        next = loop.schedule(after: interval) { [unowned loop] in
            guard !self.isCancelled else { return }
            work()
            if !self.isCancelled { self.start(on: loop, every: interval, work) }
        }
    }

    func cancel() {
        isCancelled = true
        next?.cancel()
    }
}

/// A value that belongs to one event loop, carried through `@Sendable` closures that run on that loop.
///
/// `@unchecked Sendable` holds because `value` is only reachable through the check that the caller is on the loop, and a
/// loop is one thread: there are never two accesses at a time. The last reference may go elsewhere, so values held here
/// must not do work in `deinit` that needs the loop.
public struct LoopBound<Value>: @unchecked Sendable {
    private let stored: Value
    private let loop: any EventLoop

    public init(_ value: Value, on loop: any EventLoop) {
        stored = value
        self.loop = loop
    }

    /// The value; traps when the caller is not on the loop.
    public var value: Value {
        precondition(loop.isCurrent, "a value bound to an event loop was touched from elsewhere")
        return stored
    }
}
