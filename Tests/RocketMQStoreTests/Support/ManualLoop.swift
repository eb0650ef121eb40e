import RocketMQBase
import Synchronization

/// Time that only goes when a test says so.
final class ManualClock: SystemClock {
    private let nanoseconds = Mutex<Int64>(1_000_000_000)
    var monotonicNow: MonotonicTime { MonotonicTime(nanoseconds: nanoseconds.withLock { $0 }) }
    var wallMilliseconds: Int64 { 1_800_000_000_000 + nanoseconds.withLock { $0 } / 1_000_000 }
    func sleep(for duration: Duration) async throws { advance(duration) }
    func advance(_ duration: Duration) { nanoseconds.withLock { $0 += duration.inNanoseconds } }
}

/// An event loop and its workers that do what is due when the test says so.
///
/// `@unchecked Sendable` holds because tests touch it from one thread; only the list of `execute` is shared.
final class ManualLoop: EventLoop, BackgroundWorker, @unchecked Sendable {
    private final class Timer: ScheduledCall {
        let due: MonotonicTime
        var work: (() -> Void)?
        init(due: MonotonicTime, work: @escaping () -> Void) {
            self.due = due
            self.work = work
        }
        func cancel() { work = nil }
    }
    let manual = ManualClock()
    var clock: any SystemClock { manual }
    var isCurrent: Bool { true }
    private var timers: [Timer] = []
    private let executed = Mutex<[@Sendable () -> Void]>([])
    /// Work given to background workers and not done yet.
    private let background = Mutex<[@Sendable () -> Void]>([])

    func execute(_ work: @escaping @Sendable () -> Void) { executed.withLock { $0.append(work) } }
    func run(_ work: @escaping @Sendable () -> Void) { background.withLock { $0.append(work) } }

    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        let timer = Timer(due: manual.monotonicNow + delay, work: work)
        timers.append(timer)
        return timer
    }
    func atEndOfTick(_ work: @escaping () -> Void) { timers.append(Timer(due: manual.monotonicNow, work: work)) }
    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        throw TransportError(code: .other, address: address.description, reason: "no network here")
    }
    func connect(to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void) {}
    func stopListening() {}

    /// Does one piece of background work; false when there is none.
    @discardableResult
    func runBackgroundStep() -> Bool {
        let next = background.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        next?()
        return next != nil
    }

    /// Does everything that can be done without time passing.
    func settle() {
        for _ in 0..<100_000 {
            var didSomething = runBackgroundStep()
            for work in executed.withLock({ list in
                defer { list = [] }; return list
            }) {
                work()
                didSomething = true
            }
            if !didSomething { return }
        }
    }

    /// Lets time pass, timers and all that follows from them.
    func advance(_ duration: Duration, step: Duration = .milliseconds(10)) {
        let end = manual.monotonicNow + duration
        settle()
        while manual.monotonicNow < end {
            manual.advance(step)
            let now = manual.monotonicNow
            let due = timers.filter { !(now < $0.due) }
            timers.removeAll { !(now < $0.due) }
            for timer in due { timer.work?() }
            settle()
        }
    }
}
