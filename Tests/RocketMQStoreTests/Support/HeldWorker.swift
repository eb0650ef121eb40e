import RocketMQBase
import Synchronization

/// A worker that is as slow as a test wants it: while it holds, work waits until the test releases it, in order.
final class HeldWorker: BackgroundWorker {
    private struct State {
        var isHolding = false
        var waiting: [@Sendable () -> Void] = []
    }
    private let state = Mutex(State())
    private let worker: any BackgroundWorker

    init(_ worker: any BackgroundWorker) { self.worker = worker }

    var count: Int { state.withLock { $0.waiting.count } }

    func hold() { state.withLock { $0.isHolding = true } }

    func run(_ work: @escaping @Sendable () -> Void) {
        let isHeld = state.withLock { state in
            if state.isHolding { state.waiting.append(work) }
            return state.isHolding
        }
        if !isHeld { worker.run(work) }
    }

    /// Does so many pieces of what waits.
    func release(_ count: Int = .max) {
        for _ in 0..<count {
            guard let work = state.withLock({ $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }) else { return }
            work()
        }
    }

    /// Does what waits, and holds nothing from now on.
    func letGo() {
        release()
        state.withLock { $0.isHolding = false }
    }
}
