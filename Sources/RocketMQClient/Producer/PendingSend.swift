import Synchronization

/// A message on its way. `try await pending.result` waits for its fate; the message goes its way whether anybody waits or
/// not.
public final class PendingSend: Sendable {
    private enum State {
        case waiting([@Sendable (Result<SendResult, MQError>) -> Void])
        case done(Result<SendResult, MQError>)
    }

    private let state = Mutex(State.waiting([]))

    init() {}

    /// Where the message was stored, or why not.
    public var result: SendResult {
        get async throws(MQError) { try await outcome.get() }
    }

    /// The same as a value.
    public var outcome: Result<SendResult, MQError> {
        get async {
            if let done = current { return done }
            return await withCheckedContinuation { continuation in
                whenDone { continuation.resume(returning: $0) }
            }
        }
    }

    /// What is known now; `nil` while the message is on its way.
    public var current: Result<SendResult, MQError>? {
        state.withLock { if case .done(let result) = $0 { result } else { nil } }
    }

    /// Calls `handler` once, when the fate is known: on the client's event loop, where it must not block, or at once when it
    /// is known already.
    public func whenDone(_ handler: @escaping @Sendable (Result<SendResult, MQError>) -> Void) {
        let done = state.withLock { state -> Result<SendResult, MQError>? in
            switch state {
            case .done(let result): return result
            case .waiting(var handlers):
                handlers.append(handler)
                state = .waiting(handlers)
                return nil
            }
        }
        if let done { handler(done) }
    }

    func complete(_ result: Result<SendResult, MQError>) {
        let handlers = state.withLock { state in
            guard case .waiting(let handlers) = state else { return [@Sendable (Result<SendResult, MQError>) -> Void]() }
            state = .done(result)
            return handlers
        }
        for handler in handlers { handler(result) }
    }
}
