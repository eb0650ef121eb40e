import CLinux
import Glibc
import RocketMQBase
import Synchronization

/// An event loop over epoll on a thread of its own. A tick: wait, read what arrived and hand it to the handlers, run what
/// was sent from other threads and what is due, run the end-of-tick work, send everything that was written.
///
/// `@unchecked Sendable` holds because `core` is touched only on the loop's thread (every path to it checks `isCurrent`
/// or runs from `run()`), and the rest is immutable or synchronised.
public final class EpollLoop: EventLoop, @unchecked Sendable {
    private struct Inbox {
        var work: [@Sendable () -> Void] = []
        var isAwake = false
        var isStopped = false
    }

    public let clock: any SystemClock
    private let inbox = Mutex(Inbox())
    private let wakeDescriptor: Int32
    private let thread = Atomic<UInt>(0)
    private let hasEnded = Monitor(false)
    private let resolver: WorkerThread
    private var core: EpollLoopCore

    /// Starts the loop's thread. `name` shows in `top -H`.
    public init(name: String, clock: any SystemClock = LinuxClock()) {
        self.clock = clock
        wakeDescriptor = clinux_eventfd()
        let epoll = clinux_epoll_create()
        precondition(wakeDescriptor >= 0 && epoll >= 0, "no descriptors left for an event loop; raise the limit (ulimit -n)")
        resolver = WorkerThread(name: "resolver")
        core = EpollLoopCore(epoll: epoll, wake: wakeDescriptor, clock: clock)
        PlatformThread.start(name: name) { self.run() }
    }

    deinit { close(wakeDescriptor) }

    public var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        while true {
            let (work, isStopped) = inbox.withLock { inbox in
                let work = inbox.work
                inbox.work = []
                inbox.isAwake = false
                return (work, inbox.isStopped)
            }
            for work in work { work() }
            core.runTimers()
            core.reportDrained()
            core.endTick()
            if isStopped { break }
            core.waitAndRead()
        }
        core.closeEverything()
        hasEnded.update { $0 = true }
    }

    public func execute(_ work: @escaping @Sendable () -> Void) { _ = executeUnlessStopped(work) }

    public func executeUnlessStopped(_ work: @escaping @Sendable () -> Void) -> Bool {
        let (isTaken, mustWake) = inbox.withLock { inbox in
            guard !inbox.isStopped else { return (false, false) }
            inbox.work.append(work)
            defer { inbox.isAwake = true }
            return (true, !inbox.isAwake)
        }
        if mustWake { wake() }
        return isTaken
    }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeDescriptor, &one, 8)
    }

    /// Runs `work` on the loop and waits for its result: for start and stop. Not to be called on the loop.
    public func perform<Result: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(!isCurrent, "perform would wait for itself")
        let outcome = Monitor<Swift.Result<Result, Failure>?>(nil)
        execute {
            let result: Swift.Result<Result, Failure>
            do throws(Failure) { result = .success(try work()) } catch { result = .failure(error) }
            outcome.update { $0 = result }
        }
        return try outcome.wait { $0 }.get()
    }

    /// Runs `work` on the loop and waits until it calls what it is given, once, with a result.
    public func waitFor<Result: Sendable>(_ work: @escaping @Sendable (@escaping @Sendable (Result) -> Void) -> Void) -> Result {
        precondition(!isCurrent, "waitFor would wait for itself")
        let outcome = Monitor<Result?>(nil)
        execute { work { result in outcome.update { $0 = result } } }
        return outcome.wait { $0 }
    }

    /// Ends the loop after the current tick: output is sent as far as peers take it at once, streams are closed.
    /// Returns when the thread is done.
    public func stop() {
        let mustWake = inbox.withLock { inbox in
            if inbox.isStopped { return false }
            inbox.isStopped = true
            return true
        }
        if mustWake { wake() }
        if !isCurrent { hasEnded.wait { $0 ? () : nil } }
    }

    // MARK: On the loop

    private var checkedCore: EpollLoopCore {
        precondition(isCurrent, "an event loop was used from elsewhere")
        return core
    }

    @discardableResult
    public func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        checkedCore.schedule(after: delay, work)
    }

    public func atEndOfTick(_ work: @escaping () -> Void) { checkedCore.endOfTick.append(work) }

    public func reserve(_ address: SocketAddress) throws(TransportError) -> SocketAddress { try checkedCore.reserve(address) }

    public func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        try checkedCore.listen(on: address, accept: accept)
    }

    public func stopListening() { checkedCore.stopListening() }

    public func connect(
        to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void
    ) {
        let core = checkedCore
        if let numeric = SocketAddress(address) { return core.connect(to: numeric, timeout: timeout, completion: completion) }
        let ticket = core.waitForAddress(address, completion)
        let bound = LoopBound(core, on: self)
        resolver.run { [weak self] in
            let resolved: Result<SocketAddress, TransportError>
            do throws(TransportError) { resolved = .success(try Sockets.resolve(address)) } catch { resolved = .failure(error) }
            self?.execute { bound.value.addressFound(ticket, resolved, timeout: timeout) }
        }
    }
}
