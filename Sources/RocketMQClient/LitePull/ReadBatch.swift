import RocketMQProtocol
import Synchronization

/// Messages of one queue on their way to a reader, who takes one after the other. The consumer sees how far the reader has
/// come, and can take back what was not taken yet.
final class ReadBatch: Sendable {
    let queue: MessageQueue
    /// At least one.
    let messages: [MessageExt]

    private struct State {
        /// Messages that the reader has taken. All of them but the last are done with.
        var taken = 0
        /// Messages that are the reader's to take.
        var limit: Int
        var isRevoked = false
        /// The task that took the last one.
        var task: Int?
        /// What hooks were told when the reader got it.
        var hooked: ConsumeHooks.Call?
    }

    private let state: Mutex<State>

    init(_ queue: MessageQueue, _ messages: [MessageExt], taken: Int = 0) {
        self.queue = queue
        self.messages = messages
        state = Mutex(State(taken: taken, limit: messages.count))
    }

    /// The next message for the reader; `nil` at the end, and when the rest was taken back.
    func next() -> MessageExt? {
        let task = withUnsafeCurrentTask { $0?.hashValue }
        return state.withLock { state in
            guard !state.isRevoked, state.taken < state.limit else { return nil }
            state.task = task
            state.taken += 1
            return messages[state.taken - 1]
        }
    }

    func setHooked(_ call: ConsumeHooks.Call?) { state.withLock { $0.hooked = call } }

    /// What hooks are still to be told the end of.
    func takeHooked() -> ConsumeHooks.Call? {
        state.withLock { state in
            defer { state.hooked = nil }
            return state.hooked
        }
    }

    /// The reader gets no more of it.
    func revoke() { state.withLock { $0.isRevoked = true } }

    /// The reader gets no more of it: the messages that it has not taken.
    func takeBack() -> ArraySlice<MessageExt> {
        state.withLock { state in
            let rest = messages[state.taken..<state.limit]
            state.limit = state.taken
            return rest
        }
    }

    var taken: Int { state.withLock { $0.taken } }
    var task: Int? { state.withLock { $0.task } }

    /// Messages that are the reader's to take.
    var rest: ArraySlice<MessageExt> { state.withLock { messages[$0.taken..<$0.limit] } }

    /// Everything before this offset is done with: the reader has come back for the next.
    var firstUnfinished: Int64 { messages[max(0, taken - 1)].queueOffset }

    /// Everything before this offset was taken.
    var firstUntaken: Int64 { taken == 0 ? messages[0].queueOffset : messages[taken - 1].queueOffset + 1 }
}
