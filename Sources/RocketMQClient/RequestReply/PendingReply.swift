import RocketMQProtocol
import Synchronization

/// A reply that comes from the loop to one task that waits, in either order.
final class PendingReply: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<Result<MessageExt, MQError>, Never>)
        case done(Result<MessageExt, MQError>)
    }

    private let state = Mutex(State.open)

    /// To be called by one task, once.
    var result: Result<MessageExt, MQError> {
        get async {
            await withCheckedContinuation { continuation in
                let done = state.withLock { state -> Result<MessageExt, MQError>? in
                    if case .done(let result) = state { return result }
                    state = .waiting(continuation)
                    return nil
                }
                if let done { continuation.resume(returning: done) }
            }
        }
    }

    func complete(_ result: Result<MessageExt, MQError>) {
        let waiting = state.withLock { state -> CheckedContinuation<Result<MessageExt, MQError>, Never>? in
            let previous = state
            state = .done(result)
            if case .waiting(let continuation) = previous { return continuation }
            return nil
        }
        waiting?.resume(returning: result)
    }
}
