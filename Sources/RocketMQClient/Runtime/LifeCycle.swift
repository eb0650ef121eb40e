import Synchronization

/// The states that producers and consumers go through, once each, and those who wait for the end.
final class LifeCycle: Sendable {
    enum Stage: Sendable { case created, starting, running, stopping, stopped }

    private struct State {
        var stage = Stage.created
        /// `run()`s that work until they are told to stop.
        var runners: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextRunner: UInt64 = 0
        /// Shutdowns that wait for the one that came first.
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    /// `DefaultMQProducer` and the like, for errors.
    private let what: String
    private let group: String

    init(_ what: String, group: String) {
        self.what = what
        self.group = group
    }

    var stage: Stage { state.withLock { $0.stage } }

    func beginStart() throws(MQError) {
        let stage = state.withLock { state in
            defer { if state.stage == .created { state.stage = .starting } }
            return state.stage
        }
        switch stage {
        case .created: return
        case .starting, .running: throw MQError(.alreadyStarted, "this \(what) was started before", .init(group: group))
        case .stopping, .stopped:
            throw MQError(.shutDown, "this \(what) has been shut down", advice: "make a new one", .init(group: group))
        }
    }

    /// After a start: running, or as new when it failed. `false` when a shutdown came meanwhile.
    func endStart(succeeded: Bool) -> Bool {
        state.withLock { state in
            guard state.stage == .starting else { return false }
            state.stage = succeeded ? .running : .created
            return true
        }
    }

    /// What a shutdown has to do.
    enum Stop { case first, wait, nothing }

    func beginStop() -> Stop {
        let (stop, runners) = state.withLock { state -> (Stop, [CheckedContinuation<Void, Never>]) in
            switch state.stage {
            case .created:
                state.stage = .stopped
                return (.nothing, [])
            case .starting, .running:
                state.stage = .stopping
                defer { state.runners = [:] }
                return (.first, Array(state.runners.values))
            case .stopping: return (.wait, [])
            case .stopped: return (.nothing, [])
            }
        }
        for runner in runners { runner.resume() }
        return stop
    }

    func endStop() {
        let waiters = state.withLock { state in
            state.stage = .stopped
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Waits for the end of a stop that another caller began.
    func waitForStop() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if state.stage == .stopped { return true }
                state.waiters.append(continuation)
                return false
            }
            if isDone { continuation.resume() }
        }
    }

    /// Waits until the task is cancelled or a shutdown begins.
    func waitWhileRunning() async {
        let id = state.withLock { state in
            state.nextRunner += 1
            return state.nextRunner
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let ends = state.withLock { state in
                    if state.stage != .running || Task.isCancelled { return true }
                    state.runners[id] = continuation
                    return false
                }
                if ends { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.runners.removeValue(forKey: id) }?.resume()
        }
    }
}
