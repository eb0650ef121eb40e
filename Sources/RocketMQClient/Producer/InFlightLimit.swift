import Synchronization

/// Counts what is on its way, and lets those wait in line for whom there is no room.
final class InFlightLimit: Sendable {
    private struct State {
        var count = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
        var firstWaiting = 0
    }

    let limit: Int
    private let state = Mutex(State())

    init(_ limit: Int) { self.limit = limit }

    /// Takes a place if there is one.
    func tryEnter() -> Bool {
        state.withLock { state in
            guard state.count < limit else { return false }
            state.count += 1
            return true
        }
    }

    /// Waits for a place and takes it.
    func enter() async {
        if tryEnter() { return }
        await withCheckedContinuation { continuation in
            let hasRoom = state.withLock { state in
                if state.count < limit {
                    state.count += 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if hasRoom { continuation.resume() }
        }
    }

    /// Gives the place to the first in line, or back.
    func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.firstWaiting < state.waiting.count else {
                state.count -= 1
                return nil
            }
            let next = state.waiting[state.firstWaiting]
            state.firstWaiting += 1
            if state.firstWaiting == state.waiting.count {
                state.waiting.removeAll(keepingCapacity: true)
                state.firstWaiting = 0
            } else if state.firstWaiting >= 1024 {
                state.waiting.removeFirst(state.firstWaiting)
                state.firstWaiting = 0
            }
            return next
        }
        next?.resume()
    }
}
