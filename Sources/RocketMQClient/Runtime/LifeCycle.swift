import Synchronization

/// The states that producers and consumers go through, once each, and those who wait for the end.
final class LifeCycle: Sendable {
    enum Stage: Sendable { case created, starting, running, stopping, stopped }

    private struct State {
        var stage = Stage.created
        /// `run()`s that work until they are told to stop.
        var runners: [UInt64: CheckedContinuation<Void, Never>] = [:]
        /// Those who wait for the start.
        var early: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var lastID: UInt64 = 0
        mutating func newID() -> UInt64 {
            lastID += 1
            return lastID
        }
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
        let (isWanted, early) = state.withLock { state -> (Bool, [CheckedContinuation<Void, Never>]) in
            guard state.stage == .starting else { return (false, []) }
            state.stage = succeeded ? .running : .created
            guard succeeded else { return (true, []) }
            defer { state.early = [:] }
            return (true, Array(state.early.values))
        }
        for waiter in early { waiter.resume() }
        return isWanted
    }

    /// What a shutdown has to do.
    enum Stop { case first, wait, nothing }

    func beginStop() -> Stop {
        let (stop, runners) = state.withLock { state -> (Stop, [CheckedContinuation<Void, Never>]) in
            switch state.stage {
            case .created:
                state.stage = .stopped
                defer { state.early = [:] }
                return (.nothing, Array(state.early.values))
            case .starting, .running:
                state.stage = .stopping
                defer { (state.runners, state.early) = ([:], [:]) }
                return (.first, Array(state.runners.values) + Array(state.early.values))
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

    /// Waits until the start is done. Throws when a shutdown or the task's cancellation comes first.
    func waitUntilRunning() async throws(MQError) {
        await wait(\.early) { $0.stage == .created || $0.stage == .starting }
        guard stage != .running else { return }
        guard !Task.isCancelled else { throw MQError(.cancelled, "the task was cancelled while the \(what) started", .init(group: group)) }
        throw MQError(.shutDown, "this \(what) was shut down before it started", .init(group: group))
    }

    /// Waits until the task is cancelled or a shutdown begins.
    func waitWhileRunning() async {
        await wait(\.runners) { $0.stage == .running }
    }

    /// Waits in `list` until taken out of it, or the task is cancelled; not at all unless `condition` holds.
    private func wait(
        _ list: WritableKeyPath<State, [UInt64: CheckedContinuation<Void, Never>]> & Sendable, while condition: (State) -> Bool
    ) async {
        let id = state.withLock { $0.newID() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let ends = state.withLock { state in
                    if !condition(state) || Task.isCancelled { return true }
                    state[keyPath: list][id] = continuation
                    return false
                }
                if ends { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0[keyPath: list].removeValue(forKey: id) }?.resume()
        }
    }
}
